//! The container runtime, as a client sees it: its calls (`client`), and what a pod becomes in its words (`sandbox`,
//! `container` and what they are made of). Not for: deciding what to call (`pod_worker`).

mod client;
mod container;
mod dns;
mod hostname;
mod hosts;
mod labels;
mod log_file;
mod namespaces;
mod resources;
mod sandbox;
mod security;
mod signal;
pub(crate) mod wire;

pub(crate) use client::{Command, Runtime, RuntimeError, without_id};
pub(crate) use container::{ContainerInputs, container_config, container_hash};
pub(crate) use dns::NodeResolver;
pub(crate) use hosts::hosts_file;
pub(crate) use labels::{
    ANNOTATION_HASH, ANNOTATION_USER_RANGE, LABEL_CONTAINER, LABEL_NAME, LABEL_NAMESPACE, LABEL_UID,
};
pub(crate) use log_file::last_words;
pub(crate) use namespaces::{UserRange, UserRanges};
pub(crate) use resources::qos_class;
pub(crate) use sandbox::{SandboxInputs, sandbox_config, sandbox_hash};
pub(crate) use security::{ImageUser, verify_non_root};
