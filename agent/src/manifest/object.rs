//! The kinds of objects that the agent knows, under one roof.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

/// The namespace of a manifest that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A kind of object, of API version v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A pod.
    Pod,
    /// Values that are kept encrypted and mounted from memory.
    Secret,
    /// Values that are no secrets.
    ConfigMap,
    /// Who a pod is, in its tokens.
    ServiceAccount,
}

/// An object of one of the kinds, with its defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A pod.
    Pod(Box<Pod>),
    /// A Secret; `stringData` has been merged into `data`.
    Secret(Box<Secret>),
    /// A `ConfigMap`.
    ConfigMap(Box<ConfigMap>),
    /// A service account.
    ServiceAccount(Box<ServiceAccount>),
}

/// What names an object: no two have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Kind {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 4] = [
        Self::Pod,
        Self::Secret,
        Self::ConfigMap,
        Self::ServiceAccount,
    ];

    /// As manifests write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::ServiceAccount => "ServiceAccount",
        }
    }

    /// As URLs and `get` write it.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
            Self::ServiceAccount => "serviceaccounts",
        }
    }

    /// As messages of the API server about one of them begin.
    #[must_use]
    pub fn singular(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Secret => "secret",
            Self::ConfigMap => "configmap",
            Self::ServiceAccount => "serviceaccount",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no kind of the agent's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server doesn't have a resource type \"{0}\"")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    /// By name, plural or kubectl's short name, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "pod" | "pods" | "po" => Self::Pod,
            "secret" | "secrets" => Self::Secret,
            "configmap" | "configmaps" | "cm" => Self::ConfigMap,
            "serviceaccount" | "serviceaccounts" | "sa" => Self::ServiceAccount,
            _ => return Err(UnknownKind(text.to_owned())),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

impl Object {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Pod(_) => Kind::Pod,
            Self::Secret(_) => Kind::Secret,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::ServiceAccount(_) => Kind::ServiceAccount,
        }
    }

    /// Its metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Pod(pod) => &pod.metadata,
            Self::Secret(secret) => &secret.metadata,
            Self::ConfigMap(config_map) => &config_map.metadata,
            Self::ServiceAccount(account) => &account.metadata,
        }
    }

    /// Its metadata, to fill in.
    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Pod(pod) => &mut pod.metadata,
            Self::Secret(secret) => &mut secret.metadata,
            Self::ConfigMap(config_map) => &mut config_map.metadata,
            Self::ServiceAccount(account) => &mut account.metadata,
        }
    }

    /// Its namespace; [`DEFAULT_NAMESPACE`] if it names none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        let namespace = self.metadata().namespace.as_deref();
        namespace.unwrap_or(DEFAULT_NAMESPACE)
    }

    /// Its name; empty if it has none, which validation refuses.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// What names it.
    #[must_use]
    pub fn key(&self) -> Key {
        Key {
            kind: self.kind(),
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
        }
    }

    /// The pod, if it is one.
    #[must_use]
    pub fn as_pod(&self) -> Option<&Pod> {
        match self {
            Self::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    /// The Secret, if it is one.
    #[must_use]
    pub fn as_secret(&self) -> Option<&Secret> {
        match self {
            Self::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    /// The `ConfigMap`, if it is one.
    #[must_use]
    pub fn as_config_map(&self) -> Option<&ConfigMap> {
        match self {
            Self::ConfigMap(config_map) => Some(config_map),
            _ => None,
        }
    }

    /// The service account, if it is one.
    #[must_use]
    pub fn as_service_account(&self) -> Option<&ServiceAccount> {
        match self {
            Self::ServiceAccount(account) => Some(account),
            _ => None,
        }
    }
}

impl Serialize for Object {
    /// As the API server writes it, with `apiVersion` and `kind`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Pod(pod) => pod.serialize(serializer),
            Self::Secret(secret) => secret.serialize(serializer),
            Self::ConfigMap(config_map) => config_map.serialize(serializer),
            Self::ServiceAccount(account) => account.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    /// What was serialised: unlike [`super::parse`] it ignores fields that it does not know, as an older record may hold some.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let value = serde_json::Value::deserialize(deserializer)?;
        let kind = value.get("kind").and_then(serde_json::Value::as_str);
        let kind = kind.ok_or_else(|| D::Error::missing_field("kind"))?;
        let from_value = match kind {
            "Pod" => serde_json::from_value(value).map(Self::Pod),
            "Secret" => serde_json::from_value(value).map(Self::Secret),
            "ConfigMap" => serde_json::from_value(value).map(Self::ConfigMap),
            "ServiceAccount" => serde_json::from_value(value).map(Self::ServiceAccount),
            _ => return Err(D::Error::custom(UnknownKind(kind.to_owned()))),
        };
        from_value.map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_every_name_that_kubectl_takes() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse::<Kind>(), Ok(kind));
            assert_eq!(kind.plural().parse::<Kind>(), Ok(kind));
            assert_eq!(kind.singular().parse::<Kind>(), Ok(kind));
        }
        assert_eq!("CM".parse::<Kind>(), Ok(Kind::ConfigMap));
        assert_eq!(
            "deploy".parse::<Kind>().unwrap_err().to_string(),
            "the server doesn't have a resource type \"deploy\""
        );
    }

    #[test]
    fn an_object_that_was_written_is_read_again() {
        let mut config_map = ConfigMap::default();
        config_map.metadata.name = Some("web".to_owned());
        let object = Object::ConfigMap(Box::new(config_map));
        let text = serde_json::to_string(&object).unwrap();
        assert!(text.contains(r#""kind":"ConfigMap""#), "{text}");
        assert_eq!(serde_json::from_str::<Object>(&text).unwrap(), object);
        assert!(serde_json::from_str::<Object>(r#"{"kind":"Job"}"#).is_err());
    }
}
