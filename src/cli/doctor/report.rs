//! All findings, printed.

use std::io::{self, Write};

use super::super::arguments::{DoctorArguments, TextOrJson};
use super::super::error::CliError;
use super::super::writer::{Style, Writer};
use super::finding::{Finding, Level};
use super::host::Host;
use super::{cgroups, kernel, limits, network, overlay, privileges, storage};
use crate::config::Config;

#[derive(serde::Serialize)]
struct Report {
    /// Is no finding a failure?
    pods_can_run: bool,
    findings: Vec<Finding>,
}

pub(in crate::cli) fn run<W: Write>(
    arguments: &DoctorArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let config = Config::read_or_default(arguments.file.path.as_deref())?;
    let findings = findings(&Host::real(), &config);
    let failures = count(&findings, Level::Fail);
    let report = Report {
        pods_can_run: failures == 0,
        findings,
    };
    match arguments.output {
        TextOrJson::Json => output.json(&report)?,
        TextOrJson::Text => print(&report.findings, output)?,
    }
    if failures == 0 {
        Ok(())
    } else {
        output.flush()?;
        Err(CliError::HostUnfit { failures })
    }
}

fn findings(host: &Host, config: &Config) -> Vec<Finding> {
    let mut findings = kernel::findings(host);
    findings.extend(privileges::findings(host));
    findings.extend(cgroups::findings(host, &config.cgroup));
    findings.extend(storage::findings(host, config));
    findings.push(overlay::finding(host, &config.root));
    findings.extend(network::findings(host, config));
    findings.extend(limits::findings(host));
    findings
}

fn count(findings: &[Finding], level: Level) -> usize {
    findings
        .iter()
        .filter(|finding| finding.level == level)
        .count()
}

fn print<W: Write>(findings: &[Finding], output: &mut Writer<W>) -> io::Result<()> {
    let width = findings
        .iter()
        .map(|finding| finding.subject.len())
        .max()
        .unwrap_or(0);
    for finding in findings {
        let (style, word) = match finding.level {
            Level::Ok => (Style::Green, "ok  "),
            Level::Warn => (Style::Yellow, "warn"),
            Level::Fail => (Style::Red, "FAIL"),
        };
        let subject = format!("  {:width$}  ", finding.subject);
        output.styled(&[
            (style, word),
            (Style::Bold, &subject),
            (Style::Plain, &finding.fact),
        ])?;
        let indent = " ".repeat(width + 8);
        if let Some(consequence) = finding.consequence {
            output.line(format!("{indent}so: {consequence}"))?;
        }
        if let Some(remedy) = finding.remedy {
            output.styled(&[
                (Style::Plain, &indent),
                (Style::Dim, "do: "),
                (Style::Dim, remedy),
            ])?;
        }
    }
    output.line(format!(
        "\n{} ok, {} to know about, {} that keep pods from running",
        count(findings, Level::Ok),
        count(findings, Level::Warn),
        count(findings, Level::Fail)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_printed_with_its_consequence_and_remedy() {
        let findings = [
            Finding::ok("kernel", "Linux 6.1"),
            Finding::warn("swap", "on", "slow", "swapoff -a"),
        ];
        let mut bytes = Vec::new();
        print(&findings, &mut Writer::plain(&mut bytes)).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "ok    kernel  Linux 6.1\n\
             warn  swap    on\n\
             \x20             so: slow\n\
             \x20             do: swapoff -a\n\
             \n1 ok, 1 to know about, 0 that keep pods from running\n"
        );
    }
}
