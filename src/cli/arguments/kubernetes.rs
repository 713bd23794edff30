//! Kubernetes manifests without a cluster: `carpel apply`, `diff`, `get`, `describe`, `delete`, `wait`, `top`, `create`, `token`, `agent`.
//!
//! Words and options are kubectl's, so that whoever knows that one knows these.

use std::path::PathBuf;
use std::time::Duration;

use carpel_agent::manifest::DEFAULT_NAMESPACE;
use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigFile, DaemonAddress, socket_path};
use crate::cli::kubernetes::get_format::GetFormat;
use crate::cli::kubernetes::json_path::Template;
use crate::cli::kubernetes::selector::{FieldSelector, LabelSelector};
use crate::cli::kubernetes::wait_for::WaitFor;
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
    /// The namespace [default: default]
    #[arg(long, short, value_name = "NAMESPACE")]
    pub(in crate::cli) namespace: Option<String>,
}

impl Namespace {
    /// Its name.
    pub(in crate::cli) fn name(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }
}

/// Which objects of a kind.
#[derive(Debug, Args)]
pub(in crate::cli) struct Selection {
    /// Only those with these labels: KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY or !KEY, with commas between them
    #[arg(long, short = 'l', value_name = "LABELS")]
    pub(in crate::cli) selector: Option<LabelSelector>,
    /// Only those with these fields, as status.phase=Running
    #[arg(long, value_name = "FIELDS")]
    pub(in crate::cli) field_selector: Option<FieldSelector>,
}

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum DryRun {
    /// Everything is done.
    None,
    /// Nothing is changed.
    Client,
    /// Nothing is changed.
    Server,
}

impl DryRun {
    /// What is said after what would be done.
    pub(in crate::cli) fn note(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ApplyArguments {
    /// A manifest, a folder of manifests (*.yaml, *.yml, *.json), or - for standard input; may be repeated
    #[arg(long, short = 'f', value_name = "FILE", required = true)]
    pub(in crate::cli) filename: Vec<PathBuf>,
    /// Say what would be done, and change nothing
    #[arg(long, value_name = "WHERE", default_value = "none", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub(in crate::cli) dry_run: DryRun,
    /// Print the objects instead: yaml, json, name or jsonpath=TEMPLATE
    #[arg(long, short, value_name = "FORMAT")]
    pub(in crate::cli) output: Option<GetFormat>,
    #[command(flatten)]
    pub(in crate::cli) namespace: Namespace,
    #[command(flatten)]
    pub(in crate::cli) agent: AgentAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArguments {
    /// A manifest, a folder of manifests, or - for standard input; may be repeated
    #[arg(long, short = 'f', value_name = "FILE", required = true)]
    pub(in crate::cli) filename: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) namespace: Namespace,
    #[command(flatten)]
    pub(in crate::cli) agent: AgentAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct GetArguments {
    /// pods, secrets, configmaps, serviceaccounts, events or nodes, several with commas, then names; or TYPE/NAME…
    #[arg(
        value_name = "TYPE [NAME…]|TYPE/NAME…",
        required_unless_present = "filename"
    )]
    pub(in crate::cli) words: Vec<String>,
    /// Whatever these manifests name
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "words")]
    pub(in crate::cli) filename: Vec<PathBuf>,
    /// Of all namespaces
    #[arg(long, short = 'A')]
    pub(in crate::cli) all_namespaces: bool,
    #[command(flatten)]
    pub(in crate::cli) selection: Selection,
    /// wide, yaml, json, name, jsonpath=TEMPLATE or custom-columns=NAME:PATH,…; Secrets are printed with their values
    #[arg(long, short, value_name = "FORMAT")]
    pub(in crate::cli) output: Option<GetFormat>,
    /// In the order of what is at this path, as .metadata.creationTimestamp
    #[arg(long, value_name = "PATH", value_parser = Template::relaxed)]
    pub(in crate::cli) sort_by: Option<Template>,
    /// A column with the labels
    #[arg(long)]
    pub(in crate::cli) show_labels: bool,
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
    /// pod, secret, configmap, serviceaccount or node, then names, without one all; or TYPE/NAME…
    #[arg(value_name = "TYPE [NAME…]|TYPE/NAME…", required = true)]
    pub(in crate::cli) words: Vec<String>,
    /// Of all namespaces
    #[arg(long, short = 'A')]
    pub(in crate::cli) all_namespaces: bool,
    #[command(flatten)]
    pub(in crate::cli) selection: Selection,
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
    /// Kill pods: as --grace-period=0
    #[arg(long, conflicts_with = "now")]
    pub(in crate::cli) force: bool,
    /// All of the kind
    #[arg(long, conflicts_with = "filename")]
    pub(in crate::cli) all: bool,
    /// In all namespaces
    #[arg(long, short = 'A', conflicts_with = "filename")]
    pub(in crate::cli) all_namespaces: bool,
    #[command(flatten)]
    pub(in crate::cli) selection: Selection,
    /// Say what would be done, and change nothing
    #[arg(long, value_name = "WHERE", default_value = "none", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub(in crate::cli) dry_run: DryRun,
    /// Print TYPE/NAME of what is deleted
    #[arg(long, short, value_name = "FORMAT")]
    pub(in crate::cli) output: Option<NameFormat>,
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

/// The one format of what is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum NameFormat {
    /// TYPE/NAME
    Name,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WaitArguments {
    /// condition=NAME[=STATUS], create, delete, or jsonpath='{PATH}'[=VALUE]
    #[arg(long = "for", value_name = "WHAT")]
    pub(in crate::cli) what: WaitFor,
    /// Pods, as pod/NAME… or pod NAME…
    #[arg(value_name = "pod/NAME", required = true)]
    pub(in crate::cli) pods: Vec<String>,
    /// All pods
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// In all namespaces
    #[arg(long, short = 'A')]
    pub(in crate::cli) all_namespaces: bool,
    #[command(flatten)]
    pub(in crate::cli) selection: Selection,
    /// Give up after so long
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = time::duration)]
    pub(in crate::cli) timeout: Duration,
    #[command(flatten)]
    pub(in crate::cli) namespace: Namespace,
    #[command(flatten)]
    pub(in crate::cli) agent: AgentAddress,
}

/// Which use orders the lines of `top`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum TopOrder {
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
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
        selection: Selection,
        /// Those first that use most
        #[arg(long, value_name = "WHAT")]
        sort_by: Option<TopOrder>,
        /// No line with the names of the columns
        #[arg(long)]
        no_headers: bool,
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
pub(in crate::cli) struct ExplainFieldArguments {
    /// A kind with the path of a field, as pod, pod.spec.containers or serviceaccount.imagePullSecrets
    #[arg(value_name = "KIND[.FIELD…]")]
    pub(in crate::cli) field: String,
    /// Also what is below the fields
    #[arg(long)]
    pub(in crate::cli) recursive: bool,
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
