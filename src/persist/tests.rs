//! Tests of replacements and records on a temporary folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_replaced_file_holds_the_new_bytes_and_leaves_no_temporary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pod.json");
    for (bytes, durability) in [
        (b"one".as_slice(), Durability::Live),
        (b"two", Durability::Rename),
        (b"three", Durability::Synced),
        (b"four", Durability::Live),
    ] {
        replace(&path, bytes, durability).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
}

#[test]
fn a_reader_of_a_live_file_sees_the_old_bytes_or_the_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    let versions = [b"a".repeat(5000), b"b".repeat(7000)];
    replace(&path, &versions[0], Durability::Live).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..500 {
                replace(&path, &versions[round % 2], Durability::Live).unwrap();
            }
        });
        for _ in 0..500 {
            let found = fs::read(&path).unwrap();
            assert!(versions.contains(&found), "{} bytes", found.len());
        }
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_missing_folder_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = replace(&folder.path().join("gone/a"), b"", Durability::Rename).unwrap_err();
    assert!(matches!(error, PersistError::Create { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn a_refused_rename_keeps_the_target_and_removes_the_temporary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("busy");
    fs::create_dir_all(path.join("child")).unwrap();
    let error = replace(&path, b"x", Durability::Rename).unwrap_err();
    assert!(matches!(error, PersistError::Rename { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn records_are_read_back_and_missing_ones_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    assert_eq!(read_json::<Vec<u32>>(&path).unwrap(), None);
    write_json(&path, &vec![1, 2], Durability::Rename).unwrap();
    assert_eq!(read_json::<Vec<u32>>(&path).unwrap(), Some(vec![1, 2]));
}

#[test]
fn a_torn_record_is_reported_as_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    for torn in ["", "[1,", "{\"other\":1}", "\0\0\0"] {
        replace(&path, torn.as_bytes(), Durability::Rename).unwrap();
        let error = read_json::<Vec<u32>>(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Torn, "{torn:?}");
    }
}

#[test]
fn listing_records_removes_what_a_killed_replacement_left() {
    let folder = tempfile::tempdir().unwrap();
    replace(&folder.path().join("b.json"), b"1", Durability::Rename).unwrap();
    replace(&folder.path().join("a.json"), b"1", Durability::Rename).unwrap();
    replace(&folder.path().join("note.txt"), b"", Durability::Rename).unwrap();
    fs::File::create(folder.path().join(".c.json.7-0.tmp")).unwrap();
    let names: Vec<_> = record_paths(folder.path())
        .unwrap()
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["a.json", "b.json"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    assert!(
        record_paths(&folder.path().join("none"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn removing_twice_is_fine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    replace(&path, b"", Durability::Rename).unwrap();
    remove(&path).unwrap();
    remove(&path).unwrap();
    assert!(!path.exists());
}
