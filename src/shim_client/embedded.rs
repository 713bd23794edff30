//! The shim's program, carried inside the daemon's, and its start. What it is told to do afterwards goes over the connection.

use std::ffi::CStr;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use carpel_linux::spawn::Spawn;
use rustix::fs::MemfdFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
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
const NAME: &CStr = c"carpel-shim";

/// All that is in its environment. The allocator of a static glibc keeps freed pieces aside for reuse, where they part free
/// memory into less than pages: an idle shim would hold twice the heap that it needs. Elsewhere nobody reads it.
const ENVIRONMENT: &CStr = c"GLIBC_TUNABLES=glibc.malloc.tcache_count=0";

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
        source: carpel_linux::Error,
    },
    /// The runtime is shutting down.
    #[error("start the shim of {sandbox_id}")]
    Interrupted {
        /// Whose shim.
        sandbox_id: String,
        /// The cause.
        #[source]
        source: tokio::task::JoinError,
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

    /// Starts the shim of a pod in the daemon's own cgroup: see [`ShimProgram::start_in`].
    ///
    /// # Errors
    ///
    /// [`StartShimError`]: nothing is left behind.
    pub async fn start(&self, sandbox_id: &str) -> Result<StartedShim, StartShimError> {
        self.start_in(sandbox_id, None).await
    }

    /// Starts the shim of a pod, with nothing but its end of the first connection as stdin: no environment, no other descriptor,
    /// a session of its own. It is born in the cgroup v2 directory, if one is given, so that it need not move there later,
    /// which takes 10 to 20 ms.
    ///
    /// # Errors
    ///
    /// [`StartShimError`]: nothing is left behind.
    pub async fn start_in(
        &self,
        sandbox_id: &str,
        cgroup: Option<OwnedFd>,
    ) -> Result<StartedShim, StartShimError> {
        let program = self.clone();
        let identity = sandbox_id.to_owned();
        // The thread that spawns waits until the program is executed: longer than a worker may wait.
        let spawning = move || program.spawn(identity, cgroup);
        let spawned = tokio::task::spawn_blocking(spawning).await;
        let (pid, pidfd, socket) = spawned.map_err(|error| StartShimError::Interrupted {
            sandbox_id: sandbox_id.to_owned(),
            source: error,
        })??;
        let process = ShimProcess::watch(pid, pidfd).map_err(|source| StartShimError::Prepare {
            step: "poll its pidfd",
            sandbox_id: sandbox_id.to_owned(),
            source,
        })?;
        Ok(StartedShim { process, socket })
    }

    fn spawn(
        &self,
        sandbox_id: String,
        cgroup: Option<OwnedFd>,
    ) -> Result<(Pid, OwnedFd, OwnedFd), StartShimError> {
        let prepare = |step| {
            let sandbox_id = sandbox_id.clone();
            move |source| StartShimError::Prepare {
                step,
                sandbox_id,
                source,
            }
        };
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let null = rustix::fs::open("/dev/null", flags, Mode::empty());
        let null = null.map_err(prepare("open /dev/null"))?;
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(prepare("make a socket pair"))?;
        let identity = CString::new(sandbox_id.as_str())
            .map_err(|_nul| prepare("pass its id")(Errno::INVAL))?;
        let spawned = carpel_linux::spawn::spawn(&Spawn {
            program: self.memfd.as_fd(),
            arguments: &[NAME.to_owned(), identity],
            environment: &[ENVIRONMENT.to_owned()],
            standard: [theirs.as_fd(), null.as_fd(), null.as_fd()],
            cgroup: cgroup.as_ref().map(AsFd::as_fd),
        });
        let (pid, pidfd) =
            spawned.map_err(|source| StartShimError::Execute { sandbox_id, source })?;
        Ok((pid, pidfd, ours))
    }
}
