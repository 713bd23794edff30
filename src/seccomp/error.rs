//! Why a profile cannot become a program.

/// A profile that cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// Nobody would listen.
    #[error("{field}: SCMP_ACT_NOTIFY without listenerPath, a socket to send the listener to")]
    Notify {
        /// Where it is asked for.
        field: String,
    },
    /// The kernel takes the flag only with a listener (seccomp(2)).
    #[error("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: no entry has the action SCMP_ACT_NOTIFY")]
    WaitForNothing,
    /// OCI config-linux.md: it must not be set then.
    #[error("listenerMetadata: without listenerPath there is nobody to tell it to")]
    MetadataForNobody,
    /// A listener's place is a path of the host.
    #[error("listenerPath: {path:?} is not an absolute path")]
    ListenerPath {
        /// What is given.
        path: String,
    },
    /// The process that loads the filter could not hand the listener on.
    #[error(
        "{call} is not allowed without conditions: with SCMP_ACT_NOTIFY it is needed to hand the listener on"
    )]
    Handover {
        /// The system call.
        call: &'static str,
    },
    /// An error number where the action has none (OCI config-linux.md: the runtime must fail).
    #[error("{field}: {action} returns no error number")]
    ErrnoWithoutUse {
        /// Where it is given.
        field: String,
        /// The action.
        action: String,
    },
    /// An error number that the kernel would cut.
    #[error("{field}: {value} is no error number: the highest is 4095")]
    Errno {
        /// Where it is given.
        field: String,
        /// What is given.
        value: u32,
    },
    /// A system call has six arguments.
    #[error("{field}: {index} is no argument of a system call: they are 0 to 5")]
    Argument {
        /// Where it is given.
        field: String,
        /// What is given.
        index: usize,
    },
    /// The kernel takes no longer programs (BPF_MAXINSNS, linux/bpf_common.h).
    #[error("the profile needs {instructions} instructions, and the kernel takes 4096")]
    TooLong {
        /// How many it needs.
        instructions: usize,
    },
    /// Not what it should be.
    #[error("not a seccomp profile of the OCI format")]
    Json(#[source] serde_json::Error),
    /// Leaving it out would give the profile another meaning.
    #[error("{field}: of Docker's format, not of OCI's: it would be left out")]
    Docker {
        /// What is there.
        field: String,
    },
    /// There are no tables of this machine's system calls.
    #[error("seccomp profiles are not supported on this architecture")]
    Machine,
}
