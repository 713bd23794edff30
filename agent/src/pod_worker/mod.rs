//! What a kubelet does for each pod, one task per pod.
//!
//! ```text
//! supervisor   hears of objects and of the runtime, keeps one worker per pod, removes what belongs to no pod
//! worker       look → decide → act → tell, again whenever something changes
//!   look       what the runtime has of the pod (observed)
//!   decide     what has to be done: pure
//!   sandbox, container, image, end     what is done: each a task, so that a worker never waits for one
//! ```
//!
//! A worker keeps nothing that it cannot find again: sandboxes and containers are known by their labels, hashes and
//! attempts by their annotations, the rest is in the stored status. After a restart everything is adopted.

mod act;
mod admission;
mod backoff;
mod container;
mod decide;
mod end;
mod files;
mod image;
mod look;
mod node;
mod observed;
mod pull_secret;
mod restart;
mod sandbox;
mod supervisor;
mod terminate;
mod trouble;
mod upkeep;
mod worker;

pub(crate) use decide::{FailedProbe, Health, is_sidecar};
pub(crate) use node::{Node, labels_with, memory, own_addresses};
#[cfg(test)]
pub(crate) use observed::tests as observed_tests;
pub(crate) use observed::{History, Observed, Record, State};
pub(crate) use restart::begins_again;
pub(crate) use supervisor::supervise;
