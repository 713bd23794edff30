//! Objects: get, list, create, apply, delete.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::listen::Api;
use super::reply::{self, Refusal, Reply};
use super::route::query;
use crate::manifest::{self, Key, Kind, Object};
use crate::store::Applied;

/// Says what applying did: `created`, `configured` or `unchanged`.
pub(crate) const APPLIED: &str = "carpel-applied";

/// One.
pub(super) fn get(api: &Api, key: &Key) -> Result<Reply, Refusal> {
    let object = find(api, key)?;
    Ok(reply::value(StatusCode::OK, &shown(api, &object)))
}

/// All of a kind.
pub(super) fn list(api: &Api, kind: Kind, namespace: Option<&str>) -> Reply {
    let objects = api.node.store.list(kind, namespace);
    let items: Vec<Value> = objects.iter().map(|object| shown(api, object)).collect();
    let list = json!({
        "kind": format!("{kind}List"),
        "apiVersion": "v1",
        "metadata": { "resourceVersion": api.node.store.version().to_string() },
        "items": items,
    });
    reply::value(StatusCode::OK, &list)
}

/// What has happened.
pub(super) fn events(api: &Api, namespace: Option<&str>) -> Reply {
    let list = json!({
        "kind": "EventList",
        "apiVersion": "v1",
        "metadata": {},
        "items": api.node.events.list(namespace),
    });
    reply::value(StatusCode::OK, &list)
}

/// One that is not there yet.
pub(super) async fn create(
    api: &Api,
    kind: Kind,
    namespace: Option<&str>,
    body: Bytes,
) -> Result<Reply, Refusal> {
    let object = parse(&body)?;
    if object.kind() != kind || namespace.is_some_and(|it| it != object.namespace()) {
        return Err(mismatch(&object));
    }
    if find(api, &object.key()).is_ok() {
        return Err(Refusal::exists(kind.plural(), object.name()));
    }
    store(api, object).await
}

/// One that shall be so; with `dryRun=All`, as it would be.
pub(super) async fn apply(api: &Api, key: Key, body: Bytes, asked: &str) -> Result<Reply, Refusal> {
    let object = parse(&body)?;
    if object.key() != key {
        return Err(mismatch(&object));
    }
    if query(asked, "dryRun") == Some("All") {
        let preview = api.node.store.preview(object);
        let (applied, object) = preview.map_err(|error| Refusal::of_store(&error))?;
        return Ok(told(api, applied, &object));
    }
    store(api, object).await
}

/// Pods end in order, with a grace period; others go at once.
pub(super) fn delete(api: &Api, key: &Key, body: &[u8], asked: &str) -> Result<Reply, Refusal> {
    let object = find(api, key)?;
    let Object::Pod(pod) = object.as_ref() else {
        let deleted = api.node.store.delete(key);
        deleted.map_err(|error| Refusal::of_store(&error))?;
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": { "name": key.name, "kind": key.kind.plural() },
        });
        return Ok(reply::value(StatusCode::OK, &status));
    };
    let grace = grace(pod, body, asked)?;
    let marked = api.node.store.mark_deleted(key, grace, Timestamp::now());
    let marked = marked.map_err(|error| Refusal::of_store(&error))?;
    let marked = marked.ok_or_else(|| Refusal::not_found(key.kind.plural(), &key.name))?;
    Ok(reply::value(StatusCode::OK, &shown(api, &marked)))
}

/// Of the query, of DeleteOptions, or of the pod.
fn grace(pod: &Pod, body: &[u8], asked: &str) -> Result<i64, Refusal> {
    if let Some(text) = query(asked, "gracePeriodSeconds") {
        return text
            .parse()
            .ok()
            .filter(|grace: &i64| *grace >= 0)
            .ok_or_else(|| Refusal::bad("gracePeriodSeconds is a number from 0"));
    }
    let options: Value = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(body)
            .map_err(|error| Refusal::bad(format!("DeleteOptions: {error}")))?,
    };
    let own = pod.spec.as_ref();
    let own = own.and_then(|spec| spec.termination_grace_period_seconds);
    let given = options["gracePeriodSeconds"].as_i64();
    Ok(given.or(own).unwrap_or(30).max(0))
}

fn find(api: &Api, key: &Key) -> Result<std::sync::Arc<Object>, Refusal> {
    if key.kind == Kind::ServiceAccount {
        // Every namespace has a default one.
        let account = api.node.store.service_account(&key.namespace, &key.name);
        account.map_err(|error| Refusal::of_store(&error))?;
    }
    let object = api.node.store.get(key);
    object.ok_or_else(|| Refusal::not_found(key.kind.plural(), &key.name))
}

fn parse(body: &[u8]) -> Result<Object, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| Refusal::bad(error.to_string()))?;
    let mut objects = manifest::parse(text, "the request")
        .map_err(|errors| Refusal::invalid(errors.to_string()))?;
    match (objects.pop(), objects.is_empty()) {
        (Some(object), true) => Ok(object),
        _ => Err(Refusal::bad("one object is wanted")),
    }
}

fn mismatch(object: &Object) -> Refusal {
    Refusal::bad(format!("the path is not that of {}", object.key()))
}

async fn store(api: &Api, object: Object) -> Result<Reply, Refusal> {
    let key = object.key();
    let node = api.node.clone();
    // The disk may take its time.
    let applied = tokio::task::spawn_blocking(move || node.store.apply(object))
        .await
        .map_err(|error| Refusal::internal(error.to_string()))?
        .map_err(|error| Refusal::of_store(&error))?;
    let object = find(api, &key)?;
    Ok(told(api, applied, &object))
}

/// The object, and what was done with it.
fn told(api: &Api, applied: Applied, object: &Object) -> Reply {
    let code = match applied {
        Applied::Created => StatusCode::CREATED,
        Applied::Configured | Applied::Unchanged => StatusCode::OK,
    };
    let mut reply = reply::value(code, &shown(api, object));
    let word = HeaderValue::from_static(applied.word());
    reply.headers_mut().insert(APPLIED, word);
    reply
}

/// As the API server shows it: a pod that runs here says so.
pub(super) fn shown(api: &Api, object: &Object) -> Value {
    let value = match object {
        Object::Pod(pod) => {
            let mut pod = pod.clone();
            let is_here = pod
                .status
                .as_ref()
                .is_some_and(|status| status.start_time.is_some());
            if let Some(spec) = &mut pod.spec
                && is_here
            {
                spec.node_name = Some(api.node.name.clone());
            }
            serde_json::to_value(pod)
        }
        Object::Secret(secret) => serde_json::to_value(secret),
        Object::ConfigMap(map) => serde_json::to_value(map),
        Object::ServiceAccount(account) => serde_json::to_value(account),
    };
    value.unwrap_or_default()
}
