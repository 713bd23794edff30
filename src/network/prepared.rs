//! The networks of the next pods, made ahead: a namespace with its interface on the bridge, its address and routes, so
//! that a pod that comes waits for none of it.
//!
//! ```text
//! (thread) wait until it is quiet ─▶ record, sync ─▶ namespace, veth, addresses ─▶ stock
//! (a pod)  stock ─▶ record renamed ─▶ namespace bound to its path ─▶ attached
//! ```
//!
//! What is in stock is in the ledger like a sandbox's network, under a name that no sandbox has: a start finds the
//! record of a daemon that died and removes all of it. It has no path, so its namespace ends with the daemon and takes
//! the interface along. One thread makes it, when no pod has come for a moment: a crowd of pods needs the processor
//! itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::built_in::BuiltInNetwork;
use super::error::NetworkError;
use super::ledger::{Begun, Ledger};
use super::namespace::{self, NetworkNamespace, RouterAdvertisements};
use super::release::Releases;
use super::sysctl;

/// So long no pod must have come or gone: longer than a pod takes to be ready, so that its containers are not held up by
/// the sync of a record and the lock of all interfaces.
const QUIET: Duration = Duration::from_millis(60);
/// So long is waited after something failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// One that waits for its pod.
#[derive(Debug)]
struct Ready {
    /// Its name in the ledger.
    name: String,
    namespace: NetworkNamespace,
    /// What is set in it.
    sysctls: BTreeMap<String, String>,
}

/// One that a sandbox has taken.
#[derive(Debug)]
pub(super) struct Taken {
    /// Its namespace, bound to the sandbox's path.
    pub(super) namespace: NetworkNamespace,
    /// The sysctls that are still to be set in it.
    pub(super) missing: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Stock {
    ready: Vec<Ready>,
    /// How many there should be.
    wanted: usize,
    /// What the last pod had set; most pods have the same.
    sysctls: BTreeMap<String, String>,
    /// Not before this moment is another made.
    not_before: Instant,
    open: Open,
    /// Whether the thread is at one.
    making: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Yes,
    No,
}

#[derive(Debug)]
struct Shared {
    stock: Mutex<Stock>,
    changed: Condvar,
}

/// The stock and who fills it.
#[derive(Debug)]
pub(super) struct Prepared {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    releases: Releases,
}

/// What makes them.
struct Maker {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    built_in: Arc<BuiltInNetwork>,
    releases: Releases,
}

/// What the names in the ledger begin with; no sandbox's does.
const NAME: &str = "prepared-";

/// Whether a record is that of one in stock.
pub(super) fn is_name(sandbox: &str) -> bool {
    sandbox.starts_with(NAME)
}

impl Prepared {
    /// Begins to keep `count` of them.
    pub(super) fn start(
        count: usize,
        ledger: Arc<Ledger>,
        built_in: Arc<BuiltInNetwork>,
        releases: Releases,
    ) -> Result<Self, NetworkError> {
        let shared = Arc::new(Shared {
            stock: Mutex::new(Stock {
                ready: Vec::new(),
                wanted: count,
                sysctls: BTreeMap::new(),
                not_before: Instant::now(),
                open: Open::Yes,
                making: false,
            }),
            changed: Condvar::new(),
        });
        if count > 0 {
            let maker = Maker {
                shared: Arc::clone(&shared),
                ledger: Arc::clone(&ledger),
                built_in,
                releases: releases.clone(),
            };
            thread::Builder::new()
                .name("network-prepare".to_owned())
                .spawn(move || maker.run())
                .map_err(|source| NetworkError::Thread {
                    step: "start the thread that prepares pods' networks",
                    source,
                })?;
        }
        Ok(Self {
            shared,
            ledger,
            releases,
        })
    }

    /// A network for the sandbox, its namespace bound to `path`; nothing if none is in stock that suits.
    pub(super) fn take(
        &self,
        sandbox: &str,
        path: &Path,
        sysctls: &BTreeMap<String, String>,
    ) -> Result<Option<Taken>, NetworkError> {
        let Some(ready) = self.pick(sysctls) else {
            return Ok(None);
        };
        if let Err(error) = self.ledger.hand_over(&ready.name, sandbox, path.to_owned()) {
            self.releases.release(&ready.name);
            return Err(error);
        }
        // From here on it is the sandbox's, and its release removes it.
        let missing = ready.missing(sysctls);
        let namespace = ready.namespace.bind(path)?;
        Ok(Some(Taken { namespace, missing }))
    }

    /// Puts off the next one: a pod comes or goes.
    pub(super) fn put_off(&self) {
        let mut stock = self.shared.lock();
        stock.not_before = stock.not_before.max(Instant::now() + QUIET);
    }

    /// How many are in stock.
    pub(super) fn count(&self) -> usize {
        self.shared.lock().ready.len()
    }

    /// Keeps so many from now on; what is too much is released.
    pub(super) fn keep(&self, count: usize) {
        let surplus = {
            let mut stock = self.shared.lock();
            if stock.wanted == count {
                return;
            }
            stock.wanted = count;
            let at = stock.ready.len().min(count);
            stock.ready.split_off(at)
        };
        self.shared.changed.notify_all();
        for ready in surplus {
            self.releases.release(&ready.name);
        }
    }

    /// Releases what is in stock, and makes no more; the names of what is on its way out.
    pub(super) fn clear(&self) -> Vec<String> {
        let mut stock = self.shared.lock();
        stock.open = Open::No;
        // The one that is being made is stocked or released in milliseconds.
        let deadline = Instant::now() + PATIENCE;
        while stock.making && Instant::now() < deadline {
            let waited = self.shared.changed.wait_timeout(stock, QUIET);
            stock = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let surplus = std::mem::take(&mut stock.ready);
        drop(stock);
        let release = |ready: Ready| {
            self.releases.release(&ready.name);
            ready.name
        };
        surplus.into_iter().map(release).collect()
    }

    /// One that suits the sysctls of a pod. If none does, the oldest makes room for one that will suit the next such pod.
    fn pick(&self, sysctls: &BTreeMap<String, String>) -> Option<Ready> {
        let mut stock = self.shared.lock();
        stock.not_before = stock.not_before.max(Instant::now() + QUIET);
        stock.sysctls.clone_from(sysctls);
        let at = stock.ready.iter().position(|ready| ready.suits(sysctls));
        let (picked, useless) = match at {
            Some(at) => (Some(stock.ready.remove(at)), None),
            None if stock.ready.is_empty() => (None, None),
            None => (None, Some(stock.ready.remove(0))),
        };
        drop(stock);
        self.shared.changed.notify_all();
        if let Some(useless) = useless {
            self.releases.release(&useless.name);
        }
        picked
    }
}

impl Ready {
    /// Whether nothing is set that the pod does not want set, and what is missing can be set now: defaults hold for
    /// interfaces that come later, and this one is there.
    fn suits(&self, sysctls: &BTreeMap<String, String>) -> bool {
        let wanted = |(name, value)| sysctls.get(name) == Some(value);
        self.sysctls.iter().all(wanted)
            && !self
                .missing(sysctls)
                .keys()
                .any(|name| name.contains("default"))
    }

    fn missing(&self, sysctls: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut missing = sysctls.clone();
        missing.retain(|name, _| !self.sysctls.contains_key(name));
        missing
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        let mut stock = self.shared.lock();
        stock.open = Open::No;
        // What it has goes with its descriptor; the next start removes the records.
        stock.ready.clear();
        drop(stock);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stock> {
        // No code that holds the lock can panic half-way through a change.
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maker {
    fn run(self) {
        let mut number: u64 = 0;
        while let Some(sysctls) = self.wait() {
            number = number.wrapping_add(1);
            let name = format!("{NAME}{}-{number}", process::id());
            let made = self.make(name, sysctls);
            let mut stock = self.shared.lock();
            stock.making = false;
            if let Err(error) = made {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the network of a later pod was not prepared");
                stock.not_before = Instant::now() + PATIENCE;
                // A value of the last pod that the kernel refuses is that pod's own trouble.
                stock.sysctls.clear();
            }
            drop(stock);
            self.shared.changed.notify_all();
        }
    }

    /// Waits until one more is to be made, with these sysctls; nothing at the end.
    fn wait(&self) -> Option<BTreeMap<String, String>> {
        let mut stock = self.shared.lock();
        loop {
            if stock.open == Open::No {
                return None;
            }
            let now = Instant::now();
            if stock.ready.len() >= stock.wanted {
                let waited = self.shared.changed.wait(stock);
                stock = waited.unwrap_or_else(PoisonError::into_inner);
            } else if stock.not_before > now {
                let time = stock.not_before.duration_since(now);
                let waited = self.shared.changed.wait_timeout(stock, time);
                stock = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else if self.ledger.is_scarce() || !self.built_in.is_set_up() {
                stock.not_before = now + PATIENCE;
            } else {
                stock.making = true;
                return Some(stock.sysctls.clone());
            }
        }
    }

    fn make(&self, name: String, sysctls: BTreeMap<String, String>) -> Result<(), NetworkError> {
        let Begun::Started(plan) = self.ledger.begin_attach(&name, &[])? else {
            return Ok(());
        };
        let announced = self
            .ledger
            .record_attach(&name, &plan)
            .and_then(|record| record.map_or(Ok(()), |record| self.ledger.sync(&name, &record)));
        if let Err(error) = announced {
            self.ledger.cancel_attach(&name);
            return Err(error);
        }
        let made = namespace::create(RouterAdvertisements::Ignored).and_then(|namespace| {
            if !sysctls.is_empty() {
                namespace.inside("set sysctls", || sysctl::apply(&sysctls))??;
            }
            self.built_in.attach(&plan, &namespace)?;
            Ok(namespace)
        });
        let (outcome, namespace) = match made {
            Ok(namespace) => (Ok(()), Some(namespace)),
            Err(error) => (Err(error), None),
        };
        let (result, job) = self.ledger.finish_attach(&name, outcome);
        if let Some(job) = job {
            self.releases.send(job);
        }
        result?;
        if let Some(namespace) = namespace {
            self.stock(Ready {
                name,
                namespace,
                sysctls,
            });
        }
        Ok(())
    }

    fn stock(&self, ready: Ready) {
        let mut stock = self.shared.lock();
        if stock.ready.len() < stock.wanted && stock.open == Open::Yes {
            stock.ready.push(ready);
            return;
        }
        drop(stock);
        self.releases.release(&ready.name);
    }
}
