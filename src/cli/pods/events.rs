//! `carpel events`: what happens to pods and containers, as it happens.

use std::io::Write;

use crate::cli::arguments::{EventsArguments, TextOrJson};
use crate::cli::endpoint::Daemon;
use crate::cli::error::CliError;
use crate::cli::time;
use crate::cli::writer::Writer;
use crate::cri::ReportedEvent;

/// As much of an id as people need.
const SHORT: usize = 13;

pub(in crate::cli) fn run<W: Write>(
    arguments: &EventsArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::of(&arguments.daemon)?;
    let mut events = daemon.wait(daemon.client().events())?;
    while let Some(event) = daemon.wait(events.next())? {
        match arguments.output {
            TextOrJson::Text => output.line(line(&event)),
            TextOrJson::Json => output.json_line(&event),
        }
        .and_then(|()| output.flush())
        .map_err(CliError::Print)?;
    }
    Ok(())
}

/// `TIME  started  container 5f…  default/web-0/nginx`
fn line(event: &ReportedEvent) -> String {
    let pod = &event.sandbox;
    let container = event.containers.iter().find(|one| one.id == event.id);
    let what = if event.id == pod.id {
        "pod"
    } else {
        "container"
    };
    let mut line = format!(
        "{}  {:7}  {what:9}  {}  {}/{}",
        time::utc(event.created_at),
        event.kind,
        event.id.get(..SHORT).unwrap_or(&event.id),
        pod.namespace,
        pod.name,
    );
    if let Some(container) = container {
        line.push('/');
        line.push_str(&container.name);
        if event.kind == "stopped" {
            let (reason, code) = (&container.reason, container.exit_code);
            line.push_str(&format!("  {reason}, exit code {code}"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::{EventContainer, EventSandbox};

    #[test]
    fn a_line_says_what_happened_to_whom_and_how_it_ended() {
        let mut event = ReportedEvent {
            id: "0123456789abcdef".to_owned(),
            kind: "stopped",
            created_at: 1_000_000_000,
            sandbox: EventSandbox {
                id: "fedcba9876543210".to_owned(),
                name: "web-0".to_owned(),
                namespace: "shop".to_owned(),
                ..EventSandbox::default()
            },
            containers: vec![EventContainer {
                id: "0123456789abcdef".to_owned(),
                name: "nginx".to_owned(),
                state: "exited",
                exit_code: 3,
                reason: "Error".to_owned(),
            }],
        };
        assert_eq!(
            line(&event),
            format!(
                "{}  stopped  container  0123456789abc  shop/web-0/nginx  Error, exit code 3",
                time::utc(1_000_000_000)
            )
        );
        event.kind = "deleted";
        event.id.clone_from(&event.sandbox.id);
        assert!(line(&event).ends_with("  deleted  pod        fedcba9876543  shop/web-0"));
    }
}
