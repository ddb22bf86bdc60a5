//! What the commands on a cluster have in common: which cluster, which objects, in which form. The flags are those of `velero`.

use std::path::PathBuf;

use clap::{Args as Group, ValueEnum, builder::PossibleValuesParser};
use trysail_api::{duration::Duration, selector::LabelSelector};

/// Which cluster, and which namespace of it.
#[derive(Debug, Clone, Group)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Connection {
    /// The namespace in which the server and its objects are.
    #[arg(short, long, env = "VELERO_NAMESPACE", default_value = trysail_api::names::DEFAULT_NAMESPACE)]
    pub(crate) namespace: String,
    /// File that says where the API server is; else the variable KUBECONFIG, and in a pod nothing is needed.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of that file.
    #[arg(long, value_name = "NAME")]
    pub(crate) kubecontext: Option<String>,
}

/// How objects are printed. `-o` of these commands knows one word more than that of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Table,
    /// As the API server has them.
    Json,
    /// As the API server has them.
    Yaml,
    /// Names alone, one a line, for other commands.
    Name,
}

impl Form {
    /// The word that was typed; a table where there was none.
    fn of(word: Option<&String>) -> Self {
        match word.map(String::as_str) {
            Some("json") => Self::Json,
            Some("yaml") => Self::Yaml,
            Some("name") => Self::Name,
            _ => Self::Table,
        }
    }
}

/// Which objects are listed, and how.
#[derive(Debug, Clone, Group)]
pub(crate) struct Listing {
    /// Names; all where there are none.
    pub(crate) names: Vec<String>,
    /// Only what has these labels, as `app=web,tier in (a,b),!old`.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// Show labels in the last column.
    #[arg(long)]
    pub(crate) show_labels: bool,
    /// Labels that are columns, with commas between. May be given several times.
    #[arg(short = 'L', long, value_name = "KEY", value_delimiter = ',')]
    pub(crate) label_columns: Vec<String>,
    // One name with the `-o` of all commands, in whose place it is; both are texts for that.
    /// How results are printed.
    #[arg(short, long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(["table", "json", "yaml", "name"]))]
    output: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

impl Listing {
    /// How the objects are printed.
    pub(crate) fn form(&self) -> Form {
        Form::of(self.output.as_ref())
    }
}

/// Whether an object is made or only printed.
#[derive(Debug, Clone, Group)]
pub(crate) struct Draft {
    /// Print the object and send it nowhere.
    #[arg(short, long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(["json", "yaml", "table"]))]
    output: Option<String>,
}

impl Draft {
    /// How the object is printed that is sent nowhere; none where it is made.
    pub(crate) fn form(&self) -> Option<Form> {
        Some(Form::of(self.output.as_ref())).filter(|form| matches!(form, Form::Json | Form::Yaml))
    }
}

/// Which objects are described, and how much of them.
#[derive(Debug, Clone, Group)]
pub(crate) struct Describing {
    /// Names; all where there are none.
    pub(crate) names: Vec<String>,
    /// Only what has these labels, as `app=web,tier in (a,b),!old`.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// Tell single objects and volumes too.
    #[arg(long)]
    pub(crate) details: bool,
    /// How results are printed.
    #[arg(short, long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(["plaintext", "json"]))]
    output: Option<String>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

impl Describing {
    /// How it is printed.
    pub(crate) fn form(&self) -> Form {
        Form::of(self.output.as_ref())
    }
}

/// Which store is believed when a file is fetched from it.
#[derive(Debug, Clone, Default, Group)]
pub(crate) struct Trust {
    /// File with certificates that are trusted besides those of the system, in place of those that the location names.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Trust every certificate: whoever is on the way can read and change what is fetched.
    #[arg(long)]
    pub(crate) insecure_skip_tls_verify: bool,
}

/// One object whose log is fetched.
#[derive(Debug, Clone, Group)]
pub(crate) struct Logs {
    /// The name.
    pub(crate) name: String,
    /// The longest time to wait for the server's answer.
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) trust: Trust,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Objects to which something is done: named ones, labelled ones or all.
#[derive(Debug, Clone, Group)]
pub(crate) struct Selecting {
    /// Names.
    #[arg(required_unless_present_any = ["all", "selector"], conflicts_with_all = ["all", "selector"])]
    pub(crate) names: Vec<String>,
    /// All of them.
    #[arg(long, conflicts_with = "selector")]
    pub(crate) all: bool,
    /// Those with these labels.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Objects that are deleted.
#[derive(Debug, Clone, Group)]
pub(crate) struct Deleting {
    #[command(flatten)]
    pub(crate) selecting: Selecting,
    /// Do not ask.
    #[arg(long)]
    pub(crate) confirm: bool,
}

/// Whether a command ends before what it asked for does.
#[derive(Debug, Clone, Copy, Group)]
pub(crate) struct Waiting {
    /// Wait for the end. The exit code tells it: 0 Completed, 3 `PartiallyFailed`, 1 otherwise.
    #[arg(short, long)]
    pub(crate) wait: bool,
}

/// `trysail version`.
#[derive(Debug, Clone, Group)]
pub(crate) struct Version {
    /// Ask no server.
    #[arg(long)]
    pub(crate) client_only: bool,
    /// The longest time to wait for the server's answer.
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// What happens to objects that exist already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Existing {
    /// They stay as they are.
    None,
    /// They are patched.
    Update,
}

/// `KEY=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    divided(text, '=')
}

/// `FROM:TO`.
pub(super) fn mapping(text: &str) -> Result<(String, String), String> {
    divided(text, ':')
}

fn divided(text: &str, between: char) -> Result<(String, String), String> {
    let parts = text.split_once(between).filter(|(key, _)| !key.is_empty());
    parts.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| format!("no {between:?} after a name"))
}

/// `pods=ns1/a,ns1/b;persistentvolumes=x`: by kind the order of its objects.
pub(super) fn ordered(text: &str) -> Result<(String, String), String> {
    let mut parts = text.split('=');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(kind), Some(order), None) => Ok((kind.trim().to_owned(), order.trim().to_owned())),
        _ => Err(format!("invalid OrderedResources '{text}'")),
    }
}

/// Selectors of which one is enough.
pub(crate) type Alternatives = Vec<LabelSelector>;

/// Selectors with ` or ` between.
pub(super) fn alternatives(text: &str) -> Result<Alternatives, String> {
    text.split(" or ").map(|one| one.parse().map_err(|error| format!("{error}"))).collect()
}
