//! The configuration directories, looked at whenever somebody asks: an answer is never older than its question, and
//! nothing has to be watched. Reading them takes some 50 µs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::list::{ListError, NetworkList, Object, OwnFolder, check_plugin};

/// What a look at the directories found.
#[derive(Debug, Default)]
pub(in crate::network) struct Scan {
    /// The file with the lowest name that can be used, and its network.
    pub(super) chosen: Option<(PathBuf, Arc<NetworkList>)>,
    /// Files before it that cannot be used; all of them if none can.
    pub(super) broken: Vec<(PathBuf, ListError)>,
    /// Directories that are not there, or cannot be read.
    pub(super) unread: Vec<(PathBuf, io::Error)>,
    /// The directories.
    directories: Vec<PathBuf>,
}

/// Looks.
pub(in crate::network) fn scan(directories: &[PathBuf]) -> Scan {
    let mut scan = Scan {
        directories: directories.to_vec(),
        ..Scan::default()
    };
    let mut files = Vec::new();
    for (position, directory) in directories.iter().enumerate() {
        match names(directory, &["conflist", "conf", "json"]) {
            Ok(names) => {
                files.extend(names.into_iter().map(|name| (name, position)));
            }
            Err(error) => scan.unread.push((directory.clone(), error)),
        }
    }
    files.sort();
    for (name, position) in files {
        let Some(directory) = directories.get(position) else {
            continue;
        };
        let path = directory.join(name);
        match read(directory, &path) {
            Ok(mut network) => {
                network.file.clone_from(&path);
                scan.chosen = Some((path, Arc::new(network)));
                break;
            }
            // Removed since it was listed.
            Err(ListError::Read(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => scan.broken.push((path, error)),
        }
    }
    scan
}

impl Scan {
    /// The network that pods are attached to.
    pub(in crate::network) fn network(&self) -> Option<Arc<NetworkList>> {
        self.chosen.as_ref().map(|(_, network)| Arc::clone(network))
    }

    /// Whether there is no configuration at all, not even a broken one.
    pub(in crate::network) fn is_empty(&self) -> bool {
        self.chosen.is_none() && self.broken.is_empty()
    }

    /// The network and its file, or why there is none, for people.
    pub(in crate::network) fn describe(&self) -> String {
        match &self.chosen {
            Some((path, network)) => format!("network {:?} of {}", network.name, path.display()),
            None => self.problem(),
        }
    }

    /// Why there is no network, for people.
    pub(in crate::network) fn problem(&self) -> String {
        if !self.broken.is_empty() {
            return format!("no usable CNI configuration: {}", self.broken_files());
        }
        let is_unread = |directory: &PathBuf| self.unread.iter().any(|(path, _)| path == directory);
        let mut parts: Vec<String> = self
            .unread
            .iter()
            .map(|(path, error)| match error.kind() {
                io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
                _ => format!("{} cannot be read: {error}", path.display()),
            })
            .collect();
        parts.extend(
            self.directories
                .iter()
                .filter(|directory| !is_unread(directory))
                .map(|directory| {
                    format!("{} has no .conflist, .conf or .json", directory.display())
                }),
        );
        format!("no CNI configuration: {}", parts.join("; "))
    }

    /// The files that cannot be used, with the reasons; empty if there are none.
    pub(in crate::network) fn broken_files(&self) -> String {
        let parts: Vec<String> = self
            .broken
            .iter()
            .map(|(path, error)| format!("{}: {}", path.display(), super::error::chain(error)))
            .collect();
        parts.join("; ")
    }
}

/// The names of the files in a directory with one of these extensions, sorted.
fn names(directory: &Path, extensions: &[&str]) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let fits = Path::new(&name)
            .extension()
            .is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted));
        // A symlink may lead to a file, as kubelet's mounts of ConfigMaps have it.
        if fits && !entry.file_type()?.is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn read(directory: &Path, path: &Path) -> Result<NetworkList, ListError> {
    let object = read_object(path)?;
    let is_list = path
        .extension()
        .is_some_and(|extension| extension == "conflist")
        || object.contains_key("plugins");
    if !is_list {
        return NetworkList::from_plugin(object);
    }
    let (mut network, folder) = NetworkList::from_list(&object)?;
    if folder == OwnFolder::Read {
        network
            .plugins
            .extend(plugins_of_folder(&directory.join(&network.name))?);
    }
    if network.plugins.is_empty() {
        return Err(ListError::NoPlugins);
    }
    Ok(network)
}

/// The plugins in the folder with the network's name (specification 1.1), sorted by file name.
fn plugins_of_folder(folder: &Path) -> Result<Vec<Object>, ListError> {
    let names = match names(folder, &["conf"]) {
        Ok(names) => names,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    names
        .iter()
        .map(|name| {
            let plugin = read_object(&folder.join(name))?;
            check_plugin(&plugin)?;
            Ok(plugin)
        })
        .collect()
}

/// Whether a text is a list that could be used.
pub(super) fn check(text: &str) -> Result<(), ListError> {
    NetworkList::from_list(&object(text.as_bytes())?).map(drop)
}

fn read_object(path: &Path) -> Result<Object, ListError> {
    object(&fs::read(path)?)
}

fn object(text: &[u8]) -> Result<Object, ListError> {
    match serde_json::from_slice(text)? {
        Value::Object(object) => Ok(object),
        _ => Err(ListError::NotAnObject {
            what: "the file".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn write(directory: &Path, name: &str, text: &str) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::File::create(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn list(name: &str) -> String {
        format!(r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{{"type":"bridge"}}]}}"#)
    }

    fn chosen(scan: &Scan) -> Option<&str> {
        scan.chosen
            .as_ref()
            .map(|(_, network)| network.name.as_str())
    }

    #[test]
    fn the_lowest_name_of_all_directories_wins_whatever_its_kind() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("1"), directory.path().join("2"));
        write(&first, "20-b.conflist", &list("b"));
        write(&second, "10-a.conf", r#"{"name":"a","type":"ptp"}"#);
        write(&first, "05-no.txt", "no");
        write(&first, "00-folder.conf/x", "no");
        let both = [first.clone(), second];
        assert_eq!(chosen(&scan(&both)), Some("a"));
        write(&first, "10-a.conf", &list("same-name"));
        assert_eq!(chosen(&scan(&both)), Some("same-name"));
    }

    #[test]
    fn broken_files_are_skipped_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "10-torn.conflist", r#"{"name":"#);
        write(directory.path(), "20-empty.conf", "");
        write(directory.path(), "30-nameless.json", r#"{"type":"ptp"}"#);
        let directories = [directory.path().to_owned()];
        let found = scan(&directories);
        assert!(!found.is_empty());
        let problem = found.problem();
        for part in [
            "no usable CNI configuration",
            "10-torn.conflist: not JSON: EOF while parsing",
            "20-empty.conf: not JSON: EOF",
            "30-nameless.json: \"name\" is missing",
        ] {
            assert!(problem.contains(part), "{part} in {problem}");
        }
        write(directory.path(), "40-good.conflist", &list("good"));
        let found = scan(&directories);
        assert_eq!(chosen(&found), Some("good"));
        assert_eq!(found.broken.len(), 3);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let found = scan(&[directory.path().to_owned(), missing.clone()]);
        assert!(found.is_empty());
        assert_eq!(
            found.problem(),
            format!(
                "no CNI configuration: {} does not exist; {} has no .conflist, .conf or .json",
                missing.display(),
                directory.path().display()
            )
        );
    }

    #[test]
    fn plugins_of_the_networks_folder_follow_the_inlined_ones() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "n/20-z.conf", r#"{"type":"z"}"#);
        write(directory.path(), "n/10-y.conf", r#"{"type":"y"}"#);
        write(directory.path(), "10-n.conflist", &list("n"));
        let directories = [directory.path().to_owned()];
        let types = |found: &Scan| -> Vec<String> {
            let network = found.network().unwrap();
            network.types().map(str::to_owned).collect()
        };
        assert_eq!(types(&scan(&directories)), ["bridge", "y", "z"]);
        write(
            directory.path(),
            "10-n.conflist",
            r#"{"name":"n","loadOnlyInlinedPlugins":true,"plugins":[{"type":"bridge"}]}"#,
        );
        assert_eq!(types(&scan(&directories)), ["bridge"]);
        write(directory.path(), "10-n.conflist", r#"{"name":"n"}"#);
        assert_eq!(types(&scan(&directories)), ["y", "z"]);
        write(directory.path(), "10-n.conflist", r#"{"name":"other"}"#);
        let found = scan(&directories);
        assert!(found.problem().contains("it names no plugin"));
    }
}
