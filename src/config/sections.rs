//! The sections of the file as values, with their defaults. `keys.rs` says what each key means.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use super::agent::AgentSection;
use super::paths::{absolute, all_absolute, maybe_absolute, some_absolute};
use super::runtime::{RuntimeSection, known_default};
use crate::network::{Ipv4Subnet, Ipv6Subnet};

/// Where `carpel` looks for its configuration when it is not told: a missing file there means the defaults.
pub const DEFAULT_PATH: &str = "/etc/carpel/carpel.toml";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Durable state.
    #[serde(deserialize_with = "absolute")]
    pub root: PathBuf,
    /// Live state.
    #[serde(deserialize_with = "absolute")]
    pub run_directory: PathBuf,
    /// Is this the node of a Kubernetes cluster?
    pub kubernetes: bool,
    /// The CRI socket; `None` means below `run_directory`: see [`Config::socket_path`].
    #[serde(
        deserialize_with = "maybe_absolute",
        skip_serializing_if = "Option::is_none"
    )]
    pub socket: Option<PathBuf>,
    /// Logging.
    pub log: LogSection,
    /// Control groups.
    pub cgroup: CgroupSection,
    /// Runtime handlers.
    #[serde(deserialize_with = "known_default")]
    pub runtime: RuntimeSection,
    /// Pods.
    pub pod: PodSection,
    /// The pod network.
    pub network: NetworkSection,
    /// Registries.
    pub registry: RegistrySection,
    /// Images.
    pub image: ImageSection,
    /// Exec, attach and port-forward.
    #[serde(deserialize_with = "whole_tls")]
    pub streaming: StreamingSection,
    /// The daemon's own figures.
    pub metrics: MetricsSection,
    /// Traces.
    pub traces: TracesSection,
    /// Kubernetes manifests.
    pub agent: AgentSection,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: "/var/lib/carpel".into(),
            run_directory: "/run/carpel".into(),
            kubernetes: false,
            socket: None,
            log: LogSection::default(),
            cgroup: CgroupSection::default(),
            runtime: RuntimeSection::default(),
            pod: PodSection::default(),
            network: NetworkSection::default(),
            registry: RegistrySection::default(),
            image: ImageSection::default(),
            streaming: StreamingSection::default(),
            metrics: MetricsSection::default(),
            traces: TracesSection::default(),
            agent: AgentSection::default(),
        }
    }
}

impl Config {
    /// The CRI socket: `socket`, else `carpel.sock` in the run directory.
    pub fn socket_path(&self) -> PathBuf {
        self.socket
            .clone()
            .unwrap_or_else(|| self.run_directory.join("carpel.sock"))
    }

    /// Where the agent serves its API.
    pub fn agent_socket_path(&self) -> PathBuf {
        self.run_directory.join("agent.sock")
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// What is logged.
    pub level: LogFilter,
    /// How it looks.
    pub format: LogFormat,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            level: LogFilter("info".to_owned()),
            format: LogFormat::Auto,
        }
    }
}

/// A level, or levels by module, in the syntax of tracing-subscriber's `EnvFilter`: `info,carpel::network=debug`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogFilter(String);

impl LogFilter {
    /// The text, known to be a filter.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LogFilter {
    type Error = tracing_subscriber::filter::ParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        tracing_subscriber::EnvFilter::builder().parse(&text)?;
        Ok(Self(text))
    }
}

impl std::str::FromStr for LogFilter {
    type Err = tracing_subscriber::filter::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl From<LogFilter> for String {
    fn from(filter: LogFilter) -> Self {
        filter.0
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Coloured text on a terminal, plain text otherwise.
    #[default]
    Auto,
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[cgroup]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CgroupSection {
    /// Who manages the tree.
    pub driver: CgroupDriver,
    /// Where the unified hierarchy is mounted; `None` means what /proc/self/mountinfo says.
    #[serde(
        deserialize_with = "maybe_absolute",
        skip_serializing_if = "Option::is_none"
    )]
    pub mount_point: Option<PathBuf>,
    /// What happens to a limit whose controller is missing.
    pub missing_controllers: MissingControllers,
    /// Where shims run.
    pub shim_cgroup: ShimCgroup,
}

impl Default for CgroupSection {
    fn default() -> Self {
        Self {
            driver: CgroupDriver::Auto,
            mount_point: None,
            missing_controllers: MissingControllers::Error,
            shim_cgroup: ShimCgroup::Own,
        }
    }
}

/// Who manages the cgroup tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// systemd where it is process 1 and has all of cgroup2, else cgroupfs.
    Auto,
    /// Carpel itself, by the files.
    Cgroupfs,
    /// systemd, by D-Bus: a scope for each pod.
    Systemd,
}

/// What happens to a limit whose controller this host does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingControllers {
    /// The container is refused, with the controller's name.
    Error,
    /// The container runs without the limit, and a line is logged.
    Warn,
}

/// Where shims run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShimCgroup {
    /// In `/carpel/shims/<sandbox id>`: not charged to the pod.
    Own,
    /// In the pod's group: charged to it, and throttled with it.
    Pod,
}

/// `[pod]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PodSection {
    /// Size of a pod's /dev/shm.
    pub shm_size_bytes: u64,
    /// Where network namespaces are bound.
    #[serde(deserialize_with = "absolute")]
    pub namespace_directory: PathBuf,
    /// Are `net.ipv4.ip_unprivileged_port_start=0` and an open `net.ipv4.ping_group_range` set?
    pub default_sysctls: bool,
    /// CDI specifications.
    #[serde(deserialize_with = "all_absolute")]
    pub cdi_directories: Vec<PathBuf>,
    /// Do device nodes belong to the user that the container runs as?
    pub device_ownership_from_security_context: bool,
}

impl Default for PodSection {
    fn default() -> Self {
        Self {
            shm_size_bytes: 64 * 1024 * 1024,
            namespace_directory: "/run/netns".into(),
            default_sysctls: true,
            cdi_directories: vec!["/etc/cdi".into(), "/var/run/cdi".into()],
            device_ownership_from_security_context: false,
        }
    }
}

/// `[network]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSection {
    /// What attaches pods.
    pub mode: NetworkMode,
    /// CNI configurations.
    #[serde(deserialize_with = "some_absolute")]
    pub cni_configuration_directories: Vec<PathBuf>,
    /// CNI plugins.
    #[serde(deserialize_with = "some_absolute")]
    pub cni_plugin_directories: Vec<PathBuf>,
    /// A template of a CNI configuration.
    #[serde(
        deserialize_with = "maybe_absolute",
        skip_serializing_if = "Option::is_none"
    )]
    pub cni_template: Option<PathBuf>,
    /// The patience with a chain of CNI plugins.
    pub cni_timeout_seconds: std::num::NonZeroU64,
    /// Name of the bridge.
    pub bridge: InterfaceName,
    /// Addresses of the pods.
    pub subnet: Ipv4Subnet,
    /// IPv6 addresses of the pods; `None` means that they have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet_v6: Option<Ipv6Subnet>,
    /// MTU of the pods' interfaces; `None` means that of the interface of the node's default route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// How many pods' networks are made ahead.
    pub prepared: u8,
}

impl Default for NetworkSection {
    fn default() -> Self {
        Self {
            mode: NetworkMode::Auto,
            cni_configuration_directories: vec!["/etc/cni/net.d".into()],
            cni_plugin_directories: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()],
            cni_template: None,
            cni_timeout_seconds: const { std::num::NonZeroU64::new(60).unwrap() },
            bridge: InterfaceName("carpel0".to_owned()),
            subnet: Ipv4Subnet::DEFAULT,
            subnet_v6: None,
            mtu: None,
            prepared: 2,
        }
    }
}

/// What attaches pods to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// CNI if there is a configuration, else the built-in bridge; on a node of Kubernetes CNI.
    Auto,
    /// CNI.
    Cni,
    /// The built-in bridge.
    BuiltIn,
    /// Nothing: the network is reported as not ready, and only pods in the host's network run.
    None,
}

/// The name of a network interface: 1 to 15 of the characters that need no quoting anywhere; the kernel allows more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not the name of an interface.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0:?} is not an interface name: 1 to 15 letters, digits, -, _ and .")]
pub struct InterfaceNameError(String);

impl TryFrom<String> for InterfaceName {
    type Error = InterfaceNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let valid = (1..=15).contains(&text.len())
            && text != "."
            && text != ".."
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if valid {
            Ok(Self(text))
        } else {
            Err(InterfaceNameError(text))
        }
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

/// `[registry]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySection {
    /// In each, one directory a registry, with certificates and `hosts.toml`.
    #[serde(deserialize_with = "all_absolute")]
    pub certs_directories: Vec<PathBuf>,
    /// Files with credentials.
    #[serde(deserialize_with = "all_absolute")]
    pub auth_files: Vec<PathBuf>,
    /// Hosts, with port, that are spoken to without TLS.
    pub plain_http: Vec<String>,
}

impl Default for RegistrySection {
    fn default() -> Self {
        Self {
            certs_directories: vec![
                "/etc/carpel/certs.d".into(),
                "/etc/containerd/certs.d".into(),
                "/etc/docker/certs.d".into(),
            ],
            auth_files: vec![
                "/etc/carpel/auth.json".into(),
                "/var/lib/kubelet/config.json".into(),
            ],
            plain_http: Vec::new(),
        }
    }
}

/// `[image]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSection {
    /// Patterns of names; images that match are shown as pinned.
    pub pinned: Vec<String>,
    /// How many layers are downloaded and unpacked at a time, over all pulls.
    pub max_concurrent_downloads: std::num::NonZeroUsize,
    /// A pull that gets no byte for so long is given up.
    pub pull_no_progress_timeout_seconds: std::num::NonZeroU64,
    /// Unpacked bytes of one layer, holes of sparse files included.
    pub max_layer_bytes: std::num::NonZeroU64,
    /// Files and directories of one layer.
    pub max_layer_entries: std::num::NonZeroU64,
    /// Unpacked bytes to compressed ones, for layers of more than 1 GiB unpacked.
    pub max_layer_compression_ratio: std::num::NonZeroU64,
    /// Which images have to be signed, and by whom.
    #[serde(deserialize_with = "absolute")]
    pub signature_policy: PathBuf,
}

impl Default for ImageSection {
    fn default() -> Self {
        Self {
            pinned: Vec::new(),
            max_concurrent_downloads: const { std::num::NonZeroUsize::new(4).unwrap() },
            pull_no_progress_timeout_seconds: const { std::num::NonZeroU64::new(60).unwrap() },
            max_layer_bytes: const { std::num::NonZeroU64::new(256 << 30).unwrap() },
            max_layer_entries: const { std::num::NonZeroU64::new(8_000_000).unwrap() },
            max_layer_compression_ratio: const { std::num::NonZeroU64::new(1000).unwrap() },
            signature_policy: "/etc/carpel/policy.toml".into(),
        }
    }
}

/// `[streaming]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamingSection {
    /// Where the server of exec, attach and port-forward listens.
    pub address: SocketAddr,
    /// PEM; with the key: TLS.
    #[serde(
        deserialize_with = "maybe_absolute",
        skip_serializing_if = "Option::is_none"
    )]
    pub tls_certificate_file: Option<PathBuf>,
    /// PEM.
    #[serde(
        deserialize_with = "maybe_absolute",
        skip_serializing_if = "Option::is_none"
    )]
    pub tls_key_file: Option<PathBuf>,
    /// A connection on which nothing comes or goes for so long is closed.
    pub idle_timeout_seconds: std::num::NonZeroU64,
    /// Is the command of an exec killed when its client has gone?
    pub kill_on_disconnect: bool,
}

impl Default for StreamingSection {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls_certificate_file: None,
            tls_key_file: None,
            idle_timeout_seconds: const { std::num::NonZeroU64::new(4 * 60 * 60).unwrap() },
            kill_on_disconnect: false,
        }
    }
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSection {
    /// Where `/metrics` is served; `None` means nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
}

/// `[traces]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracesSection {
    /// A collector of OpenTelemetry (gRPC); `None` means that there are no traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
    /// How many of a million traces that begin here are sent.
    pub samples_per_million: u32,
}

impl Default for TracesSection {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            samples_per_million: 1_000_000,
        }
    }
}

/// A certificate without its key, or a key without its certificate, is a mistake.
fn whole_tls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StreamingSection, D::Error> {
    let section = StreamingSection::deserialize(deserializer)?;
    if section.tls_certificate_file.is_some() == section.tls_key_file.is_some() {
        Ok(section)
    } else {
        Err(serde::de::Error::custom(
            "tls_certificate_file and tls_key_file belong together: one is missing",
        ))
    }
}
