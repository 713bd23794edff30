//! Talking to a running daemon: the only file of the command line that does.

use std::path::{Path, PathBuf};

use super::arguments::DaemonAddress;
use super::error::CliError;
use crate::config::Config;

/// Why the daemon did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndpointError {
    #[error("connect to the daemon at {socket}", socket = socket.display())]
    Connect {
        socket: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("this build has no client")]
    NoClient,
}

/// What the daemon says of itself.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct DaemonVersion {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) cri_version: String,
}

/// An image as the daemon lists it.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct ListedImage {
    pub(super) id: String,
    pub(super) references: Vec<String>,
    pub(super) digests: Vec<String>,
    pub(super) size_bytes: u64,
    pub(super) pinned: bool,
}

/// The daemon's socket: as the command line says, else as the configuration file says.
pub(super) fn socket_of(address: &DaemonAddress) -> Result<PathBuf, CliError> {
    match &address.socket {
        Some(socket) => Ok(socket.clone()),
        None => Ok(Config::read_or_default(address.file.path.as_deref())?.socket_path()),
    }
}

/// A connection to a daemon, for one command.
pub(super) struct Daemon {
    runtime: tokio::runtime::Runtime,
}

impl Daemon {
    /// Connects.
    pub(super) fn connect(socket: &Path) -> Result<Self, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(CliError::Threads)?;
        runtime
            .block_on(tokio::net::UnixStream::connect(socket))
            .map_err(|source| EndpointError::Connect {
                socket: socket.to_owned(),
                source,
            })?;
        Ok(Self { runtime })
    }

    /// CRI Version.
    pub(super) fn version(&mut self) -> Result<DaemonVersion, CliError> {
        Err(EndpointError::NoClient.into())
    }

    /// CRI ListImages.
    pub(super) fn images(&mut self) -> Result<Vec<ListedImage>, CliError> {
        Err(EndpointError::NoClient.into())
    }

    /// Imports an archive that the daemon can open; the names that the image got.
    pub(super) fn import(
        &mut self,
        _path: &Path,
        _reference: Option<&str>,
    ) -> Result<Vec<String>, CliError> {
        Err(EndpointError::NoClient.into())
    }
}
