//! Where a sparse file has its data: the old form of GNU tar, and its three forms in PAX headers (GNU tar manual,
//! "Storing Sparse Files").

use std::io::{self, Read};

use tar::GnuSparseHeader;

use super::header::Stretch;

/// The most stretches of data that a sparse file may have.
const STRETCHES_MAX: usize = 64 * 1024;

/// Maps at the beginning of the data are padded to this.
const BLOCK_BYTES: usize = 512;

/// What the `GNU.sparse.*` records of a PAX header say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaxSparse {
    pub(super) major: Option<Vec<u8>>,
    pub(super) minor: Option<Vec<u8>>,
    /// Offsets and lengths in turn (0.0 and 0.1).
    pub(super) map: Vec<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
}

/// Where the map of a sparse file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MapPlace {
    /// In the header (0.0 and 0.1).
    Header(Vec<Stretch>),
    /// Before the data (1.0).
    Data,
    /// Nowhere: a version of the future, or no sparse file. Go's reader takes such a file as it is stored.
    Nowhere,
}

impl PaxSparse {
    /// Where the map is; the error says what is wrong with it.
    pub(super) fn map_place(&self) -> Result<MapPlace, &'static str> {
        match (self.major.as_deref(), self.minor.as_deref()) {
            (Some(b"1"), Some(b"0")) => return Ok(MapPlace::Data),
            (Some(b"0"), Some(b"0" | b"1")) => {}
            (None, None) if !self.map.is_empty() => {}
            _ => return Ok(MapPlace::Nowhere),
        }
        Ok(MapPlace::Header(stretches(&self.map)?))
    }

    /// An offset of version 0.0; its length follows.
    pub(super) fn push_offset(&mut self, offset: u64) -> Result<(), &'static str> {
        match self.map.len() % 2 {
            0 => self.map.push(offset),
            _ => return Err("broken map of a sparse file"),
        }
        Ok(())
    }

    /// The length that belongs to the last offset.
    pub(super) fn push_length(&mut self, length: u64) -> Result<(), &'static str> {
        match self.map.len() % 2 {
            1 => self.map.push(length),
            _ => return Err("broken map of a sparse file"),
        }
        Ok(())
    }
}

/// Reads the map of version 1.0: decimal numbers in lines, how many stretches first, padded to whole blocks.
pub(super) fn read_map(data: &mut impl Read) -> io::Result<Vec<Stretch>> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let mut numbers = Vec::new();
    let mut wanted = None;
    let mut number: Option<u64> = None;
    loop {
        let mut block = [0; BLOCK_BYTES];
        data.read_exact(&mut block)?;
        for byte in block {
            if let Some(digit) = char::from(byte).to_digit(10) {
                let larger = number.unwrap_or(0).checked_mul(10);
                let larger = larger.and_then(|larger| larger.checked_add(digit.into()));
                number = Some(larger.ok_or_else(broken)?);
                continue;
            }
            let complete = number.take().filter(|_| byte == b'\n');
            let complete = complete.ok_or_else(broken)?;
            if wanted.is_some() {
                numbers.push(complete);
            } else {
                let count = usize::try_from(complete).ok();
                wanted = count.filter(|count| *count <= STRETCHES_MAX);
            }
            if numbers.len() == 2 * wanted.ok_or_else(broken)? {
                return stretches(&numbers).map_err(|_broken| broken());
            }
        }
    }
}

fn stretches(map: &[u64]) -> Result<Vec<Stretch>, &'static str> {
    let (pairs, rest) = map.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > STRETCHES_MAX {
        return Err("broken map of a sparse file");
    }
    Ok(pairs
        .iter()
        .map(|[offset, length]| Stretch {
            offset: *offset,
            length: *length,
        })
        .collect())
}

/// Adds the stretches of a header block of the old form.
pub(super) fn add_described(
    stretches: &mut Vec<Stretch>,
    described: &[GnuSparseHeader],
) -> io::Result<()> {
    for stretch in described.iter().filter(|stretch| !stretch.is_empty()) {
        stretches.push(Stretch {
            offset: stretch.offset()?,
            length: stretch.length()?,
        });
    }
    match stretches.len() {
        0..=STRETCHES_MAX => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Checks that stretches are in order, within the file, and hold as many bytes as are stored. A file without any
/// data gets one stretch without bytes, which is how it is known to be sparse.
pub(super) fn checked(
    mut stretches: Vec<Stretch>,
    stored: u64,
    real_size: u64,
) -> Option<Vec<Stretch>> {
    let mut end = 0;
    let mut sum = 0_u64;
    for stretch in &stretches {
        let next = stretch.offset.checked_add(stretch.length)?;
        if stretch.offset < end || next > real_size {
            return None;
        }
        end = next;
        sum += stretch.length;
    }
    if stretches.is_empty() {
        stretches.push(Stretch {
            offset: real_size,
            length: 0,
        });
    }
    (sum == stored).then_some(stretches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(offset: u64, length: u64) -> Stretch {
        Stretch { offset, length }
    }

    #[test]
    fn a_map_before_the_data_may_be_longer_than_a_block_and_must_be_whole() {
        let many: Vec<Stretch> = (0..100).map(|number| stretch(number * 4096, 512)).collect();
        let mut text = format!("{}\n", many.len());
        for one in &many {
            text += &format!("{}\n{}\n", one.offset, one.length);
        }
        let mut bytes = text.into_bytes();
        let whole = bytes.len().next_multiple_of(512);
        assert!(whole > 512);
        bytes.resize(whole, 0);
        assert_eq!(read_map(&mut bytes.as_slice()).unwrap(), many);
        assert!(read_map(&mut &bytes[..whole - 512]).is_err());
        for broken in [
            "x\n",
            "\n",
            "1\n0\n",
            "999999999\n",
            "99999999999999999999\n",
        ] {
            let mut block = broken.as_bytes().to_vec();
            block.resize(512, 0);
            assert!(read_map(&mut block.as_slice()).is_err(), "{broken:?}");
        }
        let mut none = b"0\n".to_vec();
        none.resize(512, 0);
        assert_eq!(read_map(&mut none.as_slice()).unwrap(), []);
    }

    #[test]
    fn stretches_are_in_order_within_the_file_and_as_long_as_what_is_stored() {
        let fine = vec![stretch(0, 5), stretch(10, 5)];
        assert_eq!(checked(fine.clone(), 10, 20), Some(fine));
        for (stretches, stored, size) in [
            (vec![stretch(0, 5)], 6, 20),
            (vec![stretch(10, 5), stretch(0, 5)], 10, 20),
            (vec![stretch(0, 5), stretch(4, 5)], 10, 20),
            (vec![stretch(18, 5)], 5, 20),
            (vec![stretch(u64::MAX, 5)], 5, u64::MAX),
        ] {
            assert_eq!(
                checked(stretches.clone(), stored, size),
                None,
                "{stretches:?}"
            );
        }
        assert_eq!(checked(Vec::new(), 0, 7), Some(vec![stretch(7, 0)]));
    }
}
