//! The content store: blobs by digest, committed by rename.
//!
//! A blob is written to `ingest/`, hashed on its way, and renamed to `blobs/sha256/<hex>` after its digest was
//! compared and its bytes were synced: what is below `blobs/` is whole and right. What a crash leaves in `ingest/`
//! is removed by [`Content::open`]. A blob that is still being written can be read behind the writer with [`Spool`].
//! The store knows nothing of what refers to a blob: removal is its caller's decision.

mod check;
mod error;
mod ingest;
mod spool;
mod store;
#[cfg(test)]
mod tests;

pub use error::{ContentError, ErrorKind};
pub use ingest::Ingest;
pub use spool::{Spool, SpoolReader};
pub use store::Content;
