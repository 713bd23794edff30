//! `carpel-bench`: times every CRI call against one or more CRI endpoints, side by side in one run.
//!
//! The endpoints take turns, run by run, so that whatever the machine does besides disturbs all of them. It measures and
//! prints, the first endpoint beside Carpel's budgets (`budget.rs`) too.

mod arguments;
mod budget;
mod client;
mod crowd;
mod error;
mod execs;
mod life;
mod logs;
mod machine;
mod measurement;
mod report;
mod samples;
mod specification;

use std::process::ExitCode;

use carpel_bench_endpoint::{exit_code, runtime_v1};
use clap::Parser;

use error::BenchError;

fn main() -> ExitCode {
    exit_code(&run(&arguments::Arguments::parse()))
}

fn run(arguments: &arguments::Arguments) -> Result<(), BenchError> {
    // One thread: a second one would add its waking up to every figure.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Runtime)?;
    let report = runtime.block_on(measurement::run(arguments))?;
    report::print_all(&report, arguments.output)
}
