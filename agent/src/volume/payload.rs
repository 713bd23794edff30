//! The files of volumes that objects and fields make: Secrets, `ConfigMap`s and the Downward API.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod};

use super::Reason;
use super::atomic::{Content, Payload};
use crate::environment;
use crate::facts::Facts;
use crate::manifest::DEFAULT_NAMESPACE;
use crate::store::Store;

/// Whether what a volume refers to must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It must.
    Required,
    /// It is left out if it is not.
    Optional,
}

impl From<Option<bool>> for Need {
    /// From a field `optional`.
    fn from(optional: Option<bool>) -> Self {
        match optional {
            Some(true) => Self::Optional,
            _ => Self::Required,
        }
    }
}

/// Which keys of an object become files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selection<'a> {
    /// These, or all.
    pub(super) items: Option<&'a [KeyToPath]>,
    /// The permissions of those that say none.
    pub(super) mode: u32,
    /// Whether they must be there.
    pub(super) need: Need,
}

/// What the files of a pod are made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sources<'a> {
    /// The pod.
    pub(super) pod: &'a Pod,
    /// What is known of its node and network.
    pub(super) facts: &'a Facts,
    /// Where its objects are.
    pub(super) store: &'a Store,
}

impl Sources<'_> {
    pub(super) fn namespace(&self) -> &str {
        let namespace = self.pod.metadata.namespace.as_deref();
        namespace.unwrap_or(DEFAULT_NAMESPACE)
    }

    /// Files of a Secret.
    pub(super) fn secret(&self, name: &str, selection: Selection<'_>) -> Result<Payload, Reason> {
        let Some(secret) = self.store.secret(self.namespace(), name) else {
            return match selection.need {
                Need::Optional => Ok(Payload::new()),
                Need::Required => Err(Reason::NoSecret(name.to_owned())),
            };
        };
        let data = secret.data.unwrap_or_default();
        let data = data.into_iter().map(|(key, value)| (key, value.0));
        select(data.collect(), selection, Reason::NoSecretKey)
    }

    /// Files of a `ConfigMap`.
    pub(super) fn config_map(
        &self,
        name: &str,
        selection: Selection<'_>,
    ) -> Result<Payload, Reason> {
        let Some(map) = self.store.config_map(self.namespace(), name) else {
            return match selection.need {
                Need::Optional => Ok(Payload::new()),
                Need::Required => Err(Reason::NoConfigMap(name.to_owned())),
            };
        };
        let binary = map.binary_data.unwrap_or_default();
        let binary = binary.into_iter().map(|(key, value)| (key, value.0));
        let texts = map.data.unwrap_or_default();
        let texts = texts
            .into_iter()
            .map(|(key, text)| (key, text.into_bytes()));
        select(
            binary.chain(texts).collect(),
            selection,
            Reason::NoConfigMapKey,
        )
    }

    /// Files of the Downward API.
    pub(super) fn downward(
        &self,
        items: Option<&[DownwardAPIVolumeFile]>,
        mode: u32,
    ) -> Result<Payload, Reason> {
        let mut payload = Payload::new();
        for item in items.unwrap_or_default() {
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(selector), _) => {
                    environment::field(self.pod, &selector.field_path, self.facts)?
                }
                (None, Some(selector)) => {
                    environment::resource(self.pod, None, selector, self.facts)?
                }
                (None, None) => String::new(),
            };
            let content = Content {
                bytes: text.into_bytes(),
                mode: mode_or(item.mode, mode),
                owner: None,
            };
            payload.insert(clean(&item.path), content);
        }
        Ok(payload)
    }
}

fn select(
    data: BTreeMap<String, Vec<u8>>,
    selection: Selection<'_>,
    missing: fn(String) -> Reason,
) -> Result<Payload, Reason> {
    let content = |bytes: Vec<u8>, mode: Option<i32>| Content {
        bytes,
        mode: mode_or(mode, selection.mode),
        owner: None,
    };
    // As in the kubelet, a list of no items is as no list.
    let Some(items) = selection.items.filter(|items| !items.is_empty()) else {
        let all = data.into_iter();
        return Ok(all
            .map(|(key, bytes)| (key, content(bytes, None)))
            .collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match (data.get(&item.key), selection.need) {
            (Some(bytes), _) => {
                payload.insert(clean(&item.path), content(bytes.clone(), item.mode));
            }
            (None, Need::Optional) => {}
            (None, Need::Required) => return Err(missing(item.key.clone())),
        }
    }
    Ok(payload)
}

/// Without doubled slashes and single dots: validation has refused what leads elsewhere, and `atomic` refuses it again.
pub(super) fn clean(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .enumerate()
        // A leading slash is left there, to be refused.
        .filter(|(index, part)| *part != "." && (*index == 0 || !part.is_empty()))
        .map(|(_, part)| part)
        .collect();
    parts.join("/")
}

/// A mode of a manifest, which validation holds in 0 to 0777.
pub(super) fn mode_or(mode: Option<i32>, default: u32) -> u32 {
    mode.and_then(|mode| u32::try_from(mode).ok())
        .map_or(default, |mode| mode & 0o777)
}
