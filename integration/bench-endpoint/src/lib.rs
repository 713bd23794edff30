//! What both benches share: CRI endpoints as arguments and as connections, and how a bench ends.
//!
//! It knows nothing of Carpel but the CRI, so that any runtime can be measured.

mod connection;
mod end;

#[allow(
    missing_docs,
    rustdoc::invalid_html_tags,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::missing_errors_doc,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/cri/api.proto"
)]
pub mod runtime_v1 {
    tonic::include_proto!("runtime.v1");
}

pub use connection::{ConnectError, Connection, socket};
pub use end::{Output, exit_code};

/// `USER_HZ`, the unit of processor times in /proc: 100 on every architecture that Linux supports here. proc_stat(5)
pub const TICKS_PER_SECOND: u64 = 100;
