//! `carpel-bench`: times every CRI call against one or more CRI endpoints, side by side in one run.
//!
//! The endpoints take turns, run by run, so that whatever the machine does besides disturbs all of them. It measures and
//! prints; what is good enough is said in the documentation, not here.

mod arguments;
mod client;
mod crowd;
mod error;
mod life;
mod machine;
mod measurement;
mod report;
mod samples;
mod specification;

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
    // One thread: a second one would add its waking up to every figure.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error),
    };
    let outcome = runtime.block_on(measurement::run(&arguments));
    match outcome.and_then(|report| report::print(&report, arguments.output)) {
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
