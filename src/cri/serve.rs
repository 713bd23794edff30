//! The gRPC server on the unix socket.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::admin::AdminServer;
use super::calls::{CallObserver, CallsLayer};
use super::connection::Connection;
use super::deadline::DeadlineLayer;
use super::pods::PodService;
use super::server::{ImageServer, RuntimeServer};
use super::socket::{Name, Socket};
use super::streams::StreamUrls;
use super::wire::carpel::admin_server::AdminServer as AdminService;
use super::wire::runtime::image_service_server::ImageServiceServer;
use super::wire::runtime::runtime_service_server::RuntimeServiceServer;
use crate::image::Images;

/// Longest request: what the kubelet's client takes as an answer (k8s.io/cri-client, maxMsgSize).
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest answer. ExecSync may carry 16 MiB of each output, and a client that takes less says so with a better message
/// than a server that sends nothing.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Calls at once on one connection. The kubelet has one connection for all its pods; hyper's default is 200.
const CALLS_MAX: u32 = 1024;

/// How long calls that are running at the stop may take to end.
const DRAIN: Duration = Duration::from_secs(5);

/// How long nothing is accepted after an error, which is a lack of descriptors or memory and does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who makes the cgroups: what RuntimeConfig tells the kubelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// Carpel, by files.
    Cgroupfs,
    /// systemd.
    Systemd,
}

/// Settings of the CRI server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Told to the kubelet.
    pub cgroup_driver: CgroupDriver,
    /// An existing directory on the file system of the images, for archives while they come in.
    pub spool_directory: PathBuf,
    /// Where exec, attach and port-forward are served.
    pub urls: Arc<dyn StreamUrls>,
    /// Who is told of calls.
    pub calls: Option<Arc<dyn CallObserver>>,
}

/// Why the server ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listening socket cannot be used.
    #[error("listen on the socket")]
    Listen {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The gRPC server ended.
    #[error("serve gRPC")]
    Server {
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

/// Serves the CRI and `carpel.v1.Admin` until `shutdown` is done; then takes no more connections, waits up to 5 s for
/// calls that run, and returns. The socket takes connections from [`Socket::bind`] on, so clients that come before this
/// is called wait.
///
/// # Errors
/// `Listen` if the socket cannot be used with tokio, `Server` if the server ended by itself.
pub async fn serve<P: PodService>(
    socket: Socket,
    pods: P,
    images: Images,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (listener, name) = socket.into_parts();
    let listener =
        UnixListener::from_std(listener).map_err(|source| ServeError::Listen { source })?;
    let stopping = CancellationToken::new();
    let runtime = RuntimeServer {
        pods,
        cgroup_driver: settings.cgroup_driver,
        urls: settings.urls,
        stopping: stopping.clone(),
    };
    let image = ImageServer {
        images: images.clone(),
    };
    let admin = AdminServer {
        images,
        spool_directory: settings.spool_directory,
    };
    let (stop, is_stopped) = tokio::sync::oneshot::channel::<()>();
    let server = Server::builder()
        .layer(CallsLayer(settings.calls))
        .layer(DeadlineLayer)
        .max_concurrent_streams(CALLS_MAX)
        .add_service(
            RuntimeServiceServer::new(runtime)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(ANSWER_BYTES_MAX),
        )
        .add_service(
            ImageServiceServer::new(image)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(ANSWER_BYTES_MAX),
        )
        .add_service(AdminService::new(admin).max_decoding_message_size(REQUEST_BYTES_MAX))
        .serve_with_incoming_shutdown(connections(listener, name), async move {
            // Either way it is time to stop.
            is_stopped.await.unwrap_or_default();
        });
    let mut server = std::pin::pin!(server);
    tokio::select! {
        outcome = &mut server => return outcome.map_err(|source| ServeError::Server { source }),
        () = shutdown => {
            stopping.cancel();
            drop(stop);
        }
    }
    match tokio::time::timeout(DRAIN, server).await {
        Ok(outcome) => outcome.map_err(|source| ServeError::Server { source }),
        Err(_elapsed) => {
            tracing::info!("calls that still run are cut off; what they started goes on");
            Ok(())
        }
    }
}

/// The connections as they come. The socket's name goes with this stream, so when nothing is accepted any more.
fn connections(
    listener: UnixListener,
    name: Name,
) -> impl Stream<Item = Result<Connection<UnixStream>, std::convert::Infallible>> {
    stream::unfold((listener, name), |(listener, name)| async move {
        loop {
            match listener.accept().await {
                Ok((socket, _address)) => {
                    return Some((Ok(Connection::new(socket)), (listener, name)));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}
