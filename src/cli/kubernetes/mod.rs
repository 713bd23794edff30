//! Kubernetes manifests without a cluster, in kubectl's manner. One file per command; `api` talks to the agent, `manifests`
//! reads files, `columns` and `pod_status` make the tables.

mod age;
mod api;
pub(super) mod apply;
mod columns;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod describe;
mod describe_container;
mod describe_node;
pub(super) mod diff;
pub(super) mod explain;
pub(super) mod get;
pub(super) mod get_format;
pub(super) mod json_path;
mod json_path_parser;
mod manifests;
pub(super) mod named_pod;
mod pod_status;
mod resource;
pub(super) mod run_agent;
pub(super) mod selector;
pub(super) mod token;
pub(super) mod top;
pub(super) mod wait;
pub(super) mod wait_for;
