//! Keeps one worker for each pod, wakes those that something happened to, and removes what the runtime has of agents'
//! pods that do not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinSet;

use super::node::Node;
use super::worker::{Strings, Worker, pod_key};
use crate::manifest::{Key, Kind, Object};
use crate::runtime::wire::{Container, PodSandbox};
use crate::runtime::{
    ANNOTATION_USER_RANGE, LABEL_NAME, LABEL_NAMESPACE, LABEL_UID, RuntimeError, UserRange,
};
use crate::store::{Change, Event};

/// The runtime is asked what it has, even if it tells nothing by itself.
const RELIST: Duration = Duration::from_secs(1);

/// With events it is asked less often: they can be lost.
const RELIST_WITH_EVENTS: Duration = Duration::from_secs(5);

/// While there is no pod, only objects bring news.
const NO_PODS: Duration = Duration::from_secs(3600);

/// Before the stream of events is asked for again.
const EVENTS_AGAIN: Duration = Duration::from_secs(5);

/// Until `shutdown`: the workers end, their pods go on.
pub(crate) async fn supervise(node: Arc<Node>, shutdown: impl Future<Output = ()>) {
    let news = node.store.watch();
    let relist = Arc::new(Notify::new());
    let has_events = Arc::new(AtomicBool::new(false));
    let has_pods = Arc::new(Notify::new());
    let listening = {
        let (node, relist, has_events) = (node.clone(), relist.clone(), has_events.clone());
        let has_pods = has_pods.clone();
        tokio::spawn(async move {
            has_pods.notified().await;
            listen(node, relist, has_events).await;
        })
    };
    let mut supervisor = Supervisor {
        node,
        workers: BTreeMap::new(),
        tasks: JoinSet::new(),
        fingerprints: BTreeMap::new(),
        has_pods,
        has_listed: false,
    };
    // Before any worker: ranges of user namespaces are adopted first.
    supervisor.relist().await;
    supervisor.find_pods();
    tokio::select! {
        () = supervisor.run(news, &relist, &has_events) => {}
        () = shutdown => {}
    }
    listening.abort();
    supervisor.tasks.shutdown().await;
}

struct Supervisor {
    node: Arc<Node>,
    /// By uid of the pod.
    workers: BTreeMap<String, (Key, Strings)>,
    tasks: JoinSet<String>,
    /// What the runtime has of a pod, as a number.
    fingerprints: BTreeMap<String, u64>,
    /// The runtime's events are wanted from the first pod on.
    has_pods: Arc<Notify>,
    /// What an earlier run left behind was looked for.
    has_listed: bool,
}

impl Supervisor {
    async fn run(
        &mut self,
        mut news: broadcast::Receiver<Event>,
        relist: &Notify,
        has_events: &AtomicBool,
    ) {
        loop {
            let pause = match has_events.load(Ordering::Acquire) {
                _ if self.workers.is_empty() && self.has_listed => NO_PODS,
                true => RELIST_WITH_EVENTS,
                false => RELIST,
            };
            tokio::select! {
                event = news.recv() => match event {
                    Ok(event) => self.heard(&event),
                    // Some were missed: everything is looked at.
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.find_pods();
                        self.wake_all();
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(gone) = self.tasks.join_next() => match gone {
                    Ok(uid) => self.forget(&uid),
                    Err(error) => tracing::error!(%error, "the worker of a pod"),
                },
                () = relist.notified(), if !self.workers.is_empty() => self.relist().await,
                () = tokio::time::sleep(pause) => self.relist().await,
            }
        }
    }

    /// A pod of the same name may have come meanwhile.
    fn forget(&mut self, uid: &str) {
        self.workers.remove(uid);
        self.fingerprints.remove(uid);
        self.find_pods();
    }

    fn find_pods(&mut self) {
        for object in self.node.store.list(Kind::Pod, None) {
            if let Some(pod) = object.as_pod() {
                self.employ(pod);
            }
        }
    }

    fn heard(&mut self, event: &Event) {
        match event.object.as_ref() {
            Object::Pod(pod) => {
                let uid = pod.metadata.uid.as_deref().unwrap_or_default();
                match event.change {
                    Change::Created | Change::Modified => {
                        self.employ(pod);
                        self.wake(uid);
                    }
                    Change::Removed => self.wake(uid),
                    // It is the worker that has told it.
                    Change::Status => {}
                }
            }
            _ => {
                let namespace = &event.key.namespace;
                let of_it = self
                    .workers
                    .values()
                    .filter(|(key, _)| key.namespace == *namespace);
                for (_, strings) in of_it {
                    strings.is_stale.store(true, Ordering::Release);
                    strings.wake.notify_one();
                }
            }
        }
    }

    fn employ(&mut self, pod: &Pod) {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let metadata = &pod.metadata;
        let key = pod_key(&text(&metadata.namespace), &text(&metadata.name));
        self.employ_for(key, text(&metadata.uid));
    }

    fn employ_for(&mut self, key: Key, uid: String) {
        if self.workers.contains_key(&uid) {
            return;
        }
        let strings = Strings {
            wake: Arc::new(Notify::new()),
            is_stale: Arc::new(AtomicBool::new(false)),
        };
        let worker = Worker::new(self.node.clone(), key.clone(), uid.clone(), strings.clone());
        self.workers.insert(uid.clone(), (key, strings));
        self.has_pods.notify_one();
        self.tasks.spawn(async move {
            worker.run().await;
            uid
        });
    }

    fn wake(&self, uid: &str) {
        if let Some((_, strings)) = self.workers.get(uid) {
            strings.wake.notify_one();
        }
    }

    fn wake_all(&self) {
        for (_, strings) in self.workers.values() {
            strings.wake.notify_one();
        }
    }

    /// Looks what the runtime has, and wakes the workers of pods of which that changed.
    async fn relist(&mut self) {
        let (sandboxes, containers) = match list(&self.node).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::debug!(%error, "the runtime does not answer");
                return;
            }
        };
        let mut hashers: BTreeMap<String, DefaultHasher> = BTreeMap::new();
        let mut note = |labels: &BTreeMap<String, String>, id: &str, state: i32| {
            if let Some(uid) = labels.get(LABEL_UID) {
                (id, state).hash(hashers.entry(uid.clone()).or_default());
            }
        };
        for sandbox in &sandboxes {
            note(&sandbox.labels, &sandbox.id, sandbox.state);
        }
        for container in &containers {
            note(&container.labels, &container.id, container.state);
        }
        let found: BTreeMap<String, u64> = hashers
            .into_iter()
            .map(|(uid, hasher)| (uid, hasher.finish()))
            .collect();
        let known: BTreeSet<&String> = found.keys().chain(self.fingerprints.keys()).collect();
        for uid in known {
            if found.get(uid) != self.fingerprints.get(uid) {
                self.wake(uid);
            }
        }
        self.adopt(&sandboxes);
        self.has_listed = true;
        self.fingerprints = found;
    }

    /// Ids of user namespaces that are in use; and sandboxes of pods that are gone get a worker that removes them.
    fn adopt(&mut self, sandboxes: &[PodSandbox]) {
        for sandbox in sandboxes {
            let text = |name| sandbox.labels.get(name).cloned().unwrap_or_default();
            let uid = text(LABEL_UID);
            let range = sandbox.annotations.get(ANNOTATION_USER_RANGE);
            if let Some(first) = range.and_then(|range| range.parse().ok()) {
                self.node.user_ranges.adopt(&uid, UserRange(first));
            }
            if !uid.is_empty() {
                self.employ_for(pod_key(&text(LABEL_NAMESPACE), &text(LABEL_NAME)), uid);
            }
        }
    }
}

async fn list(node: &Node) -> Result<(Vec<PodSandbox>, Vec<Container>), RuntimeError> {
    let mut sandboxes = node.runtime.sandboxes(None).await?;
    let mut containers = node.runtime.containers(None).await?;
    // In any order they are the same.
    sandboxes.sort_by(|a, b| a.id.cmp(&b.id));
    containers.sort_by(|a, b| a.id.cmp(&b.id));
    Ok((sandboxes, containers))
}

/// Passes on that something has happened, where the runtime tells.
async fn listen(node: Arc<Node>, relist: Arc<Notify>, has_events: Arc<AtomicBool>) {
    loop {
        match node.runtime.events().await {
            Ok(mut events) => {
                has_events.store(true, Ordering::Release);
                while let Ok(Some(_)) = events.message().await {
                    relist.notify_one();
                }
            }
            Err(error) if error.is_unimplemented() => {
                tracing::info!("the runtime tells no events: it is asked each second");
                return;
            }
            Err(error) => tracing::debug!(%error, "events of the runtime"),
        }
        has_events.store(false, Ordering::Release);
        relist.notify_one();
        tokio::time::sleep(EVENTS_AGAIN).await;
    }
}
