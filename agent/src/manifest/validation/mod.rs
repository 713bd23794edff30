//! What the API server refuses, in its words (pkg/apis/core/v1/validation). Only what the agent supports is looked at: the rest
//! was refused before. Pure.

mod container;
mod context;
mod data;
mod environment;
mod found;
mod metadata;
mod network;
mod pod;
mod probe;
mod restart;
#[cfg(test)]
mod tests;
mod volume;

use super::error::Field;
use super::object::Object;
use found::Found;

/// Everything that is wrong with an object; lines are not known here.
pub(crate) fn validate(object: &Object) -> Vec<Field> {
    let mut found = Found::default();
    metadata::validate(&mut found, object);
    match object {
        Object::Pod(pod) => pod::validate(&mut found, pod),
        Object::Secret(secret) => data::validate_secret(&mut found, secret),
        Object::ConfigMap(map) => data::validate_config_map(&mut found, map),
        Object::ServiceAccount(account) => data::validate_account(&mut found, account),
    }
    found.fields
}
