//! `carpel image import`: sends an archive to the daemon.

use std::io::Write;

use super::progress;
use crate::cli::archive;
use crate::cli::arguments::ImportArguments;
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::writer::Writer;
use crate::cri::{Archive, Imported};

pub(super) fn import<W: Write>(
    arguments: ImportArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let path = arguments.archive;
    let (file, length_bytes) = archive::open(&path).map_err(|source| CliError::Path {
        path: path.clone(),
        source,
    })?;
    let daemon = Daemon::connect(&endpoint::socket_of(&arguments.daemon)?)?;
    let archive = Archive {
        file_name: path.display().to_string(),
        reference: arguments.reference,
        length_bytes,
    };
    let bar = progress::bar(&path, length_bytes);
    let shown = bar.clone();
    let result = daemon.import(archive, file, move |sent| {
        shown.set_position(sent);
        if sent >= length_bytes {
            shown.set_message("unpacking");
        }
    });
    bar.finish_and_clear();
    for image in result? {
        output.line(format!("imported {}", names(&image)))?;
    }
    Ok(())
}

/// What an imported image can be called by.
fn names(image: &Imported) -> String {
    if image.repo_tags.is_empty() {
        image.id.clone()
    } else {
        image.repo_tags.join(", ")
    }
}
