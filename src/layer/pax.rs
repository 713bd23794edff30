//! PAX extended headers (POSIX.1-2017, pax, "pax Extended Header").
//!
//! The tar crate splits records at line feeds, which breaks binary values (a capability may contain one); records are
//! cut by their own length here.

use super::sparse::PaxSparse;

/// What a PAX header overrides in the entry after it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    /// Seconds and nanoseconds.
    pub(super) modified: Option<(i64, u32)>,
    /// Extended attributes by name.
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
}

/// The records of a header; the error says what is wrong with it.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Overrides, &'static str> {
    let mut overrides = Overrides::default();
    while let Some((key, value, rest)) = record(bytes)? {
        apply(&mut overrides, key, value)?;
        bytes = rest;
    }
    Ok(overrides)
}

type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// The first record, `<length> <key>=<value>\n` with the length of all of it, and what follows.
fn record(bytes: &[u8]) -> Result<Option<Record<'_>>, &'static str> {
    const BROKEN: &str = "broken PAX record";
    // Some writers pad with NULs; nothing may hide behind them.
    if bytes.first().is_none_or(|byte| *byte == 0) {
        let is_padding = bytes.iter().all(|byte| *byte == 0);
        return is_padding.then_some(None).ok_or(BROKEN);
    }
    let space = bytes.iter().take(20).position(|byte| *byte == b' ');
    let space = space.ok_or(BROKEN)?;
    let length = number(&bytes[..space]).ok_or(BROKEN)?;
    let length = usize::try_from(length).map_err(|_too_large| BROKEN)?;
    let record = bytes.get(space + 1..length).ok_or(BROKEN)?;
    let (newline, record) = record.split_last().ok_or(BROKEN)?;
    let equals = record.iter().position(|byte| *byte == b'=').ok_or(BROKEN)?;
    if *newline != b'\n' || equals == 0 {
        return Err(BROKEN);
    }
    Ok(Some((
        &record[..equals],
        &record[equals + 1..],
        &bytes[length..],
    )))
}

fn apply(overrides: &mut Overrides, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
        overrides.attributes.push((name.to_vec(), value.to_vec()));
        return Ok(());
    }
    // POSIX: an empty value takes back what an earlier header said, so that the entry's own header counts.
    if value.is_empty() {
        return Ok(());
    }
    let as_number = || number(value).ok_or("PAX number out of range");
    let sparse = &mut overrides.sparse;
    match key {
        b"path" => overrides.path = Some(value.to_vec()),
        b"linkpath" => overrides.link = Some(value.to_vec()),
        b"size" => overrides.size = Some(as_number()?),
        b"uid" => overrides.uid = Some(as_number()?),
        b"gid" => overrides.gid = Some(as_number()?),
        b"mtime" => overrides.modified = Some(time(value).ok_or("PAX time out of range")?),
        b"GNU.sparse.major" => sparse.major = Some(value.to_vec()),
        b"GNU.sparse.minor" => sparse.minor = Some(value.to_vec()),
        b"GNU.sparse.name" => sparse.name = Some(value.to_vec()),
        b"GNU.sparse.size" | b"GNU.sparse.realsize" => sparse.size = Some(as_number()?),
        b"GNU.sparse.offset" => sparse.push_offset(as_number()?)?,
        b"GNU.sparse.numbytes" => sparse.push_length(as_number()?)?,
        b"GNU.sparse.map" => {
            let numbers = value.split(|byte| *byte == b',').map(number);
            let numbers: Option<Vec<u64>> = numbers.collect();
            sparse.map = numbers.ok_or("broken map of a sparse file")?;
        }
        _ => {}
    }
    Ok(())
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// `[-]seconds[.fraction]` as seconds, rounded down, and nanoseconds.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let point = text.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, [].as_slice()),
    };
    let seconds = i64::try_from(number(whole)?).ok()?;
    let mut nanoseconds = 0_u32;
    for position in 0..9 {
        let digit = fraction.get(position).copied().unwrap_or(b'0');
        nanoseconds = nanoseconds * 10 + char::from(digit).to_digit(10)?;
    }
    Some(match (negative, nanoseconds) {
        (false, nanoseconds) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, nanoseconds) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length += 1;
        }
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn records_are_cut_by_length_so_values_may_hold_line_feeds() {
        let bytes = [
            line("SCHILY.xattr.security.capability", b"\x01\n\0=\n"),
            line("path", b"a long name"),
            line("size", b"12"),
            line("comment", b"ignored"),
        ]
        .concat();
        let overrides = parse(&bytes).unwrap();
        assert_eq!(
            overrides.attributes,
            [(b"security.capability".to_vec(), b"\x01\n\0=\n".to_vec())]
        );
        assert_eq!(overrides.path.as_deref(), Some(b"a long name".as_slice()));
        assert_eq!(overrides.size, Some(12));
    }

    #[test]
    fn times_have_signs_and_fractions() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-3", Some((-3, 0))),
            ("7.1234567891", Some((7, 123_456_789))),
            ("99999999999999999999", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(time(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn broken_records_are_refused() {
        for bytes in [
            b"5 a=b\n".as_slice(),
            b"6 a=bc\n",
            b"99 a=b\n",
            b"a=b\n",
            b"6 =bc\n",
            b"0 a=b\n",
            b"18446744073709551616 a=b\n",
            b"5",
            b"6 a=b\n\0\x006 a=b\n",
            b"30 GNU.sparse.numbytes=12345\n",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        for nothing in [b"6 a=b\n".as_slice(), b"6 a=b\n\0\0", b"8 path=\n", b""] {
            assert_eq!(parse(nothing).unwrap(), Overrides::default());
        }
    }
}
