//! Names of devices: `vendor/class=device`, in the field of the CRI and in annotations.

use std::collections::BTreeMap;

/// How the keys of annotations begin that ask for devices.
const ANNOTATION: &str = "cdi.k8s.io/";

/// The parts of a name; `None`: it is none (cdi SPEC.md, "Kind", "CDI Device Name").
pub(super) fn parts(name: &str) -> Option<(&str, &str)> {
    let (kind, device) = name.split_once('=')?;
    let (vendor, class) = kind.split_once('/')?;
    let is_word = |text: &str, more: &str| {
        let mut bytes = text.bytes();
        let first = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let last = text
            .bytes()
            .last()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let all = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte));
        first && last && all
    };
    let right = is_word(vendor, "-_.") && is_word(class, "-_.") && is_word(device, "-_.:");
    right.then_some((kind, device))
}

/// The devices that annotations ask for: each value is a list of names, separated by commas.
#[must_use]
pub fn annotated_devices(annotations: &BTreeMap<String, String>) -> Vec<String> {
    let lists = annotations
        .iter()
        .filter(|(key, _)| key.starts_with(ANNOTATION))
        .flat_map(|(_, value)| value.split(','));
    lists.map(|name| name.trim().to_owned()).collect()
}
