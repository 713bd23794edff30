//! Many pods at once: how long they take, what they cost, and how long lists of them take.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client::{Client, timed};
use super::error::BenchError;
use super::life::{self, Call, Pod, Times};
use super::machine;
use super::specification::{Network, Specifications};
use crate::runtime_v1 as cri;

/// What a crowd of pods took and cost.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Crowd {
    pub(crate) network: Network,
    pub(crate) pods: usize,
    pub(crate) workers: usize,
    /// Until the last one was ready.
    pub(crate) up: Duration,
    /// Until the last one was removed.
    pub(crate) down: Duration,
    /// Of the whole machine, this client included, for one pod up and down.
    pub(crate) processor_time_per_pod: Duration,
    /// Before the crowd.
    pub(crate) daemon_idle_kib: Option<u64>,
    /// With the crowd.
    pub(crate) daemon_kib: Option<u64>,
    /// Processes that came with the crowd, and their memory together.
    pub(crate) helpers: usize,
    pub(crate) helpers_kib: u64,
}

/// Brings `pods` pods up by `workers` clients, looks at the memory, and takes them down the same way.
pub(crate) async fn measure(
    client: &Client,
    specifications: &Specifications,
    (network, pods, workers): (Network, usize, usize),
    helper_names: &[String],
) -> Result<Crowd, BenchError> {
    let helpers_before = machine::processes(helper_names);
    let daemon_memory = || client.daemon_pid.and_then(machine::proportional_kib);
    let daemon_idle_kib = daemon_memory();
    let busy = machine::busy_time()?;
    let start = Instant::now();
    let up_pods = all_up(client, specifications, (network, pods, workers)).await?;
    let up = start.elapsed();
    let busy_up = machine::busy_time()?.saturating_sub(busy);

    let daemon_kib = daemon_memory();
    let helpers: BTreeSet<i32> = &machine::processes(helper_names) - &helpers_before;
    let helpers_kib = helpers
        .iter()
        .filter_map(|pid| machine::proportional_kib(*pid))
        .sum();

    let busy = machine::busy_time()?;
    let start = Instant::now();
    all_down(client, up_pods, workers).await?;
    let down = start.elapsed();
    let busy_down = machine::busy_time()?.saturating_sub(busy);
    let count = u32::try_from(pods.max(1)).unwrap_or(u32::MAX);
    Ok(Crowd {
        network,
        pods,
        workers,
        up,
        down,
        processor_time_per_pod: (busy_up + busy_down) / count,
        daemon_idle_kib,
        daemon_kib,
        helpers: helpers.len(),
        helpers_kib,
    })
}

async fn all_up(
    client: &Client,
    specifications: &Specifications,
    (network, pods, workers): (Network, usize, usize),
) -> Result<Vec<Pod>, BenchError> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let (mut client, specifications) = (client.clone(), specifications.clone());
        let next = Arc::clone(&next);
        tasks.spawn(async move {
            let mut up = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= pods {
                    return Ok::<_, BenchError>(up);
                }
                let name = format!("crowd-{}-{number}", network.name().replace(' ', "-"));
                let mut times = Times::new();
                up.push(life::up(&mut client, &specifications, &name, network, &mut times).await?);
            }
        });
    }
    let mut up = Vec::new();
    while let Some(result) = tasks.join_next().await {
        up.extend(result??);
    }
    Ok(up)
}

async fn all_down(client: &Client, pods: Vec<Pod>, workers: usize) -> Result<(), BenchError> {
    let pods = Arc::new(Mutex::new(pods));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let mut client = client.clone();
        let pods = Arc::clone(&pods);
        tasks.spawn(async move {
            loop {
                let pod = pods.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some(pod) = pod else {
                    return Ok::<_, BenchError>(());
                };
                life::down(&mut client, &pod, &mut Times::new()).await?;
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}

/// Times the lists while `pods` pods with ten containers each are there; and the daemon's memory then, in KiB.
pub(crate) async fn lists(
    client: &mut Client,
    specifications: &Specifications,
    pods: usize,
    rounds: usize,
) -> Result<(Times, Option<u64>), BenchError> {
    let mut up_pods = Vec::new();
    for number in 0..pods {
        up_pods.push(ten_containers(client, specifications, number).await?);
    }
    let mut times = Times::new();
    for _ in 0..rounds {
        one_of_each(client, &up_pods, &mut times).await?;
    }
    let daemon_kib = client.daemon_pid.and_then(machine::proportional_kib);
    life::sweep(client, specifications).await?;
    Ok((times, daemon_kib))
}

async fn ten_containers(
    client: &mut Client,
    specifications: &Specifications,
    number: usize,
) -> Result<Pod, BenchError> {
    let name = format!("listed-{number}");
    let network = Network::Host;
    let pod = life::up(client, specifications, &name, network, &mut Times::new()).await?;
    for number in 1..10 {
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: pod.sandbox_id.clone(),
            config: Some(specifications.container(&name, &format!("sleeper-{number}"), network)),
            sandbox_config: Some(specifications.sandbox(&name, network)),
        };
        let container_id = client
            .runtime
            .create_container(request)
            .await
            .map_err(|status| client.failed("CreateContainer", status))?
            .into_inner()
            .container_id;
        client
            .runtime
            .start_container(cri::StartContainerRequest { container_id })
            .await
            .map_err(|status| client.failed("StartContainer", status))?;
    }
    Ok(pod)
}

async fn one_of_each(
    client: &mut Client,
    pods: &[Pod],
    times: &mut Times,
) -> Result<(), BenchError> {
    let request = cri::ListContainersRequest::default();
    let (result, took) = timed(client.runtime.list_containers(request)).await;
    result.map_err(|status| client.failed("ListContainers", status))?;
    times.push((Call::ListContainers, took));
    let request = cri::ListContainerStatsRequest::default();
    let (result, took) = timed(client.runtime.list_container_stats(request)).await;
    result.map_err(|status| client.failed("ListContainerStats", status))?;
    times.push((Call::ListContainerStats, took));
    if let Some(pod) = pods.first() {
        let request = cri::ContainerStatsRequest {
            container_id: pod.container_id.clone(),
        };
        let (result, took) = timed(client.runtime.container_stats(request)).await;
        result.map_err(|status| client.failed("ContainerStats", status))?;
        times.push((Call::ContainerStats, took));
    }
    let request = cri::ListPodSandboxStatsRequest::default();
    let (result, took) = timed(client.runtime.list_pod_sandbox_stats(request)).await;
    // containerd 1.6 refuses it for pods without a cgroup parent: such an endpoint has no figure.
    if result.is_ok() {
        times.push((Call::ListPodSandboxStats, took));
    }
    Ok(())
}
