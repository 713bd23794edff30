//! The CRI boundary: the only code that names tonic and prost.
//!
//! A call: `connection` → tonic → `deadline` → `server` → the call's own file (`pod_sandbox/run.rs` …) → `from_cri` →
//! the domain (`pods` is what it must offer, `image::Images`) → `to_cri`, or `status` for an error. Nothing is decided
//! here that depends on the state of a pod.
//!
//! `admin` is Carpel's own service on the same socket, `client` what the command line calls.

mod admin;
mod authority;
mod calls;
mod client;
mod connection;
mod container;
mod deadline;
mod from_cri;
mod image;
mod metrics;
mod pod_sandbox;
mod pods;
mod runtime;
mod serve;
mod server;
mod socket;
mod status;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod to_cri;
mod unbuilt;
mod wire;

pub use calls::CallObserver;
pub use client::{
    Archive, Client, ClientError, CommandOutput, Condition, ContainerDetails, ContainerSummary,
    ContainerUsage, EventContainer, EventSandbox, Events, ExplainDepth, ExplainRequest, Explained,
    ExplainedPolicy, ExplainedSource, Exported, HostTrust, ImageDetails, ImageSummary, Imported,
    MountSummary, PodDetails, PodSummary, Prune, Pruned, PrunedImage, Pull, PulledLayer,
    PulledLayerState, ReportedEvent, RuntimeState, SourceAnswers, StreamSelection, Verification,
    VerifiedStore, VerifyFinding, VerifyProgress, VerifyTarget, Version,
};
pub use pods::PodService;
pub use serve::{CgroupDriver, ServeError, Settings, serve};
pub use socket::{Socket, SocketError};
pub use streams::StreamUrls;
