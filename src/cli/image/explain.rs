//! `carpel image explain`: which hosts an image would be pulled from, as the daemon itself would do it.

use std::io::Write;

use crate::cli::arguments::{ExplainArguments, TextOrJson};
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::writer::{Style, Writer};
use crate::cri::{
    ExplainDepth, ExplainRequest, Explained, ExplainedPolicy, ExplainedSource, HostTrust,
};

pub(super) fn explain<W: Write>(
    arguments: ExplainArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::connect(&endpoint::socket_of(&arguments.daemon)?)?;
    let explained = daemon.explain(ExplainRequest {
        reference: arguments.reference,
        depth: match arguments.check {
            true => ExplainDepth::Answers,
            false => ExplainDepth::Rules,
        },
    })?;
    match arguments.output {
        TextOrJson::Json => output.json(&explained)?,
        TextOrJson::Text => print(&explained, output)?,
    }
    match arguments.check && !explained.hosts.iter().any(has_image) {
        true => Err(CliError::NoHost {
            reference: explained.reference,
        }),
        false => Ok(()),
    }
}

/// Whether the host would be asked for it, and has it.
fn has_image(host: &ExplainedSource) -> bool {
    let has_manifest = host.answers.as_ref().is_some_and(|said| said.has_manifest);
    has_manifest && !host.manifest_url.is_empty()
}

fn print<W: Write>(explained: &Explained, output: &mut Writer<W>) -> std::io::Result<()> {
    output.styled(&[(Style::Bold, &explained.reference)])?;
    let rule = match explained.rule.as_str() {
        "" => "none for this registry",
        rule => rule,
    };
    output.line(format!("rules: {rule}"))?;
    for key in &explained.ignored {
        output.styled(&[(Style::Yellow, "ignored: "), (Style::Plain, key)])?;
    }
    let signatures = explained.signatures.as_ref();
    output.line(format!(
        "signatures: {}",
        signatures.map_or("no policy, not asked for".to_owned(), policy)
    ))?;
    for (place, host) in explained.hosts.iter().enumerate() {
        output.line("")?;
        let number = format!("{}  ", place + 1);
        output.styled(&[(Style::Plain, &number), (Style::Bold, &host.url)])?;
        for (name, text) in lines(host) {
            output.styled(&[
                (Style::Dim, &format!("   {name:<13}")),
                (Style::Plain, &text),
            ])?;
        }
    }
    Ok(())
}

/// What the policy asks, in a few words.
fn policy(policy: &ExplainedPolicy) -> String {
    let asked = match policy.policy.as_str() {
        "accept" => "not asked for".to_owned(),
        "reject" => "none is enough, the image is refused".to_owned(),
        "cosign" => format!("cosign, by {}", policy.keys.join(" or ")),
        other => other.to_owned(),
    };
    let identity = match policy.identity.as_str() {
        "repository" => ", for the same repository",
        "exact" => ", for the same repository and tag",
        "any" => ", for any name",
        _ => "",
    };
    let signed_as = match policy.signed_as.as_str() {
        "" => String::new(),
        prefix => format!(", signed as {prefix}"),
    };
    let (scope, file) = (&policy.scope, &policy.file);
    format!("{asked}{identity}{signed_as} (scope {scope} of {file})")
}

/// What is told about a host: a name and a text each.
fn lines(host: &ExplainedSource) -> Vec<(&'static str, String)> {
    let kind = match host.mirror {
        true => "another host than the registry",
        false => "the registry itself",
    };
    let can = match host.capabilities.is_empty() {
        true => "nothing".to_owned(),
        false => host.capabilities.join(", "),
    };
    let asks = match host.manifest_url.as_str() {
        "" => "not asked: it has not the capability",
        url => url,
    };
    let mut lines = vec![
        ("is", kind.to_owned()),
        ("may", can),
        ("asked for", asks.to_owned()),
        ("trust", trust(host)),
        ("credentials", credentials(host)),
    ];
    if !host.client_certificates.is_empty() {
        lines.push(("shows", host.client_certificates.join(", ")));
    }
    if !host.headers.is_empty() {
        lines.push(("headers", host.headers.join(", ")));
    }
    let proxy = match host.proxy.as_str() {
        "" => "none",
        proxy => proxy,
    };
    lines.push(("proxy", proxy.to_owned()));
    if !host.problem.is_empty() {
        lines.push(("problem", host.problem.clone()));
    }
    if let Some(answers) = &host.answers {
        lines.push(("api says", answers.api.clone()));
        lines.push(("image", answers.manifest.clone()));
    }
    lines
}

fn trust(host: &ExplainedSource) -> String {
    match host.trust {
        HostTrust::Plain => "plain HTTP: nothing is encrypted or checked".to_owned(),
        HostTrust::Unchecked => "its certificate is not checked (skip_verify)".to_owned(),
        HostTrust::Authorities if host.authorities.is_empty() => "the system's authorities".into(),
        HostTrust::Authorities => {
            format!(
                "the system's authorities and {}",
                host.authorities.join(", ")
            )
        }
    }
}

fn credentials(host: &ExplainedSource) -> String {
    let request = match host.takes_credentials {
        true => "those of the request",
        false => "those of a request that names this host",
    };
    match host.credentials.as_str() {
        "" => format!("{request}, else none"),
        source => format!("{request}, else {source}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::SourceAnswers;

    fn host() -> ExplainedSource {
        ExplainedSource {
            url: "https://m.example/v2".to_owned(),
            mirror: true,
            capabilities: vec!["pull".to_owned()],
            trust: HostTrust::Authorities,
            authorities: vec!["/ca.pem".to_owned()],
            client_certificates: Vec::new(),
            headers: vec!["x-key".to_owned()],
            proxy: "http://p:1".to_owned(),
            credentials: "/auth.json (m.example)".to_owned(),
            takes_credentials: false,
            manifest_url: String::new(),
            problem: String::new(),
            answers: Some(SourceAnswers {
                api: "200 OK".to_owned(),
                manifest: "404 Not Found".to_owned(),
                has_manifest: true,
            }),
        }
    }

    #[test]
    fn a_host_is_told_line_by_line() {
        let mut printed = Vec::new();
        let explained = Explained {
            reference: "r.example/x:1".to_owned(),
            rule: "/hosts.toml".to_owned(),
            ignored: vec!["servr".to_owned()],
            hosts: vec![host()],
            signatures: Some(ExplainedPolicy {
                file: "/policy.toml".to_owned(),
                scope: "r.example".to_owned(),
                policy: "cosign".to_owned(),
                identity: "repository".to_owned(),
                keys: vec!["/a.pub".to_owned(), "inline".to_owned()],
                signed_as: String::new(),
            }),
        };
        print(&explained, &mut Writer::plain(&mut printed)).unwrap();
        let expected = "\
r.example/x:1
rules: /hosts.toml
ignored: servr
signatures: cosign, by /a.pub or inline, for the same repository (scope r.example of /policy.toml)

1  https://m.example/v2
   is           another host than the registry
   may          pull
   asked for    not asked: it has not the capability
   trust        the system's authorities and /ca.pem
   credentials  those of a request that names this host, else /auth.json (m.example)
   headers      x-key
   proxy        http://p:1
   api says     200 OK
   image        404 Not Found
";
        assert_eq!(String::from_utf8(printed).unwrap(), expected);
        let mut printed = Vec::new();
        let without = Explained {
            signatures: None,
            ..explained.clone()
        };
        print(&without, &mut Writer::plain(&mut printed)).unwrap();
        let text = String::from_utf8(printed).unwrap();
        assert!(
            text.contains("signatures: no policy, not asked for\n"),
            "{text}"
        );
        // It has it, but would not be asked.
        assert!(!has_image(&explained.hosts[0]));
    }
}
