//! `carpel-bench-pull`: times the pull of two synthetic images by CRI endpoints, and by a bare program, in one run.
//!
//! The endpoints and the bare program take turns, so that whatever the machine does besides disturbs all of them. The
//! images are made once and served by a registry of ours on the loopback interface of the endpoint's own network
//! namespace. What an endpoint keeps of an image is removed, and its disk space free again, before the next turn.

mod arguments;
mod client;
mod error;
mod floor;
mod picture;
mod process;
mod registry;
mod report;
mod rounds;
mod samples;

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/cri/api.proto"
)]
mod runtime_v1 {
    tonic::include_proto!("runtime.v1");
}

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    match rounds::run(&arguments).and_then(|report| report.print(arguments.output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn complain(error: &dyn std::error::Error) -> ExitCode {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    // With stderr closed there is nobody left to tell.
    writeln!(std::io::stderr(), "{text}").ok();
    ExitCode::FAILURE
}
