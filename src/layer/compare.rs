//! Comparing an unpacked layer with its archive, without writing.
//!
//! The archive is read once more and each entry is looked up below the target, where names are resolved as they were
//! when it was unpacked: what is said of a path last is what counts. What the archive does not name must not be there,
//! but for directories on the way, which look like those of the layers below. In memory are a hash for each name and
//! the differences, whatever the size of the layer.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::hash::BuildHasher;
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use oci_spec::image::Digest;
use rustix::fs::{Dir, FileType, Mode, OFlags};
use sha2::{Digest as _, Sha256};

use super::difference::{Comparison, Deviation, Difference, Kind};
use super::extract::{AUFS_OWN, OPAQUE_WHITEOUT, WHITEOUT};
use super::inherit::OpenLayer;
use super::likeness::{described, identity, is_whiteout, kind_of, one, same_mode, same_owner};
use super::place::{self, Links, clean};
use super::{Archive, Entry, EntryKind, LayerError, Proof, decompress, inherit, metadata};

/// Uncompressed bytes handed from the hasher to the walk at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// With so many differences the rest is not looked for: the layer is lost anyway.
const DIFFERENCES_MAX: usize = 10_000;

/// Compares the unpacked layer at `target` with its archive, compressed or not. `lower` are the unpacked layers below,
/// top first.
///
/// # Errors
/// `Target` if a layer cannot be opened, `Read` and `Malformed` if the archive is broken, `WrongDiffId` if it is
/// another one than `expected`, if that is known. Whatever is wrong with the unpacked files is a difference.
pub fn compare(
    archive: impl Read + Send,
    target: &Path,
    expected: Option<&Digest>,
    lower: &[PathBuf],
) -> Result<Comparison, LayerError> {
    let unreadable = |source| LayerError::Read { entries: 0, source };
    let hashing = Hashing {
        reader: decompress(archive, Proof::of(expected)).map_err(unreadable)?,
        hasher: Sha256::new(),
    };
    let mut archive = Archive::new(BufReader::with_capacity(BUFFER_BYTES, hashing));
    let mut comparer = Comparer::open(target)?;
    while let Some(entry) = archive.next_entry()? {
        comparer.entry(&entry, &mut archive)?;
        if comparer.is_hopeless() {
            return Ok(comparer.finish());
        }
    }
    let entries = archive.entries();
    let mut reader = archive.into_inner();
    // The digest covers what follows the end marker too.
    io::copy(&mut reader, &mut io::sink())
        .map_err(|source| LayerError::Read { entries, source })?;
    let found = reader.into_inner().digest();
    if let Some(expected) = expected
        && *expected.as_ref() != found
    {
        return Err(match found.parse() {
            Ok(found) => LayerError::WrongDiffId {
                expected: expected.clone(),
                found,
            },
            Err(_impossible) => unreadable(io::ErrorKind::InvalidData.into()),
        });
    }
    comparer.look_for_more(lower)?;
    Ok(comparer.finish())
}

/// What is known after some entries.
struct Comparer {
    root: OwnedFd,
    /// Where the target is, as the kernel calls it.
    root_path: PathBuf,
    hashes: RandomState,
    /// Names that the archive has, by hash.
    named: HashSet<u64>,
    /// Directories on the way to them.
    passed: HashSet<u64>,
    /// Directories that hide what is below.
    opaque: HashSet<u64>,
    differences: BTreeMap<PathBuf, Deviation>,
    /// The directory of the last entry: most entries follow a neighbour.
    last: Option<(PathBuf, Directory)>,
}

/// The directory of an entry.
#[derive(Clone)]
struct Directory {
    /// Without links in it; as in the archive if it is not there.
    path: PathBuf,
    open: Option<std::sync::Arc<OwnedFd>>,
}

impl Comparer {
    fn open(target: &Path) -> Result<Self, LayerError> {
        let refused = |source| LayerError::Target {
            path: target.to_owned(),
            source,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(target, flags, Mode::empty())
            .map_err(|errno| refused(errno.into()))?;
        Ok(Self {
            root_path: path_of(root.as_fd()).map_err(refused)?,
            root,
            hashes: RandomState::new(),
            named: HashSet::new(),
            passed: HashSet::new(),
            opaque: HashSet::new(),
            differences: BTreeMap::new(),
            last: None,
        })
    }

    fn is_hopeless(&self) -> bool {
        self.differences.len() >= DIFFERENCES_MAX
    }

    fn finish(self) -> Comparison {
        let differences = self.differences.into_iter();
        Comparison {
            differences: differences
                .map(|(path, deviation)| Difference { path, deviation })
                .collect(),
        }
    }

    fn hash(&self, path: &Path) -> u64 {
        self.hashes.hash_one(path.as_os_str().as_bytes())
    }

    /// Compares what one entry says; `data` gives the bytes of a file.
    fn entry(&mut self, entry: &Entry, data: &mut Archive<impl Read>) -> Result<(), LayerError> {
        let path = clean(Path::new(OsStr::from_bytes(&entry.path)));
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            self.named.insert(self.hash(Path::new("")));
            let root = self.root.as_fd();
            let found = place::status(root, OsStr::new("."))
                .map_err(Deviation::Unreadable)
                .and_then(|status| status.ok_or(Deviation::Missing))
                .and_then(|status| described((root, OsStr::new(".")), entry, &status));
            self.differences.remove(Path::new(""));
            self.note(PathBuf::new(), found);
            return Ok(());
        };
        let is_of_aufs = |part: &OsStr| part.as_bytes().starts_with(AUFS_OWN);
        if parent.iter().any(is_of_aufs) {
            return Ok(());
        }
        let directory = self.directory(parent);
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            let found = self.whiteout(&directory, name.as_bytes(), OsStr::from_bytes(hidden));
            if let Err((path, deviation)) = found {
                self.note(path, Err(deviation));
            }
            return Ok(());
        }
        let place = directory.path.join(name);
        self.named.insert(self.hash(&place));
        self.forget(&place, &entry.kind);
        let Some(open) = directory.open else {
            self.note(place, Err(Deviation::Missing));
            return Ok(());
        };
        let found = match entry.kind {
            EntryKind::HardLink => self.hard_link(open.as_fd(), name, &entry.link),
            _ => one((open.as_fd(), name), entry, data)?,
        };
        self.note(place, found);
        Ok(())
    }

    fn note(&mut self, path: PathBuf, found: Result<(), Deviation>) {
        if let Err(deviation) = found {
            self.differences.insert(path, deviation);
        }
    }

    /// Forgets what was said of a place: an entry takes it. What lay below is gone unless that is a directory; links to
    /// what was here before lead elsewhere, and rightly so.
    fn forget(&mut self, place: &Path, by: &EntryKind) {
        if self.differences.is_empty() {
            return;
        }
        let is_gone = |path: &Path| match by {
            EntryKind::Directory => path == place,
            _ => path.starts_with(place),
        };
        self.differences.retain(|path, deviation| match deviation {
            Deviation::Unlinked(to) => !is_gone(to) && !is_gone(path),
            _ => !is_gone(path),
        });
    }

    fn directory(&mut self, path: &Path) -> Directory {
        if let Some((last, directory)) = &self.last
            && last == path
        {
            return directory.clone();
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let found = place::resolve(self.root.as_fd(), path, flags, Links::Follow)
            .map_err(io::Error::from)
            .and_then(|open| Ok((self.within(open.as_fd())?, open)));
        let directory = match found {
            Ok((path, open)) => Directory {
                path,
                open: Some(open.into()),
            },
            Err(_missing) => Directory {
                path: path.to_owned(),
                open: None,
            },
        };
        for above in directory.path.ancestors() {
            if !self.passed.insert(self.hash(above)) {
                break;
            }
        }
        self.last = Some((path.to_owned(), directory.clone()));
        directory
    }

    /// The path below the target of something that is open.
    fn within(&self, open: BorrowedFd<'_>) -> io::Result<PathBuf> {
        let path = path_of(open)?;
        match path.strip_prefix(&self.root_path) {
            Ok(below) => Ok(below.to_owned()),
            Err(_outside) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn whiteout(
        &mut self,
        directory: &Directory,
        name: &[u8],
        hidden: &OsStr,
    ) -> Result<(), (PathBuf, Deviation)> {
        if name == OPAQUE_WHITEOUT {
            self.opaque.insert(self.hash(&directory.path));
            return match &directory.open {
                Some(open) if metadata::is_opaque(open.as_fd()) => Ok(()),
                _ => Err((directory.path.clone(), Deviation::NotOpaque)),
            };
        }
        if name.starts_with(AUFS_OWN) {
            return Ok(());
        }
        let place = directory.path.join(hidden);
        let hash = self.hash(&place);
        let missing = Err((place, Deviation::NoWhiteout));
        let Some(open) = &directory.open else {
            return missing;
        };
        // If this layer has a directory of that name, that one hides what is below.
        self.opaque.insert(hash);
        match place::status(open.as_fd(), hidden) {
            Ok(Some(status)) if is_whiteout(&status) => {
                self.named.insert(hash);
                Ok(())
            }
            Ok(Some(status)) if kind_of(&status) == Kind::Directory => {
                match place::open_directory(open.as_fd(), hidden) {
                    Ok(own) if metadata::is_opaque(own.as_fd()) => Ok(()),
                    _ => missing,
                }
            }
            // What this layer itself brings is not hidden by it.
            Ok(_) if self.named.contains(&hash) => Ok(()),
            _ => missing,
        }
    }

    fn hard_link(
        &self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        link: &[u8],
    ) -> Result<(), Deviation> {
        let target = clean(Path::new(OsStr::from_bytes(link)));
        let own = place::status(directory, name)
            .map_err(Deviation::Unreadable)?
            .ok_or(Deviation::Missing)?;
        let (Some(parent), Some(target_name)) = (target.parent(), target.file_name()) else {
            return Err(Deviation::Unlinked(target));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let linked = place::resolve(self.root.as_fd(), parent, flags, Links::Follow)
            .map_err(io::Error::from)
            .and_then(|parent| {
                let path = self.within(parent.as_fd())?.join(target_name);
                Ok((path, place::status(parent.as_fd(), target_name)?))
            });
        match linked {
            Ok((_, Some(status))) if identity(&status) == identity(&own) => Ok(()),
            Ok((path, _)) => Err(Deviation::Unlinked(path)),
            Err(_missing) => Err(Deviation::Unlinked(target)),
        }
    }

    /// Looks for what the archive does not have.
    fn look_for_more(&mut self, lower: &[PathBuf]) -> Result<(), LayerError> {
        let lower = inherit::open_all(lower)?;
        if !self.named.contains(&self.hash(Path::new(""))) {
            let found = self.implied(Path::new(""), &lower);
            self.note(PathBuf::new(), found);
        }
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            if let Err(error) = self.look_into(&directory, &lower, &mut directories) {
                self.note(directory, Err(Deviation::Unreadable(error)));
            }
            if self.is_hopeless() {
                break;
            }
        }
        Ok(())
    }

    fn look_into(
        &mut self,
        path: &Path,
        lower: &[OpenLayer],
        directories: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let open = place::resolve(self.root.as_fd(), path, flags, Links::Refuse)?;
        if metadata::is_opaque(open.as_fd()) && !self.opaque.contains(&self.hash(path)) {
            self.note(path.to_owned(), Err(Deviation::Opaque));
        }
        for entry in Dir::read_from(&open)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            let place = path.join(name);
            let hash = self.hash(&place);
            let is_directory = match entry.file_type() {
                FileType::Unknown => place::status(open.as_fd(), name)?
                    .is_some_and(|status| kind_of(&status) == Kind::Directory),
                kind => kind == FileType::Directory,
            };
            let is_passed = is_directory && self.passed.contains(&hash);
            match (self.named.contains(&hash), is_passed) {
                (true, _) => {}
                (false, true) => {
                    let found = self.implied(&place, lower);
                    self.note(place.clone(), found);
                }
                (false, false) => {
                    self.note(place, Err(Deviation::Unexpected));
                    continue;
                }
            }
            if is_directory {
                directories.push(place);
            }
        }
        Ok(())
    }

    /// A directory that the archive only passes through belongs to whom the one below does. Its time is not compared:
    /// whatever happens to the one below changes that one's.
    fn implied(&self, path: &Path, lower: &[OpenLayer]) -> Result<(), Deviation> {
        let status = |open: &OwnedFd| {
            rustix::fs::fstat(open).map_err(|errno| Deviation::Unreadable(errno.into()))
        };
        let below =
            inherit::described_below(&self.root, path, lower).map_err(Deviation::Unreadable)?;
        let Some(below) = below else {
            return Ok(());
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let own = place::resolve(self.root.as_fd(), path, flags, Links::Refuse)
            .map_err(|errno| Deviation::Unreadable(errno.into()))?;
        let (own, below) = (status(&own)?, status(&below)?);
        same_owner(&own, (below.st_uid, below.st_gid))?;
        same_mode(&own, below.st_mode & 0o7777)
    }
}

/// How the kernel calls something that is open.
fn path_of(open: BorrowedFd<'_>) -> io::Result<PathBuf> {
    let link = format!("/proc/self/fd/{}", open.as_raw_fd());
    let path = rustix::fs::readlink(link, Vec::new())?;
    Ok(OsString::from_vec(path.into_bytes()).into())
}

/// Hashes what passes.
struct Hashing<R> {
    reader: R,
    hasher: Sha256,
}

impl<R> Hashing<R> {
    fn digest(self) -> String {
        let hash = self.hasher.finalize();
        hash.iter().fold(String::from("sha256:"), |mut text, byte| {
            // Writing to a String cannot fail.
            write!(text, "{byte:02x}").unwrap_or_default();
            text
        })
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
