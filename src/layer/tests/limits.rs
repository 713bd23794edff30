//! Bombs.

use super::*;

fn refused(archive: &[u8], limits: Limits) -> String {
    let target = Target::new();
    let error = unpack(archive, &target.path(""), None, limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    error.to_string()
}

#[test]
fn root_limits_of_bytes_and_entries_name_the_entry_and_the_limit() {
    needs_root!();
    let bomb = Tar::default()
        .file("small", "")
        .file("a", &"0".repeat(1 << 20))
        .finish();
    let compressed = zstd::encode_all(bomb.as_slice(), 1).unwrap();
    let few_bytes = Limits {
        bytes: 1 << 19,
        ..Limits::default()
    };
    let expected = "entry 1 of the archive (\"a\"): more than the limit of 524288 bytes";
    assert_eq!(refused(&compressed, few_bytes), expected);
    let many = (0..20).fold(Tar::default(), |tar, number| {
        tar.file(&number.to_string(), "")
    });
    let few_entries = Limits {
        entries: 19,
        ..Limits::default()
    };
    let expected = "entry 19 of the archive (\"19\"): more than the limit of 19 entries";
    assert_eq!(refused(&many.finish(), few_entries), expected);
    // What follows the end of the archive counts too: it is hashed.
    let padded = [Tar::default().finish(), vec![0; 1 << 20]].concat();
    assert!(refused(&padded, few_bytes).ends_with("limit of 524288 bytes"));
}

#[test]
fn root_an_archive_that_is_compressed_too_well_is_a_bomb() {
    needs_root!();
    let archive = Tar::default().file("a", &"0".repeat(1 << 20)).finish();
    let compressed = zstd::encode_all(archive.as_slice(), 1).unwrap();
    assert!(archive.len() / compressed.len() > 200);
    let limits = Limits {
        ratio: 100,
        ratio_from_bytes: 1 << 18,
        ..Limits::default()
    };
    let expected =
        "entry 0 of the archive (\"a\"): more than the limit of 100 times its compressed bytes";
    assert_eq!(refused(&compressed, limits), expected);
    for harmless in [
        Limits {
            ratio_from_bytes: 1 << 22,
            ..limits
        },
        Limits {
            ratio: 100_000,
            ..limits
        },
    ] {
        let target = Target::new();
        unpack(compressed.as_slice(), &target.path(""), None, harmless).unwrap();
    }
    let target = Target::new();
    unpack(archive.as_slice(), &target.path(""), None, limits).unwrap();
}

#[test]
fn root_directories_without_an_entry_count_as_entries_and_their_names_take_bounded_memory() {
    needs_root!();
    let limits = Limits {
        entries: 5,
        ..Limits::default()
    };
    let archive = Tar::default().file("a/b/c/d/e/f", "").finish();
    assert!(refused(&archive, limits).ends_with("limit of 5 entries"));
    // Two kilobytes of name ask for hundreds of directories with names of a kilobyte on average.
    let deep = "abcd/".repeat(400);
    let archive = (0..4).fold(Tar::default(), |tar, number| {
        let name = format!("{number}/{deep}f");
        tar.pax(&[("path", name.as_bytes())]).file("x", "")
    });
    let limits = Limits {
        names_bytes: 1 << 20,
        ..Limits::default()
    };
    let message = refused(&archive.finish(), limits);
    assert!(message.ends_with("bytes of directory names"), "{message}");
}

#[test]
fn root_holes_count_as_bytes() {
    needs_root!();
    let terabytes = (1_u64 << 42).to_string();
    let archive = Tar::default()
        .pax(&[
            ("GNU.sparse.map", b"0,0"),
            ("GNU.sparse.size", terabytes.as_bytes()),
        ])
        .file("a", "")
        .finish();
    assert!(refused(&archive, Limits::default()).ends_with("bytes"));
}
