//! Why something could not be begun, in the kubelet's words, and when it is tried again.

use jiff::Timestamp;

use crate::runtime::{RuntimeError, without_id};

/// Why a container or a sandbox does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The reason of the waiting container.
    pub(super) reason: &'static str,
    /// The real cause.
    pub(super) message: String,
    /// When it is tried again.
    pub(super) retry: Retry,
}

/// When something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// After a back-off that grows: what was asked of the runtime failed.
    BackOff,
    /// After a fixed time, or when an object changes: what the manifest names is missing.
    Soon,
    /// At that time.
    At(Timestamp),
    /// As the restart policy says: the container has run.
    AsPolicy,
}

/// What the manifest says cannot be done as things are.
pub(super) const CONFIG_ERROR: &str = "CreateContainerConfigError";

impl Trouble {
    pub(super) fn new(reason: &'static str, message: impl Into<String>, retry: Retry) -> Self {
        Self {
            reason,
            message: message.into(),
            retry,
        }
    }

    /// The manifest names what is not there.
    pub(super) fn config(message: impl Into<String>) -> Self {
        Self::new(CONFIG_ERROR, message, Retry::Soon)
    }

    /// The runtime refused.
    pub(super) fn runtime(reason: &'static str, error: &RuntimeError) -> Self {
        Self::new(reason, without_id(&error.message), Retry::BackOff)
    }
}
