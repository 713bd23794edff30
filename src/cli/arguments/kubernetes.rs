//! Kubernetes manifests without a cluster: `carpel apply`, `get`, `describe`, `delete`, `wait`, `top`, `create`, `token`, `agent`.
//!
//! Words and options are kubectl's, so that whoever knows that one knows these.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigFile, DaemonAddress, socket_path};
use crate::cli::time;
use crate::config::{LogFilter, LogFormat};

/// Which agent is talked to.
#[derive(Debug, Args)]
pub(in crate::cli) struct AgentAddress {
    /// The agent's socket [default: agent.sock in the run directory of the configuration file]
    #[arg(long, env = "CARPEL_AGENT_SOCKET", value_name = "PATH", value_parser = socket_path)]
    pub(in crate::cli) agent_socket: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) file: ConfigFile,
}

/// Which namespace.
#[derive(Debug, Args)]
pub(in crate::cli) struct Namespace {
    /// The namespace
    #[arg(long, short, value_name = "NAMESPACE", default_value = "default")]
    pub(in crate::cli) namespace: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ApplyArguments {
    /// A manifest, a folder of manifests (*.yaml, *.yml, *.json), or - for standard input; may be repeated
    #[arg(long, short = 'f', value_name = "FILE", required = true)]
    pub(in crate::cli) filename: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) agent: AgentAddress,
}

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum GetFormat {
    /// More columns
    Wide,
    /// As YAML, Secrets with their values
    Yaml,
    /// As JSON, Secrets with their values
    Json,
    /// TYPE/NAME, one a line
    Name,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct GetArguments {
    /// pods, secrets, configmaps, serviceaccounts or events, or TYPE/NAME
    #[arg(value_name = "TYPE")]
    pub(in crate::cli) kind: String,
    /// Names; without one all
    #[arg(value_name = "NAME")]
    pub(in crate::cli) names: Vec<String>,
    /// Of all namespaces
    #[arg(long, short = 'A')]
    pub(in crate::cli) all_namespaces: bool,
    /// How they are printed
    #[arg(long, short, value_name = "FORMAT")]
    pub(in crate::cli) output: Option<GetFormat>,
    /// Go on, and print what changes
    #[arg(long, short)]
    pub(in crate::cli) watch: bool,
    /// No line with the names of the columns
    #[arg(long)]
    pub(in crate::cli) no_headers: bool,
    #[command(flatten)]
    pub(in crate::cli) namespace: Namespace,
    #[command(flatten)]
    pub(in crate::cli) agent: AgentAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DescribeArguments {
    /// pod, secret, configmap or serviceaccount, or TYPE/NAME
    #[arg(value_name = "TYPE")]
    pub(in crate::cli) kind: String,
    /// Names; without one all
    #[arg(value_name = "NAME")]
    pub(in crate::cli) names: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) namespace: Namespace,
    #[command(flatten)]
    pub(in crate::cli) agent: AgentAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeleteArguments {
    /// TYPE NAME…, or TYPE/NAME…
    #[arg(value_name = "TYPE|TYPE/NAME", required_unless_present = "filename")]
    pub(in crate::cli) words: Vec<String>,
    /// Whatever these manifests name
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "words")]
    pub(in crate::cli) filename: Vec<PathBuf>,
    /// Seconds that a pod may take to end; 0 kills it [default: the pod's own]
    #[arg(long, value_name = "SECONDS")]
    pub(in crate::cli) grace_period: Option<u32>,
    /// As --grace-period=1
    #[arg(long, conflicts_with = "grace_period")]
    pub(in crate::cli) now: bool,
    /// Wait until pods are gone
    #[arg(long, value_name = "BOOLEAN", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(in crate::cli) wait: bool,
    /// What is not there is deleted
    #[arg(long)]
    pub(in crate::cli) ignore_not_found: bool,
    /// Give up waiting after so long
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(in crate::cli) timeout: Option<Duration>,
    #[command(flatten)]
    pub(in crate::cli) namespace: Namespace,
    #[command(flatten)]
    pub(in crate::cli) agent: AgentAddress,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum WaitFor {
    /// A condition has this status.
    Condition {
        /// Its type.
        name: String,
        /// `True`, unless it is said otherwise.
        status: String,
    },
    /// The pod has this phase.
    Phase(String),
    /// It is gone.
    Delete,
}

impl std::str::FromStr for WaitFor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "delete" {
            return Ok(Self::Delete);
        }
        if let Some(phase) = text.strip_prefix("jsonpath={.status.phase}=") {
            return Ok(Self::Phase(phase.to_owned()));
        }
        let condition = text.strip_prefix("condition=");
        let condition = condition.filter(|condition| !condition.is_empty());
        let condition = condition
            .ok_or("it is condition=NAME[=STATUS], delete or jsonpath={.status.phase}=PHASE")?;
        let (name, status) = condition.split_once('=').unwrap_or((condition, "True"));
        Ok(Self::Condition {
            name: name.to_owned(),
            status: status.to_owned(),
        })
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WaitArguments {
    /// condition=NAME[=STATUS], delete, or jsonpath={.status.phase}=PHASE
    #[arg(long = "for", value_name = "WHAT")]
    pub(in crate::cli) what: WaitFor,
    /// Pods, as pod/NAME
    #[arg(value_name = "pod/NAME", required = true)]
    pub(in crate::cli) pods: Vec<String>,
    /// Give up after so long
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = time::duration)]
    pub(in crate::cli) timeout: Duration,
    #[command(flatten)]
    pub(in crate::cli) namespace: Namespace,
    #[command(flatten)]
    pub(in crate::cli) agent: AgentAddress,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TopCommand {
    /// Show what pods use
    #[command(visible_alias = "pods")]
    Pod {
        /// Only these
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// A line for each container
        #[arg(long)]
        containers: bool,
        /// Of all namespaces
        #[arg(long, short = 'A')]
        all_namespaces: bool,
        #[command(flatten)]
        namespace: Namespace,
        #[command(flatten)]
        agent: AgentAddress,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CreateCommand {
    /// Print a token of a service account, signed by this node's key
    Token {
        /// The service account
        #[arg(value_name = "SERVICEACCOUNT")]
        name: String,
        /// Whom it is for; may be repeated [default: the issuer]
        #[arg(long, value_name = "AUDIENCE")]
        audience: Vec<String>,
        /// How long it is valid, at least 10m
        #[arg(long, value_name = "DURATION", value_parser = time::duration)]
        duration: Option<Duration>,
        #[command(flatten)]
        namespace: Namespace,
        #[command(flatten)]
        agent: AgentAddress,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenCommand {
    /// Print the keys that tokens can be verified with
    Jwks {
        #[command(flatten)]
        agent: AgentAddress,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AgentArguments {
    /// The runtime that pods run on, a CRI socket
    #[command(flatten)]
    pub(in crate::cli) runtime: DaemonAddress,
    /// Where objects, keys and volumes are kept [default: agent in the root of the configuration file]
    #[arg(long, value_name = "FOLDER")]
    pub(in crate::cli) directory: Option<PathBuf>,
    /// Where the API is served [default: agent.sock in the run directory of the configuration file]
    #[arg(long, env = "CARPEL_AGENT_SOCKET", value_name = "PATH", value_parser = socket_path)]
    pub(in crate::cli) agent_socket: Option<PathBuf>,
    /// A folder of manifests that is kept applied
    #[arg(long, value_name = "FOLDER")]
    pub(in crate::cli) manifests: Option<PathBuf>,
    /// Where the logs of pods are
    #[arg(long, value_name = "FOLDER")]
    pub(in crate::cli) logs_directory: Option<PathBuf>,
    /// The name of this node
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) node_name: Option<String>,
    /// A label of this node, as KEY=VALUE; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(in crate::cli) node_label: Vec<String>,
    /// off, error, warn, info, debug or trace, also by module
    #[arg(long, value_name = "LEVEL")]
    pub(in crate::cli) log_level: Option<LogFilter>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT")]
    pub(in crate::cli) log_format: Option<LogFormat>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_written_as_for_kubectl() {
        let condition = |name: &str, status: &str| WaitFor::Condition {
            name: name.to_owned(),
            status: status.to_owned(),
        };
        assert_eq!("condition=Ready".parse(), Ok(condition("Ready", "True")));
        assert_eq!(
            "condition=Ready=False".parse(),
            Ok(condition("Ready", "False"))
        );
        assert_eq!("delete".parse(), Ok(WaitFor::Delete));
        assert_eq!(
            "jsonpath={.status.phase}=Succeeded".parse(),
            Ok(WaitFor::Phase("Succeeded".to_owned()))
        );
        assert!("Ready".parse::<WaitFor>().is_err());
    }
}
