//! SELinux: the labels of a pod's processes and files, categories that no two pods share, and new labels for volumes.
//!
//! The kernel is told of a process's label by the shim's child, and of that of a file system by a mount option; which
//! labels those are is calculated here. `docs/decisions/0048-selinux-where-there-are-contexts.md` says when.

mod categories;
mod contexts;
mod error;
mod label;
mod node;
mod relabel;

pub use contexts::Contexts;
pub use error::SelinuxError;
pub use label::{Label, Parts};
pub use node::{Labels, Selinux, Wanted};
pub use relabel::relabel;
