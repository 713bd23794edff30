//! What applying an object makes of the one that is there. Pure but for the uid of a new one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

use super::StoreError;
use super::identity;
use crate::manifest::{Key, Object};

/// What applying an object did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is new.
    Created,
    /// It says something else now.
    Configured,
    /// It said all this already.
    Unchanged,
}

impl Applied {
    /// As `apply` prints it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Fills in what the server sets in a new object.
pub(super) fn anew(object: &mut Object, now: Timestamp) -> Result<Applied, StoreError> {
    let uid = identity::uid()?;
    let has_generation = has_generation(object);
    let metadata = object.metadata_mut();
    metadata.uid = Some(uid);
    metadata.creation_timestamp = Some(Time(seconds(now)));
    metadata.generation = has_generation.then_some(1);
    Ok(Applied::Created)
}

/// Carries on what the server set in `current`.
pub(super) fn over(current: &Object, object: &mut Object) -> Result<Applied, StoreError> {
    if current.metadata().deletion_timestamp.is_some() {
        return Err(StoreError::BeingDeleted { key: object.key() });
    }
    check_immutable(current, object)?;
    carry_on(current.metadata(), object.metadata_mut());
    if let (Object::Pod(current), Object::Pod(pod)) = (current, &mut *object) {
        pod.status.clone_from(&current.status);
    }
    if current == object {
        return Ok(Applied::Unchanged);
    }
    if has_generation(object) && !is_same_but_for_metadata(current, object) {
        let generation = &mut object.metadata_mut().generation;
        *generation = Some(generation.unwrap_or_default() + 1);
    }
    Ok(Applied::Configured)
}

fn carry_on(current: &ObjectMeta, metadata: &mut ObjectMeta) {
    metadata.uid.clone_from(&current.uid);
    metadata
        .creation_timestamp
        .clone_from(&current.creation_timestamp);
    metadata.generation = current.generation;
    metadata
        .resource_version
        .clone_from(&current.resource_version);
}

fn is_same_but_for_metadata(current: &Object, object: &Object) -> bool {
    let mut object = object.clone();
    object.metadata_mut().clone_from(current.metadata());
    *current == object
}

/// Pods have a generation: it tells a worker that their spec changed. What has no spec has none.
fn has_generation(object: &Object) -> bool {
    matches!(object, Object::Pod(_))
}

fn check_immutable(current: &Object, object: &Object) -> Result<(), StoreError> {
    const SET: &str = "Forbidden: field is immutable when `immutable` is set";
    let refuse = |key: Key, field, detail| Err(StoreError::Immutable { key, field, detail });
    let key = object.key();
    match (current, object) {
        (Object::Secret(current), Object::Secret(secret)) => {
            if current.type_ != secret.type_ {
                return refuse(key, "type", "Invalid value: field is immutable");
            }
            if current.immutable == Some(true) {
                if secret.immutable != Some(true) {
                    return refuse(key, "immutable", SET);
                }
                if current.data != secret.data {
                    return refuse(key, "data", SET);
                }
            }
        }
        (Object::ConfigMap(current), Object::ConfigMap(map)) if current.immutable == Some(true) => {
            if map.immutable != Some(true) {
                return refuse(key, "immutable", SET);
            }
            if current.data != map.data {
                return refuse(key, "data", SET);
            }
            if current.binary_data != map.binary_data {
                return refuse(key, "binaryData", SET);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Times of objects are whole seconds.
fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
