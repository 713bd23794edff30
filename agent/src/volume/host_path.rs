//! Folders and files of the host, and whether they are what the volume says they are (`hostPath.type`).

use std::fs::{self, DirBuilder, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::Reason;

/// Checks a path of the host, and makes what its type says is to be made.
///
/// # Errors
/// `HostPathType` if something else is there, or nothing.
pub(super) fn set_up(path: &Path, kind: &str) -> Result<(), Reason> {
    let is: (fn(&FileType) -> bool, &str) = match kind {
        // Nothing is checked: a runtime makes a folder that is not there.
        "" => return Ok(()),
        "DirectoryOrCreate" => {
            if !exists(path)? {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(path)
                    .map_err(Reason::at("create", path))?;
            }
            (FileType::is_dir, "a directory")
        }
        "FileOrCreate" => {
            if !exists(path)? {
                OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o644)
                    .open(path)
                    .map_err(Reason::at("create", path))?;
            }
            (FileType::is_file, "a file")
        }
        "Directory" => (FileType::is_dir, "a directory"),
        "File" => (FileType::is_file, "a file"),
        "Socket" => (FileType::is_socket, "a socket file"),
        "CharDevice" => (FileType::is_char_device, "a character device"),
        "BlockDevice" => (FileType::is_block_device, "a block device"),
        _ => return Err(Reason::NoSource),
    };
    let (is, expected) = is;
    match fs::metadata(path) {
        Ok(metadata) if is(&metadata.file_type()) => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Reason::at("stat", path)(error))
        }
        _ => Err(Reason::HostPathType {
            path: path.to_owned(),
            expected,
        }),
    }
}

fn exists(path: &Path) -> Result<bool, Reason> {
    path.try_exists().map_err(Reason::at("stat", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_is_there_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let (file, socket) = (folder.path().join("file"), folder.path().join("socket"));
        fs::File::create(&file).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        let null = Path::new("/dev/null");
        let places = [
            folder.path(),
            &file,
            &socket,
            null,
            &folder.path().join("missing"),
        ];
        for (kind, good, expected) in [
            ("Directory", 0, "a directory"),
            ("File", 1, "a file"),
            ("Socket", 2, "a socket file"),
            ("CharDevice", 3, "a character device"),
            ("BlockDevice", 99, "a block device"),
        ] {
            for (index, place) in places.iter().enumerate() {
                let outcome = set_up(place, kind);
                if index == good {
                    assert!(outcome.is_ok(), "{kind} {}: {outcome:?}", place.display());
                    continue;
                }
                let message = format!(
                    "hostPath type check failed: {} is not {expected}",
                    place.display()
                );
                assert_eq!(outcome.unwrap_err().to_string(), message);
            }
        }
        assert!(set_up(&folder.path().join("missing"), "").is_ok());
    }

    #[test]
    fn what_is_not_there_is_made_if_the_type_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, file) = (folder.path().join("a/b"), folder.path().join("a/b/file"));
        for _ in 0..2 {
            set_up(&inner, "DirectoryOrCreate").unwrap();
            set_up(&file, "FileOrCreate").unwrap();
        }
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o133, 0);
        assert!(set_up(&inner, "FileOrCreate").is_err());
        assert!(set_up(&file, "DirectoryOrCreate").is_err());
        // Only the file itself is made, not its folders.
        assert!(set_up(&folder.path().join("none/file"), "FileOrCreate").is_err());
    }
}
