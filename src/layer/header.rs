//! One entry of an archive, as its headers describe it.

use super::pax::Overrides;

/// Seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timestamp {
    /// Seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds after that, below 10⁹.
    pub nanoseconds: u32,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file; with the stretches of it that hold data if it is sparse.
    File(Vec<Stretch>),
    /// A directory.
    Directory,
    /// A symbolic link; its target is `link`.
    SymbolicLink,
    /// Another name for the earlier entry `link`.
    HardLink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

/// A stretch of a sparse file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Where in the file it begins.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
}

/// One entry of an archive; its data is read from the [`Archive`](super::Archive).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Its name, as written in the archive.
    pub path: Vec<u8>,
    /// The target of a link.
    pub link: Vec<u8>,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last change of the data.
    pub modified: Timestamp,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes by name.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of the file, holes included.
    pub size: u64,
}

/// What comes before an entry and belongs to it.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) long_path: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
    pub(super) overrides: Overrides,
}

/// Puts an entry together from its header and its extensions; the error says which rule it breaks.
pub(super) fn entry(
    header: &tar::Header,
    kind: EntryKind,
    size: u64,
    extensions: Extensions,
) -> Result<Entry, &'static str> {
    let overrides = extensions.overrides;
    let old = header.as_old();
    let from_header = header.link_name_bytes().map(std::borrow::Cow::into_owned);
    let modified = match overrides.modified {
        Some(modified) => modified,
        None if is_blank(&old.mtime) => (0, 0),
        // base-256 numbers may be negative; the tar crate hands out their bits.
        None => {
            let bits = header.mtime().map_err(|_broken| "broken time")?;
            (bits.cast_signed(), 0)
        }
    };
    let device = match kind {
        EntryKind::CharacterDevice | EntryKind::BlockDevice => (
            number(header.device_major())?,
            number(header.device_minor())?,
        ),
        _ => (0, 0),
    };
    let mut entry = Entry {
        kind,
        // GNU's long names win over PAX, as in Go's reader: what scans an image must see what is unpacked.
        path: overrides
            .sparse
            .name
            .or(extensions.long_path)
            .or(overrides.path)
            .unwrap_or_else(|| path(header)),
        link: extensions
            .long_link
            .or(overrides.link)
            .or(from_header)
            .unwrap_or_default(),
        mode: match is_blank(&old.mode) {
            true => 0,
            false => header.mode().map_err(|_broken| "broken mode")? & 0o7777,
        },
        uid: owner(overrides.uid, &old.uid, header.uid())?,
        gid: owner(overrides.gid, &old.gid, header.gid())?,
        modified: Timestamp {
            seconds: modified.0,
            nanoseconds: modified.1,
        },
        device,
        attributes: overrides.attributes,
        size,
    };
    // Archives from before POSIX (type NUL) mark a directory by a slash only.
    if old.linkflag == [0] && entry.path.ends_with(b"/") {
        entry.kind = EntryKind::Directory;
    }
    if entry.path.contains(&0) || entry.link.contains(&0) {
        return Err("a name with a NUL byte");
    }
    Ok(entry)
}

/// The name in a header. The tar crate knows the prefix of POSIX headers, but overlooks it where the version is
/// missing, and does not know that of star, which is shorter (star(5)).
fn path(header: &tar::Header) -> Vec<u8> {
    let bytes = header.as_bytes();
    let name = until_nul(&bytes[..100]);
    let prefix = match (&bytes[257..263], &bytes[508..]) {
        (b"ustar\0", b"tar\0") => until_nul(&bytes[345..476]),
        (b"ustar\0", _) => until_nul(&bytes[345..500]),
        _ => b"",
    };
    match prefix {
        b"" => name.to_vec(),
        prefix => [prefix, b"/", name].concat(),
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn number(field: std::io::Result<Option<u32>>) -> Result<u32, &'static str> {
    match field {
        Ok(Some(number)) => Ok(number),
        Ok(None) | Err(_) => Err("broken device number"),
    }
}

fn owner(
    overridden: Option<u64>,
    field: &[u8],
    parsed: std::io::Result<u64>,
) -> Result<u32, &'static str> {
    let id = match overridden {
        Some(id) => id,
        None if is_blank(field) => 0,
        None => parsed.map_err(|_broken| "broken owner")?,
    };
    // 2³²−1 means "leave it" to chown(2).
    match u32::try_from(id) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err("owner out of range"),
    }
}

/// Some writers leave numbers out; they mean 0, as Go's reader takes them.
fn is_blank(field: &[u8]) -> bool {
    field.iter().all(|byte| matches!(byte, 0 | b' '))
}
