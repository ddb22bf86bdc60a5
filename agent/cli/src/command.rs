//! One file for each group of commands; each command is one function from arguments to an outcome.

mod backup;
mod browse;
mod check;
mod cluster;
mod definitions;
mod doctor;
mod drill;
mod guard;
mod location;
mod node_agent;
mod preview;
mod repo;
mod restore;
mod schedule;
mod secrets;
mod server;
mod version;
mod volume;

use anyhow::Result;
use clap::CommandFactory as _;
use tokio::runtime::Handle;

use crate::{
    Outcome,
    args::{Args, Command, NodeAgent, Repo, Secrets, Volume},
    output,
    place::Place,
};

/// Runs the command that was typed.
pub(crate) fn run(args: Args, runtime: &Handle) -> Result<Outcome> {
    let Args { shared, command } = args;
    let place = || Place::new(&shared);
    match command {
        Command::Backup(command) => runtime.block_on(backup::run(command)),
        Command::Restore(command) => runtime.block_on(restore::run(&shared, command)),
        Command::Schedule(command) => runtime.block_on(schedule::run(command)),
        Command::BackupLocation(command) => runtime.block_on(location::run(command)),
        Command::Doctor(connection) => runtime.block_on(doctor::run(&shared, &connection)),
        Command::Version(version) => runtime.block_on(version::run(&shared, &version)),
        Command::Verb(verb) => run(Args { shared, command: verb.noun_first() }, runtime),
        Command::Volume(Volume::Backup(backup)) => volume::backup(&place()?, &shared, &backup, runtime),
        Command::Volume(Volume::Restore(restore)) => volume::restore(&place()?, &shared, &restore, runtime),
        Command::Volume(Volume::List { volume }) => {
            runtime.block_on(browse::list(&place()?, &shared, volume.as_deref()))
        }
        Command::Volume(Volume::Ls { snapshot, path }) => {
            runtime.block_on(browse::ls(&place()?, &shared, &snapshot, path.as_deref()))
        }
        Command::Volume(Volume::Cat { snapshot, path }) => runtime.block_on(browse::cat(&place()?, &snapshot, &path)),
        Command::Volume(Volume::Diff { before, after }) => {
            runtime.block_on(browse::diff(&place()?, &shared, &before, &after))
        }
        Command::Volume(Volume::Export { snapshot }) => runtime.block_on(browse::export(&place()?, &snapshot)),
        Command::Repo(Repo::Get(listing)) => runtime.block_on(location::repositories(&listing)),
        Command::Repo(Repo::Init { recipients }) => runtime.block_on(repo::init(&place()?, &recipients)),
        Command::Repo(Repo::Adopt { root }) => runtime.block_on(repo::adopt(&place()?, root.as_deref())),
        Command::Repo(Repo::Check { read_data, mark_bad }) => {
            runtime.block_on(check::check(&place()?, &shared, read_data.as_deref(), mark_bad))
        }
        Command::Drill { snapshots } => runtime.block_on(drill::drill(&place()?, &shared, &snapshots)),
        Command::Repo(Repo::Prune { dry_run }) => runtime.block_on(repo::prune(&place()?, &shared, dry_run)),
        Command::Repo(Repo::Forget { snapshots }) => runtime.block_on(repo::forget(&place()?, &snapshots)),
        Command::Repo(Repo::Stats) => runtime.block_on(repo::stats(&place()?, &shared)),
        Command::Crds => definitions::crds(&shared),
        Command::Install(install) => runtime.block_on(definitions::install(&shared, &install)),
        Command::NodeAgent(NodeAgent::Server(agent)) => runtime.block_on(node_agent::serve(*agent)),
        Command::NodeAgent(NodeAgent::Restore(restore)) => runtime.block_on(node_agent::restore(*restore)),
        Command::NodeAgent(NodeAgent::Hold) => runtime.block_on(node_agent::hold()),
        Command::Server(server) => runtime.block_on(server::serve(*server)),
        Command::Secrets(Secrets::Seal { input, target, config }) => {
            secrets::seal(&shared, &input, target.as_deref(), config.as_deref())
        }
        Command::Secrets(Secrets::Open { file, key }) => secrets::open(&shared, &file, key.as_deref()),
        Command::Secrets(Secrets::Check { paths, staged, config }) => {
            let what = if staged { guard::What::Staged } else { guard::What::Paths(paths) };
            guard::check(&shared, &what, config.as_deref())
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "trysail", &mut script);
            output::bytes(&script).map(|()| Outcome::Done)
        }
    }
}
