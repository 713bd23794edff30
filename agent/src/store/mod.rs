//! Objects, kept durably: what was applied is there after a restart of the agent and of the machine.
//!
//! ```text
//! <directory>/objects/pods/<namespace>/<name>             a record in JSON
//! <directory>/objects/secrets/<namespace>/<name>          a record that is sealed with `secrets.key`
//! <directory>/objects/configmaps|serviceaccounts/…        as pods
//! <directory>/statuses/<namespace>/<name>                 the status of a pod, which its worker writes
//! <directory>/secrets.key                                 the key that seals Secrets, made at the first start
//! ```
//!
//! All objects are in memory; the disk is read once. Who wants to know of changes calls [`Store::watch`]. Status is kept
//! apart from what was applied: an author writes the one, a pod's worker the other, and neither can undo the other's work.

mod applied;
mod error;
mod folder;
mod folder_watch;
mod identity;
mod objects;
mod record;
mod seal;
#[cfg(test)]
mod tests;

pub use applied::Applied;
pub use error::{ErrorKind, StoreError};
pub use folder::{FILE_ANNOTATION, Folder, FolderError, SOURCE_ANNOTATION, SOURCE_FILE, Scan};
pub use folder_watch::FolderWatch;

pub(crate) use identity::uid;
pub use objects::{Change, DEFAULT_ACCOUNT, Event, Store, key};
pub(crate) use record::SECRETS_KEY;
