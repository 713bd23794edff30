//! The agent: Kubernetes manifests on a CRI runtime, without a cluster.
//!
//! What a kubelet does for a pod, from the same YAML: it reads manifests ([`manifest`]), keeps objects ([`store`]), writes
//! volumes ([`volume`]) and tokens ([`token`]), and makes the environment of containers ([`environment`]). It is a client
//! of the CRI like any other and names nothing of the daemon, so it runs against any CRI runtime.

mod agent;
pub mod client;
pub mod environment;
pub mod facts;
pub mod file;
pub mod manifest;
mod pod_worker;
mod probe;
pub mod quantity;
mod runtime;
mod server;
mod status;
pub mod store;
pub mod token;
pub mod volume;

pub use agent::{Agent, AgentError, Settings};
pub use server::ServerError;
