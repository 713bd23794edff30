//! Carpel in a cluster: API server, controller manager, scheduler and kubelet on one node in a box, and the real kubectl.
//! What static pods cannot show: the cluster's own objects in pods, a node's conditions, eviction, collection of images.
//! Run by `make cluster`, which builds the control plane.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and shows its tables by printing"
)]

mod commands;
mod kubeadm;
mod limits;
mod network;
mod node;
mod objects;
#[path = "../pod_behaviours/mod.rs"]
mod pod_behaviours;
mod pods;
mod pressure;
mod rows;
mod volumes;
