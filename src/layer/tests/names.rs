//! Where names lead: out, far down, in circles; and their long forms.

use super::*;

#[test]
fn root_names_that_lead_out_stay_below_the_target() {
    needs_root!();
    for (name, inside) in [
        ("../outside/a", "outside/a"),
        ("/outside/a", "outside/a"),
        ("x/../../../outside/a", "outside/a"),
        ("//..//outside//./a", "outside/a"),
    ] {
        let target = Target::new();
        target
            .unpack(&Tar::default().file(name, "x").finish())
            .unwrap();
        assert!(target.is_confined(), "{name}");
        assert_eq!(target.text(inside), "x", "{name}");
    }
}

#[test]
fn root_loops_of_links_are_an_error() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default()
        .symlink("a", "b")
        .symlink("b", "a")
        .file("a/c", "x")
        .finish();
    assert!(target.unpack(&archive).is_err());
}

#[test]
fn root_long_names_of_gnu_and_pax_are_read() {
    needs_root!();
    let target = Target::new();
    let gnu = format!("{}/{}", "g".repeat(120), "h".repeat(120));
    let pax = format!("{}/{}", "p".repeat(120), "q".repeat(120));
    let archive = Tar::default()
        .entry(
            EntryType::GNULongName,
            "././@LongLink",
            0,
            format!("{gnu}\0").as_bytes(),
        )
        .file("short", "gnu")
        .entry(
            EntryType::GNULongLink,
            "././@LongLink",
            0,
            format!("{gnu}\0").as_bytes(),
        )
        .hard_link("linked", "short")
        .pax(&[
            ("path", pax.as_bytes()),
            ("mtime", b"5.25"),
            ("uid", b"70000"),
        ])
        .file("short", "pax")
        .finish();
    target.unpack(&archive).unwrap();
    assert_eq!(target.text(&gnu), "gnu");
    assert_eq!(target.text("linked"), "gnu");
    let file = fs::metadata(target.path(&pax)).unwrap();
    assert_eq!(
        (file.mtime(), file.mtime_nsec(), file.uid()),
        (5, 250_000_000, 70_000)
    );
}

#[test]
fn root_names_are_bytes_and_are_shown_quoted() {
    needs_root!();
    let target = Target::new();
    let name = b"\xff\n\x1b[31m";
    let archive = Tar::default()
        .pax(&[("path", name)])
        .file("x", "data")
        .pax(&[("path", &[name.as_slice(), b"/below"].concat())])
        .file("x", "")
        .finish();
    let error = target.unpack(&archive).unwrap_err();
    let shown = error.to_string();
    assert_eq!(shown, r#"write "\xFF\n\u{1b}[31m/below""#);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let path = target
        .path("")
        .join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name));
    assert_eq!(fs::read(path).unwrap(), b"data");
}

#[test]
fn root_names_that_are_too_long_are_refused() {
    needs_root!();
    let far = "d/".repeat(2500);
    for (key, value) in [
        ("path", "n".repeat(256)),
        ("path", far.clone()),
        ("linkpath", far),
        ("linkpath", "l".repeat(1024 * 1024)),
    ] {
        let archive = Tar::default()
            .pax(&[(key, value.as_bytes())])
            .symlink("a", "b")
            .finish();
        let error = Target::new().unpack(&archive).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{key}: {error}");
    }
}

#[test]
fn root_directories_do_not_nest_without_end_by_links() {
    needs_root!();
    let target = Target::new();
    let down = |levels: usize| vec!["d"; levels].join("/");
    let archive = Tar::default()
        .pax(&[("path", format!("{}/file", down(900)).as_bytes())])
        .file("x", "")
        .pax(&[("linkpath", down(900).as_bytes())])
        .symlink("deep", "x")
        .pax(&[("path", format!("deep/{}/file", down(101)).as_bytes())])
        .file("x", "")
        .finish();
    let error = target.unpack(&archive).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().starts_with("write \"deep/d/"), "{error}");
}

#[test]
fn root_the_deepest_tree_can_be_replaced() {
    needs_root!();
    let target = Target::new();
    let deepest = vec!["d"; 1000].join("/");
    let archive = Tar::default()
        .pax(&[("path", format!("{deepest}/file").as_bytes())])
        .file("x", "")
        .file("d", "a file now")
        .finish();
    target.unpack(&archive).unwrap();
    assert_eq!(target.text("d"), "a file now");
}

#[test]
fn root_a_long_name_of_gnu_wins_over_pax_and_empty_values_count_for_nothing() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default()
        .entry(EntryType::GNULongName, "././@LongLink", 0, b"gnu\0")
        .pax(&[("path", b"pax")])
        .file("header", "1")
        .pax(&[("path", b""), ("uid", b""), ("mtime", b"")])
        .file("header", "2")
        .finish();
    target.unpack(&archive).unwrap();
    assert_eq!(target.names(), ["gnu", "header"]);
    let file = fs::metadata(target.path("header")).unwrap();
    assert_eq!((file.uid(), file.mtime()), (1000, 1_000_000));
}

#[test]
fn root_prefixes_of_posix_and_star_belong_to_the_name() {
    needs_root!();
    let target = Target::new();
    let with_prefix = |name: &str, version: &[u8; 2], trailer: &[u8; 4]| {
        let mut header = header(EntryType::Regular, name, 0o644, "", 0);
        let bytes = header.as_mut_bytes();
        bytes[257..263].copy_from_slice(b"ustar\0");
        bytes[263..265].copy_from_slice(version);
        bytes[345..351].copy_from_slice(b"prefix");
        // In star's header this is a time.
        bytes[476..486].copy_from_slice(b"1234567 12");
        bytes[508..512].copy_from_slice(trailer);
        header.set_cksum();
        header
    };
    let archive = Tar::default()
        .raw(&with_prefix("posix", b"00", b"\0\0\0\0"), b"")
        .raw(&with_prefix("unversioned", b"\0\0", b"\0\0\0\0"), b"")
        .raw(&with_prefix("star", b"00", b"tar\0"), b"")
        .finish();
    target.unpack(&archive).unwrap();
    let mut names: Vec<_> = fs::read_dir(target.path("prefix"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["posix", "star", "unversioned"]);
}
