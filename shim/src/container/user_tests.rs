//! Users and groups in databases that are as they should be, and in those that are not.

use super::*;
use rustix::fs::Mode;
use std::io::Write as _;
use std::os::fd::AsFd;
use tempfile::TempDir;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment\n\nbroken\nalice:x:1000:1001:A:/home/alice:/bin/sh\n\
                      1000:x:7:8::/seven:\nnohome:x:9:9::\n";
const GROUP: &str = "root:x:0:\nstaff:x:50:alice,bob\nextra:x:60:bob,alice\nalicent:x:70:alicent\n";

fn root(files: &[(&str, &[u8])]) -> (TempDir, OwnedFd) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("etc")).unwrap();
    for (name, content) in files {
        let path = directory.path().join("etc").join(name);
        std::fs::File::create(path)
            .unwrap()
            .write_all(content)
            .unwrap();
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let root = rustix::fs::open(directory.path(), flags, Mode::empty()).unwrap();
    (directory, root)
}

fn named(name: &str) -> User {
    User {
        name: name.into(),
        ..User::default()
    }
}

fn found(user: &User) -> Outcome<(u32, u32, String)> {
    let (_directory, root) = root(&[("passwd", PASSWD.as_bytes()), ("group", GROUP.as_bytes())]);
    resolve(root.as_fd(), user).map(|user| (user.uid, user.gid, user.home))
}

#[test]
fn names_and_numbers_are_found() {
    let table = [
        ("alice", (1000, 1001, "/home/alice")),
        ("alice:staff", (1000, 50, "/home/alice")),
        ("alice:77", (1000, 77, "/home/alice")),
        ("0", (0, 0, "/root")),
        ("5000", (5000, 0, "/")),
        ("5000:5001", (5000, 5001, "/")),
        ("", (0, 0, "/root")),
        ("alice:", (1000, 1001, "/home/alice")),
        // Not the user whose name looks like a number.
        ("1000", (1000, 1001, "/home/alice")),
        ("nohome", (9, 9, "/")),
    ];
    for (name, (uid, gid, home)) in table {
        assert_eq!(
            found(&named(name)).unwrap(),
            (uid, gid, home.to_owned()),
            "{name:?}"
        );
    }
}

#[test]
fn unknown_names_are_failures_that_name_them() {
    for (name, step) in [
        ("bob", "look up user \"bob\""),
        ("alice:wheel", "look up group \"wheel\""),
        ("-1", "look up user \"-1\""),
        ("4294967295", "look up user \"4294967295\""),
        ("broken", "look up user \"broken\""),
    ] {
        assert_eq!(found(&named(name)).unwrap_err().step, step);
    }
}

#[test]
fn a_given_group_replaces_that_of_the_database() {
    let user = User {
        gid: 42,
        gid_given: true,
        ..named("alice:staff")
    };
    assert_eq!(found(&user).unwrap().1, 42);
    let user = User {
        uid: 1000,
        gid: 42,
        ..User::default()
    };
    assert_eq!(found(&user).unwrap(), (1000, 42, "/home/alice".into()));
}

#[test]
fn memberships_are_merged_behind_the_own_group_without_repetition() {
    let (_directory, root) = root(&[("passwd", PASSWD.as_bytes()), ("group", GROUP.as_bytes())]);
    let mut user = User {
        additional_gids: vec![60, 5],
        merge_groups: true,
        ..named("alice")
    };
    assert_eq!(
        resolve(root.as_fd(), &user).unwrap().additional_gids,
        [1001, 60, 5, 50]
    );
    user.merge_groups = false;
    assert_eq!(
        resolve(root.as_fd(), &user).unwrap().additional_gids,
        [1001, 60, 5]
    );
}

#[test]
fn numbers_need_no_database() {
    let (_directory, root) = root(&[]);
    let user = resolve(root.as_fd(), &named("5:6")).unwrap();
    assert_eq!((user.uid, user.gid, user.home.as_str()), (5, 6, "/"));
    assert!(resolve(root.as_fd(), &named("alice")).is_err());
}

#[test]
fn no_name_stands_for_a_number() {
    let passwd = "1000:x:0:0::/:\n4294967296:x:0:0::/:\n4294967295:x:0:0::/:\n00:x:7:7::/:\n";
    let group = "1001:x:0:\n4294967296:x:0:\n";
    let (_directory, root) = root(&[("passwd", passwd.as_bytes()), ("group", group.as_bytes())]);
    let resolve = |name: &str| resolve(root.as_fd(), &named(name));
    let user = resolve("1000:1001").unwrap();
    assert_eq!((user.uid, user.gid), (1000, 1001));
    assert_eq!(resolve("1000").unwrap().gid, 0);
    assert_eq!(resolve("00").unwrap().uid, 0);
    for name in ["4294967296", "4294967295", "5:4294967296"] {
        assert!(resolve(name).is_err(), "{name}");
    }
}

#[test]
fn hostile_databases_do_no_harm() {
    // A line without an end, longer than any that is kept, before one that counts.
    let mut long = vec![b'a'; LINE_BYTES * 3];
    long.extend_from_slice(b"\nalice:x:1:2::/x:\nlast:x:3:4::/y:");
    let (directory, root) = root(&[("passwd", &long)]);
    assert_eq!(resolve(root.as_fd(), &named("alice")).unwrap().uid, 1);
    assert_eq!(resolve(root.as_fd(), &named("last")).unwrap().uid, 3);
    // A FIFO is not waited for.
    let path = directory.path().join("etc/passwd");
    std::fs::remove_file(&path).unwrap();
    let kind = FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, Mode::RUSR, 0).unwrap();
    assert_eq!(resolve(root.as_fd(), &named("7")).unwrap().uid, 7);
    // A link leads nowhere but below the root.
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/../../../../etc/passwd", &path).unwrap();
    assert!(resolve(root.as_fd(), &named("root")).is_err());
}
