//! What can go wrong with systemd.

use std::time::Duration;

/// Why a unit could not be made or ended.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// Nobody answers.
    #[error("connect to systemd at {address}")]
    Connect {
        /// The bus, or systemd's own socket.
        address: String,
        /// Why.
        #[source]
        source: zbus::Error,
    },
    /// systemd has refused.
    #[error("{call} of unit {unit}")]
    Refused {
        /// StartTransientUnit and the like.
        call: &'static str,
        /// The unit.
        unit: String,
        /// Why.
        #[source]
        source: zbus::Error,
    },
    /// systemd has taken the order, and not carried it out in time.
    #[error("unit {unit} was not there within {patience:?}")]
    Late {
        /// The unit.
        unit: String,
        /// How long it was waited for.
        patience: Duration,
    },
}
