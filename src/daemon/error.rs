//! Why the daemon did not start, or did not stop in order.

use std::io;
use std::path::PathBuf;

use crate::cgroup::CgroupError;
use crate::cri::{ServeError, SocketError};
use crate::image::ImageError;
use crate::metrics::EndpointError;
use crate::network::NetworkError;
use crate::shim_client::StartShimError;
use crate::streaming::StreamingError;

/// Why the daemon did not start, or did not stop in order.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The daemon's own figures.
    #[error("metrics")]
    Metrics(#[source] EndpointError),
    /// Kubernetes manifests.
    #[error("agent of manifests")]
    Agent(#[source] carpel_agent::AgentError),
    /// A folder could not be made.
    #[error("create directory {path}")]
    Directory {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another daemon works on the same durable state.
    #[error("{path} is locked: another carpel serves this root")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock could not be taken.
    #[error("lock {path}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The host did not tell something that the daemon has to know.
    #[error("read {what}")]
    Host {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Control groups.
    #[error("control groups")]
    Cgroups(#[source] CgroupError),
    /// A scope of systemd is there only when the pod's first process is.
    #[error("cgroup.shim_cgroup = \"pod\" needs cgroup.driver = \"cgroupfs\"")]
    ShimInScope,
    /// The pod network.
    #[error("pod network")]
    Network(#[source] NetworkError),
    /// Pods would lose their network.
    #[error("pods have a network: {pods}; remove them first, or say --force")]
    PodsRun {
        /// Which ones.
        pods: String,
    },
    /// The image store.
    #[error("image store")]
    Images(#[source] ImageError),
    /// The shim's program.
    #[error("shim")]
    Shim(#[source] StartShimError),
    /// The streaming server.
    #[error("streaming server")]
    Streaming(#[source] StreamingError),
    /// The CRI socket.
    #[error("listen on the CRI socket")]
    Socket(#[source] SocketError),
    /// The CRI server.
    #[error("serve the CRI")]
    Serve(#[source] ServeError),
}
