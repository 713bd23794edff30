//! The content store: blobs by digest, committed by rename.
