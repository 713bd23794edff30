//! Why a profile cannot confine a container.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AppArmorError {
    /// The kernel has no AppArmor, or it is switched off.
    #[error("AppArmor profile {name:?}: AppArmor is not active on this node")]
    Off {
        /// As it was asked for.
        name: String,
    },
    /// The kernel knows no profile of that name.
    #[error("AppArmor profile {name:?} is not loaded on this node")]
    NotLoaded {
        /// As it was asked for.
        name: String,
    },
    /// The kernel's list of profiles cannot be read.
    #[error("read {}", .path.display())]
    Read {
        /// Of securityfs.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The default profile is not loaded, and there is nothing to load it with.
    #[error(
        "AppArmor profile {name:?} is not loaded, and this node has no apparmor_parser to load it with"
    )]
    NoParser {
        /// The default profile.
        name: &'static str,
    },
    /// The parser did not start, or could not be fed.
    #[error("run {}", .program.display())]
    Start {
        /// The parser.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The parser refused the profile.
    #[error("{} ended with {status}: {stderr}", .program.display())]
    Refused {
        /// The parser.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// The parser did not end in time, and was killed.
    #[error("{} did not end in {after:?}", .program.display())]
    Late {
        /// The parser.
        program: PathBuf,
        /// Its time.
        after: Duration,
    },
}

impl AppArmorError {
    /// Is it the node that lacks something, and not the request that names what is not there?
    pub fn is_of_the_node(&self) -> bool {
        match self {
            Self::Off { .. } | Self::NotLoaded { .. } => false,
            Self::Read { .. }
            | Self::NoParser { .. }
            | Self::Start { .. }
            | Self::Refused { .. }
            | Self::Late { .. } => true,
        }
    }
}
