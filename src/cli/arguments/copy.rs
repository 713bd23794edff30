//! `carpel cp`. Words and options are kubectl's.

use clap::Args;

use super::{DaemonAddress, PodScope};
use crate::cli::pods::copy::Place;

#[derive(Debug, Args)]
pub(in crate::cli) struct CopyArguments {
    #[command(flatten)]
    pub(in crate::cli) scope: PodScope,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
    /// Which container of the pod, if it has several
    #[arg(long = "container", short = 'c', value_name = "NAME")]
    pub(in crate::cli) of_pod: Option<String>,
    /// A file or folder: a path of this machine, or [NAMESPACE/]POD:PATH; the container needs tar
    #[arg(value_name = "SOURCE")]
    pub(in crate::cli) source: Place,
    /// Where it goes: [NAMESPACE/]POD:PATH, or a path of this machine
    #[arg(value_name = "DESTINATION")]
    pub(in crate::cli) destination: Place,
}
