# What differs between the runtimes that a node in a box can run. Sourced by
# `inside` and `start-daemon`; not a program.
# shellcheck shell=bash

runtime_configure() {
    case $NODE_RUNTIME in
    carpel) configure_carpel ;;
    containerd) configure_containerd ;;
    esac
}

# The command line of the daemon, into the array `daemon`.
runtime_command() {
    case $NODE_RUNTIME in
    carpel) daemon=("$NODE_CARPEL" serve --config "$NODE_WORK/config.toml") ;;
    containerd) daemon=(containerd --config "$NODE_WORK/config.toml") ;;
    esac
}

# Things that a runtime keeps while it has no pods, as a regular expression over
# the lines of `inventory`.
runtime_own() {
    case $NODE_RUNTIME in
    # The cgroup of all pods, and of the shims, stay.
    carpel) echo "^cgroup $NODE_CGROUP2/carpel(/shims)?\$|^mount /run/netns " ;;
    containerd) echo '^cgroup [^ ]*/k8s\.io$|^mount /run/netns |^network namespace /run/netns$' ;;
    esac
}

# containerd 1.6 uses the v1 controllers of a hybrid host, which a node has no
# part of its own in: takes away the cgroups of this node's ids there. Called
# from outside, when nothing of the node runs any more.
runtime_remove_foreign_cgroups() {
    local id
    [ "$NODE_RUNTIME" = containerd ] || return 0
    for id in "$NODE_WORK"/root/io.containerd.grpc.v1.cri/{sandboxes,containers}/*; do
        rmdir /sys/fs/cgroup/*/k8s.io/"${id##*/}" 2>/dev/null || true
    done
    rmdir /sys/fs/cgroup/*/k8s.io 2>/dev/null || true
}

# Ends the daemon by the pid that start-daemon wrote; what it runs goes on.
runtime_stop() {
    local pid
    pid=$(cat "$NODE_WORK/daemon.pid")
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq 1000); do
        [ -d "/proc/$pid" ] || return 0
        # A zombie has ended: process 1 of the node takes it when it gets to it.
        grep -q '^State:	Z' "/proc/$pid/status" 2>/dev/null && return 0
        sleep 0.02
    done
    echo "node: the runtime did not end within 20 s of SIGTERM" >&2
    kill -KILL "$pid" 2>/dev/null || true
}

# The network of Carpel's pods: the built-in one, or Debian's CNI plugins as
# containerd has them.
carpel_network() {
    case ${NODE_NETWORK:-built-in} in
    built-in) printf 'mode = "built-in"\nsubnet = "10.88.0.0/16"\n' ;;
    cni)
        configure_cni
        printf 'mode = "cni"\ncni_configuration_directories = ["%s"]\n' "$NODE_WORK/cni"
        printf 'cni_plugin_directories = ["/usr/lib/cni"]\n'
        ;;
    *)
        echo "node: NODE_NETWORK is built-in or cni, not $NODE_NETWORK" >&2
        return 1
        ;;
    esac
}

configure_carpel() {
    local network manifests=
    network=$(carpel_network)
    [ -z "${NODE_MANIFESTS:-}" ] || manifests="manifests_directory = \"$NODE_MANIFESTS\""
    cat >"$NODE_WORK/config.toml" <<EOF
root = "$NODE_WORK/root"
run_directory = "$NODE_RUN/carpel"
socket = "$NODE_WORK/run/node.sock"

[log]
level = "${NODE_LOG_LEVEL:-info}"

[cgroup]
# The cgroup2 of a hybrid host lacks controllers.
missing_controllers = "warn"

[network]
$network

[agent]
logs_directory = "$NODE_WORK/pod-logs"
$manifests

[registry]
certs_directories = ["$NODE_WORK/certs.d"]
auth_files = ["$NODE_WORK/auth.json"]
${NODE_CONFIG_EXTRA:-}
EOF
}

configure_containerd() {
    configure_cni
    cat >"$NODE_WORK/config.toml" <<EOF
version = 2
root = "$NODE_WORK/root"
state = "$NODE_RUN/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]

[grpc]
  address = "$NODE_WORK/run/node.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "$NODE_WORK/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.9"
  # This may run without CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$NODE_WORK/certs.d"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$NODE_WORK/cni"
EOF
    # The cache of the CNI library has a fixed place.
    mkdir -p /var/lib/cni
    mount -t tmpfs node-cni /var/lib/cni
}

# The same chain of CNI plugins for all runtimes.
configure_cni() {
    mkdir -p "$NODE_WORK/cni"
    cat >"$NODE_WORK/cni/10-node.conflist" <<EOF
{
  "cniVersion": "0.4.0",
  "name": "node",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "ipMasq": true,
      "hairpinMode": true,
      "ipam": {
        "type": "host-local",
        "dataDir": "$NODE_WORK/cni/addresses",
        "ranges": [[{ "subnet": "10.88.0.0/16" }]],
        "routes": [{ "dst": "0.0.0.0/0" }]
      }
    },
    { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true }
  ]
}
EOF
}
