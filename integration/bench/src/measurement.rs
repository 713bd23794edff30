//! A whole run of the bench: connects, lets the endpoints take turns, and collects.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::arguments::{Arguments, Measure, Networks};
use super::client::Client;
use super::crowd::{self, Crowd};
use super::error::BenchError;
use super::execs::{self, Soak};
use super::life::{self, Call, Times};
use super::logs::{self, Throughput};
use super::machine;
use super::samples::Samples;
use super::specification::{Network, Specifications};

/// How often each list is asked for.
const LIST_ROUNDS: usize = 40;

/// Nothing is asked for so long before the memory of a daemon is called that of an idle one.
const IDLE: Duration = Duration::from_secs(15);

/// What was found out about one endpoint.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) runtime: String,
    pub(crate) samples: BTreeMap<(Option<Network>, Call), Samples>,
    /// Of the whole machine, this client included, for one whole life.
    pub(crate) processor_time: BTreeMap<Network, Duration>,
    pub(crate) crowds: Vec<Crowd>,
    /// The daemon's memory with the pods that are listed.
    pub(crate) daemon_listed_kib: Option<u64>,
    /// Of the cgroups of a container.
    pub(crate) controllers: BTreeSet<String>,
}

/// An endpoint under measurement.
struct Subject {
    client: Client,
    specifications: Specifications,
    helper_names: Vec<String>,
    measured: Measured,
}

/// What a run has found out.
#[derive(Debug)]
pub(crate) enum Report {
    Calls(Vec<Measured>),
    /// With the megabytes of a round.
    Logs(Vec<Throughput>, u64),
    Execs(Vec<Soak>),
}

/// Runs everything that the arguments ask for. What a run leaves behind is removed, also on Ctrl-C and after an error.
pub(crate) async fn run(arguments: &Arguments) -> Result<Report, BenchError> {
    let logs = std::env::temp_dir().join(format!("carpel-bench-{}", std::process::id()));
    std::fs::create_dir_all(&logs).map_err(BenchError::Logs)?;
    let mut subjects = Vec::new();
    for address in &arguments.endpoint {
        let mut client = Client::connect(&address.name, &address.socket).await?;
        client.ensure_image(&arguments.image).await?;
        subjects.push(subject(client, arguments, &logs));
    }
    let outcome = tokio::select! {
        outcome = measure_what_is_asked(&mut subjects, arguments) => outcome,
        interrupted = tokio::signal::ctrl_c() => interrupted
            .and(Err(std::io::ErrorKind::Interrupted.into()))
            .map_err(BenchError::Print),
    };
    for subject in &mut subjects {
        life::sweep(&mut subject.client, &subject.specifications).await?;
    }
    std::fs::remove_dir_all(&logs).map_err(BenchError::Logs)?;
    Ok(match outcome? {
        Some(report) => report,
        None => Report::Calls(subjects.into_iter().map(|it| it.measured).collect()),
    })
}

/// None if the result is in the subjects.
async fn measure_what_is_asked(
    subjects: &mut [Subject],
    arguments: &Arguments,
) -> Result<Option<Report>, BenchError> {
    match arguments.measure {
        Measure::Calls => {
            measure(subjects, arguments).await?;
            Ok(None)
        }
        Measure::Logs => {
            let subjects = subjects.iter_mut().map(|subject| logs::Subject {
                client: &mut subject.client,
                specifications: &subject.specifications,
                helper_names: &subject.helper_names,
            });
            let results = logs::measure(subjects.collect(), arguments).await?;
            Ok(Some(Report::Logs(results, arguments.log_megabytes)))
        }
        Measure::Execs => {
            let mut soaks = Vec::new();
            for Subject {
                client,
                specifications,
                helper_names,
                ..
            } in subjects
            {
                let soak = execs::measure(client, specifications, helper_names, arguments);
                soaks.push(soak.await?);
            }
            Ok(Some(Report::Execs(soaks)))
        }
    }
}

fn subject(client: Client, arguments: &Arguments, logs: &Path) -> Subject {
    let helper_names = arguments
        .helpers
        .iter()
        .find(|helpers| helpers.endpoint == client.name)
        .map_or_else(
            || usual_helpers(&client.runtime_name),
            |helpers| helpers.names.clone(),
        );
    Subject {
        specifications: Specifications {
            image: arguments.image.clone(),
            log_directory: logs.join(&client.name).display().to_string(),
            seccomp: arguments.seccomp,
            run: format!("bench-{}", std::process::id()),
        },
        helper_names,
        measured: Measured {
            name: client.name.clone(),
            runtime: format!("{} {}", client.runtime_name, client.runtime_version),
            samples: BTreeMap::new(),
            processor_time: BTreeMap::new(),
            crowds: Vec::new(),
            daemon_listed_kib: None,
            controllers: BTreeSet::new(),
        },
        client,
    }
}

/// The processes that a runtime keeps for each pod.
fn usual_helpers(runtime_name: &str) -> Vec<String> {
    let names: &[&str] = match runtime_name {
        "carpel" => &["carpel-"],
        "containerd" => &["containerd-shim", "pause"],
        "cri-o" => &["conmon", "pause"],
        _ => &[],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn measure(subjects: &mut [Subject], arguments: &Arguments) -> Result<(), BenchError> {
    let networks: &[Network] = match arguments.network {
        Networks::Host => &[Network::Host],
        Networks::Pod => &[Network::Pod],
        Networks::Both => &[Network::Host, Network::Pod],
    };
    for network in networks {
        // The first pod after a start fills caches of the kernel and of the runtime: it is not counted.
        for subject in &mut *subjects {
            warm_up(subject, *network).await?;
        }
        for run in 0..arguments.runs {
            for subject in &mut *subjects {
                one_life(subject, *network, run).await?;
            }
        }
        for subject in &mut *subjects {
            let runs = u32::try_from(arguments.runs.max(1)).unwrap_or(u32::MAX);
            if let Some(total) = subject.measured.processor_time.get_mut(network) {
                *total /= runs;
            }
        }
        if arguments.pods > 0 {
            tokio::time::sleep(IDLE).await;
            for subject in &mut *subjects {
                let size = (*network, arguments.pods, arguments.workers.max(1));
                let crowd = crowd::measure(
                    &subject.client,
                    &subject.specifications,
                    size,
                    &subject.helper_names,
                )
                .await?;
                subject.measured.crowds.push(crowd);
            }
        }
    }
    if arguments.listed_pods > 0 {
        for subject in &mut *subjects {
            let (times, daemon_kib) = crowd::lists(
                &mut subject.client,
                &subject.specifications,
                arguments.listed_pods,
                LIST_ROUNDS,
            )
            .await?;
            collect(&mut subject.measured, None, times);
            subject.measured.daemon_listed_kib = daemon_kib;
        }
    }
    Ok(())
}

async fn warm_up(subject: &mut Subject, network: Network) -> Result<(), BenchError> {
    let Subject {
        client,
        specifications,
        measured,
        ..
    } = subject;
    let mut times = Times::new();
    let pod = life::up(client, specifications, "warm-up", network, &mut times).await?;
    measured
        .controllers
        .extend(machine::controllers_of(&pod.container_id));
    life::ask(client, &pod, &mut times).await?;
    life::down(client, &pod, &mut times).await
}

async fn one_life(subject: &mut Subject, network: Network, run: usize) -> Result<(), BenchError> {
    let Subject {
        client,
        specifications,
        measured,
        ..
    } = subject;
    let name = format!("{}-{run}", network.name().replace(' ', "-"));
    let busy = machine::busy_time()?;
    let times = life::whole(client, specifications, &name, network).await?;
    let cost = machine::busy_time()?.saturating_sub(busy);
    *measured.processor_time.entry(network).or_default() += cost;
    collect(measured, Some(network), times);
    Ok(())
}

fn collect(measured: &mut Measured, network: Option<Network>, times: Times) {
    for (call, took) in times {
        measured
            .samples
            .entry((network, call))
            .or_default()
            .add(took);
    }
}
