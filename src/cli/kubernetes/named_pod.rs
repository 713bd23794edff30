//! Pods of manifests that `logs`, `exec`, `attach`, `port-forward` and `cp` name, and which of their containers is meant: the one that
//! kubectl would take, and said in its words.

use carpel_agent::client::ApiError;
use carpel_agent::manifest::{DEFAULT_NAMESPACE, Kind};
use serde_json::Value;

use super::api::{Agent, list, object_path, objects_path, text};
use super::selector::LabelSelector;
use crate::cli::arguments::{DaemonAddress, PodScope};
use crate::cli::error::CliError;

/// The container that is taken if none is named, as for kubectl.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Where pods of manifests are asked for.
pub(in crate::cli) struct NamedPods {
    /// None: no agent belongs to the runtime that is talked to.
    agent: Option<Agent>,
    namespace: String,
}

impl NamedPods {
    /// Those that the command line can mean. A socket of a runtime without one of an agent means that runtime alone.
    pub(in crate::cli) fn of(scope: &PodScope, address: &DaemonAddress) -> Result<Self, CliError> {
        let is_alone = scope.agent_socket.is_none() && address.socket.is_some();
        let agent = match is_alone {
            true => None,
            false => Some(Agent::at(scope.agent_socket.as_deref(), &address.file)?),
        };
        Ok(Self {
            agent,
            namespace: scope.name().to_owned(),
        })
    }

    /// The pod of this name; none if there is no such, or nobody who would know.
    pub(in crate::cli) fn find(&self, name: &str) -> Result<Option<NamedPod>, CliError> {
        let Some(agent) = &self.agent else {
            return Ok(None);
        };
        match agent.find(&object_path(Kind::Pod, &self.namespace, name)) {
            Ok(pod) => Ok(pod.map(NamedPod)),
            Err(CliError::Agent(ApiError::Connect { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All pods with these labels.
    pub(in crate::cli) fn selected(
        &self,
        labels: &LabelSelector,
    ) -> Result<Vec<NamedPod>, CliError> {
        let agent = self.agent.as_ref().ok_or(CliError::NoAgent)?;
        let path = objects_path(Kind::Pod.plural(), Some(&self.namespace));
        let pods = agent.get(&path)?;
        let pods = list(&pods, "/items").iter();
        Ok(pods
            .filter(|pod| labels.fits(pod))
            .map(|pod| NamedPod(pod.clone()))
            .collect())
    }
}

/// Which container of a pod is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Choice {
    /// Its name.
    pub(in crate::cli) container: String,
    /// What is said of it, if nobody has asked for it by name.
    pub(in crate::cli) note: Option<String>,
}

/// A pod as the agent has it.
#[derive(Debug, Clone)]
pub(in crate::cli) struct NamedPod(Value);

impl NamedPod {
    /// Its name.
    pub(in crate::cli) fn name(&self) -> &str {
        text(&self.0, "/metadata/name")
    }

    /// Namespace, name and uid.
    pub(in crate::cli) fn key(&self) -> (&str, &str, &str) {
        (
            self.namespace(),
            self.name(),
            text(&self.0, "/metadata/uid"),
        )
    }

    fn namespace(&self) -> &str {
        match text(&self.0, "/metadata/namespace") {
            "" => DEFAULT_NAMESPACE,
            namespace => namespace,
        }
    }

    fn names(&self, pointer: &str) -> impl Iterator<Item = &str> {
        list(&self.0, pointer).iter().map(|it| text(it, "/name"))
    }

    /// All containers, in the order in which they are begun.
    pub(in crate::cli) fn containers(&self) -> Vec<String> {
        let init = self.names("/spec/initContainers");
        let all = init.chain(self.names("/spec/containers"));
        all.map(str::to_owned).collect()
    }

    /// `main, log, setup (init)`
    fn described(&self) -> String {
        let main = self.names("/spec/containers").map(str::to_owned);
        let init = self.names("/spec/initContainers");
        let all: Vec<String> = main
            .chain(init.map(|name| format!("{name} (init)")))
            .collect();
        all.join(", ")
    }

    /// The one of that name; else the one that an annotation names, else the first one, with a word about it.
    pub(in crate::cli) fn choose(&self, own: Option<&str>) -> Result<Choice, CliError> {
        let all = self.containers();
        if let Some(own) = own {
            return match all.iter().any(|name| name == own) {
                true => Ok(Choice {
                    container: own.to_owned(),
                    note: None,
                }),
                false => Err(CliError::NoSuchContainer {
                    container: own.to_owned(),
                    pod: self.name().to_owned(),
                    all: self.described(),
                }),
            };
        }
        let annotated = self.0["metadata"]["annotations"][DEFAULT_CONTAINER].as_str();
        let is_there = |name: &&str| all.iter().any(|it| it == name);
        if let Some(name) = annotated.filter(is_there) {
            return Ok(Choice {
                container: name.to_owned(),
                note: None,
            });
        }
        let first = self.names("/spec/containers").next().unwrap_or_default();
        let note = format!("Defaulted container {first:?} out of: {}", self.described());
        Ok(Choice {
            container: first.to_owned(),
            note: (all.len() > 1).then_some(note),
        })
    }

    /// Why the runtime has no such container.
    pub(in crate::cli) fn why_missing(&self, container: &str) -> CliError {
        let statuses = list(&self.0, "/status/initContainerStatuses").iter();
        let mut statuses = statuses.chain(list(&self.0, "/status/containerStatuses"));
        let status = statuses.find(|status| text(status, "/name") == container);
        let reason = status.map_or("", |status| text(status, "/state/waiting/reason"));
        // In the words of the kubelet.
        let reason = match reason {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            "" => self.phase(),
            reason => reason,
        };
        CliError::NotStarted {
            container: container.to_owned(),
            pod: self.name().to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn phase(&self) -> &str {
        text(&self.0, "/status/phase")
    }

    /// Nothing can be run in a pod that has ended.
    pub(in crate::cli) fn check_has_not_ended(&self) -> Result<(), CliError> {
        match self.phase() {
            phase @ ("Succeeded" | "Failed") => Err(CliError::PodEnded {
                phase: phase.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Nobody listens in a pod that does not run.
    pub(in crate::cli) fn check_runs(&self) -> Result<(), CliError> {
        match self.phase() {
            "Running" => Ok(()),
            _ => Err(self.not_running()),
        }
    }

    /// As kubectl says it.
    pub(in crate::cli) fn not_running(&self) -> CliError {
        CliError::PodNotRunning {
            phase: self.phase().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Value {
        json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "1" },
            "spec": {
                "initContainers": [{ "name": "setup" }],
                "containers": [{ "name": "main" }, { "name": "log" }],
            },
            "status": {
                "phase": "Pending",
                "containerStatuses": [
                    { "name": "log", "state": { "waiting": { "reason": "PodInitializing" } } },
                    { "name": "main", "state": { "waiting": { "reason": "ImagePullBackOff" } } },
                ],
            },
        })
    }

    #[test]
    fn the_first_container_is_meant_and_the_others_are_named() {
        let choice = NamedPod(pod()).choose(None).unwrap();
        assert_eq!(choice.container, "main");
        let note = r#"Defaulted container "main" out of: main, log, setup (init)"#;
        assert_eq!(choice.note.as_deref(), Some(note));
        let choice = NamedPod(pod()).choose(Some("setup")).unwrap();
        assert_eq!((&*choice.container, choice.note), ("setup", None));
        let error = NamedPod(pod())
            .choose(Some("none"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(r#""none""#) && error.contains("main, log, setup (init)"),
            "{error}"
        );
        assert_eq!(NamedPod(pod()).containers(), ["setup", "main", "log"]);
    }

    #[test]
    fn an_annotation_names_another_default_if_it_is_there() {
        let mut annotated = pod();
        annotated["metadata"]["annotations"][DEFAULT_CONTAINER] = json!("log");
        let choice = NamedPod(annotated.clone()).choose(None).unwrap();
        assert_eq!((&*choice.container, choice.note), ("log", None));
        annotated["metadata"]["annotations"][DEFAULT_CONTAINER] = json!("gone");
        let choice = NamedPod(annotated).choose(None).unwrap();
        assert_eq!(choice.container, "main");
    }

    #[test]
    fn what_has_not_started_says_why() {
        let why = |name| NamedPod(pod()).why_missing(name).to_string();
        assert_eq!(
            why("main"),
            r#"container "main" in pod "web" is waiting to start: trying and failing to pull image"#
        );
        assert_eq!(
            why("log"),
            r#"container "log" in pod "web" is waiting to start: PodInitializing"#
        );
    }

    #[test]
    fn what_a_pod_is_good_for_depends_on_its_phase() {
        let of = |phase: &str| {
            let mut pod = pod();
            pod["status"]["phase"] = json!(phase);
            let pod = NamedPod(pod);
            (pod.check_has_not_ended().is_ok(), pod.check_runs().is_ok())
        };
        assert_eq!(of("Pending"), (true, false));
        assert_eq!(of("Running"), (true, true));
        assert_eq!(of("Succeeded"), (false, false));
        assert_eq!(of("Failed"), (false, false));
    }
}
