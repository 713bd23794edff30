//! The shim's program, carried inside the daemon's, and its start. What it is told to do afterwards goes over the connection.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::process::Pid;

use super::process::ShimProcess;

/// The static program that the build script has made.
static PROGRAM: &[u8] = include_bytes!(env!("CARPEL_SHIM_PATH"));

/// Its name, as `ps` shows it.
const NAME: &str = "carpel-shim";

/// One sealed copy of the shim's program in memory, from which all shims are started: they share its pages, and no container can
/// reach a file of the host by `/proc/1/exe`.
#[derive(Clone, Debug)]
pub struct ShimProgram {
    memfd: Arc<OwnedFd>,
}

/// A shim that has just been started, and the daemon's end of its first connection.
#[derive(Debug)]
pub struct StartedShim {
    /// The process, a child of the daemon.
    pub process: ShimProcess,
    /// For [`ShimClient::open`](super::ShimClient::open).
    pub socket: OwnedFd,
}

/// Why there is no shim.
#[derive(Debug, thiserror::Error)]
pub enum StartShimError {
    /// The program could not be put into a sealed memfd.
    #[error("{step} for the shim's program")]
    Program {
        /// The system call.
        step: &'static str,
        /// The cause.
        #[source]
        source: Errno,
    },
    /// No socket pair for the first connection, or no pidfd.
    #[error("{step} for the shim of {sandbox_id}")]
    Prepare {
        /// The system call.
        step: &'static str,
        /// Whose shim.
        sandbox_id: String,
        /// The cause.
        #[source]
        source: Errno,
    },
    /// The program was not executed.
    #[error("execute the shim of {sandbox_id}")]
    Execute {
        /// Whose shim.
        sandbox_id: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl ShimProgram {
    /// Puts the embedded program into a sealed memfd. Once per daemon; afterwards the embedded bytes are paged out.
    ///
    /// # Errors
    ///
    /// [`StartShimError::Program`].
    pub fn embedded() -> Result<Self, StartShimError> {
        let program = Self::from_bytes(PROGRAM)?;
        if let Err(error) = carpel_linux::memory::page_out(PROGRAM) {
            tracing::debug!(%error, "page out the embedded shim");
        }
        Ok(program)
    }

    /// The same for any program: tests start their own.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, StartShimError> {
        let failed = |step| move |source| StartShimError::Program { step, source };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memfd = match rustix::fs::memfd_create(NAME, flags | MemfdFlags::EXEC) {
            // Before Linux 6.3 there is no such flag, and every memfd can be executed.
            Err(Errno::INVAL) => rustix::fs::memfd_create(NAME, flags),
            made => made,
        }
        .map_err(failed("make a memfd"))?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = rustix::io::write(&memfd, rest).map_err(failed("write a memfd"))?;
            rest = rest.get(written..).unwrap_or_default();
        }
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        match rustix::fs::fcntl_add_seals(&memfd, seals | SealFlags::EXEC) {
            Err(Errno::INVAL) => rustix::fs::fcntl_add_seals(&memfd, seals),
            sealed => sealed,
        }
        .map_err(failed("seal a memfd"))?;
        Ok(Self {
            memfd: Arc::new(memfd),
        })
    }

    #[cfg(test)]
    pub(super) fn memfd(&self) -> &OwnedFd {
        &self.memfd
    }

    /// Starts the shim of a pod, with nothing but its end of the first connection as stdin: no environment, no other descriptor.
    ///
    /// # Errors
    ///
    /// [`StartShimError`]: nothing is left behind.
    pub async fn start(&self, sandbox_id: &str) -> Result<StartedShim, StartShimError> {
        let program = self.clone();
        let identity = sandbox_id.to_owned();
        // The thread that spawns waits until the program is executed: longer than a worker may wait.
        let spawned = tokio::task::spawn_blocking(move || program.spawn(identity))
            .await
            .map_err(|error| StartShimError::Execute {
                sandbox_id: sandbox_id.to_owned(),
                source: io::Error::other(error),
            })?;
        let (pid, socket) = spawned?;
        let process = ShimProcess::open(pid).map_err(|source| StartShimError::Prepare {
            step: "open a pidfd",
            sandbox_id: sandbox_id.to_owned(),
            source,
        })?;
        Ok(StartedShim { process, socket })
    }

    fn spawn(&self, sandbox_id: String) -> Result<(Pid, OwnedFd), StartShimError> {
        let (ours, theirs) = match rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        ) {
            Ok(pair) => pair,
            Err(source) => {
                return Err(StartShimError::Prepare {
                    step: "make a socket pair",
                    sandbox_id,
                    source,
                });
            }
        };
        // Close-on-exec ends the descriptor only after the kernel has opened the program through it.
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.memfd.as_raw_fd()));
        let spawned = Command::new(path)
            .arg0(NAME)
            .arg(&sandbox_id)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A signal to the daemon's group, as from a terminal, is not for the pods.
            .process_group(0)
            .spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(source) => return Err(StartShimError::Execute { sandbox_id, source }),
        };
        // Dropping a Child neither kills nor reaps: its pidfd does that from here on.
        let pid = Pid::from_child(&child);
        Ok((pid, ours))
    }
}
