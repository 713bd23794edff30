//! Why a profile cannot become a program.

/// A profile that cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// Nobody would listen.
    #[error("{field}: SCMP_ACT_NOTIFY is not supported: Carpel passes no listener on")]
    Notify {
        /// Where it is asked for.
        field: String,
    },
    /// A flag that needs a listener.
    #[error("flags: {flag} is not supported: it is for SCMP_ACT_NOTIFY alone")]
    Flag {
        /// Its name.
        flag: String,
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
