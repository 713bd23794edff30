//! What entries become, and what happens when two have one name.

use super::*;

#[test]
fn root_files_directories_and_links_are_made_as_described() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default()
        .directory("./", 0o751)
        .directory("bin/", 0o755)
        .entry(EntryType::Regular, "bin/su", 0o4755, b"program")
        .symlink("sh", "bin/su")
        .hard_link("bin/sudo", "bin/su")
        .finish();
    let unpacked = target.unpack(&archive).unwrap();
    assert_eq!(unpacked.entries, 5);
    assert_eq!(unpacked.bytes, archive.len() as u64);
    assert!(unpacked.implied.is_empty());
    let program = fs::metadata(target.path("bin/su")).unwrap();
    assert_eq!(program.mode() & 0o7777, 0o4755);
    assert_eq!((program.uid(), program.gid()), (1000, 1001));
    assert_eq!(program.mtime(), 1_000_000);
    assert_eq!(program.nlink(), 2);
    let directory = fs::metadata(target.path("bin")).unwrap();
    assert_eq!(directory.mtime(), 1_000_000);
    assert_eq!(
        fs::metadata(target.path("")).unwrap().mode() & 0o7777,
        0o751
    );
    assert_eq!(fs::metadata(target.path("")).unwrap().mtime(), 1_000_000);
    let link = fs::symlink_metadata(target.path("sh")).unwrap();
    assert_eq!((link.uid(), link.mtime()), (1000, 1_000_000));
    assert_eq!(target.text("sh"), "program");
}

#[test]
fn root_numbers_that_are_left_out_are_zero() {
    needs_root!();
    let target = Target::new();
    let mut header = header(EntryType::Regular, "a", 0o644, "", 1);
    let old = header.as_old_mut();
    (old.uid, old.gid, old.mode, old.mtime) = ([0; 8], [b' '; 8], [0; 8], [0; 12]);
    header.set_cksum();
    target
        .unpack(&Tar::default().raw(&header, b"x").finish())
        .unwrap();
    let file = fs::metadata(target.path("a")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mtime()), (0, 0, 0));
    assert_eq!(file.mode() & 0o7777, 0);
}

#[test]
fn root_devices_and_pipes_are_nodes() {
    needs_root!();
    let target = Target::new();
    let mut null = header(EntryType::Char, "null", 0o666, "", 0);
    null.set_device_major(1).unwrap();
    null.set_device_minor(3).unwrap();
    null.set_cksum();
    let archive = Tar::default()
        .raw(&null, b"")
        .entry(EntryType::Fifo, "pipe", 0o600, b"")
        .finish();
    target.unpack(&archive).unwrap();
    let null = fs::metadata(target.path("null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(null.rdev(), rustix::fs::makedev(1, 3));
    assert_eq!(null.mode() & 0o7777, 0o666);
    assert!(
        fs::metadata(target.path("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

#[test]
fn root_later_entries_replace_earlier_ones_of_another_kind() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default()
        .directory("a", 0o755)
        .file("a/b/c", "x")
        .file("a", "now a file")
        .file("d", "was a file")
        .directory("d", 0o700)
        .file("d/e", "x")
        .symlink("f", "d")
        .directory("f", 0o755)
        .file("g", "one")
        .file("g", "two")
        .file("h", "one")
        .hard_link("h", "h")
        .finish();
    let unpacked = target.unpack(&archive).unwrap();
    assert_eq!(target.text("a"), "now a file");
    assert_eq!(target.text("d/e"), "x");
    assert!(fs::symlink_metadata(target.path("f")).unwrap().is_dir());
    assert_eq!(target.text("g"), "two");
    assert_eq!(target.text("h"), "one");
    assert_eq!(unpacked.implied, [PathBuf::new()]);
}

#[test]
fn root_a_file_below_a_file_is_an_error_that_names_it() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default().file("a", "x").file("a/b", "y").finish();
    let error = target.unpack(&archive).unwrap_err();
    assert!(error.to_string().contains("a/b"), "{error}");
}

#[test]
fn root_times_of_directories_survive_what_is_made_in_them() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default()
        .directory("./", 0o755)
        .directory("a", 0o755)
        .file("a/file", "x")
        .file("other/file", "x")
        .file("a/implied/deep/file", "x")
        .file("a/file", "again")
        .file("a/.wh.gone", "")
        .hard_link("a/link", "a/file")
        .finish();
    target.unpack(&archive).unwrap();
    for name in ["", "a", "a/file"] {
        let status = fs::metadata(target.path(name)).unwrap();
        assert_eq!(status.mtime(), 1_000_000, "{name:?}");
    }
}

#[test]
fn root_a_slash_makes_a_directory_in_headers_of_old_only() {
    needs_root!();
    let target = Target::new();
    let mut old = header(EntryType::Regular, "old/", 0o755, "", 0);
    old.as_old_mut().linkflag = [0];
    old.set_cksum();
    let archive = Tar::default().raw(&old, b"").file("file/", "x").finish();
    target.unpack(&archive).unwrap();
    assert!(target.path("old").is_dir());
    assert_eq!(target.text("file"), "x");
}

#[test]
fn root_times_and_owners_reach_as_far_as_the_file_system() {
    needs_root!();
    let target = Target::new();
    let numbers = |name: &str, mtime: i64, uid: i64| {
        let mut header = header(EntryType::Regular, name, 0o644, "", 0);
        let base_256 = |field: &mut [u8], number: i64| {
            let start = field.len() - 8;
            field.fill(if number < 0 { 0xff } else { 0 });
            field[start..].copy_from_slice(&number.to_be_bytes());
            field[0] |= 0x80;
        };
        base_256(&mut header.as_old_mut().mtime, mtime);
        base_256(&mut header.as_old_mut().uid, uid);
        header.set_cksum();
        header
    };
    let archive = Tar::default()
        .raw(&numbers("before", -5, 7), b"")
        .raw(&numbers("large", 1 << 33, 0xffff_fffe), b"")
        .raw(&numbers("never", i64::MAX, 0), b"")
        .raw(&numbers("past", i64::MIN + 1, 0), b"")
        .finish();
    target.unpack(&archive).unwrap();
    let status = |name| fs::metadata(target.path(name)).unwrap();
    assert_eq!((status("before").mtime(), status("before").uid()), (-5, 7));
    assert_eq!(status("large").uid(), 0xffff_fffe);
    for uid in [0xffff_ffff, 1 << 32, -1] {
        let archive = Tar::default().raw(&numbers("x", 0, uid), b"").finish();
        let error = Target::new().unpack(&archive).unwrap_err();
        assert!(
            error.to_string().ends_with("owner out of range"),
            "{uid}: {error}"
        );
    }
}

#[test]
fn root_what_no_layer_has_is_refused_by_its_number_and_name() {
    needs_root!();
    for kind in [b's', b'D', b'M', b'V', b'X', b'Z'] {
        let archive = Tar::default()
            .file("before", "")
            .entry(EntryType::new(kind), "odd", 0o644, b"")
            .finish();
        let error = Target::new().unpack(&archive).unwrap_err();
        let expected = "entry 1 of the archive (\"odd\"): unknown type of entry";
        assert_eq!(error.to_string(), expected, "{}", char::from(kind));
    }
}
