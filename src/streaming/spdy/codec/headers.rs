//! Blocks of headers: compressed by one zlib stream for each direction of a connection, with a dictionary known to both.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::dictionary;
use super::frame::{FrameError, Headers};

/// The longest block when decompressed. Those of Kubernetes are below 100 bytes.
const MAXIMUM_BLOCK: usize = 16 << 10;

/// The most names of a block.
const MAXIMUM_NAMES: usize = 64;

/// log2 of the compressor's window: the dictionary fits in, and it costs 16 KiB a connection instead of 256.
const WINDOW_BITS: u8 = 11;

/// The sending side's compressor.
#[derive(Debug)]
pub(super) struct Deflater {
    /// Made with the first block: most connections send few.
    zlib: Option<Compress>,
}

impl Deflater {
    pub(super) fn new() -> Self {
        Self { zlib: None }
    }

    /// The block on the wire.
    pub(super) fn deflate(&mut self, headers: &Headers) -> Vec<u8> {
        let zlib = self.zlib.get_or_insert_with(|| {
            let mut zlib = Compress::new_with_window_bits(Compression::fast(), true, WINDOW_BITS);
            // Without it the stream says that it has no dictionary, and is as good.
            if zlib.set_dictionary(&dictionary()).is_err() {
                zlib.reset();
            }
            zlib
        });
        let block = encode(headers);
        let mut output = Vec::with_capacity(block.len() + 64);
        let mut input = block.as_slice();
        loop {
            if output.capacity() - output.len() < 32 {
                output.reserve(256);
            }
            let before = zlib.total_in();
            let status = zlib.compress_vec(input, &mut output, FlushCompress::Sync);
            let taken = usize::try_from(zlib.total_in() - before).unwrap_or(input.len());
            input = input.get(taken..).unwrap_or_default();
            // Room is left only when everything has been flushed.
            let is_flushed = input.is_empty() && output.len() < output.capacity();
            if is_flushed || !matches!(status, Ok(Status::Ok)) {
                return output;
            }
        }
    }
}

/// The receiving side's decompressor.
#[derive(Debug)]
pub(super) struct Inflater {
    zlib: Decompress,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self {
            zlib: Decompress::new(true),
        }
    }

    /// The headers of a block of the wire.
    pub(super) fn inflate(&mut self, block: &[u8]) -> Result<Headers, FrameError> {
        let mut output = Vec::with_capacity(1024);
        let mut input = block;
        loop {
            if output.len() > MAXIMUM_BLOCK {
                return Err(FrameError::TooManyHeaders);
            }
            if output.len() == output.capacity() {
                output.reserve(output.len());
            }
            let (before_in, before_out) = (self.zlib.total_in(), output.len());
            let result = self
                .zlib
                .decompress_vec(input, &mut output, FlushDecompress::Sync);
            let taken = usize::try_from(self.zlib.total_in() - before_in).unwrap_or(input.len());
            input = input.get(taken..).unwrap_or_default();
            match result {
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    let set = self.zlib.set_dictionary(&dictionary());
                    set.map_err(|_wrong_one| FrameError::Compression)?;
                    continue;
                }
                Err(_corrupt) => return Err(FrameError::Compression),
            }
            let stands_still = taken == 0 && output.len() == before_out;
            if stands_still || (input.is_empty() && output.len() < output.capacity()) {
                break;
            }
        }
        if !input.is_empty() {
            // The end of the zlib stream: nothing could follow.
            return Err(FrameError::Compression);
        }
        decode(&output)
    }
}

fn encode(headers: &Headers) -> Vec<u8> {
    let mut block = Vec::new();
    let count = |length: usize| u32::try_from(length).unwrap_or(0).to_be_bytes();
    block.extend(count(headers.0.len()));
    for (name, value) in &headers.0 {
        for text in [name, value] {
            block.extend(count(text.len()));
            block.extend(text.as_bytes());
        }
    }
    block
}

fn decode(block: &[u8]) -> Result<Headers, FrameError> {
    let mut rest = block;
    let count = take_number(&mut rest)?;
    if count > MAXIMUM_NAMES {
        return Err(FrameError::TooManyHeaders);
    }
    let mut headers = Headers::default();
    for _ in 0..count {
        let name = take_text(&mut rest)?;
        let is_name = !name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase());
        if !is_name || headers.get(&name).is_some() {
            return Err(FrameError::Headers);
        }
        let value = take_text(&mut rest)?;
        headers.0.push((name, value));
    }
    if rest.is_empty() {
        Ok(headers)
    } else {
        Err(FrameError::Headers)
    }
}

fn take_number(rest: &mut &[u8]) -> Result<usize, FrameError> {
    let (number, after) = rest.split_first_chunk().ok_or(FrameError::Headers)?;
    *rest = after;
    usize::try_from(u32::from_be_bytes(*number)).map_err(|_too_large| FrameError::Headers)
}

fn take_text(rest: &mut &[u8]) -> Result<String, FrameError> {
    let length = take_number(rest)?;
    let (text, after) = rest.split_at_checked(length).ok_or(FrameError::Headers)?;
    *rest = after;
    String::from_utf8(text.to_vec()).map_err(|_not_text| FrameError::Headers)
}
