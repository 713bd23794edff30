//! What has happened to objects, for `get events` and `describe`. In memory and bounded: the oldest is forgotten first. `events_file` keeps
//! them over a restart.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use tokio::sync::{Notify, broadcast};

/// Of all objects together.
const EVENTS_MAX: usize = 2000;

/// Of one object, so that one that fails for ever does not push out all others.
const EVENTS_OF_ONE_MAX: usize = 50;

/// Watchers that are further behind than this miss some.
const BEHIND_MAX: usize = 256;

/// Is it what was expected?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Yes.
    Normal,
    /// Somebody may want to look.
    Warning,
}

/// What something happened to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Subject(ObjectReference);

impl Subject {
    /// A pod.
    pub(crate) fn pod(pod: &Pod) -> Self {
        Self(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path: None,
        })
    }

    /// One of its containers.
    pub(crate) fn container(pod: &Pod, name: &str) -> Self {
        let Self(mut reference) = Self::pod(pod);
        let spec = pod.spec.as_ref();
        let init = spec.and_then(|spec| spec.init_containers.as_ref());
        let is_init = init.is_some_and(|init| init.iter().any(|it| it.name == name));
        let list = if is_init {
            "initContainers"
        } else {
            "containers"
        };
        reference.field_path = Some(format!("spec.{list}{{{name}}}"));
        Self(reference)
    }
}

/// All events.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    kept: Arc<Mutex<Kept>>,
    news: broadcast::Sender<Event>,
    /// Something has been recorded since somebody last asked.
    changed: Arc<Notify>,
    host: Arc<str>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    number: u64,
}

impl Events {
    /// None so far. `host` is the node's name.
    pub(crate) fn new(host: &str) -> Self {
        Self {
            kept: Arc::default(),
            news: broadcast::channel(BEHIND_MAX).0,
            changed: Arc::default(),
            host: host.into(),
        }
    }

    /// Something has happened. The same again counts up.
    pub(crate) fn record(&self, subject: &Subject, kind: Kind, reason: &str, message: &str) {
        let now = Time(Timestamp::now());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.number += 1;
        let version = kept.number;
        let is_same = |event: &Event| {
            event.reason.as_deref() == Some(reason)
                && event.message.as_deref() == Some(message)
                && event.involved_object.uid == subject.0.uid
                && event.involved_object.field_path == subject.0.field_path
        };
        let event = match kept.events.iter().position(is_same) {
            Some(index) => {
                let mut event = kept.events.remove(index).unwrap_or_default();
                event.count = event.count.map(|count| count.saturating_add(1));
                event.last_timestamp = Some(now);
                event.metadata.resource_version = Some(version.to_string());
                event
            }
            None => self.made(subject, kind, (reason, message), version),
        };
        kept.events.push_back(event.clone());
        kept.shrink(&event);
        drop(kept);
        self.changed.notify_one();
        // Nobody may be watching.
        self.news.send(event).ok();
    }

    fn made(
        &self,
        subject: &Subject,
        kind: Kind,
        (reason, message): (&str, &str),
        number: u64,
    ) -> Event {
        let now = Timestamp::now();
        let object = &subject.0;
        let name = object.name.as_deref().unwrap_or_default();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: object.namespace.clone(),
                creation_timestamp: Some(Time(now)),
                resource_version: Some(number.to_string()),
                ..ObjectMeta::default()
            },
            involved_object: object.clone(),
            type_: Some(
                match kind {
                    Kind::Normal => "Normal",
                    Kind::Warning => "Warning",
                }
                .to_owned(),
            ),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource {
                component: Some("carpel-agent".to_owned()),
                host: Some(self.host.to_string()),
            }),
            reporting_component: Some("carpel-agent".to_owned()),
            reporting_instance: Some(self.host.to_string()),
            ..Event::default()
        }
    }

    /// The events of a namespace, or all; the oldest first.
    pub(crate) fn list(&self, namespace: Option<&str>) -> Vec<Event> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = |event: &&Event| {
            namespace.is_none_or(|wanted| event.metadata.namespace.as_deref() == Some(wanted))
        };
        kept.events.iter().filter(is_wanted).cloned().collect()
    }

    /// Puts back what an earlier run has listed, before anything is recorded.
    pub(super) fn restore(&self, events: Vec<Event>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = events.iter().filter_map(|event| {
            let version = event.metadata.resource_version.as_deref()?;
            version.parse::<u64>().ok()
        });
        kept.number = numbers.max().unwrap_or(0);
        let first = events.len().saturating_sub(EVENTS_MAX);
        kept.events = events.into_iter().skip(first).collect();
    }

    /// Until something is recorded; at once if something was since the last time.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What happens from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Event> {
        self.news.subscribe()
    }
}

impl Kept {
    fn shrink(&mut self, newest: &Event) {
        let is_of_it = |event: &Event| event.involved_object.uid == newest.involved_object.uid;
        if self.events.iter().filter(|event| is_of_it(event)).count() > EVENTS_OF_ONE_MAX
            && let Some(oldest) = self.events.iter().position(is_of_it)
        {
            self.events.remove(oldest);
        }
        while self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(uid: &str) -> Subject {
        let mut pod = Pod::default();
        pod.metadata.name = Some("web".to_owned());
        pod.metadata.namespace = Some("default".to_owned());
        pod.metadata.uid = Some(uid.to_owned());
        Subject::pod(&pod)
    }

    #[test]
    fn the_same_again_is_counted() {
        let events = Events::new("node");
        for message in ["a", "b", "a"] {
            events.record(&subject("1"), Kind::Warning, "Failed", message);
        }
        let kept = events.list(Some("default"));
        let counts: Vec<_> = kept
            .iter()
            .map(|event| (event.message.clone().unwrap(), event.count))
            .collect();
        assert_eq!(
            counts,
            [("b".to_owned(), Some(1)), ("a".to_owned(), Some(2))]
        );
        assert!(events.list(Some("other")).is_empty());
    }

    #[test]
    fn one_object_does_not_push_out_the_others() {
        let events = Events::new("node");
        events.record(&subject("quiet"), Kind::Normal, "Started", "once");
        for number in 0..500 {
            events.record(
                &subject("loud"),
                Kind::Warning,
                "Failed",
                &number.to_string(),
            );
        }
        let kept = events.list(None);
        assert_eq!(kept.len(), EVENTS_OF_ONE_MAX + 1);
        assert_eq!(kept[0].reason.as_deref(), Some("Started"));
    }
}
