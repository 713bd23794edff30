//! `carpel image`: imports archives into the daemon's store, and lists what is there.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::arguments::{ImageCommand, ImportArguments, ListArguments, TableOrJson};
use super::endpoint::{self, Daemon, ListedImage};
use super::error::CliError;
use super::table;
use super::writer::Writer;

pub(super) fn run<W: Write>(command: ImageCommand, output: &mut Writer<W>) -> Result<(), CliError> {
    match command {
        ImageCommand::Import(arguments) => import(arguments, output),
        ImageCommand::List(arguments) => list(&arguments, output),
    }
}

fn import<W: Write>(arguments: ImportArguments, output: &mut Writer<W>) -> Result<(), CliError> {
    // The daemon opens the path, so it must not depend on our working directory.
    let path = arguments
        .archive
        .canonicalize()
        .map_err(|source| CliError::Path {
            path: arguments.archive,
            source,
        })?;
    let mut daemon = Daemon::connect(&endpoint::socket_of(&arguments.daemon)?)?;
    let progress = progress_bar(&path);
    let result = daemon.import(&path, arguments.reference.as_deref());
    progress.finish_and_clear();
    for reference in result? {
        output.line(format!("imported {reference}"))?;
    }
    Ok(())
}

/// Shown on a terminal only.
fn progress_bar(path: &std::path::Path) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(format!("importing {}", path.display()));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn list<W: Write>(arguments: &ListArguments, output: &mut Writer<W>) -> Result<(), CliError> {
    let socket: PathBuf = endpoint::socket_of(&arguments.daemon)?;
    let images = Daemon::connect(&socket)?.images()?;
    match arguments.output {
        TableOrJson::Json => output.json(&images)?,
        TableOrJson::Table => {
            for line in table::lines(["IMAGE", "ID", "SIZE", "PINNED"], &rows(&images)) {
                output.line(line)?;
            }
        }
    }
    Ok(())
}

/// A row for each name of an image; an image without a name has one all the same.
fn rows(images: &[ListedImage]) -> Vec<[String; 4]> {
    images
        .iter()
        .flat_map(|image| {
            let names = if image.references.is_empty() {
                vec!["<none>".to_owned()]
            } else {
                image.references.clone()
            };
            names.into_iter().map(|name| {
                [
                    name,
                    short(&image.id),
                    table::bytes(image.size_bytes),
                    if image.pinned { "yes" } else { "" }.to_owned(),
                ]
            })
        })
        .collect()
}

/// The first 13 digits, as crictl shows them.
fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(13).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_row_for_each_name_and_at_least_one() {
        let image = |references: &[&str]| ListedImage {
            id: format!("sha256:{}", "a".repeat(64)),
            references: references.iter().map(|name| (*name).to_owned()).collect(),
            digests: Vec::new(),
            size_bytes: 2000,
            pinned: references.is_empty(),
        };
        let rows = rows(&[image(&["one:1", "two:2"]), image(&[])]);
        let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(names, ["one:1", "two:2", "<none>"]);
        assert_eq!(rows[2][1..], ["aaaaaaaaaaaaa", "2.00kB", "yes"]);
    }
}
