//! Tests of unpacking with archives built in memory. Those that make nodes, owners or attributes need root.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sha2::Digest as _;
use tar::{EntryType, Header};

use super::*;

macro_rules! needs_root {
    () => {
        if !is_root() {
            println!("SKIP not root");
            return;
        }
    };
}

mod against_tar;
mod attributes;
mod compare;
mod entries;
mod formats;
mod inherited;
mod limits;
mod links;
mod model;
mod names;
mod streams;
mod whiteouts;

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
        let data: Vec<u8> = records
            .iter()
            .flat_map(|(key, value)| record(key, value))
            .collect();
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

/// A PAX record.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length += 1;
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// Everything below a folder, one line each: name, kind, mode, owner, time, and what is in it.
fn listing(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    list(folder, Path::new(""), &mut lines);
    lines
}

fn list(folder: &Path, name: &Path, lines: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(folder.join(name))
        .unwrap()
        .map(|entry| name.join(entry.unwrap().file_name()))
        .collect();
    entries.sort();
    for name in entries {
        let path = folder.join(&name);
        let status = fs::symlink_metadata(&path).unwrap();
        let kind = status.file_type();
        let what = if kind.is_dir() {
            "directory".to_owned()
        } else if kind.is_symlink() {
            format!("-> {:?}", fs::read_link(&path).unwrap())
        } else if kind.is_file() {
            let hash = sha2::Sha256::digest(fs::read(&path).unwrap());
            format!("{} bytes {hash:x?} {} links", status.len(), status.nlink())
        } else {
            format!("node {}", status.rdev())
        };
        lines.push(format!(
            "{name:?} {:o} {}:{} {}.{} {what}",
            status.mode(),
            status.uid(),
            status.gid(),
            status.mtime(),
            status.mtime_nsec(),
        ));
        if kind.is_dir() {
            list(folder, &name, lines);
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    let hash = sha2::Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
