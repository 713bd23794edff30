//! Pods and containers: `carpel ps`, `pods`, `inspect`, `exec`, `attach`, `port-forward`, `logs`.
//!
//! Wherever a CONTAINER or POD is asked for, its id, its name or an unambiguous beginning of one of them will do.

use std::path::PathBuf;
use std::time::Duration;

use carpel_agent::manifest::DEFAULT_NAMESPACE;
use clap::{Args, ValueEnum};

use super::{DaemonAddress, TableOrJson, TextOrJson, socket_path};
use crate::cli::pods::port_forward::PortPair;
use crate::cli::time;

/// How lists are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ListFormat {
    /// Aligned columns.
    Table,
    /// The same with more columns.
    Wide,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

/// How much of a list is printed.
#[derive(Debug, Args)]
pub(in crate::cli) struct ListStyle {
    /// Print only ids, one a line
    #[arg(long, short)]
    pub(in crate::cli) quiet: bool,
    /// Print ids and images in full
    #[arg(long)]
    pub(in crate::cli) no_trunc: bool,
    /// How the list is printed
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub(in crate::cli) output: ListFormat,
}

/// A label that must be there, with a value if one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct LabelFilter {
    /// Its key.
    pub(in crate::cli) key: String,
    /// None: any value.
    pub(in crate::cli) value: Option<String>,
}

impl std::str::FromStr for LabelFilter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        match key.is_empty() {
            true => Err("a label is KEY or KEY=VALUE"),
            false => Ok(Self {
                key: key.to_owned(),
                value,
            }),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ContainerStateName {
    Created,
    Running,
    Exited,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PodStateName {
    Ready,
    #[value(name = "notready", alias = "not-ready")]
    NotReady,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PsArguments {
    /// Also containers that do not run
    #[arg(long, short)]
    pub(in crate::cli) all: bool,
    /// Only containers of this pod
    #[arg(long, short, value_name = "POD")]
    pub(in crate::cli) pod: Option<String>,
    /// Only containers whose name begins so
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
    /// Only containers in this state
    #[arg(long, short, value_name = "STATE", ignore_case = true)]
    pub(in crate::cli) state: Option<ContainerStateName>,
    /// Only containers with this label; may be repeated
    #[arg(long, short, value_name = "KEY[=VALUE]")]
    pub(in crate::cli) label: Vec<LabelFilter>,
    #[command(flatten)]
    pub(in crate::cli) style: ListStyle,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PodsArguments {
    /// Only pods whose name begins so
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
    /// Only pods of this namespace
    #[arg(long, short, value_name = "NAMESPACE")]
    pub(in crate::cli) namespace: Option<String>,
    /// Only pods in this state
    #[arg(long, short, value_name = "STATE", ignore_case = true)]
    pub(in crate::cli) state: Option<PodStateName>,
    /// Only pods with this label; may be repeated
    #[arg(long, short, value_name = "KEY[=VALUE]")]
    pub(in crate::cli) label: Vec<LabelFilter>,
    #[command(flatten)]
    pub(in crate::cli) style: ListStyle,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

/// What an id or a name may belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ObjectKind {
    /// Whichever it is.
    Any,
    Container,
    Pod,
}

/// How one object is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ObjectFormat {
    Json,
    Yaml,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct InspectContainerArguments {
    /// Containers or pods, by id, name or a beginning of one
    #[arg(value_name = "CONTAINER|POD", required = true)]
    pub(in crate::cli) objects: Vec<String>,
    /// What they are
    #[arg(long = "type", value_name = "KIND", default_value = "any")]
    pub(in crate::cli) kind: ObjectKind,
    /// How they are printed
    #[arg(long, short, value_name = "FORMAT", default_value = "json")]
    pub(in crate::cli) output: ObjectFormat,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

/// Whose pod a name means.
#[derive(Debug, Args)]
pub(in crate::cli) struct PodScope {
    /// The pod's namespace [default: default for pods of manifests and pod/NAME, else any]
    #[arg(long, short, value_name = "NAMESPACE")]
    pub(in crate::cli) namespace: Option<String>,
    /// The agent's socket [default: agent.sock in the run directory of the configuration file]
    #[arg(long, env = "CARPEL_AGENT_SOCKET", value_name = "PATH", value_parser = socket_path)]
    pub(in crate::cli) agent_socket: Option<PathBuf>,
}

impl PodScope {
    /// Where a name is looked for first.
    pub(in crate::cli) fn name(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExecArguments {
    /// Pass on standard input
    #[arg(long, short, visible_alias = "stdin")]
    pub(in crate::cli) interactive: bool,
    /// Give the command a terminal
    #[arg(long, short)]
    pub(in crate::cli) tty: bool,
    /// Wait for the command and print its output at its end, of which 16 MiB are kept
    #[arg(long, short, conflicts_with_all = ["interactive", "tty"])]
    pub(in crate::cli) sync: bool,
    /// With --sync: kill the command after so long, as 10s or 1m30s
    #[arg(long, value_name = "DURATION", requires = "sync", value_parser = time::duration)]
    pub(in crate::cli) timeout: Option<Duration>,
    /// With --sync: how the result is printed
    #[arg(
        long,
        short,
        value_name = "FORMAT",
        default_value = "text",
        requires = "sync"
    )]
    pub(in crate::cli) output: TextOrJson,
    /// Do not say which container is taken if none is named
    #[arg(long, short)]
    pub(in crate::cli) quiet: bool,
    #[command(flatten)]
    pub(in crate::cli) scope: PodScope,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
    /// Which container of the pod, if it has several
    #[arg(long = "container", short = 'c', value_name = "NAME")]
    pub(in crate::cli) of_pod: Option<String>,
    /// A pod, as NAME or pod/NAME; or a container, by id, name, POD/NAME or a beginning of one
    #[arg(value_name = "CONTAINER|POD")]
    pub(in crate::cli) container: String,
    /// The command and its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AttachArguments {
    /// Do not pass on standard input
    #[arg(long)]
    pub(in crate::cli) no_stdin: bool,
    /// As for kubectl: input is passed on anyway, to a container that takes it
    #[arg(long, short = 'i', conflicts_with = "no_stdin")]
    pub(in crate::cli) stdin: bool,
    /// As for kubectl: a container that was made with a terminal has it anyway
    #[arg(long, short)]
    pub(in crate::cli) tty: bool,
    /// Do not say which container is taken if none is named
    #[arg(long, short)]
    pub(in crate::cli) quiet: bool,
    #[command(flatten)]
    pub(in crate::cli) scope: PodScope,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
    /// Which container of the pod, if it has several
    #[arg(long = "container", short = 'c', value_name = "NAME")]
    pub(in crate::cli) of_pod: Option<String>,
    /// A pod, as NAME or pod/NAME; or a container, by id, name, POD/NAME or a beginning of one
    #[arg(value_name = "CONTAINER|POD")]
    pub(in crate::cli) container: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PortForwardArguments {
    /// Listen on this address of this machine
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(in crate::cli) listen: std::net::IpAddr,
    #[command(flatten)]
    pub(in crate::cli) scope: PodScope,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
    /// The pod, as pod/NAME, or by id, name, NAMESPACE/NAME or a beginning of one
    #[arg(value_name = "POD")]
    pub(in crate::cli) pod: String,
    /// A port of the pod, with a port of this machine before it if that is another; :REMOTE takes any that is free
    #[arg(value_name = "[LOCAL:]REMOTE", required = true)]
    pub(in crate::cli) ports: Vec<PortPair>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::{Arguments, Command};
    use clap::Parser;

    #[test]
    fn a_label_has_a_key_and_maybe_a_value() {
        let label: LabelFilter = "app=web=1".parse().unwrap();
        assert_eq!(
            (&*label.key, label.value.as_deref()),
            ("app", Some("web=1"))
        );
        let label: LabelFilter = "app".parse().unwrap();
        assert_eq!((&*label.key, label.value), ("app", None));
        assert!("=1".parse::<LabelFilter>().is_err());
    }

    #[test]
    fn what_follows_the_command_belongs_to_it() {
        let line = "carpel exec -it web ls -l --output x";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Exec(exec) = arguments.command else {
            panic!("{arguments:?}");
        };
        assert!(exec.interactive && exec.tty);
        assert_eq!(exec.command, ["ls", "-l", "--output", "x"]);
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EventsArguments {
    /// How they are printed: a line each, or a JSON object a line
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(in crate::cli) output: TextOrJson,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StatsArguments {
    /// Names, or ids or the beginning of ids; all that run if nothing is named
    #[arg(value_name = "CONTAINER")]
    pub(in crate::cli) containers: Vec<String>,
    /// Print once also on a terminal
    #[arg(long)]
    pub(in crate::cli) no_stream: bool,
    /// How long between two looks on a terminal
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = crate::cli::time::duration)]
    pub(in crate::cli) interval: std::time::Duration,
    /// How they are printed
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub(in crate::cli) output: TableOrJson,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}
