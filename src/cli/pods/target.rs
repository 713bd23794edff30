//! The container or pod that a command of streams goes to. A pod of a manifest is found as kubectl finds it: by its exact name in its
//! namespace, before anything else that might be called so; whatever else the runtime has, by `find`.

use super::find::{Object, Objects};
use crate::cli::arguments::{DaemonAddress, ObjectKind, PodScope};
use crate::cli::endpoint::Daemon;
use crate::cli::error::CliError;
use crate::cli::kubernetes::named_pod::{NamedPod, NamedPods};
use crate::cli::writer;
use crate::cri::{ContainerSummary, PodSummary};

/// What is asked for on a command line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) address: &'a DaemonAddress,
    pub(super) scope: &'a PodScope,
    /// A name, an id, `pod/NAME`.
    pub(super) word: &'a str,
    /// Which container of a pod.
    pub(super) own: Option<&'a str>,
    /// Nothing is said of a container that nobody has named.
    pub(super) is_quiet: bool,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Meant {
    /// A pod of a manifest.
    Pod(NamedPod),
    /// What the runtime has, by the words that are left.
    Other,
}

impl Target<'_> {
    /// Whether it is a pod of a manifest.
    pub(super) fn meant(&self) -> Result<Meant, CliError> {
        let name = pod_name(self.word).unwrap_or(self.word);
        // Names have no slash.
        let found = match name.contains('/') {
            true => None,
            false => NamedPods::of(self.scope, self.address)?.find(name)?,
        };
        Ok(found.map_or(Meant::Other, Meant::Pod))
    }

    /// The container, to run something in it.
    pub(super) fn container(&self, daemon: &Daemon) -> Result<ContainerSummary, CliError> {
        let meant = self.meant()?;
        let objects = Objects::of(daemon)?;
        match meant {
            Meant::Pod(pod) => {
                pod.check_has_not_ended()?;
                let choice = pod.choose(self.own)?;
                if let Some(note) = choice.note.filter(|_| !self.is_quiet) {
                    writer::complain(&note);
                }
                let container = objects.container_of(pod.key(), &choice.container);
                container
                    .cloned()
                    .ok_or_else(|| pod.why_missing(&choice.container))
            }
            Meant::Other => self.other_container(objects),
        }
    }

    /// A container of whatever the runtime has.
    pub(super) fn other_container(&self, objects: Objects) -> Result<ContainerSummary, CliError> {
        if let Some(name) = pod_name(self.word)
            && let Some(pod) = objects.pod_named(self.scope.name(), name)
        {
            return objects.choose(pod, self.own);
        }
        self.within(objects).find_container(self.word, self.own)
    }

    /// The pod, to talk to it.
    pub(super) fn pod(&self, daemon: &Daemon) -> Result<PodSummary, CliError> {
        let meant = self.meant()?;
        let objects = Objects::of(daemon)?;
        if let Meant::Pod(pod) = meant {
            pod.check_runs()?;
            let sandbox = objects.sandbox_of(pod.key()).cloned();
            return sandbox.ok_or_else(|| pod.not_running());
        }
        let named = pod_name(self.word);
        let exact = named.and_then(|name| objects.pod_named(self.scope.name(), name));
        if let Some(pod) = exact {
            return Ok(pod.clone());
        }
        match self.within(objects).find(self.word, ObjectKind::Pod)? {
            Object::Pod(pod) => Ok(pod),
            Object::Container(_) => Err(CliError::NoSuchObject {
                kind: "pod",
                word: self.word.to_owned(),
            }),
        }
    }

    fn within(&self, objects: Objects) -> Objects {
        match &self.scope.namespace {
            Some(namespace) => objects.within(namespace),
            None => objects,
        }
    }
}

/// The name in `pod/NAME`, as kubectl has it.
fn pod_name(word: &str) -> Option<&str> {
    let (kind, name) = word.split_once('/')?;
    matches!(kind, "pod" | "pods" | "po").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_pod_may_stand_before_its_name() {
        for word in ["pod/web", "pods/web", "po/web"] {
            assert_eq!(pod_name(word), Some("web"), "{word}");
        }
        for word in ["web", "podium/web", "web/main"] {
            assert_eq!(pod_name(word), None, "{word}");
        }
    }
}
