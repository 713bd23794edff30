//! The life of the daemon: everything is constructed in the order of its needs, then the socket is served.

use std::collections::BTreeSet;
use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Rlimit;

use super::agent;
use super::calls;
use super::cgroup_driver;
use super::cgroups::NodeCgroups;
use super::error::DaemonError;
use super::host::{self, Host};
use super::images::NodeImages;
use super::lock;
use super::networks::NodeNetworks;
use super::runtimes;
use super::settle;
use super::shims::NodeShims;
use super::streams::{self, NodeStreams};
use crate::apparmor::AppArmor;
use crate::cgroup::{CgroupConfig, Cgroups, Driver, MissingControllers};
use crate::config::{self, Config, NetworkMode};
use crate::cri::{self, Socket};
use crate::image::{Images, ImagesConfig, ProxySettings};
use crate::layer;
use crate::metrics::{Endpoint, Recorder};
use crate::network::{CniConfig, Mode, Network, NetworkConfig};
use crate::pod::{
    self, ContainerFilter, DefaultSysctls, DeviceOwner, DeviceSettings, Parts, PodSettings, Pods,
    RuntimeHandlers,
};
use crate::selinux::Selinux;
use crate::shim_client::ShimProgram;
use crate::streaming;

/// What the process that became the daemon was started with.
#[derive(Debug, Clone)]
pub struct Inherited {
    /// The limit of open files before the daemon raised its own: shims get this one back.
    pub open_files: Rlimit,
}

/// Runs the daemon until `shutdown` ends. Containers keep running after it.
///
/// `ready` is called once, when the socket takes requests.
///
/// # Errors
///
/// When a part cannot be started.
pub async fn run(
    config: Config,
    inherited: Inherited,
    ready: impl FnOnce(),
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), DaemonError> {
    make_directory(&config.root)?;
    make_directory(&config.run_directory)?;
    let _lock = lock::take(&config.root).await?;
    // Early: a client that comes from here on waits for the answer, and a live daemon is found before anything changes.
    let socket = Socket::bind(&config.socket_path()).map_err(DaemonError::Socket)?;
    let streaming = streaming::Bound::bind(streams::settings(&config))
        .await
        .map_err(DaemonError::Streaming)?;
    let urls = Arc::new(NodeStreams(streaming.tokens()));
    let figures = bind_figures(&config).await?;
    let host = host::look()?;
    let driver = cgroup_driver::choose(&config.cgroup)?;
    let cgroups = Cgroups::open(cgroup_config(&config, driver)).map_err(DaemonError::Cgroups)?;
    let images = open_images(&config).await?;
    let network = start_network(&config).await?;
    let program = ShimProgram::embedded().map_err(DaemonError::Shim)?;
    let apparmor = AppArmor::of_this_node();
    let mut settings = PodSettings {
        handlers: runtimes::handlers(&config.runtime, cgroups.mountpoint()).await,
        ..settings(&config, &inherited, &host, &cgroups)
    };
    let selinux = Selinux::of_this_node();
    settings
        .facts
        .extend(host::confinement(&apparmor, &selinux));
    let parts = Parts {
        networks: Arc::new(NodeNetworks::new(network.clone())),
        cgroups: Arc::new(NodeCgroups::new(cgroups, config.cgroup.shim_cgroup)),
        images: Arc::new(NodeImages::new(images.clone())),
        shims: Arc::new(NodeShims::new(program)),
        filters: Arc::default(),
        apparmor: Arc::new(apparmor),
        selinux: Arc::new(selinux),
        settings: Arc::new(settings),
    };
    let pods = Pods::open(parts).await;
    release_orphans(&images, &pods);
    let settings = cri::Settings {
        cgroup_driver: match driver {
            Driver::Cgroupfs => cri::CgroupDriver::Cgroupfs,
            Driver::Systemd => cri::CgroupDriver::Systemd,
        },
        spool_directory: config.root.clone(),
        urls,
        calls: calls::observer(&config, figures.as_ref().map(|(_, recorder)| recorder)),
    };
    let streaming = tokio::spawn(streaming.serve(Arc::new(pods.clone())));
    let figures =
        figures.map(|(endpoint, recorder)| tokio::spawn(endpoint.serve(recorder, pods.clone())));
    let agent = agent::start(&config).await?;
    // The agent is a client: it ends before the server waits for its clients.
    let shutdown = async move {
        shutdown.await;
        if let Some(agent) = agent {
            agent.stop().await;
        }
    };
    ready();
    tokio::spawn(settle::run());
    let served = cri::serve(socket, pods, images, settings, shutdown).await;
    streaming.abort();
    if let Some(figures) = figures {
        figures.abort();
    }
    // Pods keep their networks; those that nobody has yet are given back.
    network.stop().await.map_err(DaemonError::Network)?;
    served.map_err(DaemonError::Serve)
}

/// Where the daemon's own figures are served, if anywhere.
async fn bind_figures(config: &Config) -> Result<Option<(Endpoint, Arc<Recorder>)>, DaemonError> {
    let Some(address) = config.metrics.address else {
        return Ok(None);
    };
    let endpoint = Endpoint::bind(address)
        .await
        .map_err(DaemonError::Metrics)?;
    if let Ok(address) = endpoint.address() {
        tracing::info!(%address, "figures of the daemon are served");
    }
    Ok(Some((endpoint, Arc::new(Recorder::default()))))
}

fn make_directory(path: &Path) -> Result<(), DaemonError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| DaemonError::Directory {
            path: path.to_owned(),
            source,
        })
}

fn cgroup_config(config: &Config, driver: Driver) -> CgroupConfig {
    CgroupConfig {
        driver,
        missing_controllers: match config.cgroup.missing_controllers {
            config::MissingControllers::Error => MissingControllers::Error,
            config::MissingControllers::Warn => MissingControllers::Warn,
        },
        mountpoint: config.cgroup.mount_point.clone(),
    }
}

async fn open_images(config: &Config) -> Result<Images, DaemonError> {
    let settings = ImagesConfig {
        root: config.root.clone(),
        certs_directories: config.registry.certs_directories.clone(),
        auth_files: config.registry.auth_files.clone(),
        proxies: ProxySettings::from_environment(),
        plain_http: config.registry.plain_http.clone(),
        pinned: config.image.pinned.clone(),
        max_concurrent_downloads: config.image.max_concurrent_downloads.get(),
        no_progress: Duration::from_secs(config.image.pull_no_progress_timeout_seconds.get()),
        limits: layer::Limits {
            bytes: config.image.max_layer_bytes.get(),
            entries: config.image.max_layer_entries.get(),
            ratio: config.image.max_layer_compression_ratio.get(),
            ..layer::Limits::default()
        },
        signature_policy: Some(config.image.signature_policy.clone()),
        ..ImagesConfig::default()
    };
    match tokio::task::spawn_blocking(move || Images::open(settings)).await {
        Ok(opened) => opened.map_err(DaemonError::Images),
        Err(error) => Err(DaemonError::Host {
            what: "the image store",
            source: std::io::Error::other(error),
        }),
    }
}

/// What the network is told by the configuration.
pub fn network_config(config: &Config) -> NetworkConfig {
    let section = &config.network;
    NetworkConfig {
        mode: match section.mode {
            NetworkMode::Auto if config.kubernetes => Mode::Cni,
            NetworkMode::Auto => Mode::Auto,
            NetworkMode::Cni => Mode::Cni,
            NetworkMode::BuiltIn => Mode::BuiltIn,
            NetworkMode::None => Mode::None,
        },
        cni: CniConfig {
            configuration_directories: section.cni_configuration_directories.clone(),
            plugin_directories: section.cni_plugin_directories.clone(),
            template: section.cni_template.clone(),
            timeout: Duration::from_secs(section.cni_timeout_seconds.get()),
        },
        bridge: section.bridge.as_str().to_owned(),
        subnet: section.subnet,
        subnet_v6: section.subnet_v6,
        mtu: section.mtu,
        prepared: usize::from(section.prepared),
        state_directory: config.root.clone(),
        namespace_directory: config.pod.namespace_directory.clone(),
    }
}

async fn start_network(config: &Config) -> Result<Network, DaemonError> {
    let live: BTreeSet<String> = pod::recorded_sandboxes(&config.root).into_iter().collect();
    Network::start(network_config(config), &live)
        .await
        .map_err(DaemonError::Network)
}

fn settings(config: &Config, inherited: &Inherited, host: &Host, cgroups: &Cgroups) -> PodSettings {
    let unlimited = u64::MAX;
    PodSettings {
        root: config.root.clone(),
        run_directory: config.run_directory.clone(),
        shm_size_bytes: config.pod.shm_size_bytes,
        default_sysctls: if config.pod.default_sysctls {
            DefaultSysctls::Set
        } else {
            DefaultSysctls::Leave
        },
        open_files: (
            inherited.open_files.current.unwrap_or(unlimited),
            inherited.open_files.maximum.unwrap_or(unlimited),
        ),
        boot_id: host.boot_id.clone(),
        bounding_capabilities: host.bounding_capabilities,
        lowest_oom_score_adj: host.lowest_oom_score_adj,
        device_rules: host::device_rules(cgroups),
        devices: DeviceSettings {
            cdi_directories: config.pod.cdi_directories.clone(),
            owner: if config.pod.device_ownership_from_security_context {
                DeviceOwner::RunAs
            } else {
                DeviceOwner::AsOnTheHost
            },
        },
        handlers: RuntimeHandlers::default(),
        user_namespaces: host::has_user_namespaces(),
        config_json: config_json(config),
        facts: host::facts(host, cgroups),
    }
}

/// The configuration in force. `stateDir` is what critest looks for: a folder on the file system of live state.
fn config_json(config: &Config) -> String {
    let mut value = serde_json::to_value(config).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        let live = config.run_directory.display().to_string();
        object.insert("stateDir".to_owned(), live.into());
    }
    value.to_string()
}

/// Gives back what containers hold of images that are gone: a crash between a removal's steps.
fn release_orphans(images: &Images, pods: &Pods) {
    let known: BTreeSet<String> = pods
        .list_containers(&ContainerFilter::default())
        .into_iter()
        .map(|container| container.id)
        .collect();
    let mut held: BTreeSet<String> = images.leased_containers().into_iter().collect();
    held.extend(images.snapshots().containers().unwrap_or_default());
    for id in held.difference(&known) {
        tracing::info!(container = %id, "its root file system is removed: the container is gone");
        if let Err(error) = images.snapshots().remove_writable(id) {
            tracing::warn!(container = %id, %error, "remove its writable layer");
        }
        if let Err(error) = images.release(id) {
            tracing::warn!(container = %id, %error, "give its image back");
        }
    }
}
