//! What a person may type. Nothing is looked up or opened here.

pub(crate) mod backup;
pub(crate) mod cluster;
pub(crate) mod location;
pub(crate) mod restore;
mod server;
mod verbs;

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser};

pub(crate) use server::{LogFormat, NodeAgent, NodeRestore, NodeServer, Server, Uploader, WithoutEffect};
pub(crate) use verbs::Verb;

/// Backups of volumes that people can trust.
#[derive(Debug, Parser)]
#[command(name = "trysail", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Group)]
pub(crate) struct Shared {
    /// The repository: `file:///dir` or `s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1`. Without it, one in the user's data directory.
    /// `&ca_cert=FILE`, or the variable `SSL_CERT_FILE`, names a private certificate authority.
    #[arg(long, global = true, env = "TRYSAIL_REPO", value_name = "URL")]
    pub(crate) repo: Option<String>,
    /// File with age identities, or an SSH private key, that open what is encrypted. May be given several times.
    #[arg(long, global = true, env = "TRYSAIL_IDENTITY", value_name = "FILE")]
    pub(crate) identity: Vec<PathBuf>,
    // A text, since some commands have an `-o` of their own that says other things: clap asks that all are of one type.
    /// How results are printed.
    #[arg(short, long, global = true, value_name = "FORMAT", value_parser = PossibleValuesParser::new(["table", "json", "yaml"]))]
    output: Option<String>,
    /// Print no progress and no hints: only results, and what went wrong.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

impl Shared {
    /// How results are printed; a table where nothing was said.
    pub(crate) fn format(&self) -> Format {
        match self.output.as_deref() {
            Some("json") => Format::Json,
            Some("yaml") => Format::Yaml,
            _ => Format::Table,
        }
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs, and for files that people keep.
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Backups of a cluster.
    #[command(subcommand, alias = "backups")]
    Backup(backup::Backup),
    /// Restores of a cluster.
    #[command(subcommand, alias = "restores")]
    Restore(restore::Restore),
    /// Backups of a cluster that are made again and again.
    #[command(subcommand, alias = "schedules")]
    Schedule(backup::Schedule),
    /// Where backups of a cluster lie.
    #[command(subcommand, alias = "backup-locations")]
    BackupLocation(location::Location),
    /// Tell what is dangerous about the backups of a cluster, with one remedy each. Exit code 1 where something is unsafe.
    Doctor(cluster::Connection),
    /// Print the versions of this program and of the server.
    Version(cluster::Version),
    /// Snapshots of directories.
    #[command(subcommand)]
    Volume(Volume),
    /// Care of a repository.
    #[command(subcommand)]
    Repo(Repo),
    /// Read all that restores would read, down to the hash of each file, and tell what the snapshots are worth. Exit code 1 where
    /// something is damaged.
    Drill {
        /// `VOLUME/SESSION`, the beginning of a session, `latest` or `VOLUME@latest`; without a name, the newest of each volume.
        snapshots: Vec<String>,
    },
    /// SOPS files: secrets that Git may hold.
    #[command(subcommand)]
    Secrets(Secrets),
    /// Print the definitions of all kinds that Trysail serves in Kubernetes, Velero's and its own.
    Crds,
    /// Define Velero's kinds in a cluster, as its chart does before each upgrade.
    Install(Install),
    /// Serve Velero's kinds in a Kubernetes cluster.
    Server(Box<Server>),
    /// Move the data of volumes, on the node where they are.
    #[command(subcommand)]
    NodeAgent(NodeAgent),
    #[command(flatten)]
    Verb(Verb),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What is installed, and where.
#[derive(Debug, Group)]
pub(crate) struct Install {
    /// The definitions, and nothing that runs.
    #[arg(long, required = true)]
    pub(crate) crds_only: bool,
    /// Print them as one list, and send them nowhere.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take over fields that others own: always done, and understood for the sake of Velero's chart.
    #[arg(long, hide = true)]
    pub(crate) apply: bool,
    /// File that says where the API server is; else the variable KUBECONFIG, and in a pod nothing is needed.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of that file.
    #[arg(long, value_name = "NAME")]
    pub(crate) kubecontext: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Volume {
    /// Make a snapshot of a directory; only what changed since the last one is read.
    Backup(Backup),
    /// Restore a snapshot, or parts of it, into a directory.
    Restore(Restore),
    /// List volumes and their snapshots.
    List {
        /// Only this volume.
        volume: Option<String>,
    },
    /// List what is in a snapshot.
    Ls {
        /// `VOLUME/SESSION`, the beginning of a session, `latest` or `VOLUME@latest`.
        snapshot: String,
        /// Only this path and what is below it.
        path: Option<String>,
    },
    /// Print the content of a file of a snapshot.
    Cat {
        /// `VOLUME/SESSION`, the beginning of a session, `latest` or `VOLUME@latest`.
        snapshot: String,
        /// Path below the volume's root.
        path: String,
    },
    /// Show what changed between two snapshots.
    Diff {
        /// The older snapshot.
        before: String,
        /// The newer snapshot.
        after: String,
    },
    /// Write a snapshot as one plain `.tar.zst` to standard output.
    Export {
        /// `VOLUME/SESSION`, the beginning of a session, `latest` or `VOLUME@latest`.
        snapshot: String,
    },
}

#[derive(Debug, Group)]
pub(crate) struct Backup {
    /// The directory.
    pub(crate) path: PathBuf,
    /// Name of the volume; without it, the directory's name.
    #[arg(long)]
    pub(crate) volume: Option<String>,
    #[command(flatten)]
    pub(crate) recipients: Recipients,
    /// Leave out what matches: a name anywhere (`*.tmp`), or a path from the root (`cache/**`). May be given several times.
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Enter other file systems that are mounted below the directory.
    #[arg(long)]
    pub(crate) cross_mounts: bool,
}

/// For whom a new repository is encrypted.
#[derive(Debug, Group)]
pub(crate) struct Recipients {
    /// Encrypt for this recipient (`age1…` or an SSH public key) when the repository is made. May be given several times.
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) recipient: Vec<String>,
    /// File with recipients, one a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipients_file: Vec<PathBuf>,
}

#[derive(Debug, Group)]
pub(crate) struct Restore {
    /// `VOLUME/SESSION`, the beginning of a session, `latest` or `VOLUME@latest`.
    pub(crate) snapshot: String,
    /// The directory; made if it is absent, refused if it is not empty.
    pub(crate) target: PathBuf,
    /// Restore only this path and what is below it. May be given several times.
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Vec<String>,
    /// Replace what is in the way in a directory that is not empty.
    #[arg(long, conflicts_with = "delta")]
    pub(crate) overwrite: bool,
    /// Replace only what differs, in a directory that is not empty.
    #[arg(long)]
    pub(crate) delta: bool,
    /// Leave out what could give rights away; what is left out is listed. May be given several times.
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) withhold: Vec<Withhold>,
    /// Print the NAR hash of the restored tree, as `nix hash path` prints it.
    #[arg(long)]
    pub(crate) nar: bool,
}

/// What a restore can leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Withhold {
    /// Character and block devices.
    Devices,
    /// Setuid and setgid bits and capabilities of files.
    Setuid,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Repo {
    /// List the repositories of a cluster.
    Get(cluster::Listing),
    /// Make a repository.
    Init {
        #[command(flatten)]
        recipients: Recipients,
    },
    /// Take over a repository of which this machine has no keys, or whose root key was changed on purpose.
    Adopt {
        /// The root key to trust from now on, as the error message printed it.
        #[arg(long, value_name = "KEY")]
        root: Option<String>,
    },
    /// Check that all that snapshots need is stored, whole and signed; name the paths that damage costs.
    Check {
        /// Read the packs too: part N of T (`1/1` is all; `3/30` on the third of thirty days), each pack in exactly one part.
        #[arg(long, value_name = "N/T")]
        read_data: Option<String>,
        /// Mark damaged packs, so that the next backup reads what they held from the volume again.
        #[arg(long)]
        mark_bad: bool,
    },
    /// Find packs that no snapshot needs, condemn them, and delete those condemned long enough ago.
    Prune {
        /// Only print what would be done, and when.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove snapshots. Their space comes back through prunes.
    Forget {
        /// `VOLUME/SESSION` or the beginning of a session.
        #[arg(required = true)]
        snapshots: Vec<String>,
    },
    /// Print how much there is.
    Stats,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Secrets {
    /// Encrypt the values of a YAML or JSON file as the rules of `.sops.yaml` say, such that sops opens it.
    /// `ref+sops://FILE#KEY` is replaced by the value that it names. A target whose values did not change stays as it is.
    Seal {
        /// The file in plain text; `-` is standard input.
        input: PathBuf,
        /// Where the sealed file goes; without it, the input is replaced. Plain text is never written.
        target: Option<PathBuf>,
        /// The rules; without it, the nearest `.sops.yaml` in the target's directory or above.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print a sealed file in plain text, after all of it was verified. Identities come from --identity, else from where
    /// sops looks: `SOPS_AGE_KEY`, `SOPS_AGE_KEY_FILE`, `sops/age/keys.txt` in the user's configuration directory.
    Open {
        /// The file.
        file: PathBuf,
        /// Print only the value at this path of keys, such as `minio/secret_key`.
        key: Option<String>,
    },
    /// Name what ought to be ciphertext and is not: files that a rule of `.sops.yaml` names, Secrets of Kubernetes, keys.
    /// Needs no identity. Exit code 1 where there is something.
    Check {
        /// Files, and directories with all below them.
        #[arg(default_value = ".")]
        paths: Vec<PathBuf>,
        /// Check what is staged in git, as it is staged.
        #[arg(long, conflicts_with = "paths")]
        staged: bool,
        /// The rules; without it, for each file the nearest `.sops.yaml` in its directory or above.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_flag_of_a_command_has_a_name_of_its_own() {
        Args::command().debug_assert();
    }
}
