//! Throughput of logs: a container prints lines of 100 bytes as fast as it can, and the runtime writes them into a file.
//!
//! The producer is `cat` of a file, which costs next to nothing. Counted are the lines in the log, so a runtime that lost or
//! cut some would be found out.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::arguments::Arguments;
use super::client::Client;
use super::error::BenchError;
use super::life;
use super::machine;
use super::samples::Samples;
use super::specification::{Network, Specifications};
use crate::runtime_v1 as cri;

/// 99 and a newline.
const LINE_BYTES: u64 = 100;

/// The file that is printed again and again: small enough to stay in memory.
const FILE_LINES: u64 = 200_000;

/// A look at the log.
const LOOK: Duration = Duration::from_millis(5);

/// Nothing more has come for so long: that was all.
const QUIET: Duration = Duration::from_millis(500);

/// A log that has not ended by then never will.
const PATIENCE: Duration = Duration::from_secs(600);

/// What one endpoint did.
#[derive(Debug)]
pub(crate) struct Throughput {
    pub(crate) name: String,
    pub(crate) runtime: String,
    /// From StartContainer to the last line in the file, for each round.
    pub(crate) took: Samples,
    /// Of the whole machine, producer and all.
    pub(crate) machine: Samples,
    /// Of the processes that a pod has beside its containers.
    pub(crate) helpers: Samples,
    /// Of the daemon.
    pub(crate) daemon: Samples,
}

/// What is measured, and with what.
pub(crate) struct Subject<'a> {
    pub(crate) client: &'a mut Client,
    pub(crate) specifications: &'a Specifications,
    pub(crate) helper_names: &'a [String],
}

/// The endpoints take turns, `--runs` times; the first round of each is not counted.
pub(crate) async fn measure(
    mut subjects: Vec<Subject<'_>>,
    arguments: &Arguments,
) -> Result<Vec<Throughput>, BenchError> {
    let folder = std::env::temp_dir().join(format!("carpel-bench-lines-{}", std::process::id()));
    let made = std::fs::create_dir_all(&folder).and_then(|()| write_lines(&folder.join("lines")));
    made.map_err(BenchError::Logs)?;
    let mut results: Vec<Throughput> = subjects.iter().map(|it| empty(it.client)).collect();
    let repeats = (arguments.log_megabytes * 1_000_000).div_ceil(FILE_LINES * LINE_BYTES);
    let mut outcome = Ok(());
    'rounds: for round in 0..=arguments.runs {
        for (subject, result) in subjects.iter_mut().zip(&mut results) {
            match one(subject, (&folder, round), repeats).await {
                Ok(_warm_up) if round == 0 => {}
                Ok(times) => {
                    result.took.add(times.took);
                    result.machine.add(times.machine);
                    result.helpers.add(times.helpers);
                    result.daemon.add(times.daemon);
                }
                Err(error) => {
                    outcome = Err(error);
                    break 'rounds;
                }
            }
        }
    }
    std::fs::remove_dir_all(&folder).map_err(BenchError::Logs)?;
    outcome.map(|()| results)
}

fn empty(client: &Client) -> Throughput {
    Throughput {
        name: client.name.clone(),
        runtime: format!("{} {}", client.runtime_name, client.runtime_version),
        took: Samples::default(),
        machine: Samples::default(),
        helpers: Samples::default(),
        daemon: Samples::default(),
    }
}

fn write_lines(path: &Path) -> std::io::Result<()> {
    let mut text = Vec::new();
    for number in 0..FILE_LINES {
        writeln!(text, "{number:099}")?;
    }
    File::create(path)?.write_all(&text)
}

struct Times {
    took: Duration,
    machine: Duration,
    helpers: Duration,
    daemon: Duration,
}

/// A pod whose container prints everything and ends.
async fn one(
    subject: &mut Subject<'_>,
    (folder, round): (&Path, usize),
    repeats: u64,
) -> Result<Times, BenchError> {
    let name = format!("log-{round}");
    let (pod, log) = create(subject, folder, (&name, repeats)).await?;
    let before = used(subject)?;
    let begin = Instant::now();
    let request = cri::StartContainerRequest {
        container_id: pod.container_id.clone(),
    };
    let started = subject.client.runtime.start_container(request).await;
    started.map_err(|status| subject.client.failed("StartContainer", status))?;
    let end = wait_until_quiet(&log, repeats * FILE_LINES * LINE_BYTES).await?;
    let after = used(subject)?;
    let lines = count_lines(&log).map_err(BenchError::Logs)?;
    life::down(subject.client, &pod, &mut Vec::new()).await?;
    if lines != repeats * FILE_LINES {
        return Err(BenchError::Lines {
            endpoint: subject.client.name.clone(),
            lines,
            expected: repeats * FILE_LINES,
        });
    }
    std::fs::remove_file(&log).map_err(BenchError::Logs)?;
    Ok(Times {
        took: end - begin,
        machine: after.0.saturating_sub(before.0),
        helpers: after.1.saturating_sub(before.1),
        daemon: after.2.saturating_sub(before.2),
    })
}

/// Processor time so far: of the machine, of the helpers, of the daemon.
fn used(subject: &Subject<'_>) -> Result<(Duration, Duration, Duration), BenchError> {
    let helpers = machine::processes(subject.helper_names);
    let helpers = helpers
        .into_iter()
        .filter_map(machine::processor_time)
        .sum();
    let daemon = subject.client.daemon_pid.and_then(machine::processor_time);
    Ok((machine::busy_time()?, helpers, daemon.unwrap_or_default()))
}

async fn create(
    subject: &mut Subject<'_>,
    folder: &Path,
    (name, repeats): (&str, u64),
) -> Result<(life::Pod, PathBuf), BenchError> {
    let sandbox_config = subject.specifications.sandbox(name, Network::Host);
    let log = Path::new(&sandbox_config.log_directory).join("printer.log");
    std::fs::create_dir_all(&sandbox_config.log_directory).map_err(BenchError::Logs)?;
    let request = cri::RunPodSandboxRequest {
        config: Some(sandbox_config.clone()),
        ..Default::default()
    };
    let answer = subject.client.runtime.run_pod_sandbox(request).await;
    let answer = answer.map_err(|status| subject.client.failed("RunPodSandbox", status))?;
    let sandbox_id = answer.into_inner().pod_sandbox_id;
    let mut container = subject
        .specifications
        .container(name, "printer", Network::Host);
    let script = format!("for i in $(seq {repeats}); do cat /lines/lines; done");
    container.command = vec!["sh".to_owned(), "-c".to_owned(), script];
    container.mounts = vec![cri::Mount {
        container_path: "/lines".to_owned(),
        host_path: folder.display().to_string(),
        readonly: true,
        ..Default::default()
    }];
    let request = cri::CreateContainerRequest {
        pod_sandbox_id: sandbox_id.clone(),
        config: Some(container),
        sandbox_config: Some(sandbox_config),
    };
    let answer = subject.client.runtime.create_container(request).await;
    let answer = answer.map_err(|status| subject.client.failed("CreateContainer", status))?;
    let container_id = answer.into_inner().container_id;
    let pod = life::Pod {
        sandbox_id,
        container_id,
    };
    Ok((pod, log))
}

/// When the log last grew, after which it did not for a while.
async fn wait_until_quiet(log: &Path, least: u64) -> Result<Instant, BenchError> {
    let begin = Instant::now();
    let (mut size, mut grown) = (0, begin);
    loop {
        tokio::time::sleep(LOOK).await;
        let now = std::fs::metadata(log).map_or(0, |log| log.len());
        if now != size {
            (size, grown) = (now, Instant::now());
        } else if size > least && grown.elapsed() > QUIET {
            return Ok(grown);
        } else if begin.elapsed() > PATIENCE {
            return Err(BenchError::Logs(std::io::ErrorKind::TimedOut.into()));
        }
    }
}

fn count_lines(path: &Path) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut lines = 0;
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(lines);
        }
        let newlines = buffer[..length].iter().filter(|byte| **byte == b'\n');
        lines += u64::try_from(newlines.count()).unwrap_or(0);
    }
}

/// For people.
pub(crate) fn text(results: &[Throughput], megabytes: u64) -> String {
    let gigabytes = Duration::from_millis(megabytes).as_secs_f64();
    let mut text = format!("{megabytes} MB in lines of {LINE_BYTES} bytes: median\n");
    for result in results {
        let seconds = |samples: &Samples| samples.median().as_secs_f64();
        text.push_str(&format!(
            "{} ({}): {:.0} MB/s; CPU seconds per GB: machine {:.2}, helpers {:.2}, daemon {:.2}\n",
            result.name,
            result.runtime,
            gigabytes * 1000.0 / seconds(&result.took),
            seconds(&result.machine) / gigabytes,
            seconds(&result.helpers) / gigabytes,
            seconds(&result.daemon) / gigabytes,
        ));
    }
    text
}
