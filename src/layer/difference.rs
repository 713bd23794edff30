//! What may be wrong with an unpacked layer, by path.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// How an unpacked layer and its archive compare.
#[derive(Debug, Default)]
pub struct Comparison {
    /// What differs, sorted by path, one deviation a path; none if the layer is as it was unpacked. With very many the
    /// rest is left out.
    pub differences: Vec<Difference>,
}

/// A path at which an unpacked layer is not what its archive says.
#[derive(Debug)]
pub struct Difference {
    /// Below the layer; empty for its root.
    pub path: PathBuf,
    /// What is wrong with it.
    pub deviation: Deviation,
}

/// What is wrong with a path.
#[derive(Debug)]
pub enum Deviation {
    /// The archive has it.
    Missing,
    /// The archive does not have it.
    Unexpected,
    /// It is something else.
    Kind {
        /// In the archive.
        expected: Kind,
        /// On disk.
        found: Kind,
    },
    /// A file is longer or shorter, in bytes.
    Size {
        /// In the archive.
        expected: u64,
        /// On disk.
        found: u64,
    },
    /// A file has other bytes; the first one is here.
    Content {
        /// Bytes from the file's beginning.
        offset: u64,
    },
    /// A symbolic link leads elsewhere.
    Target {
        /// In the archive.
        expected: PathBuf,
        /// On disk.
        found: PathBuf,
    },
    /// A device has other numbers.
    Device,
    /// A hard link is no longer the same file as this one.
    Unlinked(PathBuf),
    /// User and group.
    Owner {
        /// In the archive.
        expected: (u32, u32),
        /// On disk.
        found: (u32, u32),
    },
    /// Permission bits.
    Mode {
        /// In the archive.
        expected: u32,
        /// On disk.
        found: u32,
    },
    /// An extended attribute is missing, has another value, or was added.
    Attribute(OsString),
    /// The time of the last change.
    Modified,
    /// Nothing hides what lower layers have at this path.
    NoWhiteout,
    /// A directory shows what lower layers have in it and should not.
    NotOpaque,
    /// A directory hides what lower layers have in it and should not.
    Opaque,
    /// The file system does not give it.
    Unreadable(io::Error),
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    SymbolicLink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// What no archive has, such as a socket.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::SymbolicLink => "symbolic link",
            Self::CharacterDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Fifo => "named pipe",
            Self::Other => "socket or the like",
        })
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("is missing"),
            Self::Unexpected => formatter.write_str("does not belong here"),
            Self::Kind { expected, found } => write!(formatter, "is a {found}, not a {expected}"),
            Self::Size { expected, found } => {
                write!(formatter, "has {found} bytes instead of {expected}")
            }
            Self::Content { offset } => write!(formatter, "has other bytes from {offset} on"),
            Self::Target { expected, found } => write!(
                formatter,
                "leads to {} instead of {}",
                found.display(),
                expected.display()
            ),
            Self::Device => formatter.write_str("is another device"),
            Self::Unlinked(target) => {
                write!(formatter, "is not the same file as {}", target.display())
            }
            Self::Owner { expected, found } => write!(
                formatter,
                "belongs to {}:{} instead of {}:{}",
                found.0, found.1, expected.0, expected.1
            ),
            Self::Mode { expected, found } => {
                write!(formatter, "has mode {found:04o} instead of {expected:04o}")
            }
            Self::Attribute(name) => write!(
                formatter,
                "has another extended attribute {}",
                name.display()
            ),
            Self::Modified => formatter.write_str("has another time of change"),
            Self::NoWhiteout => formatter.write_str("does not hide what is below"),
            Self::NotOpaque => formatter.write_str("shows what is below it"),
            Self::Opaque => formatter.write_str("hides what is below it"),
            Self::Unreadable(error) => write!(formatter, "cannot be read: {error}"),
        }
    }
}
