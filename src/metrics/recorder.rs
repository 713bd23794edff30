//! The figures: counted as calls come and go, and read from the domain when the page is asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::pod::{Activity, ContainerState, SandboxState};

/// A stage that takes longer is told as stuck. The longest that a step waits by itself is a minute.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// Upper bounds of a call's time, in seconds: a pod takes milliseconds, a pull minutes.
const BOUNDS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0,
];

type Labels = Vec<(&'static str, String)>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// How a call has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallResult<'call> {
    /// `RunPodSandbox`.
    pub method: &'call str,
    /// `OK`, `NotFound` …
    pub code: &'call str,
    /// From the request to the answer's end; of a stream, to its beginning.
    pub took: Duration,
}

/// The figures of this daemon.
pub struct Recorder {
    registry: Mutex<Registry>,
    calls: Histograms,
    running_calls: Family<Labels, Gauge>,
    pulls: Family<Labels, Counter>,
    read: Read,
}

/// What is set when the page is asked for.
#[derive(Debug, Default)]
struct Read {
    sandboxes: Family<Labels, Gauge>,
    containers: Family<Labels, Gauge>,
    shims: Gauge,
    stuck_stages: Family<Labels, Gauge>,
    lost_log_lines: Counter,
    event_clients: Gauge,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Default for Recorder {
    fn default() -> Self {
        let recorder = Self {
            registry: Mutex::new(Registry::with_prefix("carpel")),
            calls: Family::new_with_constructor(histogram as fn() -> Histogram),
            running_calls: Family::default(),
            pulls: Family::default(),
            read: Read::default(),
        };
        recorder.register();
        recorder
    }
}

impl Recorder {
    fn register(&self) {
        let mut registry = self.locked();
        let build: Family<Labels, Gauge> = Family::default();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        build.get_or_create(&vec![("version", version)]).set(1);
        registry.register("build", "Which daemon this is", build);
        registry.register_with_unit(
            "rpc_duration",
            "Time of a call, by method and gRPC code; of a stream, to its beginning",
            Unit::Seconds,
            self.calls.clone(),
        );
        let running = self.running_calls.clone();
        registry.register("rpc_running", "Calls that are being answered", running);
        let pulls = self.pulls.clone();
        registry.register("image_pulls", "Pulls that have ended, by gRPC code", pulls);
        let read = &self.read;
        let sandboxes = read.sandboxes.clone();
        registry.register("sandboxes", "Sandboxes by state", sandboxes);
        let containers = read.containers.clone();
        registry.register("containers", "Containers by state", containers);
        let shims = read.shims.clone();
        registry.register("shims", "Shims that the daemon is connected to", shims);
        registry.register(
            "stuck_stages",
            "Steps that have run for more than a minute, by name",
            read.stuck_stages.clone(),
        );
        registry.register(
            "lost_log_lines",
            "Lines of containers that could not be logged, since the daemon's start",
            read.lost_log_lines.clone(),
        );
        let clients = read.event_clients.clone();
        registry.register("event_clients", "Clients that listen to events", clients);
    }

    /// A call has begun.
    pub fn call_started(&self, method: &str) {
        self.running_calls.get_or_create(&of_method(method)).inc();
    }

    /// A call has been answered, or its client has gone.
    pub fn call_ended(&self, result: CallResult<'_>) {
        let mut labels = of_method(result.method);
        self.running_calls.get_or_create(&labels).dec();
        labels.push(("code", result.code.to_owned()));
        let took = result.took.as_secs_f64();
        self.calls.get_or_create(&labels).observe(took);
        if result.method == "PullImage" {
            let code = vec![("code", result.code.to_owned())];
            self.pulls.get_or_create(&code).inc();
        }
    }

    /// The page in the text format of OpenMetrics, with what the domain does now.
    #[must_use]
    pub fn page(&self, activity: &Activity) -> String {
        let registry = self.locked();
        self.read.take(activity);
        let mut page = String::new();
        // Writing to a String cannot fail.
        if encode(&mut page, &registry).is_err() {
            page.clear();
        }
        page
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Read {
    fn take(&self, activity: &Activity) {
        let state = |state: &str| vec![("state", state.to_owned())];
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for (name, wanted) in [
            ("ready", SandboxState::Ready),
            ("notready", SandboxState::NotReady),
        ] {
            let sandboxes = activity.sandboxes.iter().filter(|one| **one == wanted);
            let gauge = self.sandboxes.get_or_create(&state(name));
            gauge.set(count(sandboxes.count()));
        }
        for (name, wanted) in [
            ("created", ContainerState::Created),
            ("running", ContainerState::Running),
            ("exited", ContainerState::Exited),
        ] {
            let containers = activity.containers.iter().filter(|one| **one == wanted);
            let gauge = self.containers.get_or_create(&state(name));
            gauge.set(count(containers.count()));
        }
        self.shims.set(count(activity.shims));
        self.event_clients.set(count(activity.event_clients));
        let lost = activity.lost_log_lines;
        self.lost_log_lines
            .inc_by(lost.saturating_sub(self.lost_log_lines.get()));
        let mut stuck: BTreeMap<&str, usize> = BTreeMap::new();
        for stage in &activity.stages {
            if stage.since.elapsed() > STUCK_AFTER {
                *stuck.entry(stage.name).or_default() += 1;
            }
        }
        self.stuck_stages.clear();
        for (name, number) in stuck {
            let labels = vec![("stage", name.to_owned())];
            self.stuck_stages.get_or_create(&labels).set(count(number));
        }
    }
}

fn histogram() -> Histogram {
    Histogram::new(BOUNDS)
}

fn of_method(method: &str) -> Labels {
    vec![("method", method.to_owned())]
}
