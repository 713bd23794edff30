//! Why a command did not do what it was asked.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::cri::ClientError;
use crate::daemon::DaemonError;
use crate::logging::LoggingError;
use crate::metrics::TracesError;
use crate::streaming::client::StreamClientError;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error("configuration")]
    Config(#[from] ConfigError),
    #[error("write the configuration")]
    WriteConfig(#[from] toml::ser::Error),
    #[error("start logging")]
    Logging(#[from] LoggingError),
    #[error("read or raise the limit of open files")]
    OpenFiles(#[source] io::Error),
    #[error("start the runtime's threads")]
    Threads(#[source] io::Error),
    #[error("traces")]
    Traces(#[source] TracesError),
    #[error("wait for signals")]
    Signals(#[source] io::Error),
    #[error("daemon")]
    Daemon(#[from] DaemonError),
    #[error("open {path}", path = path.display())]
    Path {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("an archive is not for a terminal: name a file with --output, or redirect")]
    ArchiveToTerminal,
    #[error("not here: {}", references.join(", "))]
    NoSuchImage { references: Vec<String> },
    /// What each host said is printed already.
    #[error("no host gives {reference}")]
    NoHost { reference: String },
    /// No id and no name fits.
    #[error("no {kind} {word:?} is here")]
    NoSuchObject { kind: &'static str, word: String },
    /// No object of a manifest has the name: as the API server says it.
    #[error("{plural} {name:?} not found")]
    NotFound { plural: &'static str, name: String },
    /// Several fit.
    #[error("{word:?} may be any of these:\n  {}", candidates.join("\n  "))]
    Ambiguous {
        word: String,
        candidates: Vec<String>,
    },
    #[error("a container name must be specified for pod {pod}, choose one of: {names:?}")]
    WhichContainer { pod: String, names: Vec<String> },
    #[error("container {container:?} is not in pod {pod:?}, which has: {all}")]
    NoSuchContainer {
        container: String,
        pod: String,
        all: String,
    },
    #[error("container {container:?} in pod {pod:?} is waiting to start: {reason}")]
    NotStarted {
        container: String,
        pod: String,
        reason: String,
    },
    #[error("unable to forward port because pod is not running. Current status={phase}")]
    PodNotRunning { phase: String },
    #[error("cannot exec into a container in a completed pod; current phase is {phase}")]
    PodEnded { phase: String },
    #[error("a URL is not read here: curl -fsSL {url} | carpel apply -f -")]
    ManifestUrl { url: String },
    #[error(
        "--selector asks the agent, and a socket of a runtime alone is given: name --agent-socket too"
    )]
    NoAgent,
    #[error(
        "you are attempting to follow {count} log streams, but maximum allowed concurrency is {limit}, use --max-log-requests to increase the limit"
    )]
    TooManyLogs { count: usize, limit: usize },
    /// What was wrong with each is printed already.
    #[error("{count} of the logs cannot be read")]
    SomeLogs { count: usize },
    #[error("copy: {problem}")]
    Copy { problem: &'static str },
    /// It has said why on its standard error.
    #[error("tar in the container ended with exit code {code}")]
    Tar { code: i32 },
    #[error("container {id} has no log file")]
    NoLog { id: String },
    #[error(transparent)]
    Agent(#[from] carpel_agent::client::ApiError),
    /// Everything that is wrong with the manifests, a line each.
    #[error("{problems}")]
    Manifests { problems: String },
    #[error("encode an object")]
    Object(#[source] serde_json::Error),
    #[error(transparent)]
    Kind(carpel_agent::manifest::UnknownKind),
    #[error("field \"{path}\" does not exist in {kind}")]
    NoSuchField {
        kind: carpel_agent::manifest::Kind,
        path: String,
    },
    #[error("resource(s) were provided, but no name was specified")]
    NoName,
    #[error(
        "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form"
    )]
    MixedForms,
    #[error("name cannot be provided when a selector is specified")]
    NamesAndSelector,
    #[error("name cannot be provided with --all")]
    NamesAndAll,
    #[error("a resource cannot be retrieved by name across all namespaces")]
    NamesEverywhere,
    #[error("you may only watch one kind of object at a time")]
    WatchMany,
    #[error("no matching resources found")]
    NoneMatches,
    #[error("timed out waiting for the condition on {name}")]
    TimedOut { name: String },
    #[error("{text:?}: {problem}")]
    NodeLabel { text: String, problem: &'static str },
    #[error(transparent)]
    Streams(#[from] StreamClientError),
    /// What the streaming server says of a command, or of its connection.
    #[error("{message}")]
    Stream { message: String },
    #[error("change the terminal")]
    Terminal(#[source] io::Error),
    #[error("listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("read certificates from {path}", path = path.display())]
    Certificate {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A command in a container has ended with this code; not worth a message.
    #[error("exit code {code}")]
    Exit { code: u8 },
    #[error("print")]
    Print(#[from] io::Error),
    #[error("interrupted; the daemon goes on with the pull")]
    Interrupted,
    /// The findings are printed already.
    #[error("this host cannot run pods: {failures} of the findings above")]
    HostUnfit { failures: usize },
    /// The findings are printed already.
    #[error("the image store is damaged: {broken} of the findings above")]
    StoreBroken { broken: usize },
}

impl CliError {
    /// The reader of our output has left, as `head` does: not worth a message.
    pub(super) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Print(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
