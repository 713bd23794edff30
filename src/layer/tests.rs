//! Tests of unpacking with archives built in memory. Those that make nodes, owners or attributes need root.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use super::*;

/// An archive under construction; every entry is owned by 1000:1001 and last changed at 1 000 000.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn raw(mut self, header: &Header, data: &[u8]) -> Self {
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn entry(self, kind: EntryType, path: &str, mode: u32, data: &[u8]) -> Self {
        self.raw(&header(kind, path, mode, "", data.len()), data)
    }

    fn file(self, path: &str, data: &str) -> Self {
        self.entry(EntryType::Regular, path, 0o644, data.as_bytes())
    }

    fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, path, mode, b"")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(&header(EntryType::Symlink, path, 0o777, target, 0), b"")
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.raw(&header(EntryType::Link, path, 0o644, target, 0), b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length += 1;
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(EntryType::XHeader, "pax", 0o644, &data)
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn header(kind: EntryType, path: &str, mode: u32, link: &str, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_mode(mode);
    header.set_uid(1000);
    header.set_gid(1001);
    header.set_mtime(1_000_000);
    header.set_size(size as u64);
    header.set_cksum();
    header
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A target in a folder with a neighbour that hostile archives try to reach.
struct Target {
    folder: tempfile::TempDir,
}

impl Target {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("fs")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("fs").join(name)
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked, LayerError> {
        unpack(archive, &self.path(""), None, Limits::default())
    }

    /// Whether nothing but `fs` changed.
    fn is_confined(&self) -> bool {
        let outside = self.folder.path().join("outside");
        fs::read_dir(self.folder.path()).unwrap().count() == 2
            && fs::read_dir(outside).unwrap().count() == 0
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(1000);
    rustix::fs::lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)).ok()?;
    Some(value)
}

macro_rules! needs_root {
    () => {
        if !is_root() {
            println!("SKIP not root");
            return;
        }
    };
}

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
fn root_links_that_lead_out_are_followed_below_the_target_only() {
    needs_root!();
    let target = Target::new();
    let outside = target.folder.path().join("outside");
    let archive = Tar::default()
        .symlink("up", "../outside")
        .file("up/a", "1")
        .symlink("absolute", outside.to_str().unwrap())
        .file("absolute/b", "2")
        .symlink("first", "second")
        .symlink("second", "../../outside")
        .file("first/c", "3")
        .finish();
    target.unpack(&archive).unwrap();
    assert!(target.is_confined());
    assert_eq!(target.text("outside/a"), "1");
    assert_eq!(target.text("outside/c"), "3");
    let inside = target.path("").join(outside.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(inside.join("b")).unwrap(), "2");
}

#[test]
fn root_hard_links_to_the_outside_are_refused() {
    needs_root!();
    for link in ["../outside/secret", "/etc/passwd", "out/secret", ""] {
        let target = Target::new();
        let secret = target.folder.path().join("outside/secret");
        File::create(&secret).unwrap();
        let archive = Tar::default()
            .symlink("out", "../outside")
            .hard_link("stolen", link)
            .finish();
        let error = target.unpack(&archive).unwrap_err();
        assert!(
            matches!(error, LayerError::Entry { step: "link", .. }),
            "{link}: {error}"
        );
        assert_eq!(fs::metadata(&secret).unwrap().nlink(), 1, "{link}");
    }
}

#[test]
fn root_a_file_never_writes_through_a_link_of_its_own_name() {
    needs_root!();
    let target = Target::new();
    let victim = target.folder.path().join("outside/victim");
    let archive = Tar::default()
        .symlink("a", victim.to_str().unwrap())
        .file("a", "data")
        .finish();
    target.unpack(&archive).unwrap();
    assert!(target.is_confined());
    assert!(fs::symlink_metadata(target.path("a")).unwrap().is_file());
}

#[test]
fn root_a_link_that_was_in_the_target_before_is_not_followed_out() {
    needs_root!();
    let target = Target::new();
    symlink("/", target.path("root")).unwrap();
    let archive = Tar::default().file("root/tmp-of-layer/a", "x").finish();
    target.unpack(&archive).unwrap();
    assert_eq!(target.text("tmp-of-layer/a"), "x");
    assert!(!Path::new("/tmp-of-layer").exists());
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
fn root_gzip_zstd_and_plain_archives_give_the_same_diff_id() {
    needs_root!();
    let archive = Tar::default().file("a", &"text ".repeat(50_000)).finish();
    let half = archive.len() / 2;
    let mut gzip = Vec::new();
    for part in [&archive[..half], &archive[half..]] {
        let mut encoder = flate2::write::GzEncoder::new(&mut gzip, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    let zstd = zstd::encode_all(archive.as_slice(), 1).unwrap();
    let expected = Target::new().unpack(&archive).unwrap();
    for compressed in [gzip, zstd] {
        let target = Target::new();
        assert_eq!(target.unpack(&compressed).unwrap(), expected);
        assert_eq!(target.text("a").len(), 250_000);
    }
}

#[test]
fn root_another_diff_id_is_an_error() {
    needs_root!();
    let target = Target::new();
    let archive = Tar::default().file("a", "x").finish();
    let right = target.unpack(&archive).unwrap().diff_id;
    let wrong = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    let again = |expected| {
        unpack(
            archive.as_slice(),
            &target.path(""),
            Some(expected),
            Limits::default(),
        )
    };
    assert!(again(&right).is_ok());
    assert!(matches!(again(&wrong), Err(LayerError::WrongDiffId { .. })));
}

#[test]
fn root_limits_stop_bombs() {
    needs_root!();
    let limits = |bytes, entries| Limits { bytes, entries };
    let bomb = Tar::default().file("a", &"0".repeat(1 << 20)).finish();
    let compressed = zstd::encode_all(bomb.as_slice(), 1).unwrap();
    let many = (0..20).fold(Tar::default(), |tar, number| {
        tar.file(&number.to_string(), "")
    });
    for (archive, limits, what) in [
        (compressed, limits(1 << 19, 100), "bytes"),
        (many.finish(), limits(1 << 20, 19), "entries"),
    ] {
        let target = Target::new();
        let error = unpack(archive.as_slice(), &target.path(""), None, limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{what}: {error}");
        assert!(error.to_string().contains(what), "{error}");
    }
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
