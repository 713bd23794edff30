# A daemon and the real crictl inside a machine of its own, for `integration/uml/pods` and `integration/kernel/pods`:
# sourced by them.
#
# Read: CARPEL_BINARY (default target/release/carpel, else target/debug/carpel).
# Wants integration/tools/bin (make tools) and integration/work/images.tar, which the make targets write.
# shellcheck shell=bash disable=SC2034 # some of it is for one of the two
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
carpel=${CARPEL_BINARY:-$repository/target/release/carpel}
[ -x "$carpel" ] || carpel=$repository/target/debug/carpel
export PATH=$repository/integration/tools/bin:$PATH
image=registry.k8s.io/e2e-test-images/busybox:1.29-2
tree=/sys/fs/cgroup/carpel
work=${TMPDIR:-/tmp}/pods
mebibyte=1048576
passed=0 failed=0
pod='' container='' name=''
daemon=
# The security context of the next containers, and what the next pods have in `linux` besides their parent and theirs.
security='{}'
pod_security='{"namespace_options": {"network": 2}}'
pod_linux=''
# Whether the scripts of the next containers get the container's SELinux label.
relabel=false

expect() { # WHAT IS SHOULD
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
        echo "ok: $1"
    else
        failed=$((failed + 1))
        echo "FAILED: $1: is '$2', should be '$3'"
    fi
}

# Until the command succeeds, at most a minute: what waits in vain fails by what it expects then.
within() {
    local try
    for try in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    echo "gave up after $try tries: $*"
    return 1
}

field() { crictl inspect --output go-template --template "{{.status.$1}}" "$container"; }
ended() { crictl inspect --output go-template --template '{{.status.exitCode}} {{.status.reason}}' "$container"; }
exited() { [ "$(field state)" = CONTAINER_EXITED ]; }
leaf() { cat "$tree/$pod/$container/$1"; }
# The value of a key of a flat keyed file.
count() { leaf "$1" | awk -v key="$2" '$1 == key { print $2 }'; }
at_least() { [ "$(count "$1" "$2")" -ge "$3" ]; }
empty() { [ "$(count cgroup.events populated)" = 0 ]; }
logged() { grep -q -- "$1" "$work/logs/$name.log"; }

# A disk for all that is made here: a tmpfs cannot show its owners through a user namespace before Linux 6.3.
on_disk() {
    mkdir -p "$work"
    truncate --size 1G "$work.disk"
    mkfs.ext4 -q -F "$work.disk"
    mount "$(losetup --find --show "$work.disk")" "$work"
}

configure() {
    mkdir -p "$work/root" "$work/run" "$work/logs"
    cat >"$work/carpel.toml" <<END
root = "$work/root"
run_directory = "$work/run"
socket = "$work/carpel.sock"
[agent]
logs_directory = "$work/pod-logs"
[network]
mode = "${network:-none}"
$(for name in crun runc; do
        path=$(command -v "$name") || continue
        printf '[runtime.handlers.%s]\ntype = "oci"\npath = "%s"\n' "$name" "$path"
    done)
END
    export CRI_CONFIG_FILE=$work/crictl.yaml
    cat >"$CRI_CONFIG_FILE" <<END
runtime-endpoint: unix://$work/carpel.sock
image-endpoint: unix://$work/carpel.sock
timeout: 30
END
}

start_daemon() {
    "$carpel" serve --config "$work/carpel.toml" >>"$work/daemon.log" 2>&1 &
    daemon=$!
    within crictl version
}

# run_pod NAME [PARENT [HANDLER]]: a pod in the host's network.
run_pod() {
    mkdir -p "$work/logs"
    cat >"$work/pod.json" <<END
{"metadata": {"name": "$1", "namespace": "uml", "uid": "uid-$1", "attempt": 0}, "log_directory": "$work/logs",
 "linux": {"cgroup_parent": "${2:-}",$pod_linux "security_context": $pod_security}}
END
    # It warns of a missing parent.
    pod=$(crictl runp --runtime "${3:-}" "$work/pod.json" 2>>"$work/crictl.log")
}

# create NAME RESOURCES SCRIPT: a container of the pod that runs the script in a shell.
create() {
    printf '%s\n' "$3" >"$work/$1.sh"
    cat >"$work/$1.json" <<END
{"metadata": {"name": "$1"}, "image": {"image": "$image"}, "log_path": "$1.log",
 "command": ["/bin/sh", "/main.sh"],
 "mounts": [{"host_path": "$work/$1.sh", "container_path": "/main.sh", "readonly": true, "selinux_relabel": $relabel}],
 "linux": {"resources": $2, "security_context": $security}}
END
    name=$1
    container=$(crictl create "$pod" "$work/$1.json" "$work/pod.json" 2>>"$work/crictl.log")
}

run() {
    create "$@"
    crictl start "$container" >/dev/null
}

# run_with MOUNTS NAME RESOURCES SCRIPT: run with more mounts, written as in a request, each with a comma behind it.
run_with() {
    local mounts=$1
    shift
    create "$@"
    crictl rm "$container" >/dev/null
    sed -i "s#\"mounts\": \[#&$mounts #" "$work/$name.json"
    container=$(crictl create "$pod" "$work/$name.json" "$work/pod.json" 2>>"$work/crictl.log")
    crictl start "$container" >/dev/null
}

tell() {
    status=$?
    [ "$status" != 0 ] || return 0
    echo "the daemon and crictl said:"
    tail -n 80 "$work/daemon.log" "$work/crictl.log" || true
    # A command that no expectation is about has failed.
    [ -z "$broken" ] || result "$broken"
}
set -E
broken=
trap 'broken="${FUNCNAME[0]:-the script}, line $LINENO: $BASH_COMMAND"' ERR
trap tell EXIT

# result [WHY]: the line that is counted; WHY a run ended early.
result() {
    [ -z "${1:-}" ] || { failed=$((failed + 1)); echo "FAILED: $1"; }
    echo "test result: $([ "$failed" = 0 ] && echo ok || echo FAILED). $passed passed; $failed failed; 0 ignored; pods on $(uname -r)"
}

# end: stops the daemon and says what the expectations have come to.
end() {
    kill -TERM "$daemon"
    local status=0
    wait "$daemon" || status=$?
    expect "status of the daemon after SIGTERM" "$status" 0
    trap - ERR
    result
    [ "$failed" = 0 ]
}
