//! Extended attributes, and what an image may not smuggle in them.

use super::*;

#[test]
fn root_capabilities_and_user_attributes_are_kept_and_overlay_ones_dropped() {
    needs_root!();
    let target = Target::new();
    // VFS_CAP_REVISION_2 with cap_net_raw (13), and with line feeds in the inheritable set (capabilities(7)).
    let capability = b"\x01\0\0\x02\x00\x20\0\0\x0a\0\0\0\0\0\0\0\0\0\0\0";
    let archive = Tar::default()
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.note", b"a\nb"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ])
        .file("ping", "x")
        .finish();
    target.unpack(&archive).unwrap();
    let path = target.path("ping");
    assert_eq!(
        attribute(&path, "security.capability").as_deref(),
        Some(capability.as_slice())
    );
    assert_eq!(attribute(&path, "trusted.overlay.redirect"), None);
    assert_eq!(attribute(&path, "user.overlay.opaque"), None);
    // tmpfs has user attributes since Linux 6.6 only.
    if let Some(note) = attribute(&path, "user.note") {
        assert_eq!(note, b"a\nb");
    }
}

#[test]
fn root_attributes_that_are_the_host_s_or_overlayfs_s_are_dropped_and_others_kept() {
    needs_root!();
    let target = Target::new();
    // VFS_CAP_REVISION_3 with the root user 100000 of a user namespace.
    let capability = b"\x01\0\0\x03\x00\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xa0\x86\x01\0";
    let dropped = [
        "trusted.overlay.opaque",
        "trusted.overlay.metacopy",
        "trusted.overlay.origin",
        "trusted.overlay.whiteout",
        "trusted.overlay.overlay.opaque",
        "user.overlay.redirect",
        "security.selinux",
        "security.SMACK64EXEC",
    ];
    let records: Vec<(String, &[u8])> = dropped
        .iter()
        .map(|name| (format!("SCHILY.xattr.{name}"), b"y".as_slice()))
        .chain([
            (
                "SCHILY.xattr.security.capability".to_owned(),
                capability.as_slice(),
            ),
            ("SCHILY.xattr.trusted.note".to_owned(), b"kept".as_slice()),
            (
                "SCHILY.acl.access".to_owned(),
                b"user::rw-,user:0:rwx".as_slice(),
            ),
        ])
        .collect();
    let records: Vec<(&str, &[u8])> = records
        .iter()
        .map(|(key, value)| (key.as_str(), *value))
        .collect();
    for archive in [
        Tar::default().pax(&records).file("x", ""),
        Tar::default().pax(&records).directory("x", 0o755),
    ] {
        let target = Target::new();
        target.unpack(&archive.finish()).unwrap();
        let path = target.path("x");
        for name in dropped {
            assert_eq!(attribute(&path, name), None, "{name}");
        }
        let kept = attribute(&path, "security.capability");
        assert_eq!(kept.as_deref(), Some(capability.as_slice()));
        let kept = attribute(&path, "trusted.note");
        assert_eq!(kept.as_deref(), Some(b"kept".as_slice()));
        assert_eq!(attribute(&path, "system.posix_acl_access"), None);
    }
    // Links and nodes have none but trusted ones; that is no reason to refuse them.
    let archive = Tar::default()
        .pax(&[
            ("SCHILY.xattr.user.note", b"x"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/"),
        ])
        .symlink("link", "/")
        .finish();
    target.unpack(&archive).unwrap();
    assert_eq!(
        attribute(&target.path("link"), "trusted.overlay.redirect"),
        None
    );
}

#[test]
fn root_floods_of_attributes_end_in_an_error_or_in_the_file_system_s_limits() {
    needs_root!();
    let many: Vec<(String, Vec<u8>)> = (0..10_000)
        .map(|number| (format!("SCHILY.xattr.user.{number}"), vec![b'x'; 50]))
        .collect();
    let flood = |count: usize| {
        let records: Vec<(&str, &[u8])> = many[..count]
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()))
            .collect();
        Tar::default().pax(&records).file("x", "").finish()
    };
    // What fits into a header is for the file system to take or refuse, name by name.
    if let Err(error) = Target::new().unpack(&flood(5000)) {
        assert!(
            matches!(error, LayerError::Entry { step: "write", .. }),
            "{error}"
        );
    }
    let huge = vec![b'x'; 1024 * 1024];
    let archive = Tar::default()
        .pax(&[("SCHILY.xattr.user.huge", &huge)])
        .file("x", "")
        .finish();
    let error = Target::new().unpack(&archive).unwrap_err();
    assert!(matches!(error, LayerError::Malformed { .. }), "{error}");
}
