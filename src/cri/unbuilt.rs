//! The calls that are not built: each says so by name.

use tonic::Status;

/// UNIMPLEMENTED, which the kubelet remembers for optional calls and falls back.
pub(super) fn refuse(rpc: &str) -> Status {
    Status::unimplemented(format!("carpel does not have {rpc} yet"))
}
