//! `carpel image remove`. Other than the CRI's RemoveImage, an image that is not here is an error.

use std::io::Write;

use crate::cli::arguments::RemoveArguments;
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::writer::Writer;

pub(super) fn remove<W: Write>(
    arguments: &RemoveArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::connect(&endpoint::socket_of(&arguments.daemon)?)?;
    let mut missing = Vec::new();
    for reference in &arguments.images {
        let Some(image) = daemon.image(reference)? else {
            missing.push(reference.clone());
            continue;
        };
        daemon.remove_image(&image.summary.id)?;
        for name in image.summary.names() {
            output.line(format!("removed {name}"))?;
        }
        output.line(format!("removed {}", image.summary.id))?;
        let users = daemon.containers_of(&image.summary.id)?;
        if !users.is_empty() {
            let ids: Vec<&str> = users.iter().map(|user| user.id.as_str()).collect();
            let ids = ids.join(", ");
            output.line(format!("its files stay until containers are gone: {ids}"))?;
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(CliError::NoSuchImage {
            references: missing,
        }),
    }
}
