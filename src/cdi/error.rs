//! Why a device cannot be given to a container.

use std::io;
use std::path::PathBuf;

/// A device that cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum CdiError {
    /// Not `vendor/class=device`.
    #[error("{name:?} is not a name of a CDI device: vendor/class=device")]
    Name {
        /// As it was asked for.
        name: String,
    },
    /// No file has it.
    #[error("no CDI device {name:?} in {}", list(.directories))]
    Unknown {
        /// As it was asked for.
        name: String,
        /// Where it was looked for.
        directories: Vec<PathBuf>,
    },
    /// Two files of one directory have it.
    #[error("CDI device {name:?} is in {} and in {}", .first.display(), .second.display())]
    Ambiguous {
        /// As it was asked for.
        name: String,
        /// A file.
        first: PathBuf,
        /// Another.
        second: PathBuf,
    },
    /// A file that has, or may have, the device cannot be read.
    #[error("read CDI specification {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no specification.
    #[error("CDI specification {}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A file is no specification.
    #[error("CDI specification {}", .path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// Something that a specification asks for and Carpel does not have.
    #[error("CDI specification {}: {edit} are not supported yet", .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        edit: &'static str,
    },
}

fn list(directories: &[PathBuf]) -> String {
    let paths: Vec<String> = directories
        .iter()
        .map(|directory| directory.display().to_string())
        .collect();
    paths.join(", ")
}
