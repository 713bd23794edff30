//! Many ExecSync calls by several clients: what one costs the machine, and that none leaves anything behind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::arguments::Arguments;
use super::client::Client;
use super::error::BenchError;
use super::life;
use super::machine;
use super::specification::{Network, Specifications};
use crate::runtime_v1 as cri;

/// Before the first count, so that what is made once is there.
const WARM_UP: usize = 200;

/// How long what is left may take to go.
const CLEAR_UP: Duration = Duration::from_secs(10);

/// A look at what is left.
const LOOK: Duration = Duration::from_millis(100);

/// What a runtime holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Processes of the machine that are zombies.
    pub(crate) zombies: usize,
    /// Processes of the runtime, by name.
    pub(crate) processes: BTreeMap<String, usize>,
    /// Open descriptors of all of them.
    pub(crate) descriptors: usize,
    /// Their memory, in KiB.
    pub(crate) memory_kib: u64,
}

/// What was found out about one endpoint.
#[derive(Debug)]
pub(crate) struct Soak {
    pub(crate) name: String,
    pub(crate) runtime: String,
    pub(crate) count: usize,
    pub(crate) took: Duration,
    /// Of the whole machine, clients included, and whatever else it does.
    pub(crate) machine: Duration,
    /// Of daemon, helpers, the processes that were executed, and the clients: what the machine would need if it did
    /// nothing else.
    pub(crate) own: Duration,
    pub(crate) before: Holdings,
    pub(crate) after: Holdings,
}

/// Runs `true` in one container, `count` times.
pub(crate) async fn measure(
    client: &mut Client,
    specifications: &Specifications,
    helper_names: &[String],
    arguments: &Arguments,
) -> Result<Soak, BenchError> {
    let mut times = life::Times::new();
    let pod = life::up(client, specifications, "execs", Network::Host, &mut times).await?;
    let workers = arguments.workers.max(1);
    run(client, &pod, (WARM_UP, workers)).await?;
    let before = settled(client, helper_names, None).await;
    let (busy, own) = (machine::busy_time()?, own_time(client, helper_names));
    let begin = Instant::now();
    run(client, &pod, (arguments.execs, workers)).await?;
    let own = own_time(client, helper_names).saturating_sub(own);
    let (took, machine) = (begin.elapsed(), machine::busy_time()?.saturating_sub(busy));
    let after = settled(client, helper_names, Some(&before)).await;
    life::down(client, &pod, &mut times).await?;
    Ok(Soak {
        name: client.name.clone(),
        runtime: format!("{} {}", client.runtime_name, client.runtime_version),
        count: arguments.execs,
        took,
        machine,
        own,
        before,
        after,
    })
}

/// Processor time of everything that takes part.
fn own_time(client: &Client, helper_names: &[String]) -> Duration {
    let client_pid = i32::try_from(std::process::id()).ok();
    let mut all = machine::processes(helper_names);
    all.extend(client.daemon_pid.into_iter().chain(client_pid));
    all.into_iter()
        .filter_map(machine::processor_time_with_children)
        .sum()
}

async fn run(
    client: &Client,
    pod: &life::Pod,
    (count, workers): (usize, usize),
) -> Result<(), BenchError> {
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..workers {
        let (mut client, id) = (client.clone(), pod.container_id.clone());
        let share = count / workers + usize::from(worker < count % workers);
        tasks.spawn(async move {
            for _ in 0..share {
                exec(&mut client, &id).await?;
            }
            Ok::<_, BenchError>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn exec(client: &mut Client, container_id: &str) -> Result<(), BenchError> {
    let request = cri::ExecSyncRequest {
        container_id: container_id.to_owned(),
        cmd: vec!["true".to_owned()],
        timeout: 60,
    };
    let answer = client.runtime.exec_sync(request).await;
    let answer = answer.map_err(|status| client.failed("ExecSync", status))?;
    match answer.into_inner().exit_code {
        0 => Ok(()),
        exit_code => Err(BenchError::Exec {
            endpoint: client.name.clone(),
            exit_code,
        }),
    }
}

/// What is held when it is no more than before, or after a while.
async fn settled(client: &Client, helper_names: &[String], before: Option<&Holdings>) -> Holdings {
    let begin = Instant::now();
    loop {
        let now = holdings(client, helper_names);
        let is_back = before.is_none_or(|before| {
            now.zombies <= before.zombies
                && now.descriptors <= before.descriptors
                && now.processes == before.processes
        });
        if is_back || begin.elapsed() > CLEAR_UP {
            return now;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn holdings(client: &Client, helper_names: &[String]) -> Holdings {
    let mut held = Holdings {
        zombies: machine::zombies(),
        processes: BTreeMap::new(),
        descriptors: 0,
        memory_kib: 0,
    };
    let mut all = machine::processes(helper_names);
    all.extend(client.daemon_pid);
    // Its name begins as those of Carpel's helpers do.
    all.retain(|pid| u32::try_from(*pid) != Ok(std::process::id()));
    for pid in all {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        *held.processes.entry(name.trim().to_owned()).or_default() += 1;
        let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
        held.descriptors += open.map_or(0, Iterator::count);
        held.memory_kib += machine::proportional_kib(pid).unwrap_or(0);
    }
    held
}

impl Soak {
    /// What is there after that was not before; empty if nothing.
    pub(crate) fn left(&self) -> Vec<String> {
        let (before, after) = (&self.before, &self.after);
        let mut left = Vec::new();
        if after.zombies > before.zombies {
            left.push(format!(
                "zombies: {} became {}",
                before.zombies, after.zombies
            ));
        }
        if after.descriptors > before.descriptors {
            let (before, after) = (before.descriptors, after.descriptors);
            left.push(format!("descriptors: {before} became {after}"));
        }
        if after.processes != before.processes {
            let (before, after) = (&before.processes, &after.processes);
            left.push(format!("processes: {before:?} became {after:?}"));
        }
        left
    }
}

/// For people.
pub(crate) fn text(soaks: &[Soak]) -> String {
    let mut text = String::new();
    for soak in soaks {
        let each = |time: Duration| {
            let count = u32::try_from(soak.count.max(1)).unwrap_or(u32::MAX);
            (time / count).as_secs_f64() * 1000.0
        };
        text.push_str(&format!(
            "{} ({}): {} execs in {:.1} s; each {:.2} ms, {:.2} ms CPU of all that takes part, {:.2} of the whole machine\n",
            soak.name,
            soak.runtime,
            soak.count,
            soak.took.as_secs_f64(),
            each(soak.took),
            each(soak.own),
            each(soak.machine),
        ));
        for (when, held) in [("before", &soak.before), ("after", &soak.after)] {
            text.push_str(&format!(
                "  {when}: {} zombies, {} descriptors, {} KiB, {:?}\n",
                held.zombies, held.descriptors, held.memory_kib, held.processes
            ));
        }
    }
    text
}
