//! What can go wrong between the daemon and CNI's plugins.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::template::TemplateError;

/// A step of CNI that did not work.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// There is no configuration that can be used.
    #[error("{problem}")]
    NotConfigured {
        /// What was looked for, and what was found.
        problem: String,
    },
    /// A plugin's program is nowhere.
    #[error("CNI plugin {plugin:?} of network {network} is in none of {directories}")]
    PluginMissing {
        /// Its `type`.
        plugin: String,
        /// The network and its file.
        network: String,
        /// Where it was looked for.
        directories: String,
    },
    /// A plugin did not do what it was asked.
    #[error("CNI {verb} by plugin {plugin:?} of network {network}")]
    Plugin {
        /// `ADD`, `DEL`, …
        verb: &'static str,
        /// The plugin's `type`.
        plugin: String,
        /// The network and its file.
        network: String,
        /// Why.
        #[source]
        source: PluginError,
    },
    /// The result of the chain is not one.
    #[error("the result of CNI network {network}")]
    Outcome {
        /// The network and its file.
        network: String,
        /// Why.
        #[source]
        source: OutcomeError,
    },
    /// A value of the pod that CNI has no way to say.
    #[error("{what} {value:?} cannot be told to a CNI plugin")]
    Value {
        /// What it is.
        what: &'static str,
        /// It.
        value: String,
    },
    /// A template cannot be filled, or what is to be filled in is wrong.
    #[error("fill {}", path.display())]
    Template {
        /// The template; empty without one.
        path: PathBuf,
        /// Why.
        #[source]
        source: TemplateError,
    },
    /// A filled template is wrong.
    #[error("what {} becomes is no CNI configuration", path.display())]
    Filled {
        /// The template.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of the configuration.
    #[error("{step} {}", path.display())]
    File {
        /// What was done.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The pod was detached while it was being attached.
    #[error("the pod is detached before it was attached to CNI network {network}")]
    Abandoned {
        /// The network and its file.
        network: String,
    },
}

/// How a plugin's process failed.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// It could not be started.
    #[error("start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It had not ended at the deadline, and was killed with its children.
    #[error("killed: not done after {} s{stderr}", after.as_secs_f32())]
    Deadline {
        /// How long it had.
        after: Duration,
        /// The end of what it wrote to stderr.
        stderr: Stderr,
    },
    /// It wrote more than any result has, and was killed with its children.
    #[error("killed: wrote more than {limit} bytes")]
    TooMuch {
        /// What is accepted.
        limit: usize,
    },
    /// It said what is wrong, as the specification has it.
    #[error("{message} (code {code}){details}")]
    Refused {
        /// Below 100 by the specification, above by the plugin.
        code: u64,
        /// The message.
        message: String,
        /// `: ` and more, or nothing.
        details: String,
    },
    /// It failed without a word that the specification knows.
    #[error("{status}{stderr}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to stderr.
        stderr: Stderr,
    },
    /// It succeeded, and what it wrote is not JSON.
    #[error("its answer {answer:?} is not JSON")]
    Garbage {
        /// The beginning of it.
        answer: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Talking with it did not work.
    #[error("talk with its process")]
    Pipe(#[source] io::Error),
}

/// The end of a plugin's stderr, for an error's text.
#[derive(Debug, Clone, Default)]
pub struct Stderr(pub(super) String);

impl std::fmt::Display for Stderr {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.trim() {
            "" => Ok(()),
            text => write!(formatter, "; stderr: {text}"),
        }
    }
}

/// Why a chain's result cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutcomeError {
    /// Not an object.
    #[error("it is {found}, not a JSON object")]
    NotAnObject {
        /// What it is.
        found: String,
    },
    /// An address that is none.
    #[error("{text:?} is not an address with a prefix length")]
    Address {
        /// What was there instead.
        text: String,
    },
    /// The pod's interface has no address.
    #[error("it has no address for the pod's {interface}")]
    NoAddress {
        /// The interface.
        interface: String,
    },
}

impl CniError {
    /// Whether the same may work in a while: something is missing that comes, or the plugin says so.
    pub(in crate::network) fn is_not_ready(&self) -> bool {
        /// "Try again later", of the specification's error codes.
        const TRY_AGAIN: u64 = 11;
        match self {
            Self::NotConfigured { .. } | Self::PluginMissing { .. } | Self::Abandoned { .. } => {
                true
            }
            Self::Plugin { source, .. } => {
                matches!(source, PluginError::Refused { code, .. } if *code == TRY_AGAIN)
            }
            Self::Outcome { .. }
            | Self::Value { .. }
            | Self::Template { .. }
            | Self::Filled { .. }
            | Self::File { .. } => false,
        }
    }
}

/// An error with its causes, for people.
pub(in crate::network) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
