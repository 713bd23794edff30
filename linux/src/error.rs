//! The error of a system call: the call with its arguments, as strace shows it, and the errno.

use rustix::io::Errno;
use std::fmt;

/// A result of this package.
pub type Result<T> = std::result::Result<T, Error>;

/// A system call that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    call: String,
    errno: Errno,
}

impl Error {
    /// An error of `call`, rendered with its arguments: `mount("proc", "/proc", "proc", 0xe)`.
    #[must_use]
    pub fn new(call: impl Into<String>, errno: Errno) -> Self {
        Self {
            call: call.into(),
            errno,
        }
    }

    /// The call with its arguments.
    #[must_use]
    pub fn call(&self) -> &str {
        &self.call
    }

    /// Why the kernel refused it.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The same errno, with the name of another call around it.
    pub(crate) fn of<T>(
        result: rustix::io::Result<T>,
        render: impl FnOnce() -> String,
    ) -> Result<T> {
        result.map_err(|errno| Self::new(render(), errno))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.call)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.errno)
    }
}

/// The errno of the C library's last call, for calls that return -1.
pub(crate) fn last_errno() -> Errno {
    std::io::Error::last_os_error()
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}
