//! What can be written on the command line. Help texts are for people who have never seen Carpel.

mod copy;
mod image;
mod kubernetes;
mod logs;
mod network;
mod pods;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{LogFilter, LogFormat};

pub(super) use copy::*;
pub(super) use image::*;
pub(super) use kubernetes::*;
pub(super) use logs::*;
pub(super) use network::*;
pub(super) use pods::*;

/// The container runtime of a Kubernetes node.
#[derive(Debug, Parser)]
#[command(name = "carpel", version, max_term_width = 100)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    pub(in crate::cli) command: Command,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Run the daemon: the CRI server of this node
    Serve(ServeArguments),
    /// Tell what this host can and cannot do, and why it matters
    Doctor(DoctorArguments),
    /// Pull, import, export, list, inspect and remove images
    #[command(subcommand)]
    Image(ImageCommand),
    /// List pods
    Pods(PodsArguments),
    /// List containers: those that run, or all
    Ps(PsArguments),
    /// Tell everything that is known of containers and pods
    Inspect(InspectContainerArguments),
    /// Run a command in a running container; its exit code becomes this program's
    Exec(ExecArguments),
    /// Connect to the input and output of a running container
    Attach(AttachArguments),
    /// Copy files into a container, or out of one
    Cp(CopyArguments),
    /// Listen on this machine and pass each connection on into a pod
    PortForward(PortForwardArguments),
    /// Show what containers use: live on a terminal, once in a pipe
    Stats(StatsArguments),
    /// Print what happens to pods and containers, as it happens
    Events(EventsArguments),
    /// Print what containers have written
    Logs(LogsArguments),
    /// Make pods, Secrets, ConfigMaps and service accounts be what Kubernetes manifests say
    Apply(ApplyArguments),
    /// Show what apply would change; exit code 1 if anything
    Diff(DiffArguments),
    /// List objects of manifests: pods, secrets, configmaps, serviceaccounts, events, nodes
    Get(GetArguments),
    /// Tell what the agent does with a field of a manifest, as pod.spec.containers.image
    Explain(ExplainFieldArguments),
    /// Tell what there is to know of an object, and what happened to it
    Describe(DescribeArguments),
    /// Delete objects; pods end in order, with their grace period
    Delete(DeleteArguments),
    /// Wait until pods are ready, have ended or are gone
    Wait(WaitArguments),
    /// Show what pods of manifests use
    #[command(subcommand)]
    Top(TopCommand),
    /// Make a token of a service account
    #[command(subcommand)]
    Create(CreateCommand),
    /// Show what tokens can be verified with
    #[command(subcommand)]
    Token(TokenCommand),
    /// Run Kubernetes manifests on a CRI runtime that is another process; `serve` does it by itself
    Agent(AgentArguments),
    /// Show the built-in pod network of this node, or remove it
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Show the versions of this program and of the daemon
    Version(VersionArguments),
    /// Print, check and explain the configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print what makes a shell complete commands and options: bash, zsh or fish
    Completion {
        /// The shell
        shell: CompletedShell,
    },
    /// Write manual pages, one for each command
    #[command(hide = true)]
    ManPages {
        /// Where; it is made if it is missing
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeArguments {
    #[command(flatten)]
    pub(in crate::cli) file: ConfigFile,
    /// Listen here, whatever the configuration says
    #[arg(long, visible_alias = "address", value_name = "PATH", value_parser = socket_path)]
    pub(in crate::cli) socket: Option<PathBuf>,
    /// off, error, warn, info, debug or trace, also by module: info,carpel::network=debug
    #[arg(long, value_name = "LEVEL")]
    pub(in crate::cli) log_level: Option<LogFilter>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT")]
    pub(in crate::cli) log_format: Option<LogFormat>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DoctorArguments {
    #[command(flatten)]
    pub(in crate::cli) file: ConfigFile,
    /// How the findings are printed
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(in crate::cli) output: TextOrJson,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VersionArguments {
    /// How the versions are printed
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(in crate::cli) output: TextOrJson,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigCommand {
    /// Print a configuration file with every key at its default, explained
    Default,
    /// Tell whether a file is right; exit code 1 if not
    Check {
        /// The file; without it the one that `serve` would read
        file: Option<PathBuf>,
    },
    /// Print what `serve` would use, with every key
    Show {
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Which configuration is read.
#[derive(Debug, Args)]
pub(in crate::cli) struct ConfigFile {
    /// The configuration file [default: /etc/carpel/carpel.toml if it exists]
    #[arg(long = "config", value_name = "FILE")]
    pub(in crate::cli) path: Option<PathBuf>,
}

/// Which daemon is talked to.
#[derive(Debug, Args)]
pub(in crate::cli) struct DaemonAddress {
    /// The daemon's socket, a path or unix://PATH [default: the one of the configuration file]
    #[arg(long, visible_aliases = ["address", "runtime-endpoint"], short = 'r', env = "CARPEL_SOCKET", value_name = "PATH", value_parser = socket_path)]
    pub(in crate::cli) socket: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) file: ConfigFile,
}

/// Shells whose completion is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum CompletedShell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum TextOrJson {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum TableOrJson {
    Table,
    Json,
}

/// A socket as crictl writes it, `unix:///run/carpel/carpel.sock`, or as a plain path.
fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.is_empty() {
        Err("an empty path".to_owned())
    } else if path.contains("://") {
        Err("only unix:// sockets are served".to_owned())
    } else {
        Ok(PathBuf::from(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn clap_accepts_the_definition() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_socket_is_a_path_with_or_without_scheme() {
        assert_eq!(socket_path("/run/x.sock"), Ok("/run/x.sock".into()));
        assert_eq!(socket_path("unix:///run/x.sock"), Ok("/run/x.sock".into()));
        assert!(socket_path("tcp://127.0.0.1:1").is_err());
        assert!(socket_path("unix://").is_err());
    }

    #[test]
    fn serve_takes_its_overrides() {
        let line =
            "carpel serve --config /c --address unix:///s --log-level debug --log-format json";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Serve(serve) = arguments.command else {
            panic!("{arguments:?}");
        };
        assert_eq!(serve.socket, Some("/s".into()));
        assert_eq!(serve.log_format, Some(LogFormat::Json));
        assert_eq!(serve.log_level.unwrap().as_str(), "debug");
        assert!(Arguments::try_parse_from(["carpel", "serve", "--log-level", "a=b=c"]).is_err());
    }
}
