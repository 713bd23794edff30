//! What can be written on the command line. Help texts are for people who have never seen Carpel.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{LogFilter, LogFormat};

/// The container runtime of a Kubernetes node.
#[derive(Debug, Parser)]
#[command(name = "carpel", version, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon: the CRI server of this node
    Serve(ServeArguments),
    /// Tell what this host can and cannot do, and why it matters
    Doctor(DoctorArguments),
    /// Pull, import, export, list, inspect and remove images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Show the built-in pod network of this node, or remove it
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Show the versions of this program and of the daemon
    Version(VersionArguments),
    /// Print, check and explain the configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Listen here, whatever the configuration says
    #[arg(long, visible_alias = "address", value_name = "PATH", value_parser = socket_path)]
    pub(super) socket: Option<PathBuf>,
    /// off, error, warn, info, debug or trace, also by module: info,carpel::network=debug
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<LogFilter>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<LogFormat>,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// How the findings are printed
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(super) output: TextOrJson,
}

#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Export images into one archive that Carpel, containerd, Docker and Podman read
    #[command(visible_alias = "save")]
    Export(ExportArguments),
    /// Import an image from an OCI layout (directory or tar) or a docker archive
    Import(ImportArguments),
    /// Tell everything that is known of images
    Inspect(InspectArguments),
    /// Say which hosts an image would be pulled from, and how
    Explain(ExplainArguments),
    /// List the images of the daemon
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Remove images that no container uses and that are not pinned: those without a tag, or all
    Prune(PruneArguments),
    /// Pull an image from its registry, or join the pull of the same
    Pull(PullArguments),
    /// Remove images with all their names
    #[command(visible_alias = "rm")]
    Remove(RemoveArguments),
    /// Check images, blobs and unpacked layers in the store; exit code 1 if something is broken
    Verify(VerifyArguments),
}

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// Tags, digests or ids; an image that is named by its id comes with all its names
    #[arg(value_name = "IMAGE", required = true)]
    pub(super) images: Vec<String>,
    /// The archive, or - for standard output
    #[arg(long = "output", short, value_name = "FILE")]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(super) struct InspectArguments {
    /// Tags, digests or ids
    #[arg(value_name = "IMAGE", required = true)]
    pub(super) images: Vec<String>,
    /// How they are printed
    #[arg(long, short, value_name = "FORMAT", default_value = "json")]
    pub(super) output: TextOrJson,
    #[command(flatten)]
    pub(super) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArguments {
    /// Tags, digests or ids; one name of an image removes all of them
    #[arg(value_name = "IMAGE", required = true)]
    pub(super) images: Vec<String>,
    #[command(flatten)]
    pub(super) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// A directory or a tar archive, as made by `docker save`, `podman save` or `skopeo copy`
    #[arg(value_name = "FILE|DIRECTORY")]
    pub(super) archive: PathBuf,
    /// Name of the image; without it the names in the archive are taken
    #[arg(long, value_name = "NAME")]
    pub(super) reference: Option<String>,
    #[command(flatten)]
    pub(super) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// The image
    #[arg(value_name = "REFERENCE")]
    pub(super) reference: String,
    /// Ask the hosts too, and say what they answer; exit code 1 if none has the image
    #[arg(long)]
    pub(super) check: bool,
    /// How it is printed
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(super) output: TextOrJson,
    #[command(flatten)]
    pub(super) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// How the images are printed
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub(super) output: TableOrJson,
    #[command(flatten)]
    pub(super) daemon: DaemonAddress,
}

#[derive(Debug, Subcommand)]
pub(super) enum NetworkCommand {
    /// Show bridge, subnets, and the pods with addresses and host ports; works without the daemon
    Status(NetworkStatusArguments),
    /// Remove bridge, interfaces, nftables table and records without a trace, while the daemon is stopped
    Reset(ResetArguments),
}

#[derive(Debug, Args)]
pub(super) struct NetworkStatusArguments {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// How the network is printed
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub(super) output: TableOrJson,
}

#[derive(Debug, Args)]
pub(super) struct ResetArguments {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Also if pods have a network, which they lose
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct PruneArguments {
    /// Remove images with a tag, too
    #[arg(long, short)]
    pub(super) all: bool,
    /// Only print what would be removed
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask on a terminal
    #[arg(long, short)]
    pub(super) force: bool,
    /// Only images that no pull has touched for so long: until=24h
    #[arg(long, value_name = "until=DURATION", value_parser = super::image::prune::until)]
    pub(super) filter: Option<Duration>,
    /// How the result is printed
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub(super) output: TableOrJson,
    #[command(flatten)]
    pub(super) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(super) struct PullArguments {
    /// The image's name: registry.example/app:1, app@sha256:…
    pub(super) reference: String,
    /// Credentials for its registry; others on this machine can read a command line, but not the environment
    #[arg(
        long,
        env = "CARPEL_CREDS",
        hide_env_values = true,
        value_name = "USER[:PASSWORD]"
    )]
    pub(super) creds: Option<Credentials>,
    /// How the result is printed
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(super) output: TextOrJson,
    #[command(flatten)]
    pub(super) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// Images by name, digest or id; without one everything that is in the store
    #[arg(value_name = "IMAGE")]
    pub(super) references: Vec<String>,
    /// Fetch and unpack anew what is broken; containers that run are not disturbed
    #[arg(long)]
    pub(super) repair: bool,
    /// How the findings are printed
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(super) output: TextOrJson,
    #[command(flatten)]
    pub(super) daemon: DaemonAddress,
}

/// A user's name and password; nothing of them is printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credentials")
    }
}

impl std::str::FromStr for Credentials {
    type Err = std::convert::Infallible;

    /// A password is all after the first colon.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (username, password) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self {
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct VersionArguments {
    /// How the versions are printed
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(super) output: TextOrJson,
    #[command(flatten)]
    pub(super) daemon: DaemonAddress,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print a configuration file with every key at its default, explained
    Default,
    /// Tell whether a file is right; exit code 1 if not
    Check {
        /// The file; without it the one that `serve` would read
        file: Option<PathBuf>,
    },
    /// Print what `serve` would use, with every key
    Show {
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Which configuration is read.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file [default: /etc/carpel/carpel.toml if it exists]
    #[arg(long = "config", short = 'c', value_name = "FILE")]
    pub(super) path: Option<PathBuf>,
}

/// Which daemon is talked to.
#[derive(Debug, Args)]
pub(super) struct DaemonAddress {
    /// The daemon's socket, a path or unix://PATH [default: the one of the configuration file]
    #[arg(long, visible_alias = "address", short = 'r', env = "CARPEL_SOCKET", value_name = "PATH", value_parser = socket_path)]
    pub(super) socket: Option<PathBuf>,
    #[command(flatten)]
    pub(super) file: ConfigFile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TextOrJson {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TableOrJson {
    Table,
    Json,
}

/// A socket as crictl writes it, `unix:///run/carpel/carpel.sock`, or as a plain path.
fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.is_empty() {
        Err("an empty path".to_owned())
    } else if path.contains("://") {
        Err("only unix:// sockets are served".to_owned())
    } else {
        Ok(PathBuf::from(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn clap_accepts_the_definition() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_socket_is_a_path_with_or_without_scheme() {
        assert_eq!(socket_path("/run/x.sock"), Ok("/run/x.sock".into()));
        assert_eq!(socket_path("unix:///run/x.sock"), Ok("/run/x.sock".into()));
        assert!(socket_path("tcp://127.0.0.1:1").is_err());
        assert!(socket_path("unix://").is_err());
    }

    #[test]
    fn credentials_are_a_name_and_all_after_the_first_colon() {
        for (text, expected) in [
            ("", ("", "")),
            ("me", ("me", "")),
            ("me:", ("me", "")),
            ("me:a:b", ("me", "a:b")),
        ] {
            let found: Credentials = text.parse().unwrap();
            assert_eq!((&*found.username, &*found.password), expected, "{text}");
            assert_eq!(format!("{found:?}"), "Credentials");
        }
    }

    #[test]
    fn serve_takes_its_overrides() {
        let line =
            "carpel serve --config /c --address unix:///s --log-level debug --log-format json";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Serve(serve) = arguments.command else {
            panic!("{arguments:?}");
        };
        assert_eq!(serve.socket, Some("/s".into()));
        assert_eq!(serve.log_format, Some(LogFormat::Json));
        assert_eq!(serve.log_level.unwrap().as_str(), "debug");
        assert!(Arguments::try_parse_from(["carpel", "serve", "--log-level", "a=b=c"]).is_err());
    }
}
