//! The words READY, STATUS and RESTARTS of a pod: kubectl's `printPod`. Pure.

use serde_json::Value;

use super::age;
use super::api::{list, text};

/// What a line of `get pods` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Containers that are ready.
    pub(super) ready: usize,
    /// Containers that count.
    pub(super) total: usize,
    /// One or two words.
    pub(super) status: String,
    /// How often containers were restarted.
    pub(super) restarts: i64,
    /// When that was last.
    pub(super) last_restart: Option<String>,
}

impl Summary {
    /// Of a pod.
    pub(super) fn of(pod: &Value) -> Self {
        let phase = text(pod, "/status/phase");
        let mut summary = Self {
            total: list(pod, "/spec/containers").len(),
            status: match text(pod, "/status/reason") {
                "" if phase.is_empty() => "Pending".to_owned(),
                "" => phase.to_owned(),
                reason => reason.to_owned(),
            },
            ..Self::default()
        };
        let is_initializing = summary.add_init(pod);
        if !is_initializing {
            summary.add_main(pod);
        }
        let is_over = matches!(phase, "Succeeded" | "Failed");
        if !text(pod, "/metadata/deletionTimestamp").is_empty() && !is_over {
            summary.status = "Terminating".to_owned();
        }
        summary
    }

    /// `3 (2m ago)`
    pub(super) fn restarts(&self) -> String {
        match &self.last_restart {
            Some(time) if self.restarts > 0 => {
                format!("{} ({} ago)", self.restarts, age::since(time))
            }
            _ => self.restarts.to_string(),
        }
    }

    fn count(&mut self, status: &Value) {
        self.restarts += status["restartCount"].as_i64().unwrap_or(0);
        let ended = text(status, "/lastState/terminated/finishedAt");
        if !ended.is_empty() && self.last_restart.as_deref().is_none_or(|last| last < ended) {
            self.last_restart = Some(ended.to_owned());
        }
    }

    /// True while init containers have not done their work.
    fn add_init(&mut self, pod: &Value) -> bool {
        let containers = list(pod, "/spec/initContainers");
        let is_sidecar = |container: &Value| container["restartPolicy"] == "Always";
        self.total += containers.iter().filter(|it| is_sidecar(it)).count();
        for (index, status) in list(pod, "/status/initContainerStatuses")
            .iter()
            .enumerate()
        {
            let container = containers.iter().find(|it| it["name"] == status["name"]);
            if container.is_some_and(is_sidecar) && status["started"] == true {
                self.count(status);
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            let ended = &status["state"]["terminated"];
            if ended["exitCode"] == 0 {
                continue;
            }
            self.count(status);
            let waiting = text(status, "/state/waiting/reason");
            self.status = match (ended.is_object(), text(ended, "/reason"), waiting) {
                (true, "", _) => format!("Init:ExitCode:{}", ended["exitCode"]),
                (true, reason, _) => format!("Init:{reason}"),
                (false, _, "" | "PodInitializing") => {
                    format!("Init:{index}/{}", containers.len())
                }
                (false, _, waiting) => format!("Init:{waiting}"),
            };
            // What was told of a pod that has ended stands.
            return !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
                || ended.is_object();
        }
        false
    }

    fn add_main(&mut self, pod: &Value) {
        let mut is_running = false;
        for status in list(pod, "/status/containerStatuses").iter().rev() {
            self.count(status);
            let ended = &status["state"]["terminated"];
            let waiting = text(status, "/state/waiting/reason");
            if !waiting.is_empty() {
                self.status = waiting.to_owned();
            } else if ended.is_object() {
                self.status = match text(ended, "/reason") {
                    "" => format!("ExitCode:{}", ended["exitCode"]),
                    reason => reason.to_owned(),
                };
            } else if status["ready"] == true && status["state"]["running"].is_object() {
                is_running = true;
                self.ready += 1;
            }
        }
        if let reason @ ("DeadlineExceeded" | "Evicted") = text(pod, "/status/reason") {
            self.status = reason.to_owned();
        }
        if self.status == "Completed" && is_running {
            let conditions = list(pod, "/status/conditions");
            let ready = conditions.iter().find(|it| it["type"] == "Ready");
            self.status = match ready.is_some_and(|ready| ready["status"] == "True") {
                true => "Running".to_owned(),
                false => "NotReady".to_owned(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(phase: &str, init: Value, main: Value) -> (String, String) {
        let names = |statuses: &Value| -> Vec<Value> {
            let statuses = statuses.as_array().unwrap();
            statuses
                .iter()
                .map(|it| json!({ "name": it["name"] }))
                .collect()
        };
        let pod = json!({
            "metadata": {},
            "spec": { "containers": names(&main), "initContainers": names(&init) },
            "status": { "phase": phase, "initContainerStatuses": init, "containerStatuses": main },
        });
        let summary = Summary::of(&pod);
        (
            format!("{}/{}", summary.ready, summary.total),
            summary.status,
        )
    }

    fn told(ready: &str, status: &str) -> (String, String) {
        (ready.to_owned(), status.to_owned())
    }

    #[test]
    fn the_words_are_those_of_kubectl() {
        let running = json!({ "name": "a", "ready": true, "state": { "running": {} } });
        let waiting = |reason: &str| json!({ "name": "a", "ready": false, "state": { "waiting": { "reason": reason } } });
        let ended = |code: i32, reason: &str| json!({ "name": "i", "state": { "terminated": { "exitCode": code, "reason": reason } } });
        let none = json!([]);
        let table = [
            (
                "Running",
                none.clone(),
                json!([running]),
                told("1/1", "Running"),
            ),
            (
                "Pending",
                none.clone(),
                json!([waiting("ErrImagePull")]),
                told("0/1", "ErrImagePull"),
            ),
            (
                "Running",
                none.clone(),
                json!([running, waiting("CrashLoopBackOff")]),
                told("1/2", "CrashLoopBackOff"),
            ),
            (
                "Succeeded",
                none.clone(),
                json!([ended(0, "Completed")]),
                told("0/1", "Completed"),
            ),
            (
                "Failed",
                none.clone(),
                json!([ended(1, "Error")]),
                told("0/1", "Error"),
            ),
            (
                "Pending",
                json!([{ "name": "i", "state": { "running": {} } }]),
                json!([waiting("PodInitializing")]),
                told("0/1", "Init:0/1"),
            ),
            (
                "Pending",
                json!([ended(1, "Error")]),
                json!([waiting("PodInitializing")]),
                told("0/1", "Init:Error"),
            ),
            (
                "Running",
                json!([ended(0, "Completed")]),
                json!([running]),
                told("1/1", "Running"),
            ),
            ("", none.clone(), none, told("0/0", "Pending")),
        ];
        for (phase, init, main, wanted) in table {
            assert_eq!(
                of(phase, init.clone(), main.clone()),
                wanted,
                "{init} {main}"
            );
        }
    }

    #[test]
    fn a_pod_that_is_deleted_is_terminating() {
        let pod = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" },
            "status": { "phase": "Running" } });
        assert_eq!(Summary::of(&pod).status, "Terminating");
    }
}
