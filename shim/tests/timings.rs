//! How long the shim takes, printed: `CARPEL_SHIM=<static build> cargo test --test timings -- --ignored --nocapture`.
#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use carpel_shim_protocol::message::NamespaceSource;
use carpel_shim_protocol::message::SignalScope;
use carpel_shim_protocol::message::request::Operation;
use std::time::Instant;
use support::Pod;
use support::exec_of;

const ROUNDS: usize = 60;
/// As many as the budget of DESIGN.md is for.
const PODS: usize = 50;

#[expect(clippy::print_stdout, reason = "what it is for")]
fn report(name: &str, times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{name:<28} median {:>7.3} ms, p99 {:>7.3} ms",
        at(50),
        at(99)
    );
    at(50)
}

#[test]
#[ignore = "a measurement, for a machine that does nothing else"]
fn root_timings() {
    if let Some(reason) = support::obstacle() {
        println!("SKIP {reason}");
        return;
    }
    let since = |start: Instant| start.elapsed().as_secs_f64() * 1000.0;
    let mut times: [Vec<f64>; 6] = Default::default();
    for _ in 0..ROUNDS {
        let mut pod = Pod::spawn();
        let start = Instant::now();
        pod.hello(0);
        times[0].push(since(start));
        // The daemon makes the network namespace, so it is not counted here.
        let mut sandbox = pod.sandbox();
        sandbox.network = NamespaceSource::Host.into();
        // The daemon starts the shim in its cgroup (linux::spawn): entering one costs 10 to 20 ms.
        sandbox.shim_cgroup.clear();
        let start = Instant::now();
        pod.ask(Operation::CreateSandbox(sandbox));
        times[1].push(since(start));
        let create = pod.container_of("a", &["/bin/sleep", "1000"]);
        let start = Instant::now();
        pod.create(create).unwrap();
        times[2].push(since(start));
        let start = Instant::now();
        pod.start("a").unwrap();
        times[3].push(since(start));
        for _ in 0..3 {
            let start = Instant::now();
            pod.exec(exec_of("a", "e", &["/bin/true"])).unwrap();
            times[4].push(since(start));
        }
        let start = Instant::now();
        pod.signal("a", 9, SignalScope::All);
        pod.exit_of("a");
        times[5].push(since(start));
        pod.remove("a");
        pod.shut_down();
    }
    let names = [
        "spawn to hello",
        "create sandbox",
        "create container",
        "start container",
        "exec true, to its exit",
        "kill, to its exit",
    ];
    let mut total = 0.0;
    for (name, times) in names.iter().zip(&mut times) {
        total += report(name, times);
    }
    assert!(total < 1000.0, "{total} ms is not a matter of milliseconds");
}

/// Proportional and private dirty KiB of a process.
fn memory(pid: i32) -> (u64, u64) {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let value = |key: &str| {
        let line = rollup.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or(0)
    };
    (value("Pss:"), value("Private_Dirty:"))
}

#[test]
#[ignore = "a measurement, for a machine that does nothing else"]
fn root_memory_of_many_pods() {
    if let Some(reason) = support::obstacle() {
        println!("SKIP {reason}");
        return;
    }
    let mut pods: Vec<Pod> = Vec::new();
    for _ in 0..PODS {
        let mut pod = Pod::new();
        pod.run(pod.container_of("a", &["/bin/sleep", "1000"]));
        for _ in 0..5 {
            pod.exec(exec_of("a", "e", &["/bin/true"])).unwrap();
        }
        pods.push(pod);
    }
    // A log writer keeps its buffers for a second after it has used them.
    let pause = rustix::time::Timespec {
        tv_sec: 2,
        tv_nsec: 500_000_000,
    };
    drop(rustix::thread::nanosleep(&pause));
    let mut sums = std::collections::BTreeMap::new();
    for pod in &pods {
        let shim = i32::try_from(pod.shim.id()).unwrap();
        let children =
            std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
        let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
        for pid in children.chain([shim]) {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
            let (proportional, dirty) = memory(pid);
            let sum: &mut (u64, u64) = sums.entry(name.trim().to_owned()).or_default();
            *sum = (sum.0 + proportional, sum.1 + dirty);
        }
    }
    let count = u64::try_from(pods.len()).unwrap();
    for (name, (proportional, dirty)) in &sums {
        println!(
            "{name:<16} {:>5} KiB proportional, {:>5} KiB private dirty",
            proportional / count,
            dirty / count
        );
    }
    let total: u64 = sums
        .iter()
        .filter(|(name, _)| name.starts_with("carpel"))
        .map(|(_, sum)| sum.0)
        .sum();
    println!("carpel, a pod    {:>5} KiB proportional", total / count);
    assert!(total / count < 4096);
}
