//! `carpel image pull`: asks the daemon for a pull, and shows how far it is.

use std::io::{IsTerminal, Write};

use super::pull_view::{Bars, Lines, View};
use crate::cli::arguments::{PullArguments, TextOrJson};
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::table;
use crate::cli::writer::Writer;
use crate::cri::{ImageSummary, Pull};

/// A pulled image as `--output json` shows it.
#[derive(serde::Serialize)]
struct PulledImage<'a> {
    id: &'a str,
    repo_tags: &'a [String],
    repo_digests: &'a [String],
    size_bytes: u64,
}

pub(super) fn pull<W: Write>(
    arguments: PullArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let credentials = arguments.creds.unwrap_or_default();
    let pull = Pull {
        reference: arguments.reference,
        username: credentials.username,
        password: credentials.password,
    };
    let daemon = Daemon::connect(&endpoint::socket_of(&arguments.daemon)?)?;
    let is_text = arguments.output == TextOrJson::Text;
    // Bars draw on stderr. In a pipe of text the lines are the output; beside JSON nothing else may be in it.
    let image = if std::io::stderr().is_terminal() && (std::io::stdout().is_terminal() || !is_text)
    {
        let mut bars = Bars::new();
        let outcome = daemon.pull(pull, |layers| bars.show(layers));
        bars.finish();
        outcome?
    } else if is_text {
        let mut lines = Lines::new(output);
        let outcome = daemon.pull(pull, |layers| lines.show(layers));
        lines.finish()?;
        outcome?
    } else {
        daemon.pull(pull, |_layers| {})?
    };
    match arguments.output {
        TextOrJson::Json => output.json(&described(&image))?,
        TextOrJson::Text => output.line(summary(&image))?,
    }
    Ok(())
}

fn described(image: &ImageSummary) -> PulledImage<'_> {
    PulledImage {
        id: &image.id,
        repo_tags: &image.repo_tags,
        repo_digests: &image.repo_digests,
        size_bytes: image.size_bytes,
    }
}

fn summary(image: &ImageSummary) -> String {
    let names = match image.repo_tags.is_empty() {
        true => image.repo_digests.join(", "),
        false => image.repo_tags.join(", "),
    };
    let size = table::bytes(image.size_bytes);
    format!("pulled {names} ({size}) as {}", image.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_names_the_image_by_tags_or_else_by_digest() {
        let mut image = ImageSummary {
            id: "sha256:1".to_owned(),
            repo_tags: vec!["a:1".to_owned(), "a:2".to_owned()],
            repo_digests: vec!["a@sha256:2".to_owned()],
            size_bytes: 1234,
            is_pinned: false,
        };
        assert_eq!(summary(&image), "pulled a:1, a:2 (1.23kB) as sha256:1");
        image.repo_tags.clear();
        assert_eq!(summary(&image), "pulled a@sha256:2 (1.23kB) as sha256:1");
    }
}
