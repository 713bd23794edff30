//! The unpacked layers: a directory each, by chain id.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sync::{Mark, SharedSync};
use super::trash::Trash;
use super::usage::{measure, measure_one};
use super::{ChainId, SnapshotError, Usage};

/// How the directories of layers that are being unpacked begin.
const STAGING: &str = ".new-";

/// The file beside a layer's directory that says what it is.
const RECORD: &str = "layer.json";

/// The unpacked layers.
#[derive(Debug)]
pub(super) struct Layers {
    folder: PathBuf,
    /// Open from the first layer on: so no error of writing goes by unnoticed.
    open_folder: File,
    trash: Trash,
    /// Of the file system.
    contents: SharedSync,
    /// Of the folder.
    names: SharedSync,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    layers: HashMap<ChainId, Layer>,
    /// Those in whose place another one came.
    retired: HashSet<Retired>,
}

/// A layer in whose place another one of the same chain came, while containers may use its files still.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Retired {
    /// The chain.
    pub chain_id: ChainId,
    number: u64,
}

#[derive(Debug, Clone, Copy)]
struct Layer {
    number: u64,
    usage: Usage,
}

/// `layer.json`; `docs/state-on-disk.md` describes it.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    chain_id: ChainId,
    bytes: u64,
    inodes: u64,
}

/// The version of [`Record`] that is written and read.
const RECORD_VERSION: u32 = 1;

impl Layers {
    /// Reads what is there and discards what is not whole.
    pub(super) fn open(folder: PathBuf, trash: Trash) -> Result<Arc<Self>, SnapshotError> {
        let prepare = |path: &Path| {
            let path = path.to_owned();
            |source| SnapshotError::Prepare { path, source }
        };
        fs::create_dir_all(&folder).map_err(prepare(&folder))?;
        let open_folder = File::open(&folder).map_err(prepare(&folder))?;
        let mut table = Table::default();
        for entry in fs::read_dir(&folder).map_err(prepare(&folder))? {
            let entry = entry.map_err(prepare(&folder))?;
            let name = entry.file_name();
            let number = name.to_string_lossy().parse::<u64>();
            if let Ok(number) = number {
                table.next = table.next.max(number.saturating_add(1));
            }
            match (number, read_record(&entry.path())) {
                (Ok(number), Ok(record)) => {
                    let usage = Usage {
                        bytes: record.bytes,
                        inodes: record.inodes,
                    };
                    table.insert(record.chain_id, Layer { number, usage });
                }
                (_, outcome) => {
                    let reason = outcome.err().map(|error| error.to_string());
                    tracing::info!(path = %entry.path().display(), reason, "an unfinished layer is discarded");
                    trash
                        .discard(&entry.path())
                        .map_err(prepare(&entry.path()))?;
                }
            }
        }
        Ok(Arc::new(Self {
            folder,
            open_folder,
            trash,
            contents: SharedSync::default(),
            names: SharedSync::default(),
            table: Mutex::new(table),
        }))
    }

    pub(super) fn path(&self, chain_id: &ChainId) -> Option<PathBuf> {
        let layer = *self.lock().layers.get(chain_id)?;
        Some(self.path_of(layer.number))
    }

    pub(super) fn chain_ids(&self) -> Vec<ChainId> {
        self.lock().layers.keys().cloned().collect()
    }

    pub(super) fn usage_of(&self, chain_id: &ChainId) -> Option<Usage> {
        Some(self.lock().layers.get(chain_id)?.usage)
    }

    /// What the folder takes: finished layers by their records, others by walking them.
    pub(super) fn usage(&self) -> Result<Usage, SnapshotError> {
        let unreadable = |source| SnapshotError::Prepare {
            path: self.folder.clone(),
            source,
        };
        let recorded: HashMap<String, Usage> = self
            .lock()
            .layers
            .values()
            .map(|layer| (layer.number.to_string(), layer.usage))
            .collect();
        let mut usage = measure_one(&self.folder).map_err(unreadable)?;
        for entry in fs::read_dir(&self.folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            let one = match recorded.get(&*entry.file_name().to_string_lossy()) {
                Some(layer) => measure_one(&path).and_then(|directory| {
                    let mut usage = measure_one(&path.join(RECORD))?;
                    usage += directory;
                    usage += *layer;
                    Ok(usage)
                }),
                None => measure(&path),
            };
            match one {
                Ok(one) => usage += one,
                // Committed or discarded since the folder was read.
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(unreadable(source)),
            }
        }
        Ok(usage)
    }

    /// Whether the directory of a layer and its record are still there.
    pub(super) fn check(&self, chain_id: &ChainId) -> Result<(), SnapshotError> {
        let missing = || SnapshotError::Missing {
            chain_id: chain_id.clone(),
        };
        let path = self.path(chain_id).ok_or_else(missing)?;
        let directory = path.parent().unwrap_or(&path);
        let damaged = |source| SnapshotError::Damaged {
            chain_id: chain_id.clone(),
            source,
        };
        let record = read_record(directory).map_err(damaged)?;
        match (record.chain_id == *chain_id, path.is_dir()) {
            (true, true) => Ok(()),
            (false, _) => Err(damaged(io::ErrorKind::InvalidData.into())),
            (true, false) => Err(missing()),
        }
    }

    /// Discards layers with another number of files than they were recorded with, among those that were recorded at
    /// most so long before the last one.
    pub(super) fn discard_incomplete(&self, recent: Duration) -> Result<(), SnapshotError> {
        let layers: Vec<_> = {
            let table = self.lock();
            let numbers = table.layers.iter();
            numbers
                .map(|(chain_id, layer)| (chain_id.clone(), *layer))
                .collect()
        };
        let time = |layer: &Layer| {
            let record = self.folder.join(layer.number.to_string()).join(RECORD);
            fs::metadata(record).and_then(|metadata| metadata.modified())
        };
        let times = layers.iter().filter_map(|(_, layer)| time(layer).ok());
        let Some(last) = times.max() else {
            return Ok(());
        };
        for (chain_id, layer) in layers {
            let is_recent = time(&layer).map_or(true, |time| {
                last.duration_since(time).unwrap_or_default() <= recent
            });
            let is_whole = !is_recent
                || measure(&self.path_of(layer.number))
                    .is_ok_and(|usage| usage.inodes == layer.usage.inodes);
            if !is_whole {
                tracing::warn!(%chain_id, "a layer that lacks files is discarded");
                self.remove(&chain_id)?;
            }
        }
        Ok(())
    }

    pub(super) fn retired(&self) -> Vec<Retired> {
        self.lock().retired.iter().cloned().collect()
    }

    pub(super) fn remove_retired(&self, retired: &Retired) -> Result<(), SnapshotError> {
        if !self.lock().retired.remove(retired) {
            return Ok(());
        }
        self.discard(retired.number, &retired.chain_id)
    }

    fn discard(&self, number: u64, chain_id: &ChainId) -> Result<(), SnapshotError> {
        self.trash
            .discard(&self.folder.join(number.to_string()))
            .map_err(|source| SnapshotError::Remove {
                chain_id: chain_id.clone(),
                source,
            })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn stage(self: &Arc<Self>, chain_id: &ChainId) -> Result<Staging, SnapshotError> {
        let number = {
            let mut table = self.lock();
            table.next += 1;
            table.next - 1
        };
        let directory = self.folder.join(format!("{STAGING}{number}"));
        let staging = Staging {
            layers: Arc::clone(self),
            marks: (self.contents.mark(), self.names.mark()),
            chain_id: chain_id.clone(),
            number,
            path: directory.join("fs"),
            directory,
        };
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&staging.directory)
            .and_then(|()| fs::DirBuilder::new().mode(0o755).create(&staging.path))
            .map_err(|source| SnapshotError::Prepare {
                path: staging.path.clone(),
                source,
            })?;
        Ok(staging)
    }

    pub(super) fn remove(&self, chain_id: &ChainId) -> Result<(), SnapshotError> {
        let Some(layer) = self.lock().layers.remove(chain_id) else {
            return Ok(());
        };
        self.discard(layer.number, chain_id)
    }

    fn path_of(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string()).join("fs")
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Of two layers of one chain the later one counts: it was made to replace the other.
    fn insert(&mut self, chain_id: ChainId, layer: Layer) {
        let other = match self.layers.get(&chain_id) {
            Some(present) if present.number > layer.number => layer,
            _ => match self.layers.insert(chain_id.clone(), layer) {
                Some(replaced) => replaced,
                None => return,
            },
        };
        let number = other.number;
        self.retired.insert(Retired { chain_id, number });
    }
}

/// A layer that is being unpacked. Dropped without a successful [`Staging::commit`], it goes to the trash; until then its
/// files stay, whatever came of the commit.
#[derive(Debug)]
pub struct Staging {
    layers: Arc<Layers>,
    /// When the contents and the name were begun.
    marks: (Mark, Mark),
    chain_id: ChainId,
    number: u64,
    directory: PathBuf,
    path: PathBuf,
}

impl Staging {
    /// The empty directory to unpack into.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the layer durable and visible, and returns where it is. If the same chain was committed meanwhile, that
    /// one stays and this one is discarded. Blocks for as long as the disk needs to write the layer.
    ///
    /// # Errors
    /// `Commit` by the step that the file system refused; nothing is visible then.
    pub fn commit(&self) -> Result<PathBuf, SnapshotError> {
        match self.layers.path(&self.chain_id) {
            Some(path) => Ok(path),
            None => self.make_visible(Presence::Stays),
        }
    }

    /// As [`Staging::commit`], but in the place of a layer of the same chain that is there. The files of that one stay
    /// until [`Snapshots::remove_retired`](super::Snapshots::remove_retired): containers may use them.
    ///
    /// # Errors
    /// As [`Staging::commit`].
    pub fn replace(&self) -> Result<PathBuf, SnapshotError> {
        self.make_visible(Presence::IsReplaced)
    }

    fn make_visible(&self, present: Presence) -> Result<PathBuf, SnapshotError> {
        let chain_id = &self.chain_id;
        let refused = |step| {
            move |source| SnapshotError::Commit {
                chain_id: chain_id.clone(),
                step,
                source,
            }
        };
        let usage = measure(&self.path).map_err(refused("measure"))?;
        let record = Record {
            version: RECORD_VERSION,
            chain_id: self.chain_id.clone(),
            bytes: usage.bytes,
            inodes: usage.inodes,
        };
        write_record(&self.directory, &record).map_err(refused("record"))?;
        let layers = &self.layers;
        let (contents, names) = self.marks;
        // One call for tens of thousands of files (syncfs(2) reports errors of writing since Linux 5.8).
        let sync_contents = || Ok(rustix::fs::syncfs(&layers.open_folder)?);
        let synced = layers.contents.run(contents, sync_contents);
        synced.map_err(refused("sync"))?;
        let number = self.number;
        let mut table = layers.lock();
        if let (Presence::Stays, Some(layer)) = (present, table.layers.get(&self.chain_id)) {
            return Ok(layers.path_of(layer.number));
        }
        fs::rename(&self.directory, layers.folder.join(number.to_string()))
            .map_err(refused("rename"))?;
        table.insert(self.chain_id.clone(), Layer { number, usage });
        drop(table);
        let synced = layers.names.run(names, || layers.open_folder.sync_all());
        synced.map_err(refused("sync"))?;
        Ok(layers.path_of(number))
    }
}

/// What happens to a layer of the same chain that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Stays,
    IsReplaced,
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a commit there is nothing at this place any more.
        if let Err(error) = self.layers.trash.discard(&self.directory) {
            tracing::warn!(path = %self.directory.display(), %error, "an unfinished layer stays until the next start");
        }
    }
}

fn write_record(directory: &Path, record: &Record) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(directory.join(RECORD))?;
    file.write_all(&serde_json::to_vec(record)?)
}

fn read_record(directory: &Path) -> io::Result<Record> {
    let record: Record = serde_json::from_slice(&fs::read(directory.join(RECORD))?)?;
    match record.version {
        RECORD_VERSION => Ok(record),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}
