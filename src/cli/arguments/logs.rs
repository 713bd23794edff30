//! `carpel logs`: which logs, and how much of them. Words and options are kubectl's.

use clap::Args;

use super::{DaemonAddress, PodScope};
use crate::cli::kubernetes::selector::LabelSelector;
use crate::cli::time::{self, Since};

#[derive(Debug, Args)]
pub(in crate::cli) struct LogsArguments {
    /// Go on until the containers end
    #[arg(long, short)]
    pub(in crate::cli) follow: bool,
    /// The container of the same name that ran before this one
    #[arg(long, short)]
    pub(in crate::cli) previous: bool,
    /// Only what is not older than this, as 10m or 2026-01-02T15:04:05Z
    #[arg(long, value_name = "DURATION|TIME", value_parser = time::since)]
    pub(in crate::cli) since: Option<Since>,
    /// Only what is not older than this, as 2026-01-02T15:04:05Z
    #[arg(long, value_name = "TIME", value_parser = time::at, conflicts_with = "since")]
    pub(in crate::cli) since_time: Option<Since>,
    /// Only so many lines from the end of each; -1: all [default: all, 10 with --selector]
    #[arg(long, value_name = "LINES", allow_negative_numbers = true)]
    pub(in crate::cli) tail: Option<i64>,
    /// Only so many bytes of each
    #[arg(long, value_name = "BYTES")]
    pub(in crate::cli) limit_bytes: Option<usize>,
    /// Print the time before each line
    #[arg(long, short)]
    pub(in crate::cli) timestamps: bool,
    /// Print pod and container before each line
    #[arg(long)]
    pub(in crate::cli) prefix: bool,
    /// The pods with these labels: KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY or !KEY, with commas between them
    #[arg(long, short = 'l', value_name = "LABELS", conflicts_with = "container")]
    pub(in crate::cli) selector: Option<LabelSelector>,
    /// All containers of each pod
    #[arg(long, value_name = "BOOLEAN", default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", conflicts_with = "of_pod", action = clap::ArgAction::Set)]
    pub(in crate::cli) all_containers: bool,
    /// With --follow: refuse more logs at once than so many [default: any number]
    #[arg(long, value_name = "NUMBER")]
    pub(in crate::cli) max_log_requests: Option<usize>,
    #[command(flatten)]
    pub(in crate::cli) scope: PodScope,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
    /// Which container of the pod, if it has several
    #[arg(long = "container", short = 'c', value_name = "NAME")]
    pub(in crate::cli) of_pod: Option<String>,
    /// A pod, as NAME or pod/NAME; or a container, by id, name, POD/NAME or a beginning of one
    #[arg(value_name = "CONTAINER|POD", required_unless_present = "selector")]
    pub(in crate::cli) container: Option<String>,
}

impl LogsArguments {
    /// How many lines from the end; none: all.
    pub(in crate::cli) fn tail(&self) -> Option<usize> {
        match self.tail {
            Some(lines) => usize::try_from(lines).ok(),
            None => self.selector.as_ref().map(|_selector| 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::{Arguments, Command};
    use clap::Parser;

    fn logs(line: &str) -> Result<LogsArguments, String> {
        match Arguments::try_parse_from(line.split(' ')) {
            Ok(Arguments {
                command: Command::Logs(logs),
            }) => Ok(logs),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn how_much_is_printed_is_said_as_for_kubectl() {
        assert_eq!(logs("carpel logs web").unwrap().tail(), None);
        assert_eq!(logs("carpel logs web --tail=-1").unwrap().tail(), None);
        assert_eq!(logs("carpel logs web --tail 3").unwrap().tail(), Some(3));
        assert_eq!(logs("carpel logs -l app=web").unwrap().tail(), Some(10));
        let all = logs("carpel logs -l app=web --tail -1 --all-containers=true").unwrap();
        assert!(all.tail().is_none() && all.all_containers);
        for wrong in [
            "carpel logs",
            "carpel logs web -l app=web",
            "carpel logs web --since-time 10m",
            "carpel logs web --all-containers -c main",
            "carpel logs web --since 10m --since-time 2026-01-02T15:04:05Z",
        ] {
            assert!(logs(wrong).is_err(), "{wrong}");
        }
    }
}
