//! What the runtime has of one pod, put in order: the newest sandbox, of each container the newest and the one before
//! it, and what is left over. Pure: `look.rs` asks the runtime.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::runtime::wire::{self, ContainerState as WireState};
use crate::runtime::{ANNOTATION_HASH, LABEL_CONTAINER};

/// A sandbox of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sandbox {
    /// Its id.
    pub(crate) id: String,
    /// How many there were before it.
    pub(crate) attempt: u32,
    /// It has its network and its namespaces.
    pub(crate) is_ready: bool,
    /// When it was made, in nanoseconds since 1970.
    pub(crate) created_at: i64,
    /// What it was made from.
    pub(crate) hash: String,
    /// Its addresses, the first one first.
    pub(crate) ips: Vec<String>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Made, not started.
    Created,
    /// It runs.
    Running,
    /// It has ended.
    Exited,
    /// The runtime cannot tell.
    Unknown,
}

/// A container of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its id.
    pub(crate) id: String,
    /// Where it is.
    pub(crate) sandbox_id: String,
    /// How often it was restarted.
    pub(crate) attempt: u32,
    /// What it does.
    pub(crate) state: State,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// When it began.
    pub(crate) started_at: Timestamp,
    /// When it ended.
    pub(crate) finished_at: Timestamp,
    /// How it ended.
    pub(crate) exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`
    pub(crate) reason: String,
    /// What it said at its end.
    pub(crate) message: String,
    /// The name of its image.
    pub(crate) image: String,
    /// The image itself.
    pub(crate) image_id: String,
    /// What it was made from.
    pub(crate) hash: String,
    /// Its log.
    pub(crate) log_path: String,
    /// As whom it runs: uid, gid and groups.
    pub(crate) user: Option<(i64, i64, Vec<i64>)>,
}

/// Of one container name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct History {
    /// The newest one.
    pub(crate) latest: Record,
    /// The one before it.
    pub(crate) previous: Option<Record>,
}

/// A pod as the runtime has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// The newest sandbox.
    pub(crate) sandbox: Option<Sandbox>,
    /// Those before it, by id.
    pub(crate) older_sandboxes: Vec<String>,
    /// By name of the container.
    pub(crate) containers: BTreeMap<String, History>,
    /// Ended containers that nobody asks for any more, by id.
    pub(crate) surplus: Vec<String>,
}

impl Observed {
    /// Puts in order what the runtime said.
    pub(crate) fn new(mut sandboxes: Vec<Sandbox>, records: Vec<(String, Record)>) -> Self {
        sandboxes.sort_by_key(|sandbox| (sandbox.attempt, sandbox.created_at));
        let sandbox = sandboxes.pop();
        let mut by_name: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for (name, record) in records {
            by_name.entry(name).or_default().push(record);
        }
        let mut containers = BTreeMap::new();
        let mut surplus = Vec::new();
        for (name, mut records) in by_name {
            records.sort_by_key(|record| (record.attempt, record.created_at));
            let Some(latest) = records.pop() else {
                continue;
            };
            let previous = records.pop();
            let is_over = |record: &&Record| record.state == State::Exited;
            surplus.extend(records.iter().filter(is_over).map(|it| it.id.clone()));
            containers.insert(name, History { latest, previous });
        }
        Self {
            sandbox,
            older_sandboxes: sandboxes.into_iter().map(|sandbox| sandbox.id).collect(),
            containers,
            surplus,
        }
    }

    /// The newest container of that name.
    pub(crate) fn latest(&self, name: &str) -> Option<&Record> {
        self.containers.get(name).map(|history| &history.latest)
    }

    /// The newest container of that name in the newest sandbox.
    pub(crate) fn current(&self, name: &str) -> Option<&Record> {
        let sandbox = self.sandbox.as_ref()?;
        self.latest(name)
            .filter(|record| record.sandbox_id == sandbox.id)
    }

    /// The sandbox, if it is ready.
    pub(crate) fn ready_sandbox(&self) -> Option<&Sandbox> {
        self.sandbox.as_ref().filter(|sandbox| sandbox.is_ready)
    }

    /// Containers that run, or may.
    pub(crate) fn alive(&self) -> impl Iterator<Item = (&str, &Record)> {
        self.containers.iter().flat_map(|(name, history)| {
            let all = std::iter::once(&history.latest).chain(&history.previous);
            all.filter(|record| record.state != State::Exited)
                .map(|record| (name.as_str(), record))
        })
    }
}

/// Of a listed sandbox and its status.
pub(crate) fn sandbox(status: &wire::PodSandboxStatus) -> Sandbox {
    let network = status.network.clone().unwrap_or_default();
    let more = network.additional_ips.into_iter().map(|more| more.ip);
    Sandbox {
        id: status.id.clone(),
        attempt: status.metadata.as_ref().map_or(0, |it| it.attempt),
        is_ready: status.state() == wire::PodSandboxState::SandboxReady,
        created_at: status.created_at,
        hash: status
            .annotations
            .get(ANNOTATION_HASH)
            .cloned()
            .unwrap_or_default(),
        ips: std::iter::once(network.ip)
            .chain(more)
            .filter(|ip| !ip.is_empty())
            .collect(),
    }
}

/// Of a container's status: its name and the rest.
pub(crate) fn record(status: &wire::ContainerStatus, sandbox_id: &str) -> (String, Record) {
    let metadata = status.metadata.clone().unwrap_or_default();
    let name = status.labels.get(LABEL_CONTAINER);
    let name = name.cloned().unwrap_or(metadata.name);
    let image = status.image.clone().unwrap_or_default();
    let user = status.user.as_ref().and_then(|user| user.linux.as_ref());
    let record = Record {
        id: status.id.clone(),
        sandbox_id: sandbox_id.to_owned(),
        attempt: metadata.attempt,
        state: match status.state() {
            WireState::ContainerCreated => State::Created,
            WireState::ContainerRunning => State::Running,
            WireState::ContainerExited => State::Exited,
            WireState::ContainerUnknown => State::Unknown,
        },
        created_at: time(status.created_at),
        started_at: time(status.started_at),
        finished_at: time(status.finished_at),
        exit_code: status.exit_code,
        reason: status.reason.clone(),
        message: status.message.clone(),
        image: match image.user_specified_image.is_empty() {
            true => image.image,
            false => image.user_specified_image,
        },
        image_id: match status.image_ref.is_empty() {
            true => status.image_id.clone(),
            false => status.image_ref.clone(),
        },
        hash: status
            .annotations
            .get(ANNOTATION_HASH)
            .cloned()
            .unwrap_or_default(),
        log_path: status.log_path.clone(),
        user: user.map(|user| (user.uid, user.gid, user.supplemental_groups.clone())),
    };
    (name, record)
}

fn time(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn made(sandbox: &str, attempt: u32, state: State) -> Record {
        let second = |second| Timestamp::from_second(second).unwrap();
        Record {
            id: format!("{sandbox}-{attempt}"),
            sandbox_id: sandbox.to_owned(),
            attempt,
            state,
            created_at: second(i64::from(attempt) * 100 + 1000),
            started_at: second(i64::from(attempt) * 100 + 1001),
            finished_at: second(match state {
                State::Exited => i64::from(attempt) * 100 + 1002,
                _ => 0,
            }),
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
            image: String::new(),
            image_id: String::new(),
            hash: String::new(),
            log_path: String::new(),
            user: None,
        }
    }

    pub(crate) fn sandbox_of(id: &str, attempt: u32, is_ready: bool) -> Sandbox {
        Sandbox {
            id: id.to_owned(),
            attempt,
            is_ready,
            created_at: i64::from(attempt),
            hash: String::new(),
            ips: vec!["10.88.0.2".to_owned()],
        }
    }

    #[test]
    fn the_newest_of_each_is_found_and_the_rest_is_surplus() {
        let record = |attempt, state| ("a".to_owned(), made("s2", attempt, state));
        let observed = Observed::new(
            vec![sandbox_of("s2", 1, true), sandbox_of("s1", 0, false)],
            vec![
                record(2, State::Running),
                record(0, State::Exited),
                record(1, State::Exited),
            ],
        );
        assert_eq!(observed.sandbox.as_ref().unwrap().id, "s2");
        assert_eq!(observed.older_sandboxes, ["s1"]);
        assert_eq!(observed.latest("a").unwrap().attempt, 2);
        let previous = observed.containers["a"].previous.as_ref().unwrap();
        assert_eq!(previous.attempt, 1);
        assert_eq!(observed.surplus, ["s2-0"]);
    }

    #[test]
    fn a_container_of_an_older_sandbox_is_not_current() {
        let observed = Observed::new(
            vec![sandbox_of("s2", 1, true)],
            vec![("a".to_owned(), made("s1", 0, State::Exited))],
        );
        assert!(observed.latest("a").is_some());
        assert!(observed.current("a").is_none());
    }
}
