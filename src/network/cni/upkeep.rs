//! What is asked of the plugins besides attaching: at a start GC and CHECK, for a status VERSION and STATUS; and what
//! they answered, for whoever looks at the status.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::attachments::{Cni, Inner, Phase};
use super::chain::Chain;
use super::directory::{self, Scan};
use super::error;
use super::list::NetworkList;
use super::readiness::{Found, Readiness};

/// What is remembered of it.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    readiness: Readiness,
    /// What was last said about the configuration.
    last_seen: Mutex<String>,
    /// Why networks do not free what is not used any more, by name.
    uncollected: Mutex<BTreeMap<String, String>>,
}

impl Cni {
    /// Carries on: names the living attachments to the plugins, releases what is to be released, and has the living
    /// ones checked. `used`: the network that pods are attached to, if it is this runtime's alone.
    pub(in crate::network) fn resume(&self, used: Option<Arc<NetworkList>>) {
        let mut networks: BTreeMap<String, Arc<NetworkList>> = BTreeMap::new();
        let (mut releasing, mut living) = (Vec::new(), Vec::new());
        for (sandbox, entry) in &*self.inner.lock() {
            let network = Arc::new(entry.given.network.clone());
            networks.insert(network.name.clone(), network);
            match entry.phase {
                Phase::Releasing => releasing.push(sandbox.clone()),
                Phase::Attaching | Phase::Attached => living.push(sandbox.clone()),
            }
        }
        // As it is configured now, if it is.
        networks.extend(used.map(|network| (network.name.clone(), network)));
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            inner.collect_garbage(networks.into_values()).await;
            for sandbox in releasing {
                tokio::spawn(Arc::clone(&inner).release(sandbox));
            }
            inner.check_all(living).await;
        });
    }

    /// The configuration as it is now; what has changed since the last look is logged. Blocking.
    pub(in crate::network) fn scan(&self) -> Scan {
        let scan = directory::scan(&self.inner.config.configuration_directories);
        self.inner.upkeep.tell_changes(&scan);
        scan
    }

    /// Whether pods can be attached to a network, and what its plugins do badly: also what CHECK and GC have told.
    pub(in crate::network) async fn look(&self, network: &Arc<NetworkList>) -> Found {
        let config = &self.inner.config;
        let readiness = &self.inner.upkeep.readiness;
        let mut found = readiness
            .look(network, &config.plugin_directories, config.timeout)
            .await;
        found
            .warnings
            .extend(self.inner.upkeep.uncollected().values().cloned());
        for (sandbox, entry) in &*self.inner.lock() {
            let damage = entry.damage.iter();
            let told = damage
                .map(|text| format!("the network of pod {sandbox} is not as it was made: {text}"));
            found.warnings.extend(told);
        }
        found
    }
}

impl Upkeep {
    fn uncollected(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.uncollected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_changes(&self, scan: &Scan) {
        let seen = scan.describe();
        let skipped = scan.broken_files();
        let now = format!("{seen}\n{skipped}");
        let mut last = self
            .last_seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *last == now {
            return;
        }
        *last = now;
        drop(last);
        tracing::info!("CNI: {seen}");
        if scan.chosen.is_some() && !skipped.is_empty() {
            tracing::warn!("CNI configurations are skipped: {skipped}");
        }
    }
}

impl Inner {
    /// Names the living attachments of each network to its plugins.
    async fn collect_garbage(&self, networks: impl Iterator<Item = Arc<NetworkList>>) {
        let _alone = self.collecting.write().await;
        for network in networks {
            let living: Vec<(String, String)> = self
                .lock()
                .iter()
                .filter(|(_, entry)| entry.given.network.name == network.name)
                .map(|(sandbox, entry)| (sandbox.clone(), entry.given.interface.clone()))
                .collect();
            let chain = Chain {
                network: &network,
                directories: &self.config.plugin_directories,
                deadline: Instant::now() + self.config.timeout,
            };
            if let Err(error) = chain.collect(&living, self.config.timeout).await {
                let text = format!(
                    "CNI network {:?} does not free what is not used any more: {}",
                    network.name,
                    error::chain(&error)
                );
                tracing::warn!("{text}");
                self.upkeep.uncollected().insert(network.name.clone(), text);
            }
        }
    }

    /// Asks the plugins of one pod after the other whether its network is still as they left it.
    async fn check_all(&self, sandboxes: Vec<String>) {
        for sandbox in sandboxes {
            let _one = self.checking.lock().await;
            let found = {
                let table = self.lock();
                table
                    .get(&sandbox)
                    .filter(|entry| entry.phase == Phase::Attached)
                    .and_then(|entry| Some((Arc::clone(&entry.given), entry.result.clone()?)))
            };
            let Some((given, result)) = found else {
                continue;
            };
            let target = given.target(&sandbox, Some(&given.namespace));
            if let Err(error) = self.chain(&given).check(target, &result).await {
                let text = error::chain(&error);
                tracing::warn!(
                    sandbox,
                    error = text,
                    "a pod's network is not as it was made"
                );
                if let Some(entry) = self.lock().get_mut(&sandbox) {
                    entry.damage = Some(text);
                }
            }
        }
    }
}
