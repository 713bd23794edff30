//! Limits and requests of a container, as `resourceFieldRef` names them (`pkg/api/v1/resource`,
//! `ExtractContainerResourceValue`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::EnvironmentError;
use crate::facts::Facts;
use crate::quantity::Quantity;

/// What may be told.
pub(crate) const RESOURCES: [&str; 4] = [
    "limits.cpu",
    "limits.memory",
    "requests.cpu",
    "requests.memory",
];

/// The value of a resource of a container, in divisors, rounded up. A limit that is not set is what the node has.
///
/// # Errors
/// `Resource` and `Quantity` for what validation refuses, `NoContainer` for a name of no container.
pub(crate) fn resource(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    facts: &Facts,
) -> Result<String, EnvironmentError> {
    let container = match selector
        .container_name
        .as_deref()
        .filter(|name| !name.is_empty())
    {
        Some(name) => Some(
            container_of(pod, name)
                .ok_or_else(|| EnvironmentError::NoContainer(name.to_owned()))?,
        ),
        None => own,
    };
    let resources = container.and_then(|container| container.resources.as_ref());
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    let divisor = match &selector.divisor {
        Some(Text(text)) => parse("divisor", text)?,
        None => Quantity::default(),
    };
    let divisor = match divisor.is_zero() {
        true => Quantity::from_units(1),
        false => divisor,
    };
    let name = selector.resource.as_str();
    let value = match name {
        "limits.cpu" | "limits.memory" => {
            let kind = &name["limits.".len()..];
            let said = said(limits, kind)?.filter(|limit| !limit.is_zero());
            said.unwrap_or(match kind {
                "cpu" => Quantity::from_milli(facts.allocatable_cpu_milli),
                _ => Quantity::from_units(facts.allocatable_memory),
            })
        }
        "requests.cpu" | "requests.memory" => {
            said(requests, &name["requests.".len()..])?.unwrap_or_default()
        }
        _ => return Err(EnvironmentError::Resource(name.to_owned())),
    };
    let (value, divisor) = match name.ends_with(".cpu") {
        true => (value.milli_value(), divisor.milli_value()),
        false => (value.value(), divisor.value()),
    };
    // Neither is negative, and the divisor is not zero: a quantity above zero rounds up to one at least.
    Ok((value.max(0).unsigned_abs())
        .div_ceil(divisor.max(1).unsigned_abs())
        .to_string())
}

fn container_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    let init_containers = spec.init_containers.iter().flatten();
    spec.containers
        .iter()
        .chain(init_containers)
        .find(|container| container.name == name)
}

fn said(
    list: Option<&BTreeMap<String, Text>>,
    name: &str,
) -> Result<Option<Quantity>, EnvironmentError> {
    let text = list.and_then(|list| list.get(name));
    text.map(|Text(text)| parse(name, text)).transpose()
}

fn parse(field: &str, text: &str) -> Result<Quantity, EnvironmentError> {
    text.parse().map_err(|source| EnvironmentError::Quantity {
        field: field.to_owned(),
        text: text.to_owned(),
        source,
    })
}
