//! Tests of comparing an unpacked layer with its archive: each kind of damage is seen, and nothing else.

use std::os::unix::fs::{chown, lchown};

use proptest::prelude::*;
use rustix::fs::{FileType, Mode, XattrFlags};

use super::super::compare as layer_compare;
use super::*;

impl Target {
    /// `path: what is wrong with it`, by comparing with an archive.
    fn differences(&self, archive: &[u8], unpacked: &Unpacked) -> Vec<String> {
        let comparison =
            layer_compare(archive, &self.path(""), Some(&unpacked.diff_id), &[]).unwrap();
        let differences = comparison.differences.iter();
        differences
            .map(|found| format!("{}: {}", found.path.display(), found.deviation))
            .collect()
    }
}

/// A layer with something of every kind.
fn rich() -> Vec<u8> {
    let mut device = header(EntryType::Char, "dev/null", 0o666, "", 0);
    device.set_device_major(1).unwrap();
    device.set_device_minor(3).unwrap();
    device.set_cksum();
    Tar::default()
        .directory("./", 0o755)
        .directory("etc", 0o755)
        .file("etc/motd", "hello")
        .file("etc/empty", "")
        .symlink("etc/link", "motd")
        .hard_link("etc/same", "etc/motd")
        .directory("dev", 0o755)
        .raw(&device, b"")
        .entry(EntryType::Fifo, "dev/pipe", 0o600, b"")
        .file("etc/.wh.gone", "")
        .directory("new", 0o750)
        .file("new/.wh..wh..opq", "")
        .pax(&[("SCHILY.xattr.user.note", b"kept")])
        .file("bin", "program")
        // Without an entry of its own directory.
        .file("usr/lib/library", &"code".repeat(50_000))
        .finish()
}

/// Unpacks, damages and compares.
fn found(damage: impl FnOnce(&Target)) -> Vec<String> {
    let target = Target::new();
    let archive = rich();
    let unpacked = target.unpack(&archive).unwrap();
    damage(&target);
    target.differences(&archive, &unpacked)
}

/// Changes a file's bytes behind its time of change.
fn overwrite(path: &Path, bytes: &[u8]) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let file = File::options().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).unwrap();
    file.set_modified(modified).unwrap();
}

fn keep_time(path: &Path, change: impl FnOnce()) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    change();
    File::open(path).unwrap().set_modified(modified).unwrap();
}

fn remove(target: &Target, name: &str) {
    let parent = target.path(name).parent().unwrap().to_owned();
    keep_time(&parent, || fs::remove_file(target.path(name)).unwrap());
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

type Damage = fn(&Target);

/// What is told, and what is done to a layer before.
const DAMAGES: [(&str, Damage); 22] = [
    ("etc/motd: has other bytes from 1 on", |target| {
        overwrite(&target.path("etc/motd"), b"hallo");
    }),
    (
        "usr/lib/library: has other bytes from 199999 on",
        |target| {
            let bytes = "code".repeat(50_000);
            overwrite(
                &target.path("usr/lib/library"),
                format!("{}!", &bytes[..199_999]).as_bytes(),
            );
        },
    ),
    ("bin: has 3 bytes instead of 7", |target| {
        File::options()
            .write(true)
            .open(target.path("bin"))
            .unwrap()
            .set_len(3)
            .unwrap();
    }),
    ("bin: is missing", |target| remove(target, "bin")),
    ("etc/empty: has mode 4644 instead of 0644", |target| {
        let mode = fs::Permissions::from_mode(0o4644);
        fs::set_permissions(target.path("etc/empty"), mode).unwrap();
    }),
    (
        "etc/empty: belongs to 0:1001 instead of 1000:1001",
        |target| {
            chown(target.path("etc/empty"), Some(0), None).unwrap();
        },
    ),
    ("etc/empty: has another time of change", |target| {
        let now = std::time::SystemTime::now();
        let file = File::options()
            .write(true)
            .open(target.path("etc/empty"))
            .unwrap();
        file.set_modified(now).unwrap();
    }),
    (
        "etc/empty: has another extended attribute security.capability",
        |target| {
            // CAP_SYS_ADMIN, permitted and effective (linux/capability.h, vfs_cap_data revision 2).
            let mut value = [0_u8; 20];
            value[..8].copy_from_slice(&[1, 0, 0, 2, 0, 0, 0x20, 0]);
            set(&target.path("etc/empty"), "security.capability", &value);
        },
    ),
    ("bin: has another extended attribute user.note", |target| {
        set(&target.path("bin"), "user.note", b"other");
    }),
    ("etc/link: leads to motd2 instead of motd", |target| {
        keep_time(&target.path("etc"), || {
            fs::remove_file(target.path("etc/link")).unwrap();
            symlink("motd2", target.path("etc/link")).unwrap();
        });
    }),
    ("etc/link: belongs to 0:0 instead of 1000:1001", |target| {
        lchown(target.path("etc/link"), Some(0), Some(0)).unwrap();
    }),
    ("etc/same: is not the same file as etc/motd", |target| {
        keep_time(&target.path("etc"), || {
            fs::copy(target.path("etc/motd"), target.path("etc/copy")).unwrap();
            fs::rename(target.path("etc/copy"), target.path("etc/same")).unwrap();
        });
    }),
    ("dev/null: is a file, not a character device", |target| {
        keep_time(&target.path("dev"), || {
            fs::remove_file(target.path("dev/null")).unwrap();
            File::create(target.path("dev/null")).unwrap();
        });
    }),
    ("dev/null: is another device", |target| {
        keep_time(&target.path("dev"), || {
            fs::remove_file(target.path("dev/null")).unwrap();
            let device = rustix::fs::makedev(1, 5);
            let mode = Mode::from_raw_mode(0o666);
            rustix::fs::mknodat(
                rustix::fs::CWD,
                target.path("dev/null"),
                FileType::CharacterDevice,
                mode,
                device,
            )
            .unwrap();
        });
    }),
    ("etc/gone: does not hide what is below", |target| {
        remove(target, "etc/gone");
    }),
    ("new: shows what is below it", |target| {
        rustix::fs::removexattr(target.path("new"), "trusted.overlay.opaque").unwrap();
    }),
    ("etc: hides what is below it", |target| {
        set(&target.path("etc"), "trusted.overlay.opaque", b"y");
    }),
    ("etc/added: does not belong here", |target| {
        keep_time(&target.path("etc"), || {
            File::create(target.path("etc/added")).unwrap();
        });
    }),
    ("usr/added: does not belong here", |target| {
        fs::create_dir_all(target.path("usr/added/deep")).unwrap();
    }),
    ("usr/lib/library: is missing", |target| {
        fs::remove_dir_all(target.path("usr/lib")).unwrap();
    }),
    ("new: has mode 0755 instead of 0750", |target| {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(target.path("new"), mode).unwrap();
    }),
    (": has mode 0700 instead of 0755", |target| {
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(target.path(""), mode).unwrap();
    }),
];

#[test]
fn root_every_kind_of_damage_is_a_difference() {
    if !is_root() {
        println!("SKIP not root");
        return;
    }
    assert_eq!(found(|_| {}), [""; 0]);
    for (expected, damage) in DAMAGES {
        assert_eq!(found(damage), [expected]);
    }
}

#[test]
fn root_directories_on_the_way_look_like_those_below() {
    if !is_root() {
        println!("SKIP not root");
        return;
    }
    let below = Target::new();
    below
        .unpack(&Tar::default().directory("usr", 0o711).finish())
        .unwrap();
    let lower = [below.path("")];
    let target = Target::new();
    let archive = Tar::default().file("usr/file", "text").finish();
    let unpacked = unpack(
        archive.as_slice(),
        &target.path(""),
        None,
        Limits::default(),
    )
    .unwrap();
    inherit(&target.path(""), &unpacked.implied, &lower).unwrap();
    let differences = || {
        layer_compare(
            archive.as_slice(),
            &target.path(""),
            Some(&unpacked.diff_id),
            &lower,
        )
        .unwrap()
        .differences
        .iter()
        .map(|found| format!("{}: {}", found.path.display(), found.deviation))
        .collect::<Vec<_>>()
    };
    assert_eq!(differences(), [""; 0]);
    fs::set_permissions(target.path("usr"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(differences(), ["usr: has mode 0777 instead of 0711"]);
}

#[test]
fn root_a_broken_or_another_archive_is_an_error_and_no_difference() {
    if !is_root() {
        println!("SKIP not root");
        return;
    }
    let target = Target::new();
    let archive = rich();
    let unpacked = target.unpack(&archive).unwrap();
    let compare = |archive: &[u8]| {
        layer_compare(archive, &target.path(""), Some(&unpacked.diff_id), &[])
            .unwrap_err()
            .kind()
    };
    assert_eq!(compare(&archive[..archive.len() / 2]), ErrorKind::Corrupt);
    let mut longer = archive.clone();
    longer.extend_from_slice(&[0; 512]);
    assert_eq!(compare(&longer), ErrorKind::Corrupt);
}

/// An entry with a name of few, so that they meet.
fn entries() -> impl Strategy<Value = Vec<(u8, String, String)>> {
    let path = "((a|b)/){0,2}(a|b|\\.wh\\.a|\\.wh\\.b|\\.wh\\.\\.wh\\.\\.opq)";
    let link = "((a|b)/){0,1}(a|b)";
    proptest::collection::vec((0_u8..4, path, link), 1..12)
}

proptest! {
    /// An archive that says the same path twice, through links that it changes meanwhile, may differ from what is made
    /// of it; then it always does, in the same way, which is how damage is told from it.
    #[test]
    fn root_what_is_unpacked_twice_compares_in_the_same_way(entries in entries()) {
        if !is_root() {
            return Ok(());
        }
        let mut tar = Tar::default();
        for (number, (kind, path, link)) in entries.iter().enumerate() {
            let is_whiteout = path.rsplit('/').next().unwrap().starts_with(".wh.");
            let mode = 0o700 + u32::try_from(number).unwrap();
            tar = match kind {
                _ if is_whiteout => tar.file(path, ""),
                0 => tar.file(path, &format!("text {number}")),
                1 => tar.directory(path, mode),
                2 => tar.symlink(path, link),
                _ => tar.hard_link(path, link),
            };
        }
        let archive = tar.finish();
        let differences = || {
            let target = Target::new();
            let unpacked = target.unpack(&archive).ok()?;
            Some(target.differences(&archive, &unpacked))
        };
        let first = differences();
        let has_links = entries.iter().any(|(kind, ..)| *kind >= 2);
        prop_assert!(has_links || first.iter().flatten().next().is_none(), "{:?}", first);
        prop_assert_eq!(first, differences());
    }
}
