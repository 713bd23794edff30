//! What can be asked of the bench.

use std::path::PathBuf;

use carpel_bench_endpoint::Output;
use clap::{Parser, ValueEnum};

/// Times image pulls of CRI endpoints beside a bare program that does the least that a pull must.
#[derive(Debug, Parser)]
#[command(name = "carpel-bench-pull", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// An endpoint: its name, its socket, and the folder where it keeps images, which is watched until a removed image
    /// is gone; may be repeated, and the first one is what the others are compared with
    #[arg(long, short, value_name = "NAME=unix://PATH=FOLDER", value_parser = address)]
    pub(crate) endpoint: Vec<Address>,
    /// How often each image is pulled by each endpoint, and by the bare program
    #[arg(long, default_value_t = 7)]
    pub(crate) rounds: usize,
    /// Where the images are kept; made if they are not there (about 400 MB)
    #[arg(long, value_name = "FOLDER")]
    pub(crate) images: PathBuf,
    /// Where the bare program writes: a folder on the file system that the endpoints use
    #[arg(long, value_name = "FOLDER")]
    pub(crate) scratch: PathBuf,
    /// Only this image
    #[arg(long)]
    pub(crate) only: Option<Kind>,
    /// How the result is printed
    #[arg(long, short, default_value = "text")]
    pub(crate) output: Output,
}

/// A CRI socket, the name that the report uses, and where images end up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) socket: PathBuf,
    pub(crate) root: PathBuf,
}

/// Which image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Ten layers of large files, 500 MB, half of them random
    Large,
    /// Sixty layers of 500 small files each
    Small,
}

fn address(text: &str) -> Result<Address, String> {
    let mut parts = text.splitn(3, '=');
    let mut part = || {
        parts
            .next()
            .filter(|part| !part.is_empty())
            .ok_or_else(|| "write it as NAME=unix://PATH=FOLDER".to_owned())
    };
    let (name, socket, root) = (part()?, part()?, part()?);
    Ok(Address {
        name: name.to_owned(),
        socket: carpel_bench_endpoint::socket(socket)?,
        root: root.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_a_name_a_socket_and_a_folder() {
        let full = address("carpel=unix:///run/c.sock=/var/lib/carpel").unwrap();
        assert_eq!(full.name, "carpel");
        assert_eq!(full.socket.to_str(), Some("/run/c.sock"));
        assert_eq!(full.root.to_str(), Some("/var/lib/carpel"));
        for broken in ["", "carpel", "carpel=unix:///run/c.sock", "c=tcp://1=/r"] {
            assert!(address(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn clap_accepts_the_definition() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
