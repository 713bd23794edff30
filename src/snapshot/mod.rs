//! Snapshots: chains of unpacked layers as overlay directories.
//!
//! ```text
//! <root>/snapshots/<number>/fs           one unpacked layer, shared by every image whose chain has it
//! <root>/snapshots/<number>/layer.json   its chain id and size
//! <root>/snapshots/.new-<number>/        a layer that is being unpacked; removed at the next start
//! <root>/containers/<container id>/      upper and work: what one container writes
//! <root>/empty/0, 1                      two directories that stay empty, below images of fewer than two layers
//! <root>/trash/                          what is being removed, off the caller's path
//! ```
//!
//! Numbers are short because overlayfs takes all lower directories in one page of mount options (mount(2)). A layer
//! becomes visible by rename after its files were synced, so after a power cut a layer is whole or absent. What a
//! layer contains, and who still needs it, is the caller's business; nothing is mounted here.

mod error;
mod layers;
mod measurements;
mod snapshots;
mod sync;
#[cfg(test)]
pub(crate) mod tests;
mod trash;
mod usage;

pub use error::{ErrorKind, SnapshotError};
pub use layers::{Retired, Staging};
pub use measurements::Measurement;
pub use snapshots::{Rootfs, Snapshots};
pub use usage::{Usage, measure};

/// The digest of a chain of layers (OCI image-spec, config.md §Layer ChainID).
pub type ChainId = oci_spec::image::Digest;
