//! Why a container has no environment. The texts are the kubelet's: they become the message of
//! `CreateContainerConfigError`.

use crate::manifest::quoted;
use crate::quantity::QuantityError;

/// What a variable refers to is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// No such `ConfigMap`.
    #[error("configmap {} not found", quoted(.name))]
    NoConfigMap {
        /// Its name.
        name: String,
    },
    /// No such Secret.
    #[error("secret {} not found", quoted(.name))]
    NoSecret {
        /// Its name.
        name: String,
    },
    /// The `ConfigMap` has no such key.
    #[error("couldn't find key {key} in ConfigMap {namespace}/{name}")]
    NoConfigMapKey {
        /// The key.
        key: String,
        /// Where it was looked for.
        namespace: String,
        /// Where it was looked for.
        name: String,
    },
    /// The Secret has no such key.
    #[error("couldn't find key {key} in Secret {namespace}/{name}")]
    NoSecretKey {
        /// The key.
        key: String,
        /// Where it was looked for.
        namespace: String,
        /// Where it was looked for.
        name: String,
    },
    /// The value of a key is no text, and an environment is.
    #[error("key {key} in {kind} {namespace}/{name} is no UTF-8 text: mount it as a file")]
    NotText {
        /// The key.
        key: String,
        /// Secret or `ConfigMap`.
        kind: &'static str,
        /// Where it is.
        namespace: String,
        /// Where it is.
        name: String,
    },
    /// The file of a variable cannot be read, or is not what such files are: `env_file` in the log says why.
    #[error("couldn't parse env file")]
    File,
    /// The file has no such variable, or an empty one.
    #[error("environment variable key {} not found in file {}", quoted(.key), quoted(.file))]
    NoFileKey {
        /// The key.
        key: String,
        /// The file, as the host has it.
        file: String,
    },
    /// The volume of the file is not there.
    #[error("cannot find the volume {} referenced by FileKeyRef", quoted(.0))]
    NoFileVolume(String),
    /// A field of the pod that cannot be told.
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    /// A field of the pod that is known only when the pod has a network.
    #[error("fieldPath {0}: the pod has no address yet")]
    NoAddress(String),
    /// A container that the pod does not have.
    #[error("container {0} not found")]
    NoContainer(String),
    /// A resource that cannot be told.
    #[error("unsupported container resource : {0}")]
    Resource(String),
    /// A limit, request or divisor is no quantity.
    #[error("{field}: {text}")]
    Quantity {
        /// Which.
        field: String,
        /// What it says.
        text: String,
        /// Why it is none.
        #[source]
        source: QuantityError,
    },
}
