//! `carpel image verify`: is what is in the store what was put there?

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::arguments::{TextOrJson, VerifyArguments};
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::writer::{Style, Writer};
use crate::cri::{Verification, VerifiedStore, VerifyFinding, VerifyTarget};

/// All that was found, as `--output json` shows it.
#[derive(Debug, Default, serde::Serialize)]
struct Report {
    findings: Vec<VerifyFinding>,
    summary: Option<VerifiedStore>,
}

pub(super) fn verify<W: Write>(
    arguments: VerifyArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::connect(&endpoint::socket_of(&arguments.daemon)?)?;
    let bar = progress_bar();
    let mut report = Report::default();
    let target = VerifyTarget {
        references: arguments.references,
        repair: arguments.repair,
    };
    let verified = daemon.verify(target, |event| match event {
        Verification::Progress(progress) => {
            bar.set_length(progress.total_bytes);
            bar.set_position(progress.checked_bytes);
            bar.set_message(progress.current);
        }
        Verification::Finding(finding) => report.findings.push(finding),
        Verification::Done(summary) => report.summary = Some(summary),
    });
    bar.finish_and_clear();
    verified?;
    print(&report, arguments.output, output)?;
    match report
        .findings
        .iter()
        .filter(|finding| !finding.repaired)
        .count()
    {
        0 => Ok(()),
        broken => {
            output.flush()?;
            Err(CliError::StoreBroken { broken })
        }
    }
}

fn print<W: Write>(
    report: &Report,
    format: TextOrJson,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    if format == TextOrJson::Json {
        return Ok(output.json(report)?);
    }
    for finding in &report.findings {
        let (style, outcome) = match (finding.repaired, finding.failure.as_str()) {
            (true, _) => (Style::Green, "repaired".to_owned()),
            (false, "") => (Style::Red, "broken".to_owned()),
            (false, failure) => (Style::Red, format!("not repaired ({failure})")),
        };
        let text = format!(" {} {}: {}", finding.subject, finding.id, finding.problem);
        output.styled(&[(style, &outcome), (Style::Plain, &text)])?;
        if !finding.image.is_empty() {
            output.line(format!("    of {}", finding.image))?;
        }
        for file in &finding.files {
            output.line(format!("    {file}"))?;
        }
    }
    if let Some(summary) = report.summary {
        output.line(summed_up(summary))?;
    }
    Ok(())
}

fn summed_up(summary: VerifiedStore) -> String {
    let count = |number: u64, what: &str| match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    };
    let mut text = format!(
        "{}, {} and {} checked: {} broken",
        count(summary.images, "image"),
        count(summary.blobs, "blob"),
        count(summary.layers, "layer"),
        summary.broken,
    );
    if summary.repaired > 0 {
        text.push_str(&format!(", {} repaired", summary.repaired));
    }
    if summary.unchecked_layers > 0 {
        let layers = count(summary.unchecked_layers, "layer");
        text.push_str(&format!("; {layers} without an archive to compare with"));
    }
    text
}

/// On a terminal only.
fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let template = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec}\n{msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_printed_with_their_files_and_what_became_of_them() {
        let finding = |repaired, failure: &str| VerifyFinding {
            subject: "layer".to_owned(),
            id: "sha256:1".to_owned(),
            image: "a.example/b:1".to_owned(),
            problem: "1 file is not as it was unpacked".to_owned(),
            files: vec!["/etc/motd: is missing".to_owned()],
            repaired,
            failure: failure.to_owned(),
        };
        let report = Report {
            findings: vec![
                finding(false, ""),
                finding(true, ""),
                finding(false, "no way"),
            ],
            summary: Some(VerifiedStore {
                images: 1,
                blobs: 5,
                layers: 3,
                unchecked_layers: 1,
                broken: 2,
                repaired: 1,
            }),
        };
        let mut bytes = Vec::new();
        print(&report, TextOrJson::Text, &mut Writer::plain(&mut bytes)).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "broken layer sha256:1: 1 file is not as it was unpacked",
                "    of a.example/b:1",
                "    /etc/motd: is missing",
                "repaired layer sha256:1: 1 file is not as it was unpacked",
                "    of a.example/b:1",
                "    /etc/motd: is missing",
                "not repaired (no way) layer sha256:1: 1 file is not as it was unpacked",
                "    of a.example/b:1",
                "    /etc/motd: is missing",
                "1 image, 5 blobs and 3 layers checked: 2 broken, 1 repaired; \
                 1 layer without an archive to compare with",
            ]
        );
    }
}
