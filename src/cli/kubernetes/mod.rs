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
pub(super) mod get;
mod manifests;
mod pod_status;
pub(super) mod run_agent;
pub(super) mod token;
pub(super) mod top;
pub(super) mod wait;
