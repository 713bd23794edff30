//! Errors that a kubelet logs while the tests run, each explained or a failure of its test. `docs/kubernetes.md` has the same
//! list for users.

use std::collections::BTreeMap;

/// An error that is expected.
#[derive(Debug)]
pub struct Explanation {
    /// How the table names it.
    pub name: &'static str,
    /// All the words of one of these are in its line.
    words: &'static [&'static [&'static str]],
    /// Where it comes from, and why it is no fault of the runtime.
    pub why: &'static str,
}

/// Name and reason of an explanation; the reason is empty where the name says it.
pub type Reason = (&'static str, &'static str);

const fn explain(
    name: &'static str,
    words: &'static [&'static [&'static str]],
    why: &'static str,
) -> Explanation {
    Explanation { name, words, why }
}

/// One whose name says why.
const fn by_name(name: &'static str, words: &'static [&'static [&'static str]]) -> Explanation {
    explain(name, words, "")
}

/// What the kubelet says of the runtime.
pub const OF_THE_RUNTIME: &[Explanation] = &[
    explain(
        "`ContainerStatus from runtime service failed … no such container`",
        &[&[
            "ContainerStatus from runtime service failed",
            "no such container",
        ]],
        "The kubelet lists containers, removes one, and then asks for each of its list. Every runtime gets this.",
    ),
    explain(
        "`Failed to remove container … no such container`",
        &[&["Failed to remove container", "no such container"]],
        "The same: somebody else, here crictl, was quicker.",
    ),
    explain(
        "`ExecSync cmd from runtime service failed … Canceled`",
        &[&[
            "ExecSync cmd from runtime service failed",
            "context canceled",
        ]],
        "The pod is stopped while one of its probes runs: the kubelet takes the call back.",
    ),
    explain(
        "`StartContainer from runtime service failed … /no/such/program`",
        &[&[
            "StartContainer from runtime service failed",
            "/no/such/program",
        ]],
        "The program is not in the image.",
    ),
    explain(
        "`PullImage from image service failed … NotFound`",
        &[&["PullImage from image service failed", "code = NotFound"]],
        "No registry has the image.",
    ),
    explain(
        "`Failed to pull image … NotFound`",
        &[&["Failed to pull image", "code = NotFound"]],
        "The same, said again.",
    ),
    explain(
        "`CreateContainer in sandbox from runtime service failed … read seccomp profile`",
        &[&["read seccomp profile", "No such file"]],
        "The pod asks for a Localhost profile that is not in the kubelet's folder.",
    ),
    explain(
        "`CreateContainer in sandbox from runtime service failed … ImageVolumeMountFailed`",
        &[&["ImageVolumeMountFailed"]],
        "An image as a volume has no such `subPath`. The pod's status says it, too.",
    ),
    explain(
        "`… from runtime service failed … connection refused`, `connection reset by peer`, `EOF`",
        &[
            &["code = Unavailable", "connection refused"],
            &["code = Unavailable", "connection reset by peer"],
            &["code = Unavailable", "EOF"],
        ],
        "Carpel is not running: the kubelet calls again.",
    ),
    explain(
        "`Skipping pod synchronization … container runtime is down`",
        &[&["Skipping pod synchronization", "container runtime is down"]],
        "The same, and the node is not ready until Carpel answers again.",
    ),
    explain(
        "`Version from runtime service failed … Canceled`",
        &[&["Version from runtime service failed", "code = Canceled"]],
        "The same: the kubelet connects again.",
    ),
    explain(
        "`RunPodSandbox from runtime service failed … no CNI configuration`",
        &[&["attach its network: no CNI configuration"]],
        "A pod with a network waits until there is a configuration; the node is not ready meanwhile.",
    ),
    explain(
        "`Error syncing pod, skipping … NetworkReady=false`",
        &[&["Error syncing pod, skipping", "NetworkReady=false"]],
        "The same, said of each pod that waits.",
    ),
    explain(
        "`no imagefs label for configured runtime`",
        &[&["no imagefs label for configured runtime"]],
        "cAdvisor in the kubelet does not know Carpel; figures of the image store come by ImageFsInfo.",
    ),
    explain(
        "`Skipping pod synchronization … container runtime status check may not have completed yet`",
        &[&["Skipping pod synchronization", "may not have completed yet"]],
        "The kubelet has just started.",
    ),
    explain(
        "`Image garbage collection failed once … invalid capacity 0 on image filesystem`",
        &[&["Image garbage collection failed once", "invalid capacity 0"]],
        "The same: cAdvisor in it does not know the file systems yet.",
    ),
    explain(
        "`Error on socket receive`, `Error proxying data from client to backend`",
        &[&["Error on socket receive"]],
        "A client of exec, attach or port-forward has ended without a last word, as kubectl does on SIGTERM.",
    ),
];

/// What it says of the pods that ask for what cannot be had, and of a node in a box.
const OF_OTHERS: &[Explanation] = &[
    by_name(
        "a node that is not registered yet",
        &[
            &["node \\\"node\\\" not found"],
            &["nodes \\\"node\\\" not found"],
        ],
    ),
    by_name(
        "a pod waits for its next start",
        &[&["Error syncing pod, skipping", "CrashLoopBackOff"]],
    ),
    by_name(
        "an image that nobody has",
        &[&["no-such"], &["Failed to ensure image"]],
    ),
    by_name(
        "a Secret that is not there",
        &[&["secret", "nobody", "not found"]],
    ),
    by_name(
        "a pod whose volumes the kubelet does not prepare yet",
        &[&["kube-root-ca.crt", "not registered"]],
    ),
    by_name(
        "a kernel log that was written faster than the kubelet reads it",
        &[&["exiting analyzeLines. OOM events will not be reported"]],
    ),
    by_name(
        "a pod that was deleted meanwhile",
        &[&["no relationship found between node"]],
    ),
    by_name(
        "the first start of the kubelet",
        &[&["checkpoint is not found"]],
    ),
    by_name(
        "a client that has ended without a last word",
        &[&["Error proxying data from client to backend"]],
    ),
    by_name(
        "a hook that fails",
        &[
            &["PostStartHookError"],
            &["Failed to execute PostStartHook"],
        ],
    ),
    by_name("a program that is not there", &[&["/no/such/program"]]),
    by_name(
        "a container that may not run as root",
        &[&["container has runAsNonRoot and image will run as root"]],
    ),
    by_name(
        "a file of variables without what is asked of it",
        &[
            &["Failed to parse env file"],
            &["CreateContainerConfigError", "couldn't parse env file"],
            &["CreateContainerConfigError", "environment variable key"],
        ],
    ),
    by_name(
        "more pulls than the kubelet makes at once",
        &[&["pull QPS exceeded"]],
    ),
    by_name(
        "a hostPath of another type",
        &[&["hostPath type check failed"]],
    ),
    by_name(
        "a node whose object is not the API server's",
        &[&["failed to check if node is newer"]],
    ),
    by_name(
        "a kubelet whose own cgroup is out of its sight",
        &[&["Failed to get system container stats"]],
    ),
    by_name(
        "a record of the kubelet's own that is written at the first start",
        &[&["Missing actuated pod level resource record"]],
    ),
    by_name(
        "a node without CAP_SYS_RESOURCE",
        &[&["Failed to set rlimit on max file handles"]],
    ),
    by_name(
        "a machine with too much to do for the API server or the kubelet",
        &[
            &["Failed to update lease"],
            &["Failed to ensure lease exists", "Client.Timeout"],
            &["Housekeeping took longer than expected"],
        ],
    ),
    by_name(
        "an API server that ended in the middle of an answer",
        &[&["Unexpected error when reading response body", "request.go"]],
    ),
    by_name(
        "a machine whose cgroup v2 has no cpuset",
        &[&["cgroup manager.Set failed", "cpuset.cpus: no such file"]],
    ),
    by_name(
        "a pod whose cgroup has gone meanwhile",
        &[
            &["cgroup config for the pod", "no such file"],
            &["cgroup limits for the pod", "no such file"],
        ],
    ),
];

/// Counts lines of errors by name and reason of what explains them, and gives those that nothing does.
#[must_use]
pub fn sort_out(lines: &[String]) -> (BTreeMap<Reason, usize>, Vec<&String>) {
    let mut counts = BTreeMap::new();
    let mut unexplained = Vec::new();
    for line in lines {
        let is_it = |explanation: &&Explanation| {
            let has = |words: &&[&str]| words.iter().all(|word| line.contains(word));
            explanation.words.iter().any(has)
        };
        let mut all = OF_THE_RUNTIME.iter().chain(OF_OTHERS);
        match all.find(is_it) {
            Some(found) => *counts.entry((found.name, found.why)).or_default() += 1,
            None => unexplained.push(line),
        }
    }
    (counts, unexplained)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::repository;

    #[test]
    fn the_first_explanation_that_fits_counts_and_what_none_fits_is_told() {
        let lines = [
            "E1126 \"ContainerStatus from runtime service failed\" err=\"container X: no such container\"",
            "E1126 \"ContainerStatus from runtime service failed\" err=\"connection refused\"",
        ]
        .map(str::to_owned);
        let (counts, unexplained) = sort_out(&lines);
        assert_eq!(
            counts.into_iter().collect::<Vec<_>>(),
            [((OF_THE_RUNTIME[0].name, OF_THE_RUNTIME[0].why), 1)]
        );
        assert_eq!(unexplained, [&lines[1]]);
    }

    #[test]
    fn the_users_have_the_same_list() {
        let text = std::fs::read_to_string(repository().join("docs/kubernetes.md")).unwrap();
        let (_, table) = text
            .split_once("## Errors that the kubelet logs about the runtime")
            .unwrap();
        let rows: Vec<&str> = table
            .lines()
            .filter(|line| line.starts_with("| `"))
            .collect();
        let wanted: Vec<String> = OF_THE_RUNTIME
            .iter()
            .map(|explanation| format!("| {} | {} |", explanation.name, explanation.why))
            .collect();
        assert_eq!(rows, wanted);
    }
}
