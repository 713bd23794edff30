//! `carpel image prune`: removes images that no container uses.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use crate::cli::arguments::{PruneArguments, TableOrJson};
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::table;
use crate::cli::writer::Writer;
use crate::cri::{Prune, Pruned, PrunedImage};

/// What was removed, as `--output json` shows it.
#[derive(serde::Serialize)]
struct Shown<'a> {
    images: Vec<ShownImage<'a>>,
    freed_bytes: u64,
    dry_run: bool,
}

#[derive(serde::Serialize)]
struct ShownImage<'a> {
    id: &'a str,
    repo_tags: &'a [String],
    repo_digests: &'a [String],
    size_bytes: u64,
}

pub(super) fn prune<W: Write>(
    arguments: &PruneArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::connect(&endpoint::socket_of(&arguments.daemon)?)?;
    let mut request = Prune {
        tagged_too: arguments.all,
        dry_run: true,
        unchanged_for: arguments.filter.unwrap_or_default(),
    };
    let asks = !arguments.force && !arguments.dry_run && std::io::stdin().is_terminal();
    if asks && !is_confirmed(&daemon.prune(&request)?)? {
        return Ok(());
    }
    request.dry_run = arguments.dry_run;
    let pruned = daemon.prune(&request)?;
    match arguments.output {
        TableOrJson::Json => output.json(&shown(&pruned, arguments.dry_run))?,
        TableOrJson::Table => {
            for line in lines(&pruned, arguments.dry_run) {
                output.line(line)?;
            }
        }
    }
    Ok(())
}

/// Shows what would go and asks, on the terminal; what is printed for a pipe is not mixed with it.
fn is_confirmed(would_go: &Pruned) -> Result<bool, CliError> {
    let mut terminal = std::io::stderr();
    for line in lines(would_go, true) {
        writeln!(terminal, "{line}")?;
    }
    if would_go.images.is_empty() {
        return Ok(false);
    }
    write!(terminal, "Remove them? [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A line for each image, and the sum.
fn lines(pruned: &Pruned, dry_run: bool) -> Vec<String> {
    let (removed, freed) = match dry_run {
        true => ("would remove", "would free"),
        false => ("removed", "freed"),
    };
    let images = pruned.images.iter();
    let mut lines: Vec<String> = images
        .map(|image| format!("{removed} {}", names(image)))
        .collect();
    lines.push(format!("{freed} {}", table::bytes(pruned.freed_bytes)));
    lines
}

/// What an image was called: its tags, else its digests, else its id.
fn names(image: &PrunedImage) -> String {
    let named = [&image.repo_tags, &image.repo_digests];
    match named.into_iter().find(|names| !names.is_empty()) {
        Some(names) => names.join(", "),
        None => image.id.clone(),
    }
}

fn shown(pruned: &Pruned, dry_run: bool) -> Shown<'_> {
    Shown {
        images: pruned.images.iter().map(shown_image).collect(),
        freed_bytes: pruned.freed_bytes,
        dry_run,
    }
}

fn shown_image(image: &PrunedImage) -> ShownImage<'_> {
    ShownImage {
        id: &image.id,
        repo_tags: &image.repo_tags,
        repo_digests: &image.repo_digests,
        size_bytes: image.size_bytes,
    }
}

/// `--filter until=DURATION`, as with podman and docker: `until=24h`, `until=1h30m`.
pub(in crate::cli) fn until(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not until=DURATION, such as until=24h or until=1h30m");
    let mut rest = text.strip_prefix("until=").ok_or_else(wrong)?;
    let mut seconds: u64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (count, unit) = rest.split_at(digits);
        let unit_seconds = match unit.chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86400,
            _ => return Err(wrong()),
        };
        let count: u64 = count.parse().map_err(|_no_number| wrong())?;
        let more = count.checked_mul(unit_seconds).ok_or_else(wrong)?;
        seconds = seconds.checked_add(more).ok_or_else(wrong)?;
        rest = unit.get(1..).unwrap_or_default();
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(repo_tags: &[&str], repo_digests: &[&str]) -> PrunedImage {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        PrunedImage {
            id: "sha256:1".to_owned(),
            repo_tags: owned(repo_tags),
            repo_digests: owned(repo_digests),
            size_bytes: 1,
        }
    }

    #[test]
    fn every_image_has_a_line_and_the_sum_comes_last() {
        let pruned = Pruned {
            images: vec![
                image(&["a:1", "a:2"], &["a@x"]),
                image(&[], &["b@y"]),
                image(&[], &[]),
            ],
            freed_bytes: 4_512_345,
        };
        assert_eq!(
            lines(&pruned, false),
            [
                "removed a:1, a:2",
                "removed b@y",
                "removed sha256:1",
                "freed 4.51MB"
            ]
        );
        assert_eq!(lines(&Pruned::default(), true), ["would free 0B"]);
    }

    #[test]
    fn durations_are_those_of_the_peers() {
        let seconds = |text| until(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("until=24h"), Ok(86400));
        assert_eq!(seconds("until=1h30m"), Ok(5400));
        assert_eq!(seconds("until=7d"), Ok(604_800));
        for wrong in [
            "",
            "24h",
            "until=",
            "until=24",
            "until=h",
            "until=1w",
            "until=99999999999999999999s",
        ] {
            assert!(until(wrong).is_err(), "{wrong}");
        }
    }
}
