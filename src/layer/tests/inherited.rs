//! Directories that a layer only passes through.

use super::*;

#[test]
fn root_directories_on_the_way_inherit_from_the_layers_below() {
    needs_root!();
    let (bottom, middle, top) = (Target::new(), Target::new(), Target::new());
    bottom
        .unpack(
            &Tar::default()
                .directory("./", 0o711)
                .directory("etc", 0o750)
                .finish(),
        )
        .unwrap();
    middle
        .unpack(&Tar::default().file("other", "").finish())
        .unwrap();
    let unpacked = top
        .unpack(&Tar::default().file("etc/ssl/a", "x").finish())
        .unwrap();
    assert_eq!(unpacked.implied, ["", "etc", "etc/ssl"].map(PathBuf::from));
    inherit(&middle.path(""), &[PathBuf::new()], &[bottom.path("")]).unwrap();
    inherit(
        &top.path(""),
        &unpacked.implied,
        &[middle.path(""), bottom.path("")],
    )
    .unwrap();
    let describe = |name: &str| {
        let status = fs::metadata(top.path(name)).unwrap();
        (
            status.permissions().mode() & 0o7777,
            status.uid(),
            status.mtime() == 1_000_000,
        )
    };
    assert_eq!(describe(""), (0o711, 1000, true));
    assert_eq!(describe("etc"), (0o750, 1000, true));
    assert_eq!(describe("etc/ssl"), (0o755, 0, false));
}

#[test]
fn root_what_a_lower_layer_has_instead_of_a_directory_is_never_opened() {
    needs_root!();
    use rustix::fs::inotify;
    let (bottom, lower, top) = (Target::new(), Target::new(), Target::new());
    // A watchdog, for example, starts when it is opened.
    let null = {
        let mut header = header(EntryType::Char, "device", 0o666, "", 0);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        header.set_cksum();
        header
    };
    let archive = Tar::default()
        .raw(&null, b"")
        .entry(EntryType::Fifo, "pipe", 0o666, b"")
        .symlink("link", "device")
        .finish();
    lower.unpack(&archive).unwrap();
    let directories = ["device", "pipe", "link"].map(PathBuf::from);
    let mut below = Tar::default();
    for name in ["device", "pipe", "link"] {
        below = below.directory(name, 0o777);
    }
    bottom.unpack(&below.finish()).unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    for name in ["device", "pipe"] {
        inotify::add_watch(&watch, lower.path(name), inotify::WatchFlags::OPEN).unwrap();
    }
    let archive = directories.iter().fold(Tar::default(), |tar, name| {
        tar.file(&format!("{}/file", name.display()), "")
    });
    let unpacked = top.unpack(&archive.finish()).unwrap();
    inherit(
        &top.path(""),
        &unpacked.implied,
        &[lower.path(""), bottom.path("")],
    )
    .unwrap();
    let mut event = [0; 64];
    let opened = rustix::io::read(&watch, &mut event);
    assert_eq!(opened, Err(rustix::io::Errno::AGAIN));
    for name in directories {
        let mode = fs::metadata(top.path("").join(&name)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o755, "{name:?} begins anew");
    }
}

#[test]
fn root_what_is_hidden_is_not_inherited() {
    needs_root!();
    let (bottom, middle, top) = (Target::new(), Target::new(), Target::new());
    let private = Tar::default()
        .directory("a", 0o700)
        .directory("a/b", 0o700)
        .directory("c", 0o700)
        .directory("c/d", 0o700);
    bottom.unpack(&private.finish()).unwrap();
    let hides = Tar::default()
        .directory("a", 0o711)
        .file("a/.wh..wh..opq", "");
    middle.unpack(&hides.finish()).unwrap();
    let archive = Tar::default()
        .file("a/b/file", "")
        .file(".wh.c", "")
        .file("c/d/file", "");
    let unpacked = top.unpack(&archive.finish()).unwrap();
    inherit(
        &top.path(""),
        &unpacked.implied,
        &[middle.path(""), bottom.path("")],
    )
    .unwrap();
    for (name, mode) in [("a", 0o711), ("a/b", 0o755), ("c", 0o755), ("c/d", 0o755)] {
        let found = fs::metadata(top.path(name)).unwrap().mode();
        assert_eq!(found & 0o7777, mode, "{name}");
    }
}
