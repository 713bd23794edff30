//! `carpel image list`.

use std::io::Write;

use crate::cli::arguments::{ListArguments, TableOrJson};
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::table;
use crate::cli::writer::Writer;
use crate::cri::ImageSummary;

/// An image as `--output json` shows it.
#[derive(serde::Serialize)]
struct ListedImage<'a> {
    id: &'a str,
    repo_tags: &'a [String],
    repo_digests: &'a [String],
    size_bytes: u64,
    pinned: bool,
}

pub(super) fn list<W: Write>(
    arguments: &ListArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let socket = endpoint::socket_of(&arguments.daemon)?;
    let images = Daemon::connect(&socket)?.images()?;
    match arguments.output {
        TableOrJson::Json => {
            let listed: Vec<ListedImage<'_>> = images.iter().map(listed).collect();
            output.json(&listed)?;
        }
        TableOrJson::Table => {
            for line in table::lines(["IMAGE", "ID", "SIZE", "PINNED"], &rows(&images)) {
                output.line(line)?;
            }
        }
    }
    Ok(())
}

fn listed(image: &ImageSummary) -> ListedImage<'_> {
    ListedImage {
        id: &image.id,
        repo_tags: &image.repo_tags,
        repo_digests: &image.repo_digests,
        size_bytes: image.size_bytes,
        pinned: image.is_pinned,
    }
}

/// A row for each name of an image; an image without a name has one all the same.
fn rows(images: &[ImageSummary]) -> Vec<[String; 4]> {
    images
        .iter()
        .flat_map(|image| {
            let names = if image.repo_tags.is_empty() {
                vec!["<none>".to_owned()]
            } else {
                image.repo_tags.clone()
            };
            names.into_iter().map(|name| {
                [
                    name,
                    short(&image.id),
                    table::bytes(image.size_bytes),
                    if image.is_pinned { "yes" } else { "" }.to_owned(),
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
        let image = |references: &[&str]| ImageSummary {
            id: format!("sha256:{}", "a".repeat(64)),
            repo_tags: references.iter().map(|name| (*name).to_owned()).collect(),
            repo_digests: Vec::new(),
            size_bytes: 2000,
            is_pinned: references.is_empty(),
        };
        let rows = rows(&[image(&["one:1", "two:2"]), image(&[])]);
        let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(names, ["one:1", "two:2", "<none>"]);
        assert_eq!(rows[2][1..], ["aaaaaaaaaaaaa", "2.00kB", "yes"]);
    }
}
