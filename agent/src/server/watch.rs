//! Watches: what is, then what changes, a line of JSON each.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::listen::Api;
use super::objects::shown;
use super::reply::{self, Reply};
use super::route::query;
use crate::manifest::{Key, Kind};
use crate::store::{Change, Event};

/// Which objects are watched.
struct Filter {
    kind: Kind,
    namespace: Option<String>,
    name: Option<String>,
}

impl Filter {
    fn fits(&self, key: &Key) -> bool {
        let is =
            |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|it| it == text);
        key.kind == self.kind && is(&self.namespace, &key.namespace) && is(&self.name, &key.name)
    }
}

/// A stream that begins with what is known.
struct Watch<T> {
    first: VecDeque<Bytes>,
    news: Receiver<T>,
    has_ended: bool,
}

/// Objects of a kind, or one of them (`fieldSelector=metadata.name=NAME`).
pub(super) fn objects(api: &Api, kind: Kind, namespace: Option<&str>, asked: &str) -> Reply {
    let selector = query(asked, "fieldSelector").unwrap_or_default();
    let selector = selector.replace("%3D", "=").replace("%3d", "=");
    let filter = Filter {
        kind,
        namespace: namespace.map(str::to_owned),
        name: selector.strip_prefix("metadata.name=").map(str::to_owned),
    };
    let (known, news) = api.node.store.list_and_watch(kind, namespace);
    let mut first: VecDeque<Bytes> = known
        .iter()
        .filter(|object| filter.fits(&object.key()))
        .map(|object| line("ADDED", &shown(api, object)))
        .collect();
    if query(asked, "sendInitialEvents") == Some("true") {
        // Says that what is there has been told: whoever waits for something to be gone need not wait for a change.
        let end = json!({
            "kind": kind.name(), "apiVersion": "v1",
            "metadata": { "annotations": { "k8s.io/initial-events-end": "true" } },
        });
        first.push_back(line("BOOKMARK", &end));
    }
    let api = api.clone();
    let told = move |event: Event| {
        filter.fits(&event.key).then(|| {
            let word = match event.change {
                Change::Created => "ADDED",
                Change::Modified | Change::Status => "MODIFIED",
                Change::Removed => "DELETED",
            };
            line(word, &shown(&api, &event.object))
        })
    };
    reply::stream(lines(first, news, told))
}

/// What has happened and happens.
pub(super) fn events(api: &Api, namespace: Option<&str>) -> Reply {
    let news = api.node.events.watch();
    let known = api.node.events.list(namespace);
    let first = known
        .iter()
        .map(|event| line("ADDED", &json!(event)))
        .collect();
    let namespace = namespace.map(str::to_owned);
    let told = move |event: k8s_openapi::api::core::v1::Event| {
        let is_wanted = namespace.is_none() || event.metadata.namespace == namespace;
        let word = if event.count > Some(1) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        is_wanted.then(|| line(word, &json!(event)))
    };
    reply::stream(lines(first, news, told))
}

fn line(word: &str, object: &Value) -> Bytes {
    let mut text = json!({ "type": word, "object": object }).to_string();
    text.push('\n');
    Bytes::from(text)
}

/// What is known, then the news; one that is too far behind is told to begin anew.
fn lines<T, F>(
    first: VecDeque<Bytes>,
    news: Receiver<T>,
    told: F,
) -> impl Stream<Item = Bytes> + Send + Sync + 'static
where
    T: Clone + Send + Sync + 'static,
    F: Fn(T) -> Option<Bytes> + Send + Sync + 'static,
{
    let watch = Watch {
        first,
        news,
        has_ended: false,
    };
    let stream = futures_util::stream::unfold((watch, told), |(mut watch, told)| async move {
        if let Some(line) = watch.first.pop_front() {
            return Some((line, (watch, told)));
        }
        if watch.has_ended {
            return None;
        }
        loop {
            match watch.news.recv().await {
                Ok(event) => {
                    if let Some(line) = told(event) {
                        return Some((line, (watch, told)));
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    watch.has_ended = true;
                    let gone = json!({
                        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "message": "too old resource version", "reason": "Expired", "code": 410,
                    });
                    return Some((line("ERROR", &gone), (watch, told)));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    });
    SyncStream(std::sync::Mutex::new(Box::pin(stream)))
}

/// A body that can be boxed has to be `Sync`; a stream is polled by one task only, which has it mutably.
struct SyncStream<S>(std::sync::Mutex<std::pin::Pin<Box<S>>>);

impl<S: Stream + Send> Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        let stream = self.get_mut().0.get_mut();
        let stream = stream.unwrap_or_else(std::sync::PoisonError::into_inner);
        stream.as_mut().poll_next(context)
    }
}
