//! The socket and its connections.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};

use super::route;
use crate::pod_worker::Node;
use crate::token::Issuer;

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another agent serves there.
    #[error("{path}: another agent serves this socket")]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("listen on {path}")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// What requests are answered from.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(super) node: Arc<Node>,
    pub(super) issuer: Arc<Issuer>,
}

impl Api {
    pub(crate) fn new(node: Arc<Node>, issuer: Arc<Issuer>) -> Self {
        Self { node, issuer }
    }
}

/// A socket that is listened on.
#[derive(Debug)]
pub(crate) struct Listening(UnixListener);

/// A socket, and what answers there.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: UnixListener,
    api: Api,
}

/// Listens. A socket that nobody serves is replaced.
pub(crate) async fn bind(path: &Path) -> Result<Listening, ServerError> {
    let failed = |source| ServerError::Listen {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(ServerError::Taken {
            path: path.to_owned(),
        });
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Whoever can use it reads Secrets and starts privileged pods: root alone.
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(Listening(listener))
}

impl Listening {
    /// With what answers.
    pub(crate) fn with(self, api: Api) -> Bound {
        Bound {
            listener: self.0,
            api,
        }
    }
}

impl Bound {
    /// Serves until it is aborted; its connections end with it.
    pub(crate) async fn serve(self) {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(stream, self.api.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accept a connection to the agent");
                        // Out of descriptors: trying at once again does not help.
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn connection(stream: UnixStream, api: Api) {
    let service = service_fn(move |request| route::answer(api.clone(), request));
    let served = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the agent");
    }
}
