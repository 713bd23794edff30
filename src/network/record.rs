//! One small file per sandbox with what has been done for it: appended before and after each step, so that a
//! daemon that died at any instruction knows what to remove.
//!
//! A file has one JSON object a line: the namespace's path, then the attachment *before* anything of it is made
//! ("ADD started", synced) and its host ports, then that it is complete, then that it was released. The file goes when
//! namespace and attachment are gone. A line torn by a power cut is ignored: what it announced did not survive that either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::attachment::Attachment;
use super::error::NetworkError;
use super::port::HostPort;

/// A line of a record. Unknown fields are ignored, unknown lines too: a newer daemon may have written them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// A namespace is about to be bound to this path.
    Namespace {
        /// The path.
        path: PathBuf,
    },
    /// The sandbox is about to be attached like this.
    AddStarted {
        /// What the pod is to have.
        attachment: Attachment,
        /// The interface on the node.
        host_interface: String,
    },
    /// The sandbox is about to get these host ports, or has no more of them: the last line of this kind holds.
    HostPorts {
        /// The ports.
        ports: Vec<HostPort>,
    },
    /// The attachment is complete.
    Attached,
    /// The attachment is gone and the address free.
    Released,
}

/// What the lines of a record add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The namespace's path.
    pub(super) namespace: Option<PathBuf>,
    /// The attachment and the interface on the node, from before it is made until it is released.
    pub(super) add: Option<(Attachment, String)>,
    /// How far the attachment got.
    pub(super) progress: Progress,
    /// The host ports.
    pub(super) ports: Vec<HostPort>,
}

/// How far an attachment got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Progress {
    /// Announced: any part of it may exist.
    #[default]
    Started,
    /// All of it exists.
    Complete,
}

impl Record {
    /// Adds a line.
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Namespace { path } => self.namespace = Some(path),
            Event::AddStarted {
                attachment,
                host_interface,
            } => {
                self.add = Some((attachment, host_interface));
                self.progress = Progress::Started;
            }
            Event::Attached => self.progress = Progress::Complete,
            Event::HostPorts { ports } => self.ports = ports,
            Event::Released => {
                self.add = None;
                self.ports = Vec::new();
            }
        }
    }
}

/// The directory of the records.
#[derive(Debug, Clone)]
pub(super) struct Records {
    directory: PathBuf,
}

impl Records {
    /// Opens the directory `network` of a state directory, which is made if missing.
    pub(super) fn open(state_directory: &Path) -> Result<Self, NetworkError> {
        Self::open_directory(state_directory.join("network"))
    }

    /// Opens a directory of records, which is made if missing.
    pub(super) fn open_directory(directory: PathBuf) -> Result<Self, NetworkError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|source| failed("create the directory", &directory, source))?;
        Ok(Self { directory })
    }

    /// The records below a state directory, which need not be there; nothing is made.
    pub(super) fn look(state_directory: &Path) -> Result<Vec<(String, Record)>, NetworkError> {
        let directory = state_directory.join("network");
        if !directory.exists() {
            return Ok(Vec::new());
        }
        Self { directory }.load()
    }

    /// All records by sandbox, the oldest file first.
    pub(super) fn load(&self) -> Result<Vec<(String, Record)>, NetworkError> {
        let summed = |(sandbox, events): (String, Vec<Event>)| {
            let mut record = Record::default();
            events.into_iter().for_each(|event| record.apply(event));
            (sandbox, record)
        };
        Ok(self.lines()?.into_iter().map(summed).collect())
    }

    /// The readable lines of all records by sandbox, the oldest file first.
    pub(super) fn lines<E: DeserializeOwned>(&self) -> Result<Vec<(String, Vec<E>)>, NetworkError> {
        let failed = |source| failed("list the records in", &self.directory, source);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().into_string().ok();
            // Names with a dot in front are not sandboxes'.
            let Some(sandbox) = name.filter(|name| !name.starts_with('.')) else {
                continue;
            };
            let changed = entry.metadata().and_then(|data| data.modified());
            let text = fs::read(entry.path()).map_err(failed)?;
            found.push((changed.map_err(failed)?, sandbox, text));
        }
        found.sort();
        Ok(found
            .into_iter()
            .map(|(_, sandbox, text)| {
                let events = parse(&sandbox, &text);
                (sandbox, events)
            })
            .collect())
    }

    /// Whether there is a record of the sandbox.
    pub(super) fn has(&self, sandbox: &str) -> bool {
        self.path(sandbox).exists()
    }

    /// Adds a line, which survives the death of the daemon; [`Records::sync`] makes it survive a power cut.
    pub(super) fn append(
        &self,
        sandbox: &str,
        event: &impl Serialize,
    ) -> Result<File, NetworkError> {
        let path = self.path(sandbox);
        let failed = |source| failed("write the record", &path, source);
        let mut line = serde_json::to_vec(event)
            .map_err(io::Error::from)
            .map_err(failed)?;
        line.push(b'\n');
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let before = file.metadata().map_err(failed)?.len();
        if let Err(source) = file.write_all(&line) {
            // The disk is full in the middle of a line: it must not become the start of the next one.
            if before == 0 {
                fs::remove_file(&path).map_err(failed)?;
            } else {
                file.set_len(before).map_err(failed)?;
            }
            return Err(failed(source));
        }
        Ok(file)
    }

    /// Waits until a record and its name are on the disk.
    pub(super) fn sync(&self, sandbox: &str, file: &File) -> Result<(), NetworkError> {
        let failed = |source| failed("sync the record", &self.path(sandbox), source);
        file.sync_all().map_err(failed)?;
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }

    /// Gives a record another sandbox's name, in one step.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), NetworkError> {
        let path = self.path(from);
        fs::rename(&path, self.path(to))
            .map_err(|source| failed("rename the record", &path, source))
    }

    /// Forgets a sandbox.
    pub(super) fn remove(&self, sandbox: &str) -> Result<(), NetworkError> {
        let path = self.path(sandbox);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove the record", &path, source))
            }
            _ => Ok(()),
        }
    }

    /// Removes the directory, which must be empty by now.
    pub(super) fn remove_directory(&self) -> Result<(), NetworkError> {
        match fs::remove_dir(&self.directory) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove the directory", &self.directory, source))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, sandbox: &str) -> PathBuf {
        self.directory.join(sandbox)
    }
}

fn failed(step: &'static str, path: &Path, source: io::Error) -> NetworkError {
    NetworkError::Record {
        step,
        path: path.to_owned(),
        source,
    }
}

fn parse<E: DeserializeOwned>(sandbox: &str, text: &[u8]) -> Vec<E> {
    let mut events = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(event) => events.push(event),
            Err(error) => tracing::warn!(
                sandbox,
                error = %error,
                "a line of the sandbox's network record is unreadable and ignored"
            ),
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::port::Transport;
    use super::*;

    fn attachment() -> Attachment {
        Attachment {
            interface: "eth0".to_owned(),
            address: IpAddr::V4(Ipv4Addr::new(10, 63, 0, 2)),
            prefix_length: 16,
            gateway: IpAddr::V4(Ipv4Addr::new(10, 63, 0, 1)),
            mac: "02:ca:0a:3f:00:02".to_owned(),
            ipv6: None,
        }
    }

    fn ports() -> Event {
        Event::HostPorts {
            ports: vec![HostPort {
                transport: Transport::Udp,
                host_port: 53,
                host_address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                port: 5353,
            }],
        }
    }

    fn started() -> Event {
        Event::AddStarted {
            attachment: attachment(),
            host_interface: "carpel00000001".to_owned(),
        }
    }

    #[test]
    fn a_record_is_the_sum_of_its_lines() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(directory.path()).unwrap();
        let namespace = Event::Namespace {
            path: PathBuf::from("/run/netns/carpel-a"),
        };
        records.append("a", &namespace).unwrap();
        let file = records.append("a", &started()).unwrap();
        records.sync("a", &file).unwrap();
        let found = &records.load().unwrap()[0].1;
        assert_eq!(found.progress, Progress::Started);
        records.append("a", &Event::Attached).unwrap();
        let expected = Record {
            namespace: Some(PathBuf::from("/run/netns/carpel-a")),
            add: Some((attachment(), "carpel00000001".to_owned())),
            progress: Progress::Complete,
            ports: Vec::new(),
        };
        assert_eq!(records.load().unwrap(), [("a".to_owned(), expected)]);
        records.append("a", &ports()).unwrap();
        assert_eq!(records.load().unwrap()[0].1.ports.len(), 1);
        records.append("a", &Event::Released).unwrap();
        assert_eq!(records.load().unwrap()[0].1.add, None);
        assert_eq!(records.load().unwrap()[0].1.ports, []);
        records.remove("a").unwrap();
        records.remove("a").unwrap();
        assert_eq!(records.load().unwrap(), []);
    }

    #[test]
    fn the_bytes_on_disk_are_these() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(directory.path()).unwrap();
        records.append("a", &started()).unwrap();
        records.append("a", &ports()).unwrap();
        records.append("a", &Event::Attached).unwrap();
        assert_eq!(
            fs::read_to_string(directory.path().join("network/a")).unwrap(),
            "{\"event\":\"add_started\",\"attachment\":{\"interface\":\"eth0\",\"address\":\"10.63.0.2\",\
             \"prefix_length\":16,\"gateway\":\"10.63.0.1\",\"mac\":\"02:ca:0a:3f:00:02\"},\
             \"host_interface\":\"carpel00000001\"}\n\
             {\"event\":\"host_ports\",\"ports\":[{\"transport\":\"udp\",\"host_port\":53,\
             \"host_address\":\"127.0.0.1\",\"port\":5353}]}\n{\"event\":\"attached\"}\n"
        );
    }

    #[test]
    fn a_torn_or_newer_line_is_ignored() {
        let mut text = serde_json::to_vec(&started()).unwrap();
        text.extend(b"\n{\"event\":\"of tomorrow\"}\n{\"event\":\"atta");
        assert_eq!(parse::<Event>("a", &text), [started()]);
    }

    #[test]
    fn a_full_disk_leaves_no_half_line() {
        // /dev/full accepts an open and refuses each write.
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(directory.path()).unwrap();
        std::os::unix::fs::symlink("/dev/full", directory.path().join("network/a")).unwrap();
        let error = records.append("a", &started()).unwrap_err();
        assert!(matches!(
            error.kind(),
            super::super::NetworkErrorKind::System { errno: Some(28) }
        ));
        assert_eq!(records.load().unwrap(), []);
    }
}
