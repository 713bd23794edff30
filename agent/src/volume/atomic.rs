//! A folder of files that changes as a whole, as the kubelet's `AtomicWriter` does it: a reader sees all old files or all new
//! ones, and never half a file.
//!
//! ```text
//! user          -> ..data/user            what containers open; a link for each first part of a path
//! ..data        -> ..2026_11_26_18_00_00.123456789
//! ..2026_11_26_18_00_00.123456789/user    the files of one version
//! ```
//!
//! A new version is written beside the old one, `..data` is swapped by rename, and the old one is removed. Containers have
//! such volumes read-only, so nothing in the folder was put there by them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use k8s_openapi::jiff::Timestamp;

use super::Reason;

/// The link to the version that counts.
const DATA: &str = "..data";
/// The link that is about to take its place.
const DATA_NEW: &str = "..data_tmp";
/// How names begin that are no keys: validation refuses such keys.
const HIDDEN: &str = "..";

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Its permissions.
    pub(super) mode: u32,
    /// Its owner, if it is not root.
    pub(super) owner: Option<u32>,
}

/// The files of a volume by their paths in it.
pub(super) type Payload = BTreeMap<String, Content>;

/// Whether a volume was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It has new files.
    Changed,
    /// It said all this already: nothing was touched.
    Unchanged,
}

/// Makes the files of `folder` be `payload`. `own` is called when new files are written and not yet seen; `own_bits` is what it
/// adds to their permissions.
///
/// # Errors
/// A path that leads out of the folder, and what the file system refuses; the old files are then still there.
pub(super) fn write(
    folder: &Path,
    payload: &Payload,
    own_bits: u32,
    own: impl FnOnce(&Path) -> Result<(), Reason>,
) -> Result<Written, Reason> {
    for path in payload.keys() {
        check(path)?;
    }
    let current = current_version(folder);
    if let Some(current) = &current
        && is_same(&folder.join(current), payload, own_bits)
    {
        // A link may be missing if the last writer died after its swap.
        link_visible(folder, payload)?;
        remove_stale(folder, payload, current)?;
        return Ok(Written::Unchanged);
    }
    let version = new_version(folder)?;
    write_version(&folder.join(&version), payload)?;
    own(folder)?;
    link_visible(folder, payload)?;
    swap(folder, &version)?;
    remove_stale(folder, payload, &version)?;
    Ok(Written::Changed)
}

/// Whether a version was written and is there.
pub(super) fn is_written(folder: &Path) -> bool {
    folder.join(DATA).is_dir()
}

/// Paths are relative, without `..`, and their first part does not begin with `..`.
fn check(path: &str) -> Result<(), Reason> {
    let is_plain = Path::new(path)
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    match is_plain && !path.is_empty() && !path.starts_with(HIDDEN) {
        true => Ok(()),
        false => Err(Reason::Path(path.to_owned())),
    }
}

fn current_version(folder: &Path) -> Option<String> {
    let target = fs::read_link(folder.join(DATA)).ok()?;
    let name = target.to_str()?.to_owned();
    name.starts_with(HIDDEN).then_some(name)
}

/// Whether a version has these files, no others, and with these permissions.
fn is_same(version: &Path, payload: &Payload, own_bits: u32) -> bool {
    let mut found = BTreeSet::new();
    if files_below(version, Path::new(""), &mut found).is_err() || found.len() != payload.len() {
        return false;
    }
    payload.iter().all(|(path, content)| {
        let file = version.join(path);
        let has_mode = fs::symlink_metadata(&file).is_ok_and(|metadata| {
            metadata.is_file() && metadata.permissions().mode() & 0o7777 == content.mode | own_bits
        });
        has_mode && fs::read(&file).is_ok_and(|bytes| bytes == content.bytes)
    })
}

fn files_below(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => files_below(root, &path, found)?,
            false => drop(found.insert(path)),
        }
    }
    Ok(())
}

/// An empty folder for a version, named after the time.
fn new_version(folder: &Path) -> Result<String, Reason> {
    let mut attempt = Timestamp::now();
    loop {
        let name = format!("..{}", attempt.strftime("%Y_%m_%d_%H_%M_%S.%9f"));
        let path = folder.join(&name);
        match DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => {
                set_mode(&path, 0o755)?;
                return Ok(name);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                attempt = Timestamp::now();
            }
            Err(source) => return Err(Reason::at("create", path)(source)),
        }
    }
}

fn write_version(version: &Path, payload: &Payload) -> Result<(), Reason> {
    for (path, content) in payload {
        let file = version.join(path);
        create_ancestors(version, Path::new(path))?;
        // Private until it is whole: the mode may be wider than what the owner should see of half a file.
        let mut writer = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)
            .map_err(Reason::at("create", &file))?;
        writer
            .write_all(&content.bytes)
            .map_err(Reason::at("write", &file))?;
        if content.owner.is_some() {
            chown(&file, content.owner, None).map_err(Reason::at("chown", &file))?;
        }
        set_mode(&file, content.mode)?;
    }
    Ok(())
}

fn create_ancestors(version: &Path, path: &Path) -> Result<(), Reason> {
    let mut folder = version.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        match DirBuilder::new().mode(0o755).create(&folder) {
            Ok(()) => set_mode(&folder, 0o755)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Reason::at("create", folder)(source)),
        }
    }
    Ok(())
}

/// Whatever the umask is.
fn set_mode(path: &Path, mode: u32) -> Result<(), Reason> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Reason::at("chmod", path))
}

/// A link for each first part of a path, through `..data`.
fn link_visible(folder: &Path, payload: &Payload) -> Result<(), Reason> {
    for name in visible(payload) {
        let link = folder.join(&name);
        let target = Path::new(DATA).join(&name);
        match symlink(&target, &link) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Reason::at("link", link)(source)),
        }
    }
    Ok(())
}

fn swap(folder: &Path, version: &str) -> Result<(), Reason> {
    let new = folder.join(DATA_NEW);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Reason::at("remove", new)(error));
        }
        _ => {}
    }
    symlink(version, &new).map_err(Reason::at("link", &new))?;
    fs::rename(&new, folder.join(DATA)).map_err(Reason::at("rename", &new))
}

/// Removes links to what is no more, and every version but the one that counts, also those that a dead writer left.
fn remove_stale(folder: &Path, payload: &Payload, version: &str) -> Result<(), Reason> {
    let visible = visible(payload);
    let entries = fs::read_dir(folder).map_err(Reason::at("read", folder))?;
    for entry in entries {
        let entry = entry.map_err(Reason::at("read", folder))?;
        let name = entry.file_name();
        let is_kept = name == DATA
            || name == version
            || name.to_str().is_some_and(|name| visible.contains(name));
        if is_kept {
            continue;
        }
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = match is_folder {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.map_err(Reason::at("remove", path))?;
    }
    Ok(())
}

fn visible(payload: &Payload) -> BTreeSet<String> {
    let first = |path: &String| path.split('/').next().unwrap_or_default().to_owned();
    payload.keys().map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::MetadataExt;

    fn content(text: &str) -> Content {
        Content {
            bytes: text.as_bytes().to_vec(),
            mode: 0o644,
            owner: None,
        }
    }

    fn payload(files: &[(&str, &str)]) -> Payload {
        let files = files.iter();
        files
            .map(|(path, text)| ((*path).to_owned(), content(text)))
            .collect()
    }

    fn put(folder: &Path, payload: &Payload) -> Written {
        write(folder, payload, 0, |_| Ok(())).unwrap()
    }

    /// What a container sees: paths that do not begin with two dots, through the links.
    fn seen(folder: &Path) -> BTreeMap<String, String> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(folder).unwrap() {
            let name = PathBuf::from(entry.unwrap().file_name());
            if name.to_str().unwrap().starts_with(HIDDEN) {
                continue;
            }
            match fs::metadata(folder.join(&name)).unwrap().is_dir() {
                true => files_below(folder, &name, &mut found).unwrap(),
                false => drop(found.insert(name)),
            }
        }
        let text = |path: &PathBuf| fs::read_to_string(folder.join(path)).unwrap();
        found
            .iter()
            .map(|path| (path.to_str().unwrap().to_owned(), text(path)))
            .collect()
    }

    fn versions(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir())
            .count()
    }

    #[test]
    fn files_are_seen_through_the_links() {
        let folder = tempfile::tempdir().unwrap();
        let files = payload(&[
            ("user", "admin"),
            ("deep/er/pass", "x"),
            ("deep/other", "y"),
        ]);
        assert_eq!(put(folder.path(), &files), Written::Changed);
        let link = |name: &str| fs::read_link(folder.path().join(name)).unwrap();
        assert_eq!(link("user"), Path::new("..data/user"));
        assert_eq!(link("deep"), Path::new("..data/deep"));
        assert!(link("..data").to_str().unwrap().starts_with("..2"));
        assert_eq!(
            seen(folder.path()),
            [
                ("user", "admin"),
                ("deep/er/pass", "x"),
                ("deep/other", "y")
            ]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into()
        );
    }

    #[test]
    fn what_did_not_change_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let files = payload(&[("user", "admin")]);
        put(folder.path(), &files);
        let inode = || fs::metadata(folder.path().join("user")).unwrap().ino();
        let before = inode();
        assert_eq!(put(folder.path(), &files), Written::Unchanged);
        assert_eq!(inode(), before);
        assert_eq!(
            put(folder.path(), &payload(&[("user", "root")])),
            Written::Changed
        );
        assert_ne!(inode(), before);
        assert_eq!(versions(folder.path()), 1);
    }

    #[test]
    fn another_mode_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = payload(&[("run", "x")]);
        put(folder.path(), &files);
        files.get_mut("run").unwrap().mode = 0o755;
        assert_eq!(put(folder.path(), &files), Written::Changed);
        let mode = fs::metadata(folder.path().join("run")).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }

    #[test]
    fn what_a_dead_writer_left_is_cleaned_up() {
        let folder = tempfile::tempdir().unwrap();
        let files = payload(&[("user", "admin")]);
        put(folder.path(), &files);
        // It died before the swap, and another one after it, before the links.
        fs::create_dir(folder.path().join("..2020_01_01_00_00_00.000000001")).unwrap();
        symlink("nowhere", folder.path().join(DATA_NEW)).unwrap();
        symlink("..data/old", folder.path().join("old")).unwrap();
        fs::remove_file(folder.path().join("user")).unwrap();
        assert_eq!(put(folder.path(), &files), Written::Unchanged);
        assert_eq!(seen(folder.path()).len(), 1);
        assert_eq!(versions(folder.path()), 1);
        assert!(fs::symlink_metadata(folder.path().join(DATA_NEW)).is_err());
    }

    #[test]
    fn a_version_that_cannot_be_owned_is_not_seen() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), &payload(&[("user", "admin")]));
        let refused = write(folder.path(), &payload(&[("user", "root")]), 0, |path| {
            Err(Reason::TooDeep(path.to_owned()))
        });
        assert!(matches!(refused, Err(Reason::TooDeep(_))));
        assert_eq!(seen(folder.path())["user"], "admin");
    }

    #[test]
    fn paths_stay_below_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "..data",
            "..x",
            "./a",
            "a/..",
        ] {
            let files = payload(&[(path, "x")]);
            let refused = write(folder.path(), &files, 0, |_| Ok(()));
            assert!(matches!(refused, Err(Reason::Path(_))), "{path}");
        }
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    fn payloads() -> impl Strategy<Value = Vec<BTreeMap<String, String>>> {
        let files = prop::collection::btree_map("(a|b|c/x|c/y|d/e/f)", "[xy]{0,3}", 0..5);
        prop::collection::vec(files, 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_folder_is_what_was_written_last(payloads in payloads()) {
            let folder = tempfile::tempdir().unwrap();
            let mut before = None;
            for files in payloads {
                let payload = files.iter().map(|(path, text)| (path.clone(), content(text))).collect();
                let written = put(folder.path(), &payload);
                prop_assert_eq!(written == Written::Unchanged, before.as_ref() == Some(&files));
                prop_assert_eq!(&seen(folder.path()), &files);
                prop_assert_eq!(versions(folder.path()), 1);
                before = Some(files);
            }
        }
    }
}
