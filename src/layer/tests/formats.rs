//! The formats of tar, and how readers of it may disagree.

use super::*;

#[test]
fn root_sparse_files_of_gnu_have_their_holes() {
    needs_root!();
    let target = Target::new();
    let mut header = header(EntryType::GNUSparse, "sparse", 0o644, "", 512);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.sparse[0].offset.copy_from_slice(b"00004000000\0");
    gnu.sparse[0].numbytes.copy_from_slice(b"00000001000\0");
    gnu.realsize.copy_from_slice(b"00010000000\0");
    header.set_cksum();
    let archive = Tar::default()
        .raw(&header, &[b'x'; 512])
        .file("after", "y")
        .finish();
    target.unpack(&archive).unwrap();
    let bytes = fs::read(target.path("sparse")).unwrap();
    assert_eq!(bytes.len(), 0o10_000_000);
    assert!(bytes[0o4_000_000..][..512].iter().all(|byte| *byte == b'x'));
    assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 512);
    assert!(fs::metadata(target.path("sparse")).unwrap().blocks() < 1000);
    assert_eq!(target.text("after"), "y");
}

#[test]
fn root_broken_archives_are_corrupt_and_never_panic() {
    needs_root!();
    let good = Tar::default()
        .pax(&[("mtime", b"1.5")])
        .file("a", "some text")
        .symlink("b", "a")
        .finish();
    // Cut at every place that is not the end marker.
    for length in (1..good.len() - 1024).step_by(13) {
        let whole_entries = [1536 + 512 + 512, 2048 + 512 + 512];
        if length % 512 == 0 || whole_entries.contains(&length) {
            continue;
        }
        let error = Target::new().unpack(&good[..length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}: {error}");
    }
    let mut flipped = good.clone();
    flipped[512 * 2 + 3] ^= 1;
    let error = Target::new().unpack(&flipped).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let huge = header(EntryType::GNULongName, "././@LongLink", 0, "", 1 << 30);
    let error = Target::new()
        .unpack(&Tar::default().raw(&huge, b"").finish())
        .unwrap_err();
    assert!(matches!(error, LayerError::Malformed { .. }), "{error}");
}

#[test]
fn an_archive_gives_its_entries_and_their_data() {
    let bytes = Tar::default().file("a", "one").file("b", "two").finish();
    let mut archive = Archive::new(bytes.as_slice());
    let first = archive.next_entry().unwrap().unwrap();
    assert_eq!((first.path.as_slice(), first.size), (b"a".as_slice(), 3));
    // Data that nobody reads is skipped.
    let second = archive.next_entry().unwrap().unwrap();
    assert_eq!(second.path, b"b");
    let mut text = String::new();
    archive.read_to_string(&mut text).unwrap();
    assert_eq!(text, "two");
    assert!(archive.next_entry().unwrap().is_none());
}

#[test]
fn root_the_size_of_pax_decides_where_the_next_header_is() {
    needs_root!();
    // An archive hides in the data of an entry whose own header says that it has none (CVE-2025-62518).
    let hidden = Tar::default().file("smuggled", "x").0;
    let size = hidden.len().to_string();
    let mut header = header(EntryType::Regular, "data", 0o644, "", 0);
    header.set_cksum();
    let archive = Tar::default()
        .pax(&[("size", size.as_bytes())])
        .raw(&header, &hidden)
        .file("after", "")
        .finish();
    let target = Target::new();
    target.unpack(&archive).unwrap();
    assert_eq!(target.names(), ["after", "data"]);
    assert_eq!(
        fs::metadata(target.path("data")).unwrap().len(),
        hidden.len() as u64
    );
}

#[test]
fn root_only_files_have_data_whatever_a_link_or_directory_says() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default()
        .raw(&header(EntryType::Symlink, "link", 0o777, "x", 512), b"")
        .raw(
            &header(EntryType::Directory, "directory", 0o755, "", 512),
            b"",
        )
        .pax(&[("size", b"512")])
        .raw(&header(EntryType::Fifo, "pipe", 0o644, "", 0), b"")
        .file("file", "text")
        .finish();
    target.unpack(&archive).unwrap();
    assert_eq!(target.names(), ["directory", "file", "link", "pipe"]);
    assert_eq!(target.text("file"), "text");
}

#[test]
fn root_an_archive_ends_at_its_end_and_readers_that_differ_about_it_are_not_fooled() {
    needs_root!();
    let (one, two) = (
        Tar::default().file("one", "1"),
        Tar::default().file("two", "2").finish(),
    );
    let whole = one.0.clone();
    // Without an end marker, with half of one, and with one and another archive or garbage after it.
    for (rest, name) in [
        (Vec::new(), "nothing"),
        (vec![0; 512], "half"),
        ([vec![0; 1024], two.clone()].concat(), "archive"),
        ([vec![0; 1024], vec![b'x'; 100]].concat(), "garbage"),
    ] {
        let target = Target::new();
        let archive = [whole.clone(), rest].concat();
        let unpacked = target.unpack(&archive).unwrap();
        assert_eq!(target.names(), ["one"], "{name}");
        assert_eq!(unpacked.bytes, archive.len() as u64, "{name}");
        assert_eq!(unpacked.diff_id.digest(), super::sha256(&archive), "{name}");
    }
    let split = [whole, vec![0; 512], two].concat();
    let error = Target::new().unpack(&split).unwrap_err();
    assert!(error.to_string().contains("lone block of zeros"), "{error}");
}

#[test]
fn root_sums_of_signed_bytes_are_right_too() {
    needs_root!();
    let target = Target::new();
    let mut header = header(EntryType::Regular, "x", 0o644, "", 0);
    header.as_old_mut().name[..2].copy_from_slice(b"\xe9\xe8");
    let sum: i32 = header
        .as_bytes()
        .iter()
        .enumerate()
        .map(|(position, byte)| match position {
            148..156 => 32,
            _ => i32::from(byte.cast_signed()),
        })
        .sum();
    header
        .as_old_mut()
        .cksum
        .copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    target
        .unpack(&Tar::default().raw(&header, b"").finish())
        .unwrap();
    assert_eq!(fs::read_dir(target.path("")).unwrap().count(), 1);
}

#[test]
fn root_sparse_files_of_pax_have_their_holes_in_all_three_forms() {
    needs_root!();
    let mut map = b"1\n4096\n3\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"abc");
    let (size, offset, length) = (b"10000".as_slice(), b"4096".as_slice(), b"3".as_slice());
    for (records, data) in [
        (
            vec![
                ("GNU.sparse.size", size),
                ("GNU.sparse.numblocks", b"1"),
                ("GNU.sparse.offset", offset),
                ("GNU.sparse.numbytes", length),
            ],
            b"abc".as_slice(),
        ),
        (
            vec![
                ("GNU.sparse.size", size),
                ("GNU.sparse.name", b"sparse"),
                ("GNU.sparse.map", b"4096,3"),
            ],
            b"abc",
        ),
        (
            vec![
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"sparse"),
                ("GNU.sparse.realsize", size),
            ],
            &map,
        ),
    ] {
        let target = Target::new();
        let own_name = records.iter().any(|(key, _)| *key == "GNU.sparse.name");
        let name = if own_name {
            "GNUSparseFile.0/sparse"
        } else {
            "sparse"
        };
        let archive = Tar::default()
            .pax(&records)
            .entry(EntryType::Regular, name, 0o644, data)
            .file("after", "")
            .finish();
        target.unpack(&archive).unwrap();
        assert_eq!(target.names(), ["after", "sparse"]);
        let mut expected = vec![0; 10_000];
        expected[4096..4099].copy_from_slice(b"abc");
        assert!(
            fs::read(target.path("sparse")).unwrap() == expected,
            "{records:?}"
        );
    }
}

#[test]
fn root_sparse_files_that_cannot_be_are_refused() {
    needs_root!();
    let one = |records: &[(&str, &[u8])], data: &str| {
        Tar::default().pax(records).file("x", data).finish()
    };
    for (archive, what) in [
        (
            one(
                &[("GNU.sparse.map", b"0,5"), ("GNU.sparse.size", b"9")],
                "abc",
            ),
            "too short",
        ),
        (
            one(
                &[("GNU.sparse.map", b"8,3"), ("GNU.sparse.size", b"9")],
                "abc",
            ),
            "beyond the end",
        ),
        (one(&[("GNU.sparse.map", b"0,3,1")], "abc"), "half a pair"),
        (
            one(&[("GNU.sparse.map", b"0,18446744073709551615,5,5")], "abc"),
            "overflow",
        ),
        (
            one(
                &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")],
                "abc",
            ),
            "no map",
        ),
        (
            one(&[("GNU.sparse.numbytes", b"3")], "abc"),
            "a length first",
        ),
    ] {
        let error = Target::new().unpack(&archive).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error}");
    }
    // A version of the future is taken as it is stored, as Go's reader does.
    let target = Target::new();
    let records: [(&str, &[u8]); 2] = [("GNU.sparse.major", b"2"), ("GNU.sparse.name", b"no")];
    target.unpack(&one(&records, "abc")).unwrap();
    assert_eq!(target.text("x"), "abc");
}
