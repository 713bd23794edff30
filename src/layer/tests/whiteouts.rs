//! Whiteouts of every kind, in every order.

use super::*;

#[test]
fn root_whiteouts_become_devices_and_opaque_directories_an_attribute() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default()
        .directory("etc", 0o755)
        .file("etc/.wh.passwd", "")
        .directory("var", 0o755)
        .file("var/.wh..wh..opq", "")
        .file("var/new", "x")
        .file(".wh..wh.plnk", "")
        .finish();
    target.unpack(&archive).unwrap();
    let whiteout = fs::symlink_metadata(target.path("etc/passwd")).unwrap();
    assert!(whiteout.file_type().is_char_device());
    assert_eq!(whiteout.rdev(), 0);
    assert!(!target.path("etc/.wh.passwd").exists());
    assert_eq!(
        attribute(&target.path("var"), "trusted.overlay.opaque").as_deref(),
        Some(b"y".as_slice())
    );
    assert_eq!(
        attribute(&target.path("etc"), "trusted.overlay.opaque"),
        None
    );
    assert_eq!(target.names(), ["etc", "var"]);
}

#[test]
fn root_a_whiteout_and_its_own_directory_hide_the_lower_one_in_either_order() {
    needs_root!();
    for archive in [
        Tar::default().file(".wh.a", "").directory("a", 0o755),
        Tar::default().directory("a", 0o755).file(".wh.a", ""),
        Tar::default().file(".wh.a", "").file("a/b", ""),
    ] {
        let target = Target::new();
        target.unpack(&archive.finish()).unwrap();
        assert!(target.path("a").is_dir());
        assert!(attribute(&target.path("a"), "trusted.overlay.opaque").is_some());
    }
    let target = Target::new();
    let archive = Tar::default().file("a", "kept").file(".wh.a", "").finish();
    target.unpack(&archive).unwrap();
    assert_eq!(target.text("a"), "kept");
}

#[test]
fn root_whiteouts_without_a_proper_name_are_refused() {
    needs_root!();
    for name in [".wh.", ".wh..", ".wh...", "a/.wh...", "a/.wh."] {
        let target = Target::new();
        let error = target
            .unpack(&Tar::default().file(name, "").finish())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
        assert!(target.is_confined());
    }
}

#[test]
fn root_whiteouts_lead_nowhere_else() {
    needs_root!();
    for (name, hidden) in [
        ("../.wh.outside", "outside"),
        ("/../../.wh.outside", "outside"),
        ("missing/.wh.outside", "missing/outside"),
    ] {
        let target = Target::new();
        let archive = Tar::default().symlink("up", "../outside").file(name, "");
        target.unpack(&archive.finish()).unwrap();
        assert!(target.is_confined(), "{name}");
        let whiteout = fs::symlink_metadata(target.path(hidden)).unwrap();
        assert_eq!(
            (whiteout.file_type().is_char_device(), whiteout.rdev()),
            (true, 0)
        );
    }
    // A slash ends the name of a whiteout: this is a directory with an odd name.
    let target = Target::new();
    target
        .unpack(&Tar::default().file(".wh.../outside", "x").finish())
        .unwrap();
    assert!(target.is_confined());
    assert_eq!(target.text(".wh.../outside"), "x");
}

#[test]
fn root_what_aufs_kept_for_itself_is_left_out() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default()
        .directory(".wh..wh.plnk", 0o700)
        .file(".wh..wh.plnk/101.2", "x")
        .file(".wh..wh.orph/sub/file", "x")
        .file("d/.wh..wh.aufs", "")
        .file("d/.wh..wh.plnk/7.8", "x")
        .finish();
    target.unpack(&archive).unwrap();
    assert_eq!(target.names(), ["d"]);
    assert_eq!(fs::read_dir(target.path("d")).unwrap().count(), 0);
}

#[test]
fn root_opaque_marks_through_links_stay_inside_and_a_whiteout_spares_links() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default()
        .symlink("up", "../outside")
        .file("up/.wh..wh..opq", "")
        .file(".wh.up", "")
        .file(".wh.twice", "")
        .file(".wh.twice", "")
        .finish();
    target.unpack(&archive).unwrap();
    assert!(target.is_confined());
    let opaque = "trusted.overlay.opaque";
    assert!(attribute(&target.path("outside"), opaque).is_some());
    assert_eq!(
        attribute(&target.folder.path().join("outside"), opaque),
        None
    );
    assert!(target.path("up").is_symlink());
}

#[test]
fn root_a_device_with_the_number_of_a_whiteout_is_one() {
    needs_root!();
    let target = Target::new();
    let mut device = header(EntryType::Char, "a", 0o644, "", 0);
    device.set_device_major(0).unwrap();
    device.set_device_minor(0).unwrap();
    device.set_cksum();
    let archive = Tar::default().raw(&device, b"").file("a/b", "x").finish();
    target.unpack(&archive).unwrap();
    assert!(attribute(&target.path("a"), "trusted.overlay.opaque").is_some());
}
