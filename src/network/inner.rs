//! What the network consists of, how it is opened, and which of its ways a pod goes: CNI, or the built-in bridge with
//! what was prepared for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::attachment::Attachment;
use super::bridge;
use super::built_in::BuiltInNetwork;
use super::cni::{Cni, CniError, NetworkList, Scan};
use super::config::{Mode, NetworkConfig};
use super::error::NetworkError;
use super::ledger::Ledger;
use super::namespace::{self, NetworkNamespace, RouterAdvertisements};
use super::prepared::{Prepared, Taken};
use super::record::Records;
use super::recovery;
use super::release::Releases;
use super::service::blocking;
use super::table::{Plan, Start};

/// What the network consists of.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: NetworkConfig,
    pub(super) records: Records,
    pub(super) ledger: Arc<Ledger>,
    pub(super) cni: Cni,
    /// Started with the daemon, or with the first pod that needs it.
    pub(super) built_in: OnceLock<BuiltIn>,
    starting: Mutex<()>,
    pub(super) releases: Releases,
    /// Whether the namespace directory has been made a shared mount.
    directory: Mutex<Directory>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directory {
    Unknown,
    Prepared,
}

/// The built-in network, and what it has made ahead.
#[derive(Debug)]
pub(super) struct BuiltIn {
    pub(super) network: Arc<BuiltInNetwork>,
    pub(super) prepared: Prepared,
}

/// What attaches the next pod.
pub(super) enum Way<'a> {
    Cni(Scan, Arc<NetworkList>),
    BuiltIn(&'a BuiltIn),
}

impl Inner {
    pub(super) async fn attach(
        self: Arc<Self>,
        sandbox: String,
        namespace: NetworkNamespace,
        plan: Plan,
    ) -> Result<Attachment, NetworkError> {
        let plan = Arc::new(plan);
        let (inner, id, announced) = (Arc::clone(&self), sandbox.clone(), Arc::clone(&plan));
        let record = blocking("record an attachment", move || {
            inner.ledger.record_attach(&id, &announced)
        });
        let record = match (record.await, plan.start) {
            (Ok(record), _) => record,
            (Err(error), Start::Nothing) => {
                self.ledger.cancel_attach(&sandbox);
                return Err(error);
            }
            (Err(error), Start::Prepared) => return self.finish(sandbox, &plan, Err(error)).await,
        };
        // The record is in the page cache, which is what a dying daemon needs. That it reaches the disk matters only
        // for a power cut, which takes the interfaces as well: so both go on at the same time.
        let (inner, id) = (Arc::clone(&self), sandbox.clone());
        let sync = async move {
            match record {
                Some(record) => {
                    blocking("sync a record", move || inner.ledger.sync(&id, &record)).await
                }
                None => Ok(()),
            }
        };
        let (inner, made) = (Arc::clone(&self), Arc::clone(&plan));
        let make = blocking("attach a pod", move || {
            match (inner.built_in.get(), made.start) {
                (None, _) => Err(NetworkError::Disabled),
                (Some(started), Start::Nothing) => started.network.attach(&made, &namespace),
                (Some(started), Start::Prepared) => started.network.open_ports_of(&made),
            }
        });
        let (synced, made) = tokio::join!(sync, make);
        self.finish(sandbox, &plan, made.and(synced)).await
    }

    async fn finish(
        self: Arc<Self>,
        sandbox: String,
        plan: &Arc<Plan>,
        outcome: Result<(), NetworkError>,
    ) -> Result<Attachment, NetworkError> {
        let plan = Arc::clone(plan);
        blocking("finish an attachment", move || {
            let (result, job) = self.ledger.finish_attach(&sandbox, outcome);
            if let Some(job) = job {
                self.releases.close_and_send(job);
            }
            result.map(|()| plan.attachment.clone())
        })
        .await
    }

    /// A namespace for the sandbox, prepared or new, and the sysctls that are still to be set in it.
    pub(super) fn namespace(
        &self,
        sandbox: &str,
        path: PathBuf,
        sysctls: BTreeMap<String, String>,
    ) -> Result<Taken, NetworkError> {
        let way = self.way();
        if !self.ledger.knows(sandbox)
            && let Ok(Way::BuiltIn(built_in)) = &way
            && let Some(taken) = built_in.prepared.take(sandbox, &path, &sysctls)?
        {
            return Ok(taken);
        }
        let advertisements = advertisements(&way);
        let namespace = self.begin(sandbox, &path, || {
            namespace::create(advertisements)?.bind(&path)
        })?;
        Ok(Taken {
            namespace,
            missing: sysctls,
        })
    }

    /// Records a namespace while it is made; one that could not be is forgotten.
    pub(super) fn begin(
        &self,
        sandbox: &str,
        path: &Path,
        make: impl FnOnce() -> Result<NetworkNamespace, NetworkError>,
    ) -> Result<NetworkNamespace, NetworkError> {
        self.ledger.begin_namespace(sandbox, path.to_owned())?;
        let made = make();
        if let Err(error) = &made
            && !matches!(error, NetworkError::NamespaceExists { .. })
        {
            self.ledger.end_namespace(sandbox)?;
        }
        made
    }

    /// What attaches the next pod. While CNI does, the built-in network makes nothing ahead.
    pub(super) fn way(&self) -> Result<Way<'_>, NetworkError> {
        let way = self.look_for_way();
        if let Some(started) = self.built_in.get() {
            started.prepared.keep(match way {
                Ok(Way::BuiltIn(_)) => self.config.prepared,
                Ok(Way::Cni(..)) | Err(_) => 0,
            });
        }
        way
    }

    fn look_for_way(&self) -> Result<Way<'_>, NetworkError> {
        let scan = match self.config.mode {
            Mode::None => return Err(NetworkError::Disabled),
            Mode::BuiltIn => return self.built_in().map(Way::BuiltIn),
            Mode::Auto => {
                let scan = self.cni.scan();
                if scan.is_empty() {
                    return self.built_in().map(Way::BuiltIn);
                }
                scan
            }
            Mode::Cni => self.cni.scan(),
        };
        match scan.network() {
            Some(network) => Ok(Way::Cni(scan, network)),
            None => Err(CniError::NotConfigured {
                problem: scan.problem(),
            }
            .into()),
        }
    }

    /// The built-in network, started if it was not needed before.
    fn built_in(&self) -> Result<&BuiltIn, NetworkError> {
        let _alone = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(started) = self.built_in.get() {
            return Ok(started);
        }
        let network = Arc::new(BuiltInNetwork::start(
            &self.config,
            Arc::clone(&self.ledger),
        )?);
        let prepared = Prepared::start(
            self.config.prepared,
            Arc::clone(&self.ledger),
            Arc::clone(&network),
            self.releases.clone(),
        )?;
        Ok(self.built_in.get_or_init(|| BuiltIn { network, prepared }))
    }

    pub(super) fn prepare_directory(&self) -> Result<(), NetworkError> {
        let mut directory = self
            .directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *directory == Directory::Unknown {
            namespace::prepare_directory(&self.config.namespace_directory)?;
            *directory = Directory::Prepared;
        }
        Ok(())
    }
}

/// The network, and the CNI network whose attachments are this daemon's alone, if there is one.
pub(super) fn open(
    config: NetworkConfig,
    live: &BTreeSet<String>,
) -> Result<(Inner, Option<Arc<NetworkList>>), NetworkError> {
    config.check()?;
    let records = Records::open(&config.state_directory)?;
    let cni_records = Records::open_directory(config.state_directory.join("cni"))?;
    let (mut live_records, leftovers): (Vec<_>, Vec<_>) = records
        .load()?
        .into_iter()
        // What CNI still has to detach keeps its namespace.
        .partition(|(sandbox, _)| live.contains(sandbox) || cni_records.has(sandbox));
    recovery::release_what_is_gone(&records, &mut live_records)?;
    let ledger = Arc::new(Ledger::new(&config, records.clone(), live_records));
    let cni = Cni::open(config.cni.clone(), Arc::clone(&ledger), cni_records, live)?;
    let table = bridge::table_name(&config.bridge);
    let releases = Releases::start(Arc::clone(&ledger), &table)?;
    let inner = Inner {
        config,
        records,
        ledger,
        cni,
        built_in: OnceLock::new(),
        starting: Mutex::new(()),
        releases,
        directory: Mutex::new(Directory::Unknown),
    };
    // A conflict is told before anything is changed; that CNI is not configured yet is no reason not to start.
    let used = match inner.way() {
        Ok(Way::Cni(_, network)) if inner.config.mode == Mode::Cni => Some(network),
        Ok(_) | Err(NetworkError::Disabled | NetworkError::Cni(_)) => None,
        Err(error) => return Err(error),
    };
    for (sandbox, record) in &leftovers {
        recovery::remove_leftover(&inner.records, sandbox, record)?;
    }
    Ok((inner, used))
}

/// The built-in network has no IPv6 router, so a packet that claims to come from one comes from a pod.
pub(super) fn advertisements(way: &Result<Way<'_>, NetworkError>) -> RouterAdvertisements {
    match way {
        Ok(Way::BuiltIn(_)) => RouterAdvertisements::Ignored,
        Ok(Way::Cni(..)) | Err(_) => RouterAdvertisements::AsTheKernel,
    }
}
