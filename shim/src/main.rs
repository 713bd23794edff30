//! The shim of one pod: it makes the pod's namespaces and its containers, reaps them, keeps their logs, and outlives
//! the daemon that started it.
//!
//! Started with a connected SEQPACKET socket as descriptor 0 (the first connection of `docs/shim-protocol.md`); the
//! arguments are for `ps` only. One thread and no runtime: that is what makes cloning children safe, and small.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod cleaner;
mod connection;
mod container;
mod exit_record;
mod external;
mod failure;
mod infra;
mod log;
mod oom;
mod outbox;
mod poller;
mod reaper;
mod report;
mod requests;
mod sandbox;
mod server;
mod setup;
mod shutdown;
mod terminal;
mod time;
mod user_namespace;

use std::process::ExitCode;

fn main() -> ExitCode {
    match setup::take_over().and_then(server::Server::new) {
        Ok(server) => server.run(),
        // Nobody to tell: standard error is /dev/null, and the daemon sees its socket close.
        Err(_failure) => ExitCode::FAILURE,
    }
}
