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

use std::process::ExitCode;

use carpel_bench_endpoint::{exit_code, runtime_v1};
use clap::Parser;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    exit_code(&rounds::run(&arguments).and_then(|report| report.print(arguments.output)))
}
