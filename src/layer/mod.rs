//! Unpacking of layer archives below a directory descriptor.
//!
//! An archive comes from strangers and is unpacked with root's powers, so nothing in it is trusted: names are
//! resolved below the target by `openat2(RESOLVE_IN_ROOT)`, never as strings; entries, bytes, names and the windows
//! of compressors are bounded. Whiteouts become what overlayfs understands (kernel `Documentation/filesystems/
//! overlayfs.rst`). All functions block: call them on a thread that may. Where the archive comes from and where the
//! directory goes is the caller's business.

mod archive;
mod compare;
mod compression;
mod content;
mod difference;
mod error;
mod extract;
mod gzip;
mod header;
mod inherit;
mod likeness;
mod metadata;
mod pax;
mod place;
mod sparse;
#[cfg(test)]
mod tests;
mod unpack;
mod window;

pub use archive::Archive;
pub use compare::compare;
pub use compression::{Compression, decompress};
pub use content::compare_file;
pub use difference::{Comparison, Deviation, Difference, Kind};
pub use error::{ErrorKind, LayerError};
pub use gzip::Proof;
pub use header::{Entry, EntryKind, Timestamp};
pub use inherit::{OpenLayer, inherit, inherit_from};
pub use unpack::{Limits, Unpacked, unpack};
