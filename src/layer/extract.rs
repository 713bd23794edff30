//! Making one entry below the target.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use carpel_linux::file::WriteOut;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::header::Stretch;
use super::place::{self, NAME_BYTES_MAX, Occupant, Root, clean};
use super::{Entry, EntryKind, LayerError, metadata};

/// How the names of whiteouts begin (OCI image-spec, layer.md §Whiteouts).
pub(super) const WHITEOUT: &[u8] = b".wh.";

/// The whiteout of everything that lower layers have in a directory.
pub(super) const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";

/// How the names of AUFS's own files begin, which old layers contain and nobody wants.
pub(super) const AUFS_OWN: &[u8] = b".wh..wh.";

/// After so many bytes of a file the kernel may begin to write them to the disk; smaller files wait for the sync.
const WRITE_OUT_BYTES: u64 = 1 << 20;

/// Makes entries below a target, one after another.
#[derive(Debug)]
pub(super) struct Extractor {
    root: Root,
}

impl Extractor {
    pub(super) fn new(root: Root) -> Self {
        Self { root }
    }

    /// How many directories were made that have no entry of their own.
    pub(super) fn made(&self) -> u64 {
        self.root.made()
    }

    /// The memory that the names of such directories take.
    pub(super) fn names_bytes(&self) -> u64 {
        self.root.names_bytes()
    }

    /// Makes one entry; `data` gives the bytes of a file.
    pub(super) fn extract(
        &mut self,
        entry: &Entry,
        data: &mut impl BufRead,
    ) -> Result<(), LayerError> {
        let shown = || PathBuf::from(OsStr::from_bytes(&entry.path));
        let refused = |step| {
            move |source| LayerError::Entry {
                step,
                path: shown(),
                source,
            }
        };
        let path = clean(&shown());
        if entry.path.len() > NAME_BYTES_MAX || entry.link.len() > NAME_BYTES_MAX {
            return Err(refused("resolve")(io::ErrorKind::InvalidFilename.into()));
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return self.describe_root(entry).map_err(refused("describe"));
        };
        let is_of_aufs = |part: &OsStr| part.as_bytes().starts_with(AUFS_OWN);
        if parent.iter().any(is_of_aufs) {
            return Ok(());
        }
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            return self
                .whiteout(parent, name.as_bytes(), OsStr::from_bytes(hidden))
                .map_err(refused("white out"));
        }
        match &entry.kind {
            EntryKind::Directory => self
                .directory(parent, name, entry)
                .map_err(refused("make directory")),
            EntryKind::File(stretches) => self
                .file((parent, name), entry, stretches, data)
                .map_err(refused("write")),
            EntryKind::HardLink => self
                .hard_link(parent, name, &entry.link)
                .map_err(refused("link")),
            EntryKind::SymbolicLink
            | EntryKind::CharacterDevice
            | EntryKind::BlockDevice
            | EntryKind::Fifo => self.node(parent, name, entry).map_err(refused("make")),
        }
    }

    /// Leaves the last directory and hands out which ones no entry has described.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>, LayerError> {
        self.root.leave().map_err(|source| LayerError::Entry {
            step: "set times after",
            path: PathBuf::new(),
            source,
        })?;
        Ok(self.root.into_implied().into_iter().collect())
    }

    fn describe_root(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.kind != EntryKind::Directory {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.root.leave()?;
        metadata::apply(self.root.directory(), entry)?;
        rustix::fs::futimens(self.root.directory(), &metadata::times(entry.modified))?;
        self.root.target_is_described();
        Ok(())
    }

    fn whiteout(&mut self, parent: &Path, name: &[u8], hidden: &OsStr) -> io::Result<()> {
        let directory = self.root.parent(parent)?;
        if name == OPAQUE_WHITEOUT {
            return metadata::make_opaque(directory.as_fd());
        }
        if name.starts_with(AUFS_OWN) {
            return Ok(());
        }
        if matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        match place::occupant(directory.as_fd(), hidden)? {
            Occupant::Nothing => {
                let mode = Mode::empty();
                rustix::fs::mknodat(directory, hidden, FileType::CharacterDevice, mode, 0)?;
                Ok(())
            }
            // A whiteout hides what lower layers have, not what this one brings.
            Occupant::Directory => {
                metadata::make_opaque(place::open_directory(directory.as_fd(), hidden)?.as_fd())
            }
            Occupant::Whiteout | Occupant::Link | Occupant::Other => Ok(()),
        }
    }

    fn directory(&mut self, parent: &Path, name: &OsStr, entry: &Entry) -> io::Result<()> {
        let before = place::occupant(self.root.parent(parent)?.as_fd(), name)?;
        if before != Occupant::Directory {
            self.root.clear(parent, name, before)?;
            let private = Mode::from_raw_mode(0o700);
            rustix::fs::mkdirat(self.root.parent(parent)?, name, private)?;
        }
        let directory = place::open_directory(self.root.parent(parent)?.as_fd(), name)?;
        metadata::apply(directory.as_fd(), entry)?;
        if before == Occupant::Whiteout {
            metadata::make_opaque(directory.as_fd())?;
        }
        rustix::fs::futimens(&directory, &metadata::times(entry.modified))?;
        self.root.is_described(name);
        Ok(())
    }

    fn file(
        &mut self,
        (parent, name): (&Path, &OsStr),
        entry: &Entry,
        stretches: &[Stretch],
        data: &mut impl BufRead,
    ) -> io::Result<()> {
        let parent = self.vacate(parent, name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let private = Mode::from_raw_mode(0o600);
        let mut file = File::from(rustix::fs::openat(parent, name, flags, private)?);
        if stretches.is_empty() {
            copy_exactly(data, &mut file, (0, stored_bytes(entry, stretches)))?;
        }
        for stretch in stretches {
            file.seek(SeekFrom::Start(stretch.offset))?;
            copy_exactly(data, &mut file, (stretch.offset, stretch.length))?;
        }
        if !stretches.is_empty() {
            file.set_len(entry.size)?;
        }
        metadata::apply(file.as_fd(), entry)?;
        rustix::fs::futimens(&file, &metadata::times(entry.modified))?;
        Ok(())
    }

    fn hard_link(&mut self, parent: &Path, name: &OsStr, link: &[u8]) -> io::Result<()> {
        let target = clean(Path::new(OsStr::from_bytes(link)));
        let (Some(target_parent), Some(target_name)) = (target.parent(), target.file_name()) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let target_parent = self.root.find(target_parent)?;
        let linked = place::status(target_parent.as_fd(), target_name)?
            // A whiteout of this archive is nothing that a name could be given.
            .filter(|status| place::kind(status) != Occupant::Whiteout)
            .ok_or(io::ErrorKind::NotFound)?;
        let present = place::status(self.root.parent(parent)?.as_fd(), name)?;
        if present.is_some_and(|present| {
            (present.st_dev, present.st_ino) == (linked.st_dev, linked.st_ino)
        }) {
            return Ok(());
        }
        let parent = self.vacate(parent, name)?;
        rustix::fs::linkat(&target_parent, target_name, parent, name, AtFlags::empty())?;
        Ok(())
    }

    fn node(&mut self, parent: &Path, name: &OsStr, entry: &Entry) -> io::Result<()> {
        let parent = self.vacate(parent, name)?;
        let private = Mode::from_raw_mode(0o600);
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        match entry.kind {
            EntryKind::SymbolicLink => {
                rustix::fs::symlinkat(entry.link.as_slice(), parent, name)?;
            }
            EntryKind::CharacterDevice => {
                rustix::fs::mknodat(parent, name, FileType::CharacterDevice, private, device)?;
            }
            EntryKind::BlockDevice => {
                rustix::fs::mknodat(parent, name, FileType::BlockDevice, private, device)?;
            }
            _ => rustix::fs::mknodat(parent, name, FileType::Fifo, private, 0)?,
        }
        metadata::apply_at(parent.as_fd(), name, entry)
    }

    /// The open directory of a place with nothing at it.
    fn vacate(&mut self, parent: &Path, name: &OsStr) -> io::Result<&std::os::fd::OwnedFd> {
        let before = place::occupant(self.root.parent(parent)?.as_fd(), name)?;
        self.root.clear(parent, name, before)?;
        self.root.parent(parent)
    }
}

/// A sparse file with data has stretches; one without has nothing but its size.
fn stored_bytes(entry: &Entry, stretches: &[Stretch]) -> u64 {
    if stretches.is_empty() { entry.size } else { 0 }
}

/// Writes as much as the decompressor has at a time, from where it has it. Large files begin their way to the disk while
/// more comes: the sync at the end waits for the rest only.
fn copy_exactly(
    data: &mut impl BufRead,
    file: &mut File,
    (offset, length): (u64, u64),
) -> io::Result<()> {
    let mut write_out = WriteOut::new(offset, WRITE_OUT_BYTES);
    let mut left = length;
    while left > 0 {
        let available = match data.fill_buf() {
            Ok([]) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(available) => available,
            Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let count = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(available.len());
        file.write_all(&available[..count])?;
        data.consume(count);
        left -= count as u64;
        write_out.advance(&*file, offset + (length - left));
    }
    write_out.finish(&*file, offset + length);
    Ok(())
}
