//! Reading an archive entry by entry.
//!
//! The tar crate decodes header blocks here; the walk over entries is ours, because the crate's reads extension
//! headers of any size into memory and cannot read binary PAX values.

use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::header::{Extensions, Stretch};
use super::sparse::{self, MapPlace};
use super::{Entry, EntryKind, LayerError, header, pax};

/// The unit of the format.
const BLOCK_BYTES: u64 = 512;

/// The largest extension header that is accepted, as in Go's `archive/tar`.
const EXTENSION_BYTES_MAX: u64 = 1024 * 1024;

/// What is said of a sparse file that cannot be.
const BROKEN_SPARSE: &str = "broken sparse file";

/// A tar archive (ustar, PAX, GNU) that is read once, from its beginning. Reading from it gives the data of the
/// entry that [`Archive::next_entry`] returned last.
#[derive(Debug)]
pub struct Archive<R> {
    reader: R,
    /// Data of the current entry that was not read yet, and the padding after it.
    remaining: u64,
    padding: u64,
    entries: u64,
    /// Why the data of an entry could not be read: whoever copies it cannot tell from its own errors.
    failure: Option<io::Error>,
}

impl<R: Read> Archive<R> {
    /// An archive of uncompressed bytes.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            remaining: 0,
            padding: 0,
            entries: 0,
            failure: None,
        }
    }

    /// The reader, for what comes after the archive.
    pub fn into_inner(self) -> R {
        self.reader
    }

    /// How many entries were returned.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Why the data of the current entry could not be read, if that is so.
    pub(super) fn take_failure(&mut self) -> Option<LayerError> {
        let source = self.failure.take()?;
        Some(self.unreadable(source))
    }

    /// The next entry; `None` at the end of the archive. Data of the last entry that was not read is skipped.
    ///
    /// # Errors
    /// `Read` if the bytes cannot be read or end early, `Malformed` if they are not an archive.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let Some(block) = self.header()? else {
                return Ok(None);
            };
            let size = block
                .entry_size()
                .map_err(|_broken| self.malformed(&block, "broken size"))?;
            match block.entry_type() {
                EntryType::GNULongName => {
                    extensions.long_path = Some(until_nul(self.extension(&block, size)?));
                }
                EntryType::GNULongLink => {
                    extensions.long_link = Some(until_nul(self.extension(&block, size)?));
                }
                EntryType::XHeader => {
                    let bytes = self.extension(&block, size)?;
                    extensions.overrides =
                        pax::parse(&bytes).map_err(|problem| self.malformed(&block, problem))?;
                }
                // Global defaults: git's commit comment, which no layer needs. Go's reader ignores them too.
                EntryType::XGlobalHeader => {
                    self.extension(&block, size)?;
                }
                _ => return self.entry(&block, size, extensions).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        block: &Header,
        size: u64,
        mut extensions: Extensions,
    ) -> Result<Entry, LayerError> {
        let stored = extensions.overrides.size.unwrap_or(size);
        let mut size = stored;
        let mut kind = match block.entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                EntryKind::File(Vec::new())
            }
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::SymbolicLink,
            EntryType::Link => EntryKind::HardLink,
            EntryType::Char => EntryKind::CharacterDevice,
            EntryType::Block => EntryKind::BlockDevice,
            EntryType::Fifo => EntryKind::Fifo,
            _ => return Err(self.malformed(block, "unknown type of entry")),
        };
        if block.entry_type() == EntryType::GNUSparse {
            let (stretches, real_size) = self.stretches(block, stored)?;
            kind = EntryKind::File(stretches);
            size = real_size;
        }
        // Only files have data; some writers leave a size in links.
        if !matches!(kind, EntryKind::File(_)) {
            size = 0;
        }
        self.announce(match kind {
            EntryKind::File(_) => stored,
            _ => 0,
        });
        if block.entry_type() != EntryType::GNUSparse
            && let EntryKind::File(stretches) = &mut kind
        {
            size = self
                .pax_sparse(block, &mut extensions, stretches)?
                .unwrap_or(size);
        }
        let entry = header::entry(block, kind, size, extensions)
            .map_err(|problem| self.malformed(block, problem))?;
        self.entries += 1;
        Ok(entry)
    }

    /// The next header block; `None` at the end, which is two blocks of zeros, or the end of the bytes.
    fn header(&mut self) -> Result<Option<Header>, LayerError> {
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if is_zero(&block) {
            // One alone followed by more is where readers disagree about the end: one would see what another does not.
            return match self.block()? {
                Some(second) if !is_zero(&second) => {
                    Err(self.malformed(&second, "something follows a lone block of zeros"))
                }
                _ => Ok(None),
            };
        }
        // The sum is taken with the checksum field (bytes 148 to 155) as spaces; some old writers took it of signed
        // bytes.
        let (mut unsigned, mut signed) = (0_u32, 0_i32);
        for (position, byte) in block.as_bytes().iter().enumerate() {
            let byte = match position {
                148..156 => b' ',
                _ => *byte,
            };
            unsigned += u32::from(byte);
            signed += i32::from(byte.cast_signed());
        }
        match block.cksum() {
            Ok(expected) if expected == unsigned || i64::from(expected) == i64::from(signed) => {
                Ok(Some(block))
            }
            _ => Err(self.malformed(&block, "wrong checksum of the header")),
        }
    }

    /// The next block; `None` at the end of the bytes.
    fn block(&mut self) -> Result<Option<Header>, LayerError> {
        let mut block = Header::new_old();
        let mut filled = 0;
        while filled < block.as_bytes().len() {
            match self.reader.read(&mut block.as_mut_bytes()[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.unreadable(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => filled += count,
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.unreadable(source)),
            }
        }
        Ok(Some(block))
    }

    fn extension(&mut self, block: &Header, size: u64) -> Result<Vec<u8>, LayerError> {
        if size > EXTENSION_BYTES_MAX {
            return Err(self.malformed(block, "extension header of more than 1 MiB"));
        }
        self.announce(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)
            .map_err(|source| self.unreadable(source))?;
        Ok(bytes)
    }

    /// The data of a sparse file of the old GNU format, and the file's size; blocks of further stretches follow the
    /// header as long as they say so.
    fn stretches(
        &mut self,
        block: &Header,
        stored: u64,
    ) -> Result<(Vec<Stretch>, u64), LayerError> {
        let broken = |archive: &Self| archive.malformed(block, BROKEN_SPARSE);
        let gnu = block.as_gnu().ok_or_else(|| broken(self))?;
        let real_size = gnu.real_size().map_err(|_broken| broken(self))?;
        let mut stretches = Vec::new();
        sparse::add_described(&mut stretches, &gnu.sparse).map_err(|_broken| broken(self))?;
        let mut more = gnu.is_extended();
        while more {
            let mut extended = GnuExtSparseHeader::new();
            self.reader
                .read_exact(extended.as_mut_bytes())
                .map_err(|source| self.unreadable(source))?;
            sparse::add_described(&mut stretches, extended.sparse())
                .map_err(|_broken| broken(self))?;
            more = extended.is_extended();
        }
        let checked = sparse::checked(stretches, stored, real_size).ok_or_else(|| broken(self))?;
        Ok((checked, real_size))
    }

    /// The stretches and the size of a file that a PAX header calls sparse; a map before its data is read.
    fn pax_sparse(
        &mut self,
        block: &Header,
        extensions: &mut Extensions,
        stretches: &mut Vec<Stretch>,
    ) -> Result<Option<u64>, LayerError> {
        let described = &mut extensions.overrides.sparse;
        let place = described.map_place();
        let found = match place.map_err(|problem| self.malformed(block, problem))? {
            MapPlace::Nowhere => {
                described.name = None;
                return Ok(None);
            }
            MapPlace::Header(found) => found,
            MapPlace::Data => match sparse::read_map(self) {
                Ok(found) => found,
                Err(broken) if broken.kind() == io::ErrorKind::InvalidData => {
                    return Err(self.malformed(block, BROKEN_SPARSE));
                }
                Err(source) => return Err(self.unreadable(source)),
            },
        };
        let size = described.size.unwrap_or(self.remaining);
        *stretches = sparse::checked(found, self.remaining, size)
            .ok_or_else(|| self.malformed(block, BROKEN_SPARSE))?;
        Ok(Some(size))
    }

    fn announce(&mut self, size: u64) {
        self.remaining = size;
        self.padding = (BLOCK_BYTES - size % BLOCK_BYTES) % BLOCK_BYTES;
    }

    fn skip_rest(&mut self) -> Result<(), LayerError> {
        let rest = self.remaining.saturating_add(self.padding);
        self.announce(0);
        let skipped = io::copy(&mut self.reader.by_ref().take(rest), &mut io::sink())
            .map_err(|source| self.unreadable(source))?;
        if skipped < rest {
            return Err(self.unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    /// Keeps why the archive could not be read, and gives an error of the same kind.
    fn kept(&mut self, error: io::Error) -> io::Error {
        let copy = io::Error::from(error.kind());
        // An interrupted read is made again by whoever reads.
        if error.kind() != io::ErrorKind::Interrupted {
            self.failure = Some(error);
        }
        copy
    }

    fn unreadable(&self, source: io::Error) -> LayerError {
        LayerError::Read {
            entries: self.entries,
            source,
        }
    }

    fn malformed(&self, block: &Header, problem: &'static str) -> LayerError {
        LayerError::Malformed {
            entry: self.entries,
            path: PathBuf::from(std::ffi::OsString::from_vec(
                block.path_bytes().into_owned(),
            )),
            problem,
        }
    }
}

impl<R: BufRead> BufRead for Archive<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        if wanted == 0 {
            return Ok(&[]);
        }
        match self.reader.fill_buf() {
            Ok([]) => return Err(self.kept(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) => return Err(self.kept(error)),
        }
        // What was read just now is there still.
        let available = self.reader.fill_buf()?;
        Ok(&available[..available.len().min(wanted)])
    }

    fn consume(&mut self, count: usize) {
        self.reader.consume(count);
        self.remaining -= count as u64;
    }
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = match self.reader.read(&mut buffer[..wanted]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            outcome => outcome,
        };
        let count = count.map_err(|error| self.kept(error))?;
        self.remaining -= count as u64;
        Ok(count)
    }
}

fn is_zero(block: &Header) -> bool {
    block.as_bytes().iter().all(|byte| *byte == 0)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}
