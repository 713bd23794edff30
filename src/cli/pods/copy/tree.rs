//! Files and folders as a tar archive, and back. What comes out of a container is not trusted: it never leaves the folder it was
//! asked for, and links and devices are left out.

use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Builder, EntryType};

/// Writes a file or a folder with all that is in it, under `name`. Links stay links.
pub(super) fn pack(path: &Path, name: &str, to: impl Write) -> io::Result<()> {
    let mut builder = Builder::new(to);
    builder.follow_symlinks(false);
    // What is named is meant, also through a link.
    let target = path.canonicalize()?;
    match target.is_dir() {
        true => builder.append_dir_all(name, &target)?,
        false => builder.append_path_with_name(&target, name)?,
    }
    builder.finish()
}

/// What was unpacked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// Files and folders.
    pub(super) count: usize,
    /// What was left out, as the archive names it.
    pub(super) left_out: Vec<String>,
}

/// Reads an archive of `name` and what is in it; `name` itself becomes `path`.
pub(super) fn unpack(from: impl Read, name: &str, path: &Path) -> io::Result<Unpacked> {
    let mut archive = Archive::new(from);
    let mut unpacked = Unpacked::default();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let own = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        let below = below(&own, name);
        let is_plain = matches!(
            kind,
            EntryType::Regular | EntryType::Continuous | EntryType::Directory
        );
        let Some(below) = below.filter(|_| is_plain) else {
            unpacked.left_out.push(own.display().to_string());
            continue;
        };
        let place = match below.as_os_str().is_empty() {
            true => path.to_owned(),
            false => path.join(below),
        };
        if kind == EntryType::Directory {
            std::fs::create_dir_all(&place)?;
        } else {
            if let Some(folder) = place.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let mut file = std::fs::File::create(&place)?;
            io::copy(&mut entry, &mut file)?;
        }
        unpacked.count += 1;
    }
    Ok(unpacked)
}

/// The path below `name`, if it is one that cannot lead out of it.
fn below(path: &Path, name: &str) -> Option<PathBuf> {
    let plain: PathBuf = path
        .components()
        .filter(|part| !matches!(part, Component::CurDir))
        .collect();
    let below = match name {
        "." => plain.as_path(),
        name => plain.strip_prefix(name).ok()?,
    };
    let is_inside = below
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    is_inside.then(|| below.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, name, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_size(u64::try_from(text.len()).unwrap());
            // `set_path` would refuse what a hostile container writes.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            if *kind == EntryType::Symlink {
                header.set_link_name("/etc").unwrap();
            }
            header.set_cksum();
            builder.append(&header, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_folder_comes_back_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir_all(source.join("deep")).unwrap();
        let mut file = fs::File::create(source.join("deep/file")).unwrap();
        file.write_all(b"text").unwrap();
        let mut packed = Vec::new();
        pack(&source, "name", &mut packed).unwrap();
        let copy = folder.path().join("copy");
        let unpacked = unpack(packed.as_slice(), "name", &copy).unwrap();
        assert_eq!(unpacked.left_out, [""; 0]);
        assert_eq!(fs::read_to_string(copy.join("deep/file")).unwrap(), "text");

        let mut packed = Vec::new();
        pack(&source.join("deep/file"), "other", &mut packed).unwrap();
        let file = folder.path().join("file");
        assert_eq!(unpack(packed.as_slice(), "other", &file).unwrap().count, 1);
        assert_eq!(fs::read_to_string(file).unwrap(), "text");
    }

    #[test]
    fn what_a_container_sends_stays_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        let sent = archive(&[
            (EntryType::Directory, "name", ""),
            (EntryType::Regular, "name/good", "good"),
            (EntryType::Regular, "name/../../up", "bad"),
            (EntryType::Regular, "/name/root", "bad"),
            (EntryType::Regular, "names", "bad"),
            (EntryType::Symlink, "name/link", ""),
            (EntryType::Fifo, "name/pipe", ""),
        ]);
        let unpacked = unpack(sent.as_slice(), "name", &place).unwrap();
        assert_eq!(
            unpacked.left_out,
            [
                "name/../../up",
                "/name/root",
                "names",
                "name/link",
                "name/pipe"
            ]
        );
        let names = |path: &Path| -> Vec<_> {
            let entries = fs::read_dir(path).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(names(folder.path()), ["place"]);
        assert_eq!(names(&place), ["good"]);
    }
}
