//! The file that `carpel image import` sends: an archive as it is, or one made of a directory.

use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Opens what is to be sent, at its start; its length in bytes.
///
/// A directory (an OCI layout) is packed into a file without a name, which goes with its last descriptor.
pub(super) fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = if path.is_dir() {
        pack(path)?
    } else {
        File::open(path)?
    };
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn pack(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(std::env::temp_dir(), flags, Mode::RUSR | Mode::WUSR)?;
    let mut archive = tar::Builder::new(File::from(file));
    archive.append_dir_all(".", directory)?;
    let mut file = archive.into_inner()?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_directory_is_packed_with_everything_in_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("blobs")).unwrap();
        let mut blob = File::create(directory.path().join("blobs/one")).unwrap();
        blob.write_all(b"content").unwrap();
        let (file, length) = open(directory.path()).unwrap();
        assert!(length > 0);
        let mut archive = tar::Archive::new(file);
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert!(
            names.iter().any(|name| name.ends_with("blobs/one")),
            "{names:?}"
        );
    }

    #[test]
    fn a_file_is_sent_as_it_is() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"12345").unwrap();
        let (_, length) = open(file.path()).unwrap();
        assert_eq!(length, 5);
        assert!(open(Path::new("/no/such/file")).is_err());
    }
}
