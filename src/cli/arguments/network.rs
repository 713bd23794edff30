//! `carpel network …`.

use clap::{Args, Subcommand};

use super::{ConfigFile, TableOrJson};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum NetworkCommand {
    /// Show bridge, subnets, and the pods with addresses and host ports; works without the daemon
    Status(NetworkStatusArguments),
    /// Remove bridge, interfaces, nftables table and records without a trace, while the daemon is stopped
    Reset(ResetArguments),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct NetworkStatusArguments {
    #[command(flatten)]
    pub(in crate::cli) file: ConfigFile,
    /// How the network is printed
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub(in crate::cli) output: TableOrJson,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ResetArguments {
    #[command(flatten)]
    pub(in crate::cli) file: ConfigFile,
    /// Also if pods have a network, which they lose
    #[arg(long)]
    pub(in crate::cli) force: bool,
}
