//! What can be asked of the bench.

use std::path::PathBuf;

use carpel_bench_endpoint::Output;
use clap::{Parser, ValueEnum};

/// Times every CRI call against one or more CRI endpoints, side by side.
#[derive(Debug, Parser)]
#[command(name = "carpel-bench", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// A socket, with a name if you like: carpel=unix:///run/carpel/carpel.sock; may be repeated, and the first one is
    /// what the others are compared with
    #[arg(long, short, required = true, value_name = "[NAME=]unix://PATH", value_parser = address)]
    pub(crate) endpoint: Vec<Address>,
    /// How many pods are brought up and down, one after another, for each endpoint and network
    #[arg(long, default_value_t = 40)]
    pub(crate) runs: usize,
    /// An image with `sleep` and `true`; pulled if an endpoint does not have it
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) image: String,
    /// Which network the pods have
    #[arg(long, default_value = "both")]
    pub(crate) network: Networks,
    /// Which seccomp profile the containers ask for: kubelets with seccompDefault send runtime-default
    #[arg(long, default_value = "unconfined")]
    pub(crate) seccomp: Seccomp,
    /// How many pods are brought up at the same time; 0 leaves this part out
    #[arg(long, default_value_t = 50)]
    pub(crate) pods: usize,
    /// By how many clients
    #[arg(long, default_value_t = 10)]
    pub(crate) workers: usize,
    /// How many pods, with ten containers each, are there while lists and statistics are timed; 0 leaves this part out
    #[arg(long, default_value_t = 10)]
    pub(crate) listed_pods: usize,
    /// Names of helper processes whose memory is counted: carpel=carpel-shim,carpel-infra. The usual ones of carpel,
    /// containerd and CRI-O are known
    #[arg(long, value_name = "NAME=COMM,…", value_parser = helpers)]
    pub(crate) helpers: Vec<Helpers>,
    /// What is measured
    #[arg(long, default_value = "calls")]
    pub(crate) measure: Measure,
    /// With --measure logs: how much is printed in each round, in lines of 100 bytes
    #[arg(long, default_value_t = 1000)]
    pub(crate) log_megabytes: u64,
    /// With --measure execs: how many, by all workers together
    #[arg(long, default_value_t = 2000)]
    pub(crate) execs: usize,
    /// How the result is printed; of logs and execs as text only
    #[arg(long, short, default_value = "text")]
    pub(crate) output: Output,
}

/// A CRI socket under the name that the report uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Empty: what the runtime calls itself.
    pub(crate) name: String,
    pub(crate) socket: PathBuf,
}

/// Names of an endpoint's helper processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Helpers {
    pub(crate) endpoint: String,
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// Every call, one by one and many at once
    Calls,
    /// The throughput of logs
    Logs,
    /// What execs cost and leave; fails if they leave anything
    Execs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Networks {
    /// The host's
    Host,
    /// The pod's own
    Pod,
    /// Each in turn
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Seccomp {
    /// None
    Unconfined,
    /// The runtime's own
    RuntimeDefault,
}

fn address(text: &str) -> Result<Address, String> {
    let (name, socket) = match text.split_once('=') {
        Some((name, socket)) => (name, socket),
        None => ("", text),
    };
    Ok(Address {
        name: name.to_owned(),
        socket: carpel_bench_endpoint::socket(socket)?,
    })
}

fn helpers(text: &str) -> Result<Helpers, String> {
    let (endpoint, names) = text
        .split_once('=')
        .ok_or_else(|| "write it as NAME=COMM,COMM".to_owned())?;
    Ok(Helpers {
        endpoint: endpoint.to_owned(),
        names: names.split(',').map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_may_have_a_name() {
        let named = address("carpel=unix:///run/c.sock").unwrap();
        assert_eq!(
            (named.name.as_str(), named.socket.to_str()),
            ("carpel", Some("/run/c.sock"))
        );
        assert_eq!(address("unix:///run/c.sock").unwrap().name, "");
        assert!(address("tcp://127.0.0.1:1").is_err());
    }

    #[test]
    fn clap_accepts_the_definition() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
