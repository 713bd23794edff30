//! `carpel image …`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{DaemonAddress, TableOrJson, TextOrJson};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ImageCommand {
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
pub(in crate::cli) struct ExportArguments {
    /// Tags, digests or ids; an image that is named by its id comes with all its names
    #[arg(value_name = "IMAGE", required = true)]
    pub(in crate::cli) images: Vec<String>,
    /// The archive, or - for standard output
    #[arg(long = "output", short, value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct InspectArguments {
    /// Tags, digests or ids
    #[arg(value_name = "IMAGE", required = true)]
    pub(in crate::cli) images: Vec<String>,
    /// How they are printed
    #[arg(long, short, value_name = "FORMAT", default_value = "json")]
    pub(in crate::cli) output: TextOrJson,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveArguments {
    /// Tags, digests or ids; one name of an image removes all of them
    #[arg(value_name = "IMAGE", required = true)]
    pub(in crate::cli) images: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArguments {
    /// A directory or a tar archive, as made by `docker save`, `podman save` or `skopeo copy`
    #[arg(value_name = "FILE|DIRECTORY")]
    pub(in crate::cli) archive: PathBuf,
    /// Name of the image; without it the names in the archive are taken
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) reference: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArguments {
    /// The image
    #[arg(value_name = "REFERENCE")]
    pub(in crate::cli) reference: String,
    /// Ask the hosts too, and say what they answer; exit code 1 if none has the image
    #[arg(long)]
    pub(in crate::cli) check: bool,
    /// How it is printed
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(in crate::cli) output: TextOrJson,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArguments {
    /// How the images are printed
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub(in crate::cli) output: TableOrJson,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PruneArguments {
    /// Remove images with a tag, too
    #[arg(long, short)]
    pub(in crate::cli) all: bool,
    /// Only print what would be removed
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Do not ask on a terminal
    #[arg(long, short)]
    pub(in crate::cli) force: bool,
    /// Only images that no pull has touched for so long: until=24h
    #[arg(long, value_name = "until=DURATION", value_parser = crate::cli::image::prune::until)]
    pub(in crate::cli) filter: Option<Duration>,
    /// How the result is printed
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub(in crate::cli) output: TableOrJson,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PullArguments {
    /// The image's name: registry.example/app:1, app@sha256:…
    pub(in crate::cli) reference: String,
    /// Credentials for its registry; others on this machine can read a command line, but not the environment
    #[arg(
        long,
        env = "CARPEL_CREDS",
        hide_env_values = true,
        value_name = "USER[:PASSWORD]"
    )]
    pub(in crate::cli) creds: Option<Credentials>,
    /// How the result is printed
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(in crate::cli) output: TextOrJson,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArguments {
    /// Images by name, digest or id; without one everything that is in the store
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) references: Vec<String>,
    /// Fetch and unpack anew what is broken; containers that run are not disturbed
    #[arg(long)]
    pub(in crate::cli) repair: bool,
    /// How the findings are printed
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(in crate::cli) output: TextOrJson,
    #[command(flatten)]
    pub(in crate::cli) daemon: DaemonAddress,
}

/// A user's name and password; nothing of them is printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub(in crate::cli) struct Credentials {
    pub(in crate::cli) username: String,
    pub(in crate::cli) password: String,
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
