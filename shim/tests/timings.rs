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
