//! Why the demo did not come to its end.

use std::io;
use std::path::PathBuf;

/// Why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("the demo has to be root, because it makes namespaces: sudo make demo")]
    NotRoot,
    #[error("run {program}")]
    Run {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("{program} ended with {status}: {output}")]
    Program {
        program: String,
        status: std::process::ExitStatus,
        output: String,
    },
    #[error("{step} {path}", path = path.display())]
    File {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is not there: make demo builds it", path = path.display())]
    NotBuilt { path: PathBuf },
    #[error("start the demo's threads")]
    Runtime(#[source] io::Error),
    #[error("wait for signals")]
    Signals(#[source] io::Error),
    #[error("become the reaper of the demo's processes")]
    Subreaper(#[source] io::Error),
    #[error("the daemon did not answer within {seconds} s")]
    Silent { seconds: u64 },
    #[error("the daemon ended at once with {status}")]
    DaemonEnded { status: std::process::ExitStatus },
    #[error("connect to the daemon")]
    Connect(#[source] tonic::transport::Error),
    #[error("{call}")]
    Call {
        call: &'static str,
        #[source]
        source: Box<tonic::Status>,
    },
    #[error("{what} did not happen within {seconds} s")]
    Late { what: &'static str, seconds: u64 },
    #[error("interrupted by {signal}")]
    Interrupted { signal: &'static str },
    #[error("print")]
    Print(#[from] io::Error),
    #[error("left behind: {}", things.join(", "))]
    LeftBehind { things: Vec<String> },
    #[error("the demo did not come to its end")]
    Unfinished,
}

impl DemoError {
    /// For `map_err` on a file.
    pub(crate) fn file(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { step, path, source }
    }
}
