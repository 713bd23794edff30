//! What a verification is asked, and what it tells.

use std::fmt;

use super::super::ImageError;
use crate::content::ContentError;
use crate::layer::{Difference, LayerError};
use crate::persist::PersistError;
use crate::snapshot::SnapshotError;

/// What to check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyRequest {
    /// Images by id, tag or digest; none for everything that is in the store.
    pub references: Vec<String>,
    /// Whether to repair.
    pub repair: Repair,
}

/// Whether what is broken is repaired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Repair {
    /// It is told only.
    #[default]
    No,
    /// It is fetched and unpacked anew.
    Yes,
}

/// What a verification tells while it goes on.
#[derive(Debug)]
pub enum VerifyEvent {
    /// How far it is. Some are left out if nobody takes them.
    Progress(Progress),
    /// Something is broken, or was.
    Finding(Finding),
}

/// How far a verification is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of blobs that were read.
    pub checked_bytes: u64,
    /// Bytes of blobs that there are to read: an estimate.
    pub total_bytes: u64,
    /// What is being checked: a name of an image, or a digest.
    pub current: String,
}

/// Something that is broken, or was.
#[derive(Debug)]
pub struct Finding {
    /// What kind of thing.
    pub subject: Subject,
    /// Its digest: of the image's configuration, of the blob, of the layer's chain.
    pub id: String,
    /// An image that it belongs to, by a name or its id; empty if to none.
    pub image: String,
    /// What is wrong.
    pub problem: Problem,
    /// What was done about it.
    pub outcome: Outcome,
}

/// What kind of thing is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The record of an image.
    Record,
    /// A blob: a manifest, a configuration or a compressed layer.
    Blob,
    /// An unpacked layer.
    Layer,
}

/// What is wrong.
#[derive(Debug)]
pub enum Problem {
    /// A blob is missing, cannot be read, or has other bytes.
    Blob(ContentError),
    /// A manifest or configuration has the right bytes and cannot be used.
    Document(ImageError),
    /// The record on disk cannot be read.
    Record(PersistError),
    /// The record on disk is missing, or says something else than what the daemon knows.
    OtherRecord,
    /// The record does not name the blobs and layers that the image's manifest does.
    Inconsistent,
    /// The layer's directory or its record is not there.
    Snapshot(SnapshotError),
    /// The layer cannot be compared: its archive is broken or another one.
    Archive(LayerError),
    /// Files of the layer differ.
    Files(Vec<Difference>),
}

/// What was done about something broken.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing: nobody asked for it.
    Broken,
    /// It is as it should be now.
    Repaired,
    /// It could not be repaired.
    Failed(ImageError),
}

/// What came out at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Images that were checked.
    pub images: u64,
    /// Blobs that were read.
    pub blobs: u64,
    /// Layers that were compared with their archive.
    pub layers: u64,
    /// Layers that no image has any more, kept for a container: there is no archive to compare them with.
    pub unchecked_layers: u64,
    /// Things that were broken and still are.
    pub broken: u64,
    /// Things that were broken and are not any more.
    pub repaired: u64,
}

impl Subject {
    /// One word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Blob => "blob",
            Self::Layer => "layer",
        }
    }
}

impl Problem {
    /// The files that differ, for those who want to see each.
    #[must_use]
    pub fn differences(&self) -> &[Difference] {
        match self {
            Self::Files(differences) => differences,
            _ => &[],
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(_) | Self::Document(_) => formatter.write_str("it cannot be used"),
            Self::Record(_) => formatter.write_str("its record cannot be used"),
            Self::OtherRecord => {
                formatter.write_str("its record is missing or not what the daemon knows")
            }
            Self::Inconsistent => {
                formatter.write_str("its record does not name the blobs and layers of its manifest")
            }
            Self::Snapshot(_) => formatter.write_str("it is not there"),
            Self::Archive(_) => formatter.write_str("it cannot be compared with its archive"),
            Self::Files(differences) => match differences.len() {
                1 => formatter.write_str("1 file is not as it was unpacked"),
                count => write!(formatter, "{count} files are not as they were unpacked"),
            },
        }
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Blob(source) => Some(source),
            Self::Document(source) => Some(source),
            Self::Record(source) => Some(source),
            Self::Snapshot(source) => Some(source),
            Self::Archive(source) => Some(source),
            Self::OtherRecord | Self::Inconsistent | Self::Files(_) => None,
        }
    }
}
