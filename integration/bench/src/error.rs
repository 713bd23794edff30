//! Why a measurement was not made.

use std::io;
use std::path::PathBuf;

use carpel_bench_endpoint::ConnectError;

/// Why a measurement was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("start the runtime's threads")]
    Runtime(#[source] io::Error),
    #[error("{endpoint}: {call}")]
    Call {
        endpoint: String,
        call: &'static str,
        #[source]
        source: Box<tonic::Status>,
    },
    #[error("{endpoint}: exec of true in a container ended with {exit_code}")]
    Exec { endpoint: String, exit_code: i32 },
    #[error("{endpoint}: {lines} lines are in the log, {expected} were printed")]
    Lines {
        endpoint: String,
        lines: u64,
        expected: u64,
    },
    #[error("{endpoint}: execs left something: {left}")]
    Left { endpoint: String, left: String },
    #[error("read {path}", path = path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} has no line for the whole machine", path = path.display())]
    ProcessorTimes { path: PathBuf },
    #[error("a worker ended before its pods were done")]
    Worker(#[from] tokio::task::JoinError),
    #[error("make a directory for logs")]
    Logs(#[source] io::Error),
    #[error("print the report")]
    Print(#[from] io::Error),
    #[error("print the report as JSON")]
    Json(#[from] serde_json::Error),
}
