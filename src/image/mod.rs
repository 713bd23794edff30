//! Images: references, pull, import, records.
//!
//! ```text
//! <root>/images/<hex>.json       a record per image, by its id (the digest of its configuration)
//! <root>/leases/<container>.json the chain of layers that a container uses, whether or not its image is still there
//! <root>/blobs, ingest           content/
//! <root>/snapshots, containers   snapshot/
//! ```
//!
//! A pull: reference → registry session → manifest for this host → configuration → all layers at once, each
//! downloaded, hashed, inflated and unpacked as it streams in → record, written last. Whatever a crash leaves is either
//! removed by the leaves when they are opened, or by the collection of what no record and no lease names.

mod archive;
mod artifact;
mod busy;
mod collect;
#[cfg(test)]
mod collect_tests;
mod config;
mod details;
mod error;
mod export;
mod flight;
mod images;
mod import;
mod layers;
mod lease;
mod manifest;
mod progress;
mod prune;
mod pull;
mod record;
mod recovery;
mod reference;
mod retired;
mod signature;
mod state;
#[cfg(test)]
mod tests;
mod verify;

pub use config::ImagesConfig;
pub use details::{ImageDetails, LayerDetails};
pub use error::{ErrorKind, ImageError};
pub use export::Export;
pub use images::{FilesystemUsage, Images, Pulling};
pub use import::ImportOptions;
pub use progress::{LayerProgress, LayerState};
pub use prune::{PruneMode, PruneOptions, PruneScope, Pruned};
pub use record::{Image, ImageKind};
pub use signature::{AppliedPolicy, PolicyError, Rule, SignatureError};
pub use verify::{
    Finding, Outcome, Progress, Repair, Subject, Summary, VerifyEvent, VerifyRequest,
};

pub use crate::registry::{Depth, ExplainedHost, Explanation, ProxySettings, Trust};

/// What a pull may prove itself with.
pub type RegistryAuth = crate::registry::Credentials;
