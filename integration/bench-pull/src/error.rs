//! Why a measurement was not made.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carpel_bench_endpoint::ConnectError;

/// Why a measurement was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("nobody listens on {socket}", socket = socket.display())]
    NoPeer { socket: PathBuf },
    #[error("{endpoint}: {call}")]
    Call {
        endpoint: String,
        call: &'static str,
        #[source]
        source: Box<tonic::Status>,
    },
    #[error("{step} {path}", path = path.display())]
    File {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path}: unexpected text", path = path.display())]
    Text { path: PathBuf },
    #[error("serve the images in the network namespace of process {pid}")]
    Serve {
        pid: i32,
        #[source]
        source: io::Error,
    },
    #[error("{folder} still holds {bytes} bytes more than before the pull, {waited:?} after the removal", folder = folder.display())]
    NotGone {
        folder: PathBuf,
        bytes: u64,
        waited: Duration,
    },
    #[error("a layer has another digest than its name says")]
    Digest,
    #[error("a thread panicked")]
    Thread,
    #[error("start the runtime's threads")]
    Runtime(#[source] io::Error),
    #[error("print the report")]
    Print(#[from] io::Error),
    #[error("print the report as JSON")]
    Json(#[from] serde_json::Error),
}

/// Turns an error of a file into one of ours.
pub(crate) fn file(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BenchError {
    let path = path.to_owned();
    move |source| BenchError::File { step, path, source }
}
