//! What each key means: the one list behind `carpel config default`, the check for unknown keys and the test of
//! `docs/configuration.md`.

use super::sections::Config;

/// A key of the file.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// With its section: `pod.shm_size_bytes`.
    pub path: &'static str,
    /// The type of the value, and its unit if it has one.
    pub kind: &'static str,
    /// Where its default is from.
    pub default: DefaultValue,
    /// What it does.
    pub about: &'static str,
}

/// Where a key's default is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// `Config::default()`
    Fixed,
    /// Depends on other keys or on the host, as the text says; the key is absent by default.
    Derived(&'static str),
}

const fn fixed(path: &'static str, kind: &'static str, about: &'static str) -> Key {
    Key {
        path,
        kind,
        default: DefaultValue::Fixed,
        about,
    }
}

const fn derived(
    path: &'static str,
    kind: &'static str,
    default: &'static str,
    about: &'static str,
) -> Key {
    Key {
        path,
        kind,
        default: DefaultValue::Derived(default),
        about,
    }
}

/// All keys, in the order of the file.
pub const KEYS: &[Key] = &[
    fixed(
        "root",
        "path",
        "Durable state: images, snapshots, identity and network attachment of pods.",
    ),
    fixed(
        "run_directory",
        "path",
        "Live state, exit records and the sockets of the shims; on a tmpfs, so that a reboot empties it.",
    ),
    fixed(
        "kubernetes",
        "boolean",
        "This is a node of a Kubernetes cluster: pods wait for a CNI configuration instead of getting the built-in network, and no manifests are run.",
    ),
    derived(
        "socket",
        "path",
        "carpel.sock in run_directory",
        "The CRI socket, owned by root, mode 0660.",
    ),
    fixed(
        "log.level",
        "off, error, warn, info, debug, trace, or levels by module",
        "What the daemon logs to stderr. By module: \"info,carpel::network=debug\".",
    ),
    fixed(
        "log.format",
        "auto, text, json",
        "How log lines look; auto is text, coloured on a terminal.",
    ),
    fixed(
        "cgroup.driver",
        "auto, cgroupfs, systemd",
        "Who manages the cgroup tree: systemd, with a scope for each pod, or Carpel alone; auto is systemd where it is process 1 and cgroup2 is at /sys/fs/cgroup. kubelet takes its own driver from this.",
    ),
    derived(
        "cgroup.mount_point",
        "path",
        "the first cgroup2 mount of the host",
        "Where the unified hierarchy is mounted.",
    ),
    fixed(
        "cgroup.missing_controllers",
        "error, warn",
        "A limit whose controller the host does not have: refuse the container, or run it without the limit.",
    ),
    fixed(
        "cgroup.shim_cgroup",
        "own, pod",
        "Where shims run: in groups of their own, or in the pod's group and charged to it.",
    ),
    fixed(
        "runtime.default_handler",
        "name of a handler",
        "The runtime handler of pods that ask for none: carpel, which is built in, or one of runtime.handlers.",
    ),
    fixed(
        "runtime.handlers",
        "table of tables",
        "Runtime handlers by name, each with type = \"built-in\", or type = \"oci\" with path and options of an OCI runtime: see runtime-handlers.md.",
    ),
    fixed(
        "pod.shm_size_bytes",
        "integer, bytes",
        "Size of a pod's /dev/shm.",
    ),
    fixed(
        "pod.namespace_directory",
        "path",
        "Where the pods' network namespaces are bound, for other tools to find.",
    ),
    fixed(
        "pod.default_sysctls",
        "boolean",
        "Let every pod bind ports below 1024 and send pings: net.ipv4.ip_unprivileged_port_start=0 and an open ping_group_range.",
    ),
    fixed(
        "pod.cdi_directories",
        "list of paths",
        "Where CDI specifications of devices are, JSON or YAML, read anew for each container; a later directory stands over an earlier one.",
    ),
    fixed(
        "pod.device_ownership_from_security_context",
        "boolean",
        "Give device nodes to the user and the group that a container runs as, instead of their owners on the host.",
    ),
    fixed(
        "network.mode",
        "auto, cni, built-in, none",
        "What attaches pods: CNI, the built-in bridge, or nothing (only pods in the host's network run); auto is CNI if there is a configuration or kubernetes is true, else the bridge.",
    ),
    fixed(
        "network.cni_configuration_directories",
        "list of paths",
        "Where CNI configurations are; the file with the lowest name is used, and read anew for each pod.",
    ),
    fixed(
        "network.cni_plugin_directories",
        "list of paths",
        "Where CNI plugins are; the first one that has a plugin wins.",
    ),
    derived(
        "network.cni_template",
        "path",
        "none",
        "A template, as for containerd, that is filled with the pod networks which the kubelet tells, and becomes 10-carpel.conflist unless CNI is configured otherwise.",
    ),
    fixed(
        "network.cni_timeout_seconds",
        "integer, from 1, seconds",
        "How long all plugins of a network together may take for a pod before they are killed.",
    ),
    fixed(
        "network.bridge",
        "interface name",
        "Name of the built-in bridge.",
    ),
    fixed(
        "network.subnet",
        "IPv4 network, prefix length 8 to 29",
        "Addresses of the pods; the first one is the bridge's.",
    ),
    derived(
        "network.subnet_v6",
        "IPv6 network, prefix length 8 to 120",
        "none: pods have IPv4 only",
        "IPv6 addresses of the pods beside the IPv4 ones; the first one is the bridge's.",
    ),
    derived(
        "network.mtu",
        "integer, bytes",
        "that of the default route's interface",
        "Largest packet of the pods' interfaces.",
    ),
    fixed(
        "network.prepared",
        "integer, 0 to 255",
        "How many networks of the built-in network are made ahead, for pods that come.",
    ),
    fixed(
        "registry.certs_directories",
        "list of paths",
        "In each, one directory a registry host, with its certificates and hosts.toml; the first that has the host counts.",
    ),
    fixed(
        "registry.auth_files",
        "list of paths",
        "Credentials in the form of Docker's config.json, for pulls that bring none; the first that has the host counts.",
    ),
    fixed(
        "registry.plain_http",
        "list of host:port",
        "Registries that are asked by plain HTTP; those on this machine are anyway.",
    ),
    fixed(
        "image.pinned",
        "list of names, * stands for any text",
        "Images with such a name are shown as pinned: kubelet's garbage collection leaves them alone.",
    ),
    fixed(
        "image.max_concurrent_downloads",
        "integer, from 1",
        "How many layers are downloaded and unpacked at a time, over all pulls.",
    ),
    fixed(
        "image.pull_no_progress_timeout_seconds",
        "integer, from 1, seconds",
        "A pull that gets no byte for so long is given up.",
    ),
    fixed(
        "image.max_layer_bytes",
        "integer, from 1, bytes",
        "A layer that is larger unpacked, holes of sparse files included, is refused.",
    ),
    fixed(
        "image.max_layer_entries",
        "integer, from 1",
        "A layer with more files and directories is refused.",
    ),
    fixed(
        "image.max_layer_compression_ratio",
        "integer, from 1",
        "A layer of more than 1 GiB that is more times larger unpacked than compressed is refused.",
    ),
    fixed(
        "image.signature_policy",
        "path",
        "Which images have to be signed, and by whom; read at each pull. A missing file accepts everything.",
    ),
    fixed(
        "streaming.address",
        "IP address:port",
        "Where exec, attach and port-forward are served; port 0 is any free one. Who reaches it still needs a URL, good once.",
    ),
    derived(
        "streaming.tls_certificate_file",
        "path",
        "none: plain HTTP",
        "Certificate (PEM, with those that signed it) of the streaming server; needs the key.",
    ),
    derived(
        "streaming.tls_key_file",
        "path",
        "none: plain HTTP",
        "Private key (PEM) of the streaming server; needs the certificate.",
    ),
    fixed(
        "streaming.idle_timeout_seconds",
        "integer, from 1, seconds",
        "An exec, attach or port-forward connection on which nothing comes or goes for so long is closed.",
    ),
    fixed(
        "streaming.kill_on_disconnect",
        "boolean",
        "Kill the process group of an exec whose client has gone. Otherwise its streams are closed: a terminal hangs up.",
    ),
    derived(
        "metrics.address",
        "IP address:port",
        "none: not served",
        "Where the daemon's own figures are served for Prometheus, at /metrics; whoever reaches it may read them.",
    ),
    derived(
        "traces.otlp_endpoint",
        "URL",
        "none: no traces",
        "A collector of OpenTelemetry that takes OTLP over gRPC, for example http://127.0.0.1:4317.",
    ),
    fixed(
        "traces.samples_per_million",
        "integer",
        "How many of a million traces are sent; those of a client that traces itself are sent as it wants.",
    ),
    fixed(
        "agent.enabled",
        "boolean",
        "Run Kubernetes manifests without a cluster: `carpel apply`. Never on a node of a cluster (kubernetes is true).",
    ),
    derived(
        "agent.manifests_directory",
        "path",
        "none",
        "A folder of manifests that is kept applied, as a kubelet keeps its static pods.",
    ),
    fixed(
        "agent.logs_directory",
        "path",
        "Where the logs of pods from manifests are: NAMESPACE_NAME_UID/CONTAINER/0.log and so on.",
    ),
    derived(
        "agent.node_name",
        "text",
        "the host's name",
        "The name of this node: what spec.nodeName may say.",
    ),
    fixed(
        "agent.node_labels",
        "list of KEY=VALUE",
        "Labels of this node, beside kubernetes.io/hostname, os and arch: what spec.nodeSelector may ask for.",
    ),
];

/// The key of a whole path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Is `name` a section, such as `pod`?
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| section_of(key.path) == Some(name))
}

fn section_of(path: &str) -> Option<&str> {
    path.split_once('.').map(|(section, _)| section)
}

/// The key or section that `path` resembles most, if any does.
pub(super) fn nearest(path: &str) -> Option<&'static str> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let sections = KEYS.iter().filter_map(|key| section_of(key.path));
    KEYS.iter()
        .map(|key| key.path)
        .chain(sections)
        .map(|candidate| {
            let whole = strsim::jaro_winkler(path, candidate);
            // A key in the wrong section is as likely as a typing error: compare the names alone too, a little lower.
            let name = 0.97 * strsim::jaro_winkler(&last(path), &last(candidate));
            (whole.max(name), candidate)
        })
        .filter(|(score, _)| *score >= 0.82)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// The default configuration as a file with every key explained: what `carpel config default` prints.
///
/// Every value is commented out, so that a later version's defaults reach whoever kept this file.
///
/// # Errors
///
/// When a default cannot be written as TOML, which a test excludes.
pub fn commented_default() -> Result<String, toml::ser::Error> {
    let defaults = toml::Table::try_from(Config::default())?;
    let mut text = String::from(
        "# The configuration of carpel, with every key at its default. Paths are absolute.\n",
    );
    let mut section = None;
    for key in KEYS {
        if section_of(key.path) != section {
            section = section_of(key.path);
            text.push_str(&format!("\n[{}]\n", section.unwrap_or_default()));
        } else {
            text.push('\n');
        }
        let name = key.path.rsplit('.').next().unwrap_or_default();
        text.push_str(&format!("# {}\n# ({})\n", key.about, key.kind));
        match key.default {
            DefaultValue::Derived(how) => text.push_str(&format!("# {name} = … {how}\n")),
            DefaultValue::Fixed => {
                let value = default_of(&defaults, key.path)
                    .map(ToString::to_string)
                    .unwrap_or_default();
                text.push_str(&format!("# {name} = {value}\n"));
            }
        }
    }
    Ok(text)
}

/// The value of a key in a table of sections.
pub(super) fn default_of<'a>(table: &'a toml::Table, path: &str) -> Option<&'a toml::Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((section, name)) => table.get(section)?.get(name),
    }
}
