//! What the daemon calls: namespaces and attachments of sandboxes, by id.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::attachment::{Attachment, InterfaceStatistics};
use super::bridge;
use super::built_in::BuiltInNetwork;
use super::config::{Mode, NetworkConfig};
use super::error::NetworkError;
use super::inner::{Inner, Way, advertisements, open};
use super::ledger::Begun;
use super::namespace::{self, NetworkNamespace};
use super::port::HostPort;
use super::prepared::Taken;
use super::request::PodRequest;
use super::status::NetworkStatus;
use super::sysctl;
use super::table::POD_INTERFACE;

/// The pod network of this node. Clones are the same network.
#[derive(Debug, Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

impl Network {
    /// Starts: everything that is recorded for sandboxes not in `live` is removed, and the bridge is made if the
    /// built-in network is enabled. If something else on the node has the subnet or the bridge's name, nothing is
    /// changed, and the status says so until that has ended.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a configuration that cannot be, `System` if the kernel or the disk refuses.
    pub async fn start(
        config: NetworkConfig,
        live: &BTreeSet<String>,
    ) -> Result<Self, NetworkError> {
        let live = live.clone();
        let (inner, used) = blocking("start the network", move || open(config, &live)).await?;
        inner.cni.resume(used);
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Whether pods can be attached, and what gets in their way on this node.
    pub async fn status(&self) -> NetworkStatus {
        let inner = Arc::clone(&self.inner);
        let looked = blocking("look at the network", move || match inner.way()? {
            Way::BuiltIn(built_in) => Ok((built_in.network.status(), None)),
            Way::Cni(scan, network) => Ok((NetworkStatus::cni(&scan), Some(network))),
        });
        match looked.await {
            Ok((status, None)) => status,
            Ok((mut status, Some(network))) => {
                let found = self.inner.cni.look(&network).await;
                status.warnings.extend(found.warnings);
                match found.trouble {
                    None => status,
                    Some(trouble) => status.not_ready(trouble),
                }
            }
            Err(error) => NetworkStatus::default().not_ready(super::cni::chain(&error)),
        }
    }

    /// Takes the pods' networks that a kubelet tells (CRI `NetworkConfig.pod_cidr`): fills the template of a CNI
    /// configuration with them, if there is one and CNI is not configured otherwise.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if that is no list of networks; `System` if the template cannot be used or the file not be written.
    pub async fn set_pod_networks(&self, networks: &str) -> Result<(), NetworkError> {
        let inner = Arc::clone(&self.inner);
        let networks = networks.to_owned();
        blocking("configure CNI", move || {
            let config = &inner.config.cni;
            let by_cni = matches!(inner.config.mode, Mode::Auto | Mode::Cni);
            let template = config.template.as_deref().filter(|_| by_cni);
            let scan = inner.cni.scan();
            super::cni::write_filled(
                &config.configuration_directories,
                template,
                &networks,
                &scan,
            )?;
            Ok(())
        })
        .await
    }

    /// Makes a network namespace with `lo` up, and binds it to a path that holds it until
    /// [`Network::remove_namespace`].
    ///
    /// # Errors
    ///
    /// `Conflict` if the sandbox has one already.
    pub async fn create_namespace(&self, sandbox: &str) -> Result<NetworkNamespace, NetworkError> {
        self.create_namespace_with(sandbox, &BTreeMap::new()).await
    }

    /// The same with sysctls (`net.…`) that are set in it. If one that was prepared suits, that is taken, and what
    /// [`Network::attach`] makes is there already.
    ///
    /// # Errors
    ///
    /// `Conflict` if the sandbox has one already, `InvalidArgument` for a name that is no sysctl of a network
    /// namespace; after `System` for a value that the kernel refused, the namespace is there all the same.
    pub async fn create_namespace_with(
        &self,
        sandbox: &str,
        sysctls: &BTreeMap<String, String>,
    ) -> Result<NetworkNamespace, NetworkError> {
        let path = self.namespace_path(sandbox)?;
        for name in sysctls.keys() {
            sysctl::path(name)?;
        }
        let inner = Arc::clone(&self.inner);
        let (sandbox, sysctls) = (sandbox.to_owned(), sysctls.clone());
        blocking("make a network namespace", move || {
            inner.prepare_directory()?;
            let Taken { namespace, missing } = inner.namespace(&sandbox, path, sysctls)?;
            if !missing.is_empty() {
                namespace.inside("set sysctls", || sysctl::apply(&missing))??;
            }
            Ok(namespace)
        })
        .await
    }

    /// Takes over the network namespace that a sandbox has made inside its user namespace: brings `lo` up, sets the sysctls,
    /// and binds it to its path.
    ///
    /// # Errors
    ///
    /// As [`Network::create_namespace_with`].
    pub async fn adopt_namespace(
        &self,
        sandbox: &str,
        descriptor: OwnedFd,
        sysctls: &BTreeMap<String, String>,
    ) -> Result<NetworkNamespace, NetworkError> {
        let path = self.namespace_path(sandbox)?;
        for name in sysctls.keys() {
            sysctl::path(name)?;
        }
        let inner = Arc::clone(&self.inner);
        let (sandbox, sysctls) = (sandbox.to_owned(), sysctls.clone());
        blocking("take over a network namespace", move || {
            inner.prepare_directory()?;
            let advertisements = advertisements(&inner.way());
            inner.begin(&sandbox, &path, || {
                let namespace = namespace::adopt(descriptor, advertisements)?;
                namespace.inside("set sysctls", || sysctl::apply(&sysctls))??;
                namespace.bind(&path)
            })
        })
        .await
    }

    /// Opens the namespace of a sandbox again.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none.
    pub async fn open_namespace(&self, sandbox: &str) -> Result<NetworkNamespace, NetworkError> {
        let path = self.namespace_path(sandbox)?;
        blocking("open a network namespace", move || namespace::open(&path)).await
    }

    /// Writes sysctls (`net.…`) inside a namespace.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a name that is no sysctl of a network namespace; `System` names sysctl and value.
    pub async fn apply_sysctls(
        &self,
        namespace: &NetworkNamespace,
        sysctls: &BTreeMap<String, String>,
    ) -> Result<(), NetworkError> {
        for name in sysctls.keys() {
            sysctl::path(name)?;
        }
        let namespace = namespace.clone();
        let sysctls = sysctls.clone();
        blocking("set sysctls", move || {
            namespace.inside("set sysctls", || sysctl::apply(&sysctls))?
        })
        .await
    }

    /// Attaches the pod to the network that is in force: by CNI, or to the built-in bridge. Its addresses, the main one
    /// first. How it was attached is remembered, and undone the same way.
    ///
    /// # Errors
    ///
    /// `NotReady` without a pod network; else that of the step that failed, and what was made is removed again.
    pub async fn attach_pod(
        &self,
        sandbox: &str,
        namespace: &NetworkNamespace,
        pod: &PodRequest,
    ) -> Result<Vec<IpAddr>, NetworkError> {
        check_id(sandbox)?;
        // One that was prepared for it is taken, whatever attaches the next pod.
        if self.attachment(sandbox).is_some() {
            let attached = self.attach(sandbox, namespace, &pod.ports).await?;
            return Ok(attached.addresses());
        }
        let inner = Arc::clone(&self.inner);
        let network = blocking("choose the network", move || match inner.way()? {
            Way::BuiltIn(_) => Ok(None),
            Way::Cni(_, network) => Ok(Some(network)),
        });
        match network.await? {
            None => {
                let attached = self.attach(sandbox, namespace, &pod.ports).await?;
                Ok(attached.addresses())
            }
            Some(network) => {
                let cni = &self.inner.cni;
                cni.attach(sandbox, namespace.path(), &network, pod).await
            }
        }
    }

    /// Gives the pod its interface, address, default route and host ports on the built-in bridge. A second time returns
    /// the same. The caller's giving up does not leave it half-way: it ends, and can be detached.
    ///
    /// # Errors
    ///
    /// `NotReady` without a pod network, `Exhausted` without a free address, `Conflict` if another sandbox has a host
    /// port; whatever was made is removed again.
    pub async fn attach(
        &self,
        sandbox: &str,
        namespace: &NetworkNamespace,
        ports: &[HostPort],
    ) -> Result<Attachment, NetworkError> {
        check_id(sandbox)?;
        if self.inner.built_in.get().is_none() {
            return Err(NetworkError::Disabled);
        }
        // Noted before the first wait: from here on a detach waits for what is begun.
        let plan = match self.inner.ledger.begin_attach(sandbox, ports)? {
            Begun::Already(attachment) => return Ok(attachment),
            Begun::Started(plan) => plan,
        };
        let attach = Arc::clone(&self.inner).attach(sandbox.to_owned(), namespace.clone(), plan);
        tokio::spawn(attach)
            .await
            .map_err(|error| ended("attach a pod", error))?
    }

    /// Closes the pod's host ports, and hands its attachment to the background for deletion; that takes the kernel
    /// some 20 ms more. Nothing to do is fine, and so is a namespace that is gone.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an id that none of ours can be.
    pub async fn detach(&self, sandbox: &str) -> Result<(), NetworkError> {
        check_id(sandbox)?;
        self.inner.cni.detach(sandbox);
        if let Some(started) = self.inner.built_in.get() {
            started.prepared.put_off();
        }
        let Some(job) = self.inner.ledger.begin_release(sandbox) else {
            return Ok(());
        };
        let releases = self.inner.releases.clone();
        if job.redirects.is_empty() {
            releases.send(job);
            return Ok(());
        }
        blocking("close host ports", move || {
            releases.close_and_send(job);
            Ok(())
        })
        .await
    }

    /// Waits until what [`Network::detach`] handed on is gone and the address free.
    ///
    /// # Errors
    ///
    /// Why CNI's DEL has failed meanwhile; it is tried again all the same.
    pub async fn wait_detached(&self, sandbox: &str) -> Result<(), NetworkError> {
        self.wait_released(sandbox).await;
        self.inner.cni.wait_released(sandbox).await
    }

    /// Waits until what the built-in network has of the sandbox is gone.
    pub(super) async fn wait_released(&self, sandbox: &str) {
        self.inner.ledger.wait_released(sandbox).await;
    }

    /// Removes the namespace's path; the namespace ends with its last process and descriptor. None is fine, and one
    /// that CNI still has to detach goes after that.
    ///
    /// # Errors
    ///
    /// `System` if the path cannot be unmounted or removed.
    pub async fn remove_namespace(&self, sandbox: &str) -> Result<(), NetworkError> {
        let path = self.namespace_path(sandbox)?;
        let inner = Arc::clone(&self.inner);
        let sandbox = sandbox.to_owned();
        if self.inner.cni.holds(&sandbox) {
            return Ok(());
        }
        blocking("remove a network namespace", move || {
            namespace::remove(&path)?;
            inner.ledger.end_namespace(&sandbox)
        })
        .await
    }

    /// How many networks are made for pods that come.
    #[must_use]
    pub fn prepared(&self) -> usize {
        self.inner
            .built_in
            .get()
            .map_or(0, |started| started.prepared.count())
    }

    /// The pod's attachment, if it is complete.
    #[must_use]
    pub fn attachment(&self, sandbox: &str) -> Option<Attachment> {
        self.inner.ledger.attachment(sandbox)
    }

    /// Counters of the interfaces in a sandbox's namespace but loopback.
    ///
    /// # Errors
    ///
    /// `NotFound` if the sandbox has no namespace.
    pub async fn interface_statistics(
        &self,
        sandbox: &str,
    ) -> Result<Vec<InterfaceStatistics>, NetworkError> {
        let path = self.namespace_path(sandbox)?;
        blocking("read interface counters", move || {
            let links = namespace::open(&path)?.routes()?.links().map_err(|errno| {
                bridge::netlink("list interfaces in", &path.display().to_string(), errno)
            })?;
            let mut links: Vec<_> = links.into_iter().filter(|link| !link.loopback).collect();
            // The pod's own before tunnels that the kernel puts into each namespace.
            links.sort_by_key(|link| link.name != POD_INTERFACE);
            Ok(links
                .into_iter()
                .map(|link| InterfaceStatistics {
                    name: link.name,
                    rx_bytes: link.rx_bytes,
                    rx_errors: link.rx_errors,
                    tx_bytes: link.tx_bytes,
                    tx_errors: link.tx_errors,
                    rx_packets: link.rx_packets,
                    rx_dropped: link.rx_dropped,
                    tx_packets: link.tx_packets,
                    tx_dropped: link.tx_dropped,
                })
                .collect())
        })
        .await
    }

    /// Ends the making of networks for pods that come, and releases those that are there: before the daemon ends.
    ///
    /// # Errors
    ///
    /// `System` if a thread could not be started.
    pub async fn stop(&self) -> Result<(), NetworkError> {
        let inner = Arc::clone(&self.inner);
        let going = blocking("release prepared networks", move || {
            Ok(inner.built_in.get().map(|started| started.prepared.clear()))
        });
        for name in going.await?.unwrap_or_default() {
            self.wait_released(&name).await;
        }
        Ok(())
    }

    /// Removes everything that the network made on this node: attachments, namespaces, bridge, table, records; and
    /// gives its sysctls back, a sentence for each.
    ///
    /// # Errors
    ///
    /// The first step that did not work; calling again goes on.
    pub async fn reset(&self) -> Result<Vec<String>, NetworkError> {
        self.stop().await?;
        let mut sandboxes = self.inner.ledger.sandboxes();
        sandboxes.extend(self.inner.cni.sandboxes());
        for sandbox in sandboxes {
            self.detach(&sandbox).await?;
            self.wait_detached(&sandbox).await?;
            self.remove_namespace(&sandbox).await?;
        }
        let inner = Arc::clone(&self.inner);
        blocking("reset the network", move || {
            let sentences = BuiltInNetwork::reset(&inner.config)?;
            inner.cni.remove_directory()?;
            inner.records.remove_directory()?;
            Ok(sentences)
        })
        .await
    }

    fn namespace_path(&self, sandbox: &str) -> Result<PathBuf, NetworkError> {
        check_id(sandbox)?;
        let recorded = self.inner.ledger.namespace(sandbox);
        Ok(recorded.unwrap_or_else(|| {
            self.inner
                .config
                .namespace_directory
                .join(format!("carpel-{sandbox}"))
        }))
    }
}

/// Refuses ids that could lead out of a directory.
fn check_id(sandbox: &str) -> Result<(), NetworkError> {
    let sound = sandbox
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if sound && (1..=128).contains(&sandbox.len()) && !sandbox.starts_with('.') {
        return Ok(());
    }
    Err(NetworkError::SandboxId {
        id: sandbox.to_owned(),
    })
}

/// Runs blocking work on a thread for it.
pub(super) async fn blocking<T: Send + 'static>(
    step: &'static str,
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ended(step, error))?
}

pub(super) fn ended(step: &'static str, error: tokio::task::JoinError) -> NetworkError {
    NetworkError::Thread {
        step,
        source: io::Error::other(error),
    }
}
