//! Who is attached by CNI, from the moment before ADD to the one after DEL has worked.
//!
//! ```text
//!        record synced, ADD           it worked
//! (none) ───────────────▶ Attaching ────────────▶ Attached
//!                             │ failed, or detached   │ detached
//!                             ▼                       ▼
//!                 (none) ◀── Releasing: DEL until it works, then the namespace's path and the record go
//! ```
//!
//! A daemon that died leaves records: those without a result are released, and so are those of sandboxes that are no
//! more. DEL is tried again after a pause that doubles up to a minute, and at once when somebody asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, RwLock, Semaphore, watch};
use tokio::time::Instant;

use super::super::error::NetworkError;
use super::super::ledger::Ledger;
use super::super::namespace;
use super::super::record::Records;
use super::super::request::PodRequest;
use super::super::service::blocking;
use super::super::table::POD_INTERFACE;
use super::capabilities;
use super::chain::{Chain, Target};
use super::config::CniConfig;
use super::error::{self, CniError};
use super::leftover;
use super::list::NetworkList;
use super::outcome;
use super::record::{self, Event, Given};
use super::upkeep::Upkeep;

/// How many DELs run at a time: a node that stops all its pods must not start some hundred processes at once.
const PARALLEL_DELETES: usize = 10;
/// The pause after the first DEL that failed.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// CNI on this node. Clones are the same.
#[derive(Debug, Clone)]
pub(in crate::network) struct Cni {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: CniConfig,
    records: Records,
    /// Where the namespaces are recorded.
    namespaces: Arc<Ledger>,
    table: Mutex<BTreeMap<String, Entry>>,
    /// Changes with the table.
    changes: watch::Sender<u64>,
    /// Held for writing by GC: an ADD beside it would be taken for garbage.
    pub(super) collecting: RwLock<()>,
    deletes: Semaphore,
    /// Held by CHECK, so that a DEL does not run beside it.
    pub(super) checking: tokio::sync::Mutex<()>,
    pub(super) upkeep: Upkeep,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) given: Arc<Given>,
    pub(super) result: Option<Arc<Value>>,
    pub(super) phase: Phase,
    /// What CHECK found wrong with it, for people.
    pub(super) damage: Option<String>,
    /// Tells the task that works on it to give up, or not to wait any longer.
    nudge: Arc<Notify>,
    /// How many DELs have failed, and the last reason.
    failures: u64,
    failure: Option<Arc<NetworkError>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Attaching,
    Attached,
    Releasing,
}

impl Cni {
    /// Reads the records. Of what a dead daemon left running nothing is, after it. Blocking.
    pub(in crate::network) fn open(
        config: CniConfig,
        namespaces: Arc<Ledger>,
        records: Records,
        live: &BTreeSet<String>,
    ) -> Result<Self, NetworkError> {
        let mut table = BTreeMap::new();
        for (sandbox, events) in records.lines::<Event>()? {
            let Some(found) = record::sum(events) else {
                records.remove(&sandbox)?;
                continue;
            };
            let lives = live.contains(&sandbox) && found.result.is_some();
            let entry = Entry {
                given: Arc::new(found.given),
                result: found.result.map(Arc::new),
                phase: if lives {
                    Phase::Attached
                } else {
                    Phase::Releasing
                },
                damage: None,
                nudge: Arc::default(),
                failures: 0,
                failure: None,
            };
            table.insert(sandbox, entry);
        }
        // Also of those that are attached: a DEL, or a CHECK, of a daemon that died is noted nowhere.
        let all = table.keys().map(String::as_str).collect();
        leftover::end_plugins_of(&all);
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                records,
                namespaces,
                table: Mutex::new(table),
                changes: watch::Sender::new(0),
                collecting: RwLock::new(()),
                deletes: Semaphore::new(PARALLEL_DELETES),
                checking: tokio::sync::Mutex::new(()),
                upkeep: Upkeep::default(),
            }),
        })
    }

    /// Whether something of the sandbox is recorded: then its namespace stays until DEL has worked.
    pub(in crate::network) fn holds(&self, sandbox: &str) -> bool {
        self.inner.lock().contains_key(sandbox)
    }

    /// Removes the directory of the records, which must be empty by now. Blocking.
    pub(in crate::network) fn remove_directory(&self) -> Result<(), NetworkError> {
        self.inner.records.remove_directory()
    }

    /// All sandboxes.
    pub(in crate::network) fn sandboxes(&self) -> Vec<String> {
        self.inner.lock().keys().cloned().collect()
    }

    /// Attaches: the addresses, the main one first. A second time returns the same. The caller's giving up does not
    /// leave it half-way. What failed is released in the background.
    pub(in crate::network) async fn attach(
        &self,
        sandbox: &str,
        namespace: &Path,
        network: &NetworkList,
        pod: &PodRequest,
    ) -> Result<Vec<IpAddr>, NetworkError> {
        let given = Arc::new(Given {
            network: network.clone(),
            namespace: namespace.to_owned(),
            interface: POD_INTERFACE.to_owned(),
            arguments: capabilities::arguments(pod, sandbox)?,
            capabilities: capabilities::capabilities(pod)?,
        });
        let nudge = match self.inner.begin(sandbox, &given)? {
            Begun::Already(result) => return Ok(addresses(&given, &result)?),
            Begun::Started(nudge) => nudge,
        };
        let attach = Arc::clone(&self.inner).attach(sandbox.to_owned(), given, nudge);
        tokio::spawn(attach)
            .await
            .map_err(|error| super::super::service::ended("attach a pod", error))?
    }

    /// Hands the attachment to the background for DEL. Whether there is one.
    pub(in crate::network) fn detach(&self, sandbox: &str) -> bool {
        let mut table = self.inner.lock();
        let Some(entry) = table.get_mut(sandbox) else {
            return false;
        };
        let phase = entry.phase;
        match phase {
            // Its task releases it.
            Phase::Attaching | Phase::Releasing => entry.nudge.notify_one(),
            Phase::Attached => entry.phase = Phase::Releasing,
        }
        drop(table);
        if phase == Phase::Attached {
            tokio::spawn(Arc::clone(&self.inner).release(sandbox.to_owned()));
        }
        true
    }

    /// Waits until nothing of the sandbox is left.
    ///
    /// # Errors
    ///
    /// Why a DEL that ended meanwhile has failed; it is tried again all the same.
    pub(in crate::network) async fn wait_released(
        &self,
        sandbox: &str,
    ) -> Result<(), NetworkError> {
        let mut changes = self.inner.changes.subscribe();
        let mut failures_before = None;
        loop {
            changes.mark_unchanged();
            if let Some(entry) = self.inner.lock().get(sandbox) {
                let before = *failures_before.get_or_insert(entry.failures);
                if entry.failures > before
                    && let Some(failure) = &entry.failure
                {
                    return Err(NetworkError::Undeleted {
                        sandbox: sandbox.to_owned(),
                        source: Arc::clone(failure),
                    });
                }
            } else {
                return Ok(());
            }
            // The sender lives as long as this.
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}

enum Begun {
    Already(Arc<Value>),
    Started(Arc<Notify>),
}

impl Inner {
    fn begin(&self, sandbox: &str, given: &Arc<Given>) -> Result<Begun, NetworkError> {
        let mut table = self.lock();
        if let Some(entry) = table.get(sandbox) {
            let doing = match (entry.phase, &entry.result) {
                (Phase::Attached, Some(result)) => return Ok(Begun::Already(Arc::clone(result))),
                (Phase::Attaching, _) => "attached",
                (Phase::Attached | Phase::Releasing, _) => "released",
            };
            return Err(NetworkError::Busy {
                sandbox: sandbox.to_owned(),
                doing,
            });
        }
        let nudge = Arc::new(Notify::new());
        let entry = Entry {
            given: Arc::clone(given),
            result: None,
            phase: Phase::Attaching,
            damage: None,
            nudge: Arc::clone(&nudge),
            failures: 0,
            failure: None,
        };
        table.insert(sandbox.to_owned(), entry);
        Ok(Begun::Started(nudge))
    }

    async fn attach(
        self: Arc<Self>,
        sandbox: String,
        given: Arc<Given>,
        nudge: Arc<Notify>,
    ) -> Result<Vec<IpAddr>, NetworkError> {
        let event = Event::AddStarted {
            given: Box::new((*given).clone()),
        };
        if let Err(error) = self.record(&sandbox, event, Sync::ToDisk).await {
            // No plugin has run.
            self.forget(&sandbox);
            return Err(error);
        }
        let made = self.add(&sandbox, &given, &nudge).await;
        let recorded = match made {
            Ok((result, addresses)) => {
                let event = Event::Attached {
                    result: result.clone(),
                };
                let recorded = self.record(&sandbox, event, Sync::Later).await;
                recorded.map(|()| (Arc::new(result), addresses))
            }
            Err(error) => Err(error),
        };
        let outcome = self.finish(&sandbox, recorded);
        if outcome.is_err() {
            tokio::spawn(self.release(sandbox));
        }
        outcome
    }

    /// Runs ADD, unless the pod is detached meanwhile.
    async fn add(
        &self,
        sandbox: &str,
        given: &Given,
        nudge: &Notify,
    ) -> Result<(Value, Vec<IpAddr>), NetworkError> {
        let add = async {
            let _no_collection = self.collecting.read().await;
            let target = given.target(sandbox, Some(&given.namespace));
            self.chain(given).add(target).await
        };
        let result = tokio::select! {
            result = add => result?,
            () = nudge.notified() => return Err(CniError::Abandoned { network: given.network.shown() }.into()),
        };
        let addresses = addresses(given, &result)?;
        Ok((result, addresses))
    }

    fn finish(
        &self,
        sandbox: &str,
        recorded: Result<(Arc<Value>, Vec<IpAddr>), NetworkError>,
    ) -> Result<Vec<IpAddr>, NetworkError> {
        let mut table = self.lock();
        let Some(entry) = table.get_mut(sandbox) else {
            return recorded.map(|(_, addresses)| addresses);
        };
        match recorded {
            Ok((result, addresses)) => {
                entry.result = Some(result);
                entry.phase = Phase::Attached;
                Ok(addresses)
            }
            Err(error) => {
                entry.phase = Phase::Releasing;
                Err(error)
            }
        }
    }

    /// DEL until it works.
    pub(super) async fn release(self: Arc<Self>, sandbox: String) {
        let found = self.lock().get(&sandbox).map(|entry| {
            let (given, nudge) = (Arc::clone(&entry.given), Arc::clone(&entry.nudge));
            (given, entry.result.clone(), nudge)
        });
        let Some((given, result, nudge)) = found else {
            return;
        };
        let mut pause = FIRST_PAUSE;
        let mut clean = result.is_some();
        loop {
            if !clean {
                end_plugins_of(&sandbox).await;
            }
            clean = false;
            match self.delete(&sandbox, &given, result.as_deref()).await {
                Ok(()) => return self.forget(&sandbox),
                Err(error) => self.note_failure(&sandbox, error),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = nudge.notified() => {}
            }
            pause = LAST_PAUSE.min(pause * 2);
        }
    }

    /// One DEL with a deadline of its own; then the namespace's path and the record go.
    async fn delete(
        &self,
        sandbox: &str,
        given: &Given,
        result: Option<&Value>,
    ) -> Result<(), NetworkError> {
        // The semaphore is never closed.
        let _turn = self.deletes.acquire().await;
        // No CHECK begins for a sandbox that is being released; one that has begun is waited for.
        drop(self.checking.lock().await);
        let _no_collection = self.collecting.read().await;
        let path = given.namespace.clone();
        let there = blocking("look for a namespace", move || {
            Ok(namespace::open(&path).is_ok())
        })
        .await?;
        let target = given.target(sandbox, there.then_some(given.namespace.as_path()));
        self.chain(given).delete(target, result).await?;
        let (records, namespaces) = (self.records.clone(), Arc::clone(&self.namespaces));
        let (path, sandbox) = (given.namespace.clone(), sandbox.to_owned());
        blocking("forget an attachment", move || {
            namespace::remove(&path)?;
            namespaces.end_namespace(&sandbox)?;
            records.remove(&sandbox)
        })
        .await
    }

    fn note_failure(&self, sandbox: &str, error: NetworkError) {
        tracing::warn!(
            sandbox,
            error = error::chain(&error),
            "a pod's network is not released; it is tried again"
        );
        if let Some(entry) = self.lock().get_mut(sandbox) {
            entry.failures += 1;
            entry.failure = Some(Arc::new(error));
        }
        self.announce();
    }

    fn forget(&self, sandbox: &str) {
        self.lock().remove(sandbox);
        self.announce();
    }

    fn announce(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    async fn record(&self, sandbox: &str, event: Event, sync: Sync) -> Result<(), NetworkError> {
        let (records, sandbox) = (self.records.clone(), sandbox.to_owned());
        blocking("record an attachment", move || {
            let file = records.append(&sandbox, &event)?;
            match sync {
                Sync::ToDisk => records.sync(&sandbox, &file),
                Sync::Later => Ok(()),
            }
        })
        .await
    }

    pub(super) fn chain<'a>(&'a self, given: &'a Given) -> Chain<'a> {
        Chain {
            network: &given.network,
            directories: &self.config.plugin_directories,
            deadline: Instant::now() + self.config.timeout,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // No code that holds the lock can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a record has to survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    ToDisk,
    Later,
}

impl Given {
    pub(super) fn target<'a>(
        &'a self,
        sandbox: &'a str,
        namespace: Option<&'a Path>,
    ) -> Target<'a> {
        Target {
            container: sandbox,
            namespace,
            interface: &self.interface,
            arguments: &self.arguments,
            capabilities: &self.capabilities,
        }
    }
}

/// What a failed ADD or DEL may have left running must not run beside the next DEL.
async fn end_plugins_of(sandbox: &str) {
    let sandbox = sandbox.to_owned();
    let ended = blocking("look for plugins that still run", move || {
        leftover::end_plugins_of(&BTreeSet::from([sandbox.as_str()]));
        Ok(())
    });
    if let Err(error) = ended.await {
        tracing::warn!(error = error::chain(&error), "plugins of a failed ADD");
    }
}

fn addresses(given: &Given, result: &Value) -> Result<Vec<IpAddr>, CniError> {
    outcome::addresses(result, &given.interface).map_err(|source| CniError::Outcome {
        network: given.network.shown(),
        source,
    })
}
