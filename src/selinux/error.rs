//! Why a container or a volume cannot be labelled.

use std::path::PathBuf;

use rustix::io::Errno;

/// A label that cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum SelinuxError {
    /// A part of a label that is none.
    #[error("selinux_options.{part}: {value:?} is not one of a label")]
    Part {
        /// `user`, `role`, `type` or `level`.
        part: &'static str,
        /// As it was asked for.
        value: String,
    },
    /// All pairs of categories are taken.
    #[error("all pairs of SELinux categories belong to other pods")]
    NoCategories,
    /// A directory of the node itself: another label would keep its own programs from it.
    #[error("{} is not given another SELinux label: it is the node's own", .path.display())]
    OfTheNode {
        /// The source of the mount.
        path: PathBuf,
    },
    /// Another file than the one that was found is there.
    #[error("{} was replaced while it was to be labelled for SELinux", .path.display())]
    Replaced {
        /// The source of the mount.
        path: PathBuf,
    },
    /// A file cannot be looked at or labelled.
    #[error("label {} for SELinux", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Errno,
    },
    /// Directories below directories, more than a process may hold open.
    #[error("label {} for SELinux: it is more than {depth} directories deep", .path.display())]
    TooDeep {
        /// Where it begins.
        path: PathBuf,
        /// How deep is looked.
        depth: usize,
    },
}
