//! A whole run: images, registries, and the turns of everyone who is measured.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::arguments::{Address, Arguments, Kind};
use super::client::Client;
use super::error::{self, BenchError};
use super::floor;
use super::picture::{self, Picture};
use super::process;
use super::registry;
use super::report::{Contender, Report, Table};

/// How long a removed image may take to be gone: containerd collects some time after the removal.
const GONE_MAX: Duration = Duration::from_secs(60);

/// What a daemon may keep of a removed image: its database.
const KEPT_BYTES_MAX: u64 = 4 << 20;

/// An endpoint with its registry.
struct Subject {
    name: String,
    root: PathBuf,
    client: Client,
    registry: SocketAddr,
}

/// What one turn took.
pub(crate) struct Turn {
    pub(crate) wall: Duration,
    pub(crate) processor: Duration,
    /// Not of the bare program, which is this process.
    pub(crate) peak_kib: Option<u64>,
}

/// Makes the images where they are missing, and measures.
pub(crate) fn run(arguments: &Arguments) -> Result<Report, BenchError> {
    let kinds = match arguments.only {
        Some(kind) => vec![kind],
        None => vec![Kind::Large, Kind::Small],
    };
    let pictures = kinds
        .into_iter()
        .map(|kind| picture::ensure(&arguments.images, kind))
        .collect::<Result<Vec<_>, _>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Runtime)?;
    let mut subjects = Vec::new();
    for address in &arguments.endpoint {
        subjects.push(runtime.block_on(subject(address, &pictures))?);
    }
    let mut tables = Vec::new();
    for picture in &pictures {
        let rounds = measure(picture, &mut subjects, arguments);
        tables.push(runtime.block_on(rounds)?);
    }
    let versions = subjects
        .iter()
        .map(|subject| (subject.name.clone(), subject.client.runtime.clone()))
        .collect();
    Ok(Report { versions, tables })
}

async fn subject(address: &Address, pictures: &[Picture]) -> Result<Subject, BenchError> {
    let client = Client::connect(address).await?;
    Ok(Subject {
        name: address.name.clone(),
        root: address.root.clone(),
        registry: registry::serve(client.daemon_pid, pictures.to_vec())?,
        client,
    })
}

async fn measure(
    picture: &Picture,
    subjects: &mut [Subject],
    arguments: &Arguments,
) -> Result<Table, BenchError> {
    let mut table = Table {
        image: picture.kind.name(),
        layers: picture.layers.len(),
        compressed_bytes: picture
            .layers
            .iter()
            .map(|layer| layer.compressed_bytes)
            .sum(),
        floor: Contender::new("bare program"),
        endpoints: subjects
            .iter()
            .map(|subject| Contender::new(&subject.name))
            .collect(),
    };
    for layer in &picture.layers {
        let read =
            File::open(&layer.blob).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
        read.map_err(error::file("read", &layer.blob))?;
    }
    for round in 1..=arguments.rounds {
        settle(&arguments.scratch)?;
        let floor = floor::run(picture, &arguments.scratch)?;
        say(picture, round, "bare program", &floor);
        for (subject, contender) in subjects.iter_mut().zip(&mut table.endpoints) {
            let turn = pull(subject, picture).await?;
            say(picture, round, &subject.name, &turn);
            contender.add(&turn, &floor);
        }
        table.floor.add(&floor, &floor);
    }
    Ok(table)
}

/// A run takes minutes: whoever waits sees that it goes on.
fn say(picture: &Picture, round: usize, who: &str, turn: &Turn) {
    let image = picture.kind.name();
    let (wall, processor) = (turn.wall.as_secs_f64(), turn.processor.as_secs_f64());
    // With stderr closed nobody waits.
    writeln!(
        io::stderr(),
        "{image} {round}: {who:<14}{wall:6.2} s, CPU {processor:6.2} s"
    )
    .unwrap_or_default();
}

async fn pull(subject: &mut Subject, picture: &Picture) -> Result<Turn, BenchError> {
    let reference = format!("{}/bench/{}:1", subject.registry, picture.kind.name());
    let before_bytes = allocated(&subject.root);
    settle(&subject.root)?;
    let pid = subject.client.daemon_pid;
    process::forget_peak(pid)?;
    let before = process::processor_time(pid)?;
    let outcome = subject.client.pull(&reference).await;
    let turn = Turn {
        wall: outcome?,
        processor: process::processor_time(pid)?.saturating_sub(before),
        peak_kib: Some(process::peak_kib(pid)?),
    };
    subject.client.remove(&reference).await?;
    wait_until_gone(&subject.root, before_bytes).await?;
    Ok(turn)
}

async fn wait_until_gone(folder: &Path, before: u64) -> Result<(), BenchError> {
    let start = Instant::now();
    loop {
        let more = allocated(folder).saturating_sub(before);
        if more <= KEPT_BYTES_MAX {
            return Ok(());
        }
        if start.elapsed() > GONE_MAX {
            return Err(BenchError::NotGone {
                folder: folder.to_owned(),
                bytes: more,
                waited: GONE_MAX,
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Nothing of the turn before may still be on its way to the disk.
fn settle(folder: &Path) -> Result<(), BenchError> {
    let synced = File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    synced.map_err(error::file("sync", folder))
}

/// Allocated bytes of everything below a folder. Files that vanish meanwhile are what this waits for.
fn allocated(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut linked = HashSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.nlink() > 1 && !linked.insert(metadata.ino()) {
                continue;
            }
            // stat(2): st_blocks counts units of 512 bytes.
            bytes += metadata.blocks() * 512;
        }
    }
    bytes
}
