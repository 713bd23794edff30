//! Connecting to a CRI endpoint: its socket, who listens there, what it calls itself.

use std::io;
use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::runtime_v1::VersionRequest;
use crate::runtime_v1::runtime_service_client::RuntimeServiceClient;

/// A connection to one endpoint. Clones share it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// For the clients of the services.
    pub channel: Channel,
    /// Who listens on the socket, where the kernel tells.
    pub daemon_pid: Option<i32>,
    /// What the runtime calls itself.
    pub runtime_name: String,
    /// And its version.
    pub runtime_version: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens.
    #[error("find who listens on {socket}", socket = socket.display())]
    Peer {
        /// Where.
        socket: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Whoever listens speaks no gRPC.
    #[error("connect to {socket}", socket = socket.display())]
    Connect {
        /// Where.
        socket: PathBuf,
        /// What went wrong.
        #[source]
        source: tonic::transport::Error,
    },
    /// It is no runtime.
    #[error("Version of {socket}", socket = socket.display())]
    Version {
        /// Where.
        socket: PathBuf,
        /// What it said.
        #[source]
        source: Box<tonic::Status>,
    },
}

impl Connection {
    /// Connects, and asks for the version.
    ///
    /// # Errors
    /// `Peer`, `Connect` or `Version`, by what was missing.
    pub async fn open(socket: &Path) -> Result<Self, ConnectError> {
        let daemon_pid = peer(socket).await?;
        let path = socket.to_owned();
        // kubelet and crictl of today say "localhost" too.
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
            .await
            .map_err(|source| ConnectError::Connect {
                socket: socket.to_owned(),
                source,
            })?;
        let version = RuntimeServiceClient::new(channel.clone())
            .version(VersionRequest::default())
            .await
            .map_err(|status| ConnectError::Version {
                socket: socket.to_owned(),
                source: Box::new(status),
            })?
            .into_inner();
        Ok(Self {
            channel,
            daemon_pid,
            runtime_name: version.runtime_name,
            runtime_version: version.runtime_version,
        })
    }
}

/// The path in `unix://PATH`, or a path by itself.
///
/// # Errors
/// A text for the user if it is no absolute path.
pub fn socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    match path.starts_with('/') {
        true => Ok(path.into()),
        false => Err(format!("{text:?} is not unix:// and an absolute path")),
    }
}

/// The pid of the process that listens on the socket: SO_PEERCRED, unix(7).
async fn peer(socket: &Path) -> Result<Option<i32>, ConnectError> {
    let failed = |source| ConnectError::Peer {
        socket: socket.to_owned(),
        source,
    };
    let stream = UnixStream::connect(socket).await.map_err(failed)?;
    Ok(stream.peer_cred().map_err(failed)?.pid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_an_absolute_path() {
        for text in ["unix:///run/c.sock", "/run/c.sock"] {
            assert_eq!(socket(text).unwrap(), Path::new("/run/c.sock"));
        }
        for text in ["tcp://127.0.0.1:1", "unix://run/c.sock", ""] {
            assert!(socket(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_named() {
        let refused = Connection::open(Path::new("/nowhere/c.sock")).await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, ConnectError::Peer { .. }));
        assert!(refused.to_string().contains("/nowhere/c.sock"), "{refused}");
    }
}
