//! Ordinary archives of every format, against GNU tar: the same bytes must become the same files.

use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use super::*;

fn run(arguments: &[&str]) -> bool {
    let output = Command::new("tar").args(arguments).output();
    let Ok(output) = output else {
        println!("SKIP no GNU tar");
        return false;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tar {arguments:?}: {errors}");
    true
}

/// A folder with one of everything that tar can hold.
fn specimen(folder: &Path) {
    let long = format!("{}/{}", "l".repeat(90), "m".repeat(120));
    fs::create_dir_all(folder.join("empty")).unwrap();
    fs::create_dir_all(folder.join(Path::new(&long).parent().unwrap())).unwrap();
    fs::create_dir(folder.join("private")).unwrap();
    let files: [(&[u8], usize); 7] = [
        (b"plain", 12),
        (b"private/block", 512),
        (b"private/more", 70_000),
        (b"nothing", 0),
        (b"\xff not \n utf-8", 3),
        (b".hidden", 1),
        (long.as_bytes(), 5),
    ];
    for (name, length) in files {
        let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
        let mut file = File::create(folder.join(std::ffi::OsStr::from_bytes(name))).unwrap();
        file.write_all(&bytes).unwrap();
    }
    symlink("plain", folder.join("link")).unwrap();
    symlink("/absolute/and/missing", folder.join("dangling")).unwrap();
    symlink("t".repeat(150), folder.join("far")).unwrap();
    fs::hard_link(folder.join("plain"), folder.join("second name")).unwrap();
    fs::set_permissions(folder.join("plain"), fs::Permissions::from_mode(0o6751)).unwrap();
    fs::set_permissions(folder.join("private"), fs::Permissions::from_mode(0o1700)).unwrap();
    let sparse = File::create(folder.join("sparse")).unwrap();
    for (offset, text) in [(40_960, "first"), (400_000, "second"), (3_000_000, "third")] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, text.as_bytes(), offset).unwrap();
    }
    sparse.set_len(5_000_000).unwrap();
    let hole = File::create(folder.join("hole")).unwrap();
    hole.set_len(1_000_000).unwrap();
    std::os::unix::fs::chown(folder.join("private/more"), Some(70_000), Some(2_000_000)).unwrap();
}

#[test]
fn root_archives_of_gnu_tar_become_the_same_files() {
    needs_root!();
    let source = tempfile::tempdir().unwrap();
    specimen(source.path());
    let folder = source.path().to_str().unwrap();
    for options in [
        &["--format=gnu"][..],
        &["--format=gnu", "--sparse"],
        &["--format=oldgnu", "--sparse"],
        &["--format=posix"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        &["--format=posix", "--xattrs", "--acls"],
        &["--format=ustar", "--exclude=l*", "--exclude=far"],
        &[
            "--format=v7",
            "--exclude=l*",
            "--exclude=far",
            "--exclude=more",
        ],
    ] {
        let work = tempfile::tempdir().unwrap();
        let archive = work.path().join("archive.tar");
        let archive_name = archive.to_str().unwrap();
        let packing = [
            &[
                "--create",
                "--sort=name",
                "--numeric-owner",
                "--file",
                archive_name,
            ],
            options,
            &["--directory", folder, "."],
        ];
        if !run(&packing.concat()) {
            return;
        }
        let expected = tempfile::tempdir().unwrap();
        let into = expected.path().to_str().unwrap();
        run(&[
            "--extract",
            "--preserve-permissions",
            "--numeric-owner",
            "--file",
            archive_name,
            "--directory",
            into,
        ]);
        let target = Target::new();
        let bytes = fs::read(&archive).unwrap();
        target.unpack(&bytes).unwrap();
        let (found, expected) = (listing(&target.path("")), listing(expected.path()));
        assert!(found.len() > 10, "{options:?}");
        assert_eq!(found, expected, "{options:?}");
    }
}
