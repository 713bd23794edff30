//! From what somebody has written to the container or pod that is meant.
//!
//! An id, a name, POD/NAME for a container and NAMESPACE/NAME for a pod are looked for first; if nothing is called so,
//! beginnings of ids and names. What has been made anew under the same name in the same pod counts once: its last one is
//! meant. Whatever still fits several is an error that lists them.

use std::collections::HashMap;

use crate::cli::arguments::ObjectKind;
use crate::cli::endpoint::Daemon;
use crate::cli::error::CliError;
use crate::cri::{ContainerSummary, PodSummary};

/// A container or a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Object {
    Container(ContainerSummary),
    Pod(PodSummary),
}

/// Everything that can be meant.
#[derive(Debug)]
pub(in crate::cli) struct Objects {
    containers: Vec<ContainerSummary>,
    pods: Vec<PodSummary>,
}

impl Objects {
    /// What the daemon has.
    pub(in crate::cli) fn of(daemon: &Daemon) -> Result<Self, CliError> {
        Ok(Self {
            containers: daemon.wait(daemon.client().containers())?,
            pods: daemon.wait(daemon.client().pods())?,
        })
    }

    /// The one that is meant.
    pub(in crate::cli) fn find(&self, word: &str, kind: ObjectKind) -> Result<Object, CliError> {
        let fits: [fn(&str, &str) -> bool; 2] = [
            |name, word| name == word,
            |name, word| name.starts_with(word),
        ];
        for fits in fits {
            let mut found = self.fitting(kind, |name| fits(name, word));
            match found.len() {
                0 => {}
                1 => return Ok(found.remove(0)),
                _ => {
                    let candidates = found.iter().map(|object| self.described(object)).collect();
                    return Err(CliError::Ambiguous {
                        word: word.to_owned(),
                        candidates,
                    });
                }
            }
        }
        Err(missing(word, kind))
    }

    /// Only pods of one namespace, with their containers.
    pub(in crate::cli) fn within(mut self, namespace: &str) -> Self {
        self.pods.retain(|pod| pod.namespace == namespace);
        let pods = &self.pods;
        let is_within = |it: &ContainerSummary| pods.iter().any(|pod| pod.id == it.pod_id);
        self.containers.retain(is_within);
        self
    }

    /// The last sandbox of the pod of exactly this name.
    pub(in crate::cli) fn pod_named(&self, namespace: &str, name: &str) -> Option<&PodSummary> {
        let pods = self.pods.iter();
        pods.filter(|pod| pod.namespace == namespace && pod.name == name)
            .max_by_key(|pod| (pod.created_at, pod.attempt))
    }

    /// The last sandbox of a pod: namespace, name and uid.
    pub(in crate::cli) fn sandbox_of(&self, key: PodKey<'_>) -> Option<&PodSummary> {
        let pods = self.pods.iter();
        pods.filter(|pod| key_of(pod) == key)
            .max_by_key(|pod| (pod.created_at, pod.attempt))
    }

    /// The container of this name that was made last in a pod.
    pub(in crate::cli) fn container_of(
        &self,
        key: PodKey<'_>,
        name: &str,
    ) -> Option<&ContainerSummary> {
        let containers = self.containers.iter();
        containers
            .filter(|it| it.name == name && self.pod_key(&it.pod_id) == key)
            .max_by_key(|it| (it.created_at, it.attempt))
    }

    /// All containers of a pod, the last one made of each name, in the order in which they were made.
    pub(in crate::cli) fn containers_of(&self, pod: &PodSummary) -> Vec<&ContainerSummary> {
        let mut last: HashMap<&str, &ContainerSummary> = HashMap::new();
        let of_pod = self.containers.iter();
        for container in of_pod.filter(|it| self.pod_key(&it.pod_id) == key_of(pod)) {
            let made = |it: &ContainerSummary| (it.created_at, it.attempt);
            let kept = last.entry(&container.name).or_insert(container);
            if made(container) > made(kept) {
                *kept = container;
            }
        }
        let mut found: Vec<&ContainerSummary> = last.into_values().collect();
        found.sort_by_key(|it| (it.created_at, &it.name));
        found
    }

    /// The container that is meant where a pod may be named too: with `own`, a container of that pod; without, its only one,
    /// or the only one that runs.
    pub(in crate::cli) fn find_container(
        &self,
        word: &str,
        own: Option<&str>,
    ) -> Result<ContainerSummary, CliError> {
        let pod = match (own, self.find(word, ObjectKind::Container)) {
            (None, Ok(Object::Container(container))) => return Ok(container),
            (None, Err(error @ CliError::Ambiguous { .. })) => {
                match self.find(word, ObjectKind::Pod) {
                    // Its containers' names begin with the pod's.
                    Ok(Object::Pod(pod)) if word.ends_with(&pod.name) => pod,
                    _ => return Err(error),
                }
            }
            _ => match self.find(word, ObjectKind::Pod) {
                Ok(Object::Pod(pod)) => pod,
                _ => return Err(missing(word, ObjectKind::Any)),
            },
        };
        self.choose(&pod, own)
    }

    /// A container of a pod.
    pub(in crate::cli) fn choose(
        &self,
        pod: &PodSummary,
        own: Option<&str>,
    ) -> Result<ContainerSummary, CliError> {
        let mut found = self.containers_of(pod);
        found.retain(|it| own.is_none_or(|own| own == it.name));
        let mut running = found.iter().filter(|it| it.state == "running");
        if let (true, Some(container), None) = (found.len() > 1, running.next(), running.next()) {
            // Init containers have ended.
            return Ok((*container).clone());
        }
        match found.as_slice() {
            [] => Err(missing(own.unwrap_or(&pod.name), ObjectKind::Container)),
            [container] => Ok((*container).clone()),
            several => Err(CliError::WhichContainer {
                pod: pod.name.clone(),
                names: several.iter().map(|it| it.name.clone()).collect(),
            }),
        }
    }

    /// All of which one name fits, of each name in a pod only the last one made.
    fn fitting(&self, kind: ObjectKind, fits: impl Fn(&str) -> bool) -> Vec<Object> {
        let mut containers = Vec::new();
        if kind != ObjectKind::Pod {
            let named = self.containers.iter().filter(|container| {
                let long = format!("{}/{}", self.pod_name(&container.pod_id), container.name);
                fits(&container.name) || fits(&long)
            });
            // A container that has been made again in a sandbox of the same pod is still the same one for whoever names it.
            let mut last = HashMap::new();
            for container in named {
                let key = (self.pod_key(&container.pod_id), &*container.name);
                let made = |it: &ContainerSummary| (it.created_at, it.attempt);
                let kept = last.entry(key).or_insert(container);
                if made(container) > made(kept) {
                    *kept = container;
                }
            }
            containers.extend(last.into_values());
            let by_id = self.containers.iter().filter(|it| fits(&it.id));
            containers.extend(by_id);
            containers.sort_by(|a, b| a.id.cmp(&b.id));
            containers.dedup_by(|a, b| a.id == b.id);
        }
        let pods = match kind {
            ObjectKind::Container => Vec::new(),
            ObjectKind::Any | ObjectKind::Pod => self.fitting_pods(fits),
        };
        let containers = containers.into_iter().cloned().map(Object::Container);
        let pods = pods.into_iter().cloned().map(Object::Pod);
        containers.chain(pods).collect()
    }

    fn fitting_pods(&self, fits: impl Fn(&str) -> bool) -> Vec<&PodSummary> {
        let mut last: HashMap<PodKey<'_>, &PodSummary> = HashMap::new();
        let named = self.pods.iter().filter(|pod| {
            let long = format!("{}/{}", pod.namespace, pod.name);
            fits(&pod.name) || fits(&long)
        });
        for pod in named {
            let made = |it: &PodSummary| (it.created_at, it.attempt);
            let kept = last.entry(key_of(pod)).or_insert(pod);
            if made(pod) > made(kept) {
                *kept = pod;
            }
        }
        let mut found: Vec<&PodSummary> = last.into_values().collect();
        found.extend(self.pods.iter().filter(|pod| fits(&pod.id)));
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found.dedup_by(|a, b| a.id == b.id);
        found
    }

    /// The pod of this id.
    pub(in crate::cli) fn pod_of(&self, id: &str) -> Option<&PodSummary> {
        self.pods.iter().find(|pod| pod.id == id)
    }

    /// All containers.
    pub(in crate::cli) fn containers(&self) -> &[ContainerSummary] {
        &self.containers
    }

    /// Which pod it is in Kubernetes, whatever its sandbox.
    fn pod_key<'a>(&'a self, id: &'a str) -> PodKey<'a> {
        self.pod_of(id).map_or((id, "", ""), key_of)
    }

    fn pod_name(&self, id: &str) -> &str {
        self.pod_of(id).map_or("", |pod| &pod.name)
    }

    fn described(&self, object: &Object) -> String {
        match object {
            Object::Container(container) => format!(
                "container {}  {}/{}  {}",
                container.id,
                self.pod_name(&container.pod_id),
                container.name,
                container.state
            ),
            Object::Pod(pod) => {
                format!(
                    "pod {}  {}/{}  {}",
                    pod.id, pod.namespace, pod.name, pod.state
                )
            }
        }
    }
}

/// A pod in Kubernetes: namespace, name and uid.
pub(in crate::cli) type PodKey<'a> = (&'a str, &'a str, &'a str);

fn key_of(pod: &PodSummary) -> PodKey<'_> {
    (&pod.namespace, &pod.name, &pod.uid)
}

fn missing(word: &str, kind: ObjectKind) -> CliError {
    CliError::NoSuchObject {
        kind: match kind {
            ObjectKind::Any => "container or pod",
            ObjectKind::Container => "container",
            ObjectKind::Pod => "pod",
        },
        word: word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Objects {
        let pod = |id: &str, name: &str, created_at| PodSummary {
            id: id.to_owned(),
            name: name.to_owned(),
            namespace: "default".to_owned(),
            uid: format!("uid-{name}"),
            created_at,
            ..PodSummary::default()
        };
        let container = |id: &str, pod: &str, name: &str, created_at| ContainerSummary {
            id: id.to_owned(),
            pod_id: pod.to_owned(),
            name: name.to_owned(),
            created_at,
            ..ContainerSummary::default()
        };
        Objects {
            containers: vec![
                container("c100", "p1", "web", 1),
                container("c101", "p1", "web", 2),
                container("c200", "p1", "webhook", 1),
                container("d300", "p2", "web", 1),
                container("d400", "p2", "log", 1),
                container("e500", "p0", "log", 0),
            ],
            pods: vec![
                pod("p0", "back", 1),
                pod("p1", "front", 1),
                pod("p2", "back", 2),
            ],
        }
    }

    fn found(word: &str, kind: ObjectKind) -> Result<String, String> {
        match objects().find(word, kind) {
            Ok(Object::Container(container)) => Ok(container.id),
            Ok(Object::Pod(pod)) => Ok(pod.id),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn ids_names_and_beginnings_are_understood() {
        let container = |word| found(word, ObjectKind::Container);
        for (word, id) in [
            ("c100", "c100"),
            ("c2", "c200"),
            ("webhook", "c200"),
            ("webh", "c200"),
            // The last one made of its name in its pod.
            ("front/web", "c101"),
            ("log", "d400"),
        ] {
            assert_eq!(container(word).as_deref(), Ok(id), "{word}");
        }
        assert_eq!(found("front", ObjectKind::Pod).as_deref(), Ok("p1"));
        // The pod's last sandbox.
        assert_eq!(found("back", ObjectKind::Any).as_deref(), Ok("p2"));
        assert_eq!(found("default/fr", ObjectKind::Any).as_deref(), Ok("p1"));
        assert_eq!(found("p0", ObjectKind::Pod).as_deref(), Ok("p0"));
    }

    #[test]
    fn a_pod_with_one_container_means_it_and_with_several_they_are_named() {
        let of = |word, own| {
            let found = objects().find_container(word, own);
            found.map(|it| it.id).map_err(|error| error.to_string())
        };
        assert_eq!(of("front/web", None).as_deref(), Ok("c101"));
        assert_eq!(of("front", Some("web")).as_deref(), Ok("c101"));
        assert!(of("front", Some("none")).is_err());
        let error = of("front", None).unwrap_err();
        assert!(error.contains("choose one of"), "{error}");
    }

    #[test]
    fn a_namespace_leaves_out_the_pods_of_others() {
        let mut all = objects();
        all.pods[1].namespace = "other".to_owned();
        let found = all.pod_named("default", "back").map(|pod| &*pod.id);
        assert_eq!(found, Some("p2"));
        assert_eq!(all.pod_named("default", "front"), None);
        let key = ("default", "back", "uid-back");
        let log = all.container_of(key, "log").map(|it| &*it.id);
        assert_eq!(log, Some("d400"));
        let all = all.within("default");
        let web = all.find_container("web", None).map(|it| it.id);
        assert_eq!(web.ok().as_deref(), Some("d300"));
        assert!(all.find("front", ObjectKind::Pod).is_err());
    }

    #[test]
    fn what_fits_several_lists_them_and_what_fits_none_says_so() {
        let error = found("web", ObjectKind::Container).unwrap_err();
        assert!(error.contains("c101") && error.contains("d300"), "{error}");
        // Exactly that name: one that only begins so is not meant. An older one of the same is not either.
        assert!(
            !error.contains("c200") && !error.contains("c100"),
            "{error}"
        );
        let error = found("c10", ObjectKind::Container).unwrap_err();
        assert!(error.contains("c100") && error.contains("c101"), "{error}");
        let error = found("nothing", ObjectKind::Pod).unwrap_err();
        assert_eq!(error, "no pod \"nothing\" is here");
        // Everything begins with nothing.
        assert!(found("", ObjectKind::Any).is_err());
    }
}
