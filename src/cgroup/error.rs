//! What can go wrong with cgroups.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What a caller branches on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupErrorKind {
    /// The request names a parent or a limit that cannot be.
    Invalid,
    /// The limit needs a controller that this host's cgroup v2 does not have.
    MissingController,
    /// There is no such cgroup.
    NotFound,
    /// Processes are left where none may be.
    Busy,
    /// A system call failed.
    System,
}

/// A cgroup operation that was not carried out. Paths are those of the host.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No cgroup2 file system.
    #[error("no cgroup2 file system is mounted (looked at {looked_at})")]
    NoHierarchy {
        /// Where it was looked for.
        looked_at: String,
    },
    /// A `cgroup_parent` or an id that cannot be.
    #[error("cgroup parent {parent:?}: {reason}")]
    Parent {
        /// As requested.
        parent: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A limit that cannot be.
    #[error("{field} = {value}: {reason}")]
    Limit {
        /// OCI field.
        field: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A limit whose controller is not in cgroup v2 on this host.
    #[error(
        "{field} = {value} needs the cgroup v2 controller {controller:?}, which this host does not have in {mountpoint}"
    )]
    MissingController {
        /// OCI field.
        field: String,
        /// Its value.
        value: String,
        /// Controller.
        controller: String,
        /// Where cgroup2 is mounted.
        mountpoint: PathBuf,
    },
    /// A memory limit below what cannot be given back.
    #[error(
        "memory.max = {limit} is below the {used} bytes that {path} holds and cannot give back"
    )]
    BelowUsage {
        /// Cgroup.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
        /// Used and not reclaimable, in bytes.
        used: u64,
    },
    /// Controllers cannot be handed down because the cgroup itself holds processes.
    #[error(
        "enable {controllers} in {path}: it holds processes itself (pids {pids:?}), and cgroup v2 allows them in leaves only; move them into a child cgroup"
    )]
    InternalProcesses {
        /// As written to cgroup.subtree_control.
        controllers: String,
        /// Cgroup.
        path: PathBuf,
        /// Its processes.
        pids: Vec<i32>,
        /// EBUSY.
        #[source]
        source: io::Error,
    },
    /// Processes are left in a cgroup that is to be removed.
    #[error("remove {path}: processes are left in it (pids {pids:?})")]
    Busy {
        /// Cgroup.
        path: PathBuf,
        /// Its processes and those below it.
        pids: Vec<i32>,
        /// EBUSY.
        #[source]
        source: io::Error,
    },
    /// A cgroup did not get to a state in time.
    #[error("{path}: not {state} after {waited:?} (pids {pids:?})")]
    Deadline {
        /// Cgroup.
        path: PathBuf,
        /// `empty`, `frozen`, `thawed`.
        state: &'static str,
        /// How long it was waited for.
        waited: Duration,
        /// Its processes and those below it.
        pids: Vec<i32>,
    },
    /// A file says what no kernel says.
    #[error("{path}: no {key} in it")]
    Content {
        /// File.
        path: PathBuf,
        /// What was looked for.
        key: &'static str,
    },
    /// The program of a cgroup's device rules cannot be loaded or attached.
    #[error("limit the devices of {path}")]
    Devices {
        /// Cgroup.
        path: PathBuf,
        /// bpf(2), with what the verifier said.
        #[source]
        source: carpel_linux::Error,
    },
    /// A system call failed.
    #[error("{step} {path}")]
    System {
        /// `open`, `create`, `read`, `write "1" to`, `remove`, …
        step: String,
        /// File or cgroup.
        path: PathBuf,
        /// errno.
        #[source]
        source: io::Error,
    },
}

impl CgroupError {
    /// What a caller branches on.
    pub fn kind(&self) -> CgroupErrorKind {
        match self {
            Self::Parent { .. } | Self::Limit { .. } | Self::BelowUsage { .. } => {
                CgroupErrorKind::Invalid
            }
            Self::MissingController { .. } => CgroupErrorKind::MissingController,
            Self::Busy { .. } | Self::InternalProcesses { .. } => CgroupErrorKind::Busy,
            Self::System { source, .. } => match source.raw_os_error() {
                // ENODEV: the directory is held open, and its cgroup is gone.
                Some(libc::ENOENT | libc::ENODEV) => CgroupErrorKind::NotFound,
                Some(libc::EINVAL | libc::ERANGE) if self.is_write() => CgroupErrorKind::Invalid,
                _ => CgroupErrorKind::System,
            },
            Self::NoHierarchy { .. }
            | Self::Deadline { .. }
            | Self::Content { .. }
            | Self::Devices { .. } => CgroupErrorKind::System,
        }
    }

    /// The kernel refused a value.
    fn is_write(&self) -> bool {
        matches!(self, Self::System { step, .. } if step.starts_with("write"))
    }

    /// A failed system call.
    pub(super) fn system(
        step: impl Into<String>,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::System {
            step: step.into(),
            path: path.into(),
            source: source.into(),
        }
    }
}
