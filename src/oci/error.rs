//! Why a request cannot become a specification.

/// What a caller branches on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OciErrorKind {
    /// The request contradicts itself, or asks for what no runtime has.
    Invalid,
    /// The request is right, but Carpel does not have it yet.
    Unimplemented,
    /// An image cannot be mounted as a volume.
    ImageVolume,
}

/// A request that cannot become a specification. `field` is the CRI field as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OciError {
    /// A field has a value that cannot be.
    #[error("{field}: {value:?}: {reason}")]
    Value {
        /// CRI field.
        field: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A mount of an image (KEP-4639) that cannot be.
    #[error("{field}: {value:?}: {reason}")]
    ImageVolume {
        /// CRI field.
        field: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Neither the request nor the image says what to run.
    #[error(
        "no command: neither the request nor image {image:?} has a command, an entrypoint or arguments"
    )]
    NoCommand {
        /// The image, as the request names it.
        image: String,
    },
    /// A privileged container in a pod that may not hold one.
    #[error("linux.security_context.privileged: sandbox {sandbox_id} is not privileged")]
    PrivilegedInUnprivilegedSandbox {
        /// Sandbox.
        sandbox_id: String,
    },
    /// Asked of a pod whose runtime handler is another OCI runtime.
    #[error("{field}: {value} is not possible with a runtime handler of type oci")]
    OtherRuntime {
        /// CRI field.
        field: String,
        /// Its value.
        value: String,
    },
    /// A namespace that the pod does not have.
    #[error(
        "linux.security_context.namespace_options.{namespace}: {asked:?} is asked for, but {reason}"
    )]
    Namespace {
        /// `network`, `pid`, `ipc`.
        namespace: &'static str,
        /// What is asked for.
        asked: super::NamespaceMode,
        /// Why it cannot be.
        reason: &'static str,
    },
    /// Something that Carpel does not have yet.
    #[error("{field}: {value} is not supported yet")]
    Unsupported {
        /// CRI field.
        field: String,
        /// What it asks for.
        value: String,
    },
}

impl OciError {
    /// What a caller branches on.
    pub fn kind(&self) -> OciErrorKind {
        match self {
            Self::Value { .. }
            | Self::NoCommand { .. }
            | Self::PrivilegedInUnprivilegedSandbox { .. }
            | Self::Namespace { .. } => OciErrorKind::Invalid,
            Self::ImageVolume { .. } => OciErrorKind::ImageVolume,
            Self::Unsupported { .. } | Self::OtherRuntime { .. } => OciErrorKind::Unimplemented,
        }
    }

    /// A field with a value that cannot be.
    pub(super) fn value(
        field: impl Into<String>,
        value: impl ToString,
        reason: &'static str,
    ) -> Self {
        Self::Value {
            field: field.into(),
            value: value.to_string(),
            reason,
        }
    }
}
