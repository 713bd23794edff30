//! `carpel image inspect`: everything that is known of an image, for programs and for people.

use std::io::Write;

use serde_json::{Value, json};

use crate::cli::arguments::{InspectArguments, TextOrJson};
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::table;
use crate::cli::writer::Writer;
use crate::cri::{ContainerSummary, ImageDetails};

pub(super) fn inspect<W: Write>(
    arguments: &InspectArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::connect(&endpoint::socket_of(&arguments.daemon)?)?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for reference in &arguments.images {
        match daemon.image(reference)? {
            Some(image) => {
                let users = daemon.containers_of(&image.summary.id)?;
                found.push(described(&image, &users));
            }
            None => missing.push(reference.clone()),
        }
    }
    match arguments.output {
        TextOrJson::Json => output.json(&found)?,
        TextOrJson::Text => {
            for (number, image) in found.iter().enumerate() {
                if number > 0 {
                    output.line("")?;
                }
                for line in lines(image) {
                    output.line(line)?;
                }
            }
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(CliError::NoSuchImage {
            references: missing,
        }),
    }
}

/// One image as `--output json` shows it.
fn described(image: &ImageDetails, users: &[ContainerSummary]) -> Value {
    let specification = &image.info["imageSpec"];
    let users: Vec<Value> = users
        .iter()
        .map(|user| json!({"id": user.id, "name": user.name, "state": user.state}))
        .collect();
    let layers: Vec<Value> = image.info["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|layer| {
            json!({
                "digest": layer["digest"],
                "diff_id": layer["diffID"],
                "chain_id": layer["chainID"],
                "size_bytes": layer["size"],
                "media_type": layer["mediaType"],
            })
        })
        .collect();
    json!({
        "id": image.summary.id,
        "repo_tags": image.summary.repo_tags,
        "repo_digests": image.summary.repo_digests,
        "manifest_digest": image.info["manifestDigest"],
        "size_bytes": image.summary.size_bytes,
        "created": specification["created"],
        "architecture": specification["architecture"],
        "os": specification["os"],
        "config": specification["config"],
        "labels": specification["config"]["Labels"],
        "layers": layers,
        "pinned": image.summary.is_pinned,
        "containers": users,
    })
}

/// The same for people: what is there, each on its line.
fn lines(image: &Value) -> Vec<String> {
    let config = &image["config"];
    let size = image["size_bytes"].as_u64().unwrap_or_default();
    let platform = format!("{}/{}", plain(&image["os"]), plain(&image["architecture"]));
    let mut facts = vec![
        ("id", plain(&image["id"])),
        ("manifest", plain(&image["manifest_digest"])),
        ("platform", platform),
        ("created", plain(&image["created"])),
        ("size", table::bytes(size)),
        ("user", plain(&config["User"])),
        ("entrypoint", plain(&config["Entrypoint"])),
        ("command", plain(&config["Cmd"])),
        ("directory", plain(&config["WorkingDir"])),
        ("stop signal", plain(&config["StopSignal"])),
        ("pinned", plain(&image["pinned"])),
    ];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let map = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let several = [
        ("tag", list(&image["repo_tags"])),
        ("digest", list(&image["repo_digests"])),
        ("environment", list(&config["Env"])),
    ];
    for (name, values) in several {
        facts.extend(values.iter().map(|value| (name, plain(value))));
    }
    for (name, value) in map(&image["labels"]) {
        facts.push(("label", format!("{name}={}", plain(&value))));
    }
    for (name, values) in [
        ("port", map(&config["ExposedPorts"])),
        ("volume", map(&config["Volumes"])),
    ] {
        facts.extend(values.keys().map(|value| (name, value.clone())));
    }
    for layer in list(&image["layers"]) {
        let size = table::bytes(layer["size_bytes"].as_u64().unwrap_or_default());
        facts.push(("layer", format!("{} {size}", plain(&layer["digest"]))));
    }
    for user in list(&image["containers"]) {
        let (id, name) = (plain(&user["id"]), plain(&user["name"]));
        let text = format!("{id} {name} {}", plain(&user["state"]));
        facts.push(("container", text));
    }
    facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:12} {value}"))
        .collect()
}

/// A text without quotes, nothing for null, anything else as JSON. What terminals obey is escaped: an image could hold
/// it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.chars().flat_map(shown).collect(),
        other => other.to_string(),
    }
}

fn shown(character: char) -> impl Iterator<Item = char> {
    let (escaped, plain) = match character.is_control() {
        true => (Some(character.escape_default()), None),
        false => (None, Some(character)),
    };
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::ImageSummary;

    fn image() -> ImageDetails {
        ImageDetails {
            summary: ImageSummary {
                id: "sha256:1".to_owned(),
                repo_tags: vec!["one:1".to_owned(), "two:2".to_owned()],
                repo_digests: vec!["one@sha256:2".to_owned()],
                size_bytes: 2000,
                is_pinned: true,
            },
            info: json!({
                "manifestDigest": "sha256:2",
                "layers": [{
                    "digest": "sha256:3", "diffID": "sha256:4", "chainID": "sha256:5", "size": 1500,
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                }],
                "imageSpec": {
                    "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z",
                    "config": {
                        "Env": ["A=b"], "Cmd": ["sh", "-c"], "Labels": {"who": "a\u{1b}[31mb"},
                        "ExposedPorts": {"80/tcp": {}},
                    },
                },
            }),
        }
    }

    fn user() -> ContainerSummary {
        ContainerSummary {
            id: "c1".to_owned(),
            name: "web".to_owned(),
            state: "running".to_owned(),
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn programs_get_every_field() {
        let described = described(&image(), &[user()]);
        assert_eq!(described["repo_tags"], json!(["one:1", "two:2"]));
        assert_eq!(described["created"], "2026-01-02T03:04:05Z");
        assert_eq!(described["layers"][0]["diff_id"], "sha256:4");
        assert_eq!(described["layers"][0]["size_bytes"], 1500);
        assert_eq!(described["labels"]["who"], "a\u{1b}[31mb");
        assert_eq!(
            described["containers"],
            json!([{"id": "c1", "name": "web", "state": "running"}])
        );
    }

    #[test]
    fn people_get_what_is_there_and_no_escapes() {
        let lines = lines(&described(&image(), &[user()]));
        for expected in [
            "id           sha256:1",
            "platform     linux/amd64",
            "size         2.00kB",
            "command      [\"sh\",\"-c\"]",
            "pinned       true",
            "tag          two:2",
            "label        who=a\\u{1b}[31mb",
            "port         80/tcp",
            "layer        sha256:3 1.50kB",
            "container    c1 web running",
        ] {
            assert!(
                lines.iter().any(|line| line == expected),
                "{expected}: {lines:#?}"
            );
        }
        assert!(
            !lines.iter().any(|line| line.starts_with("user")),
            "{lines:#?}"
        );
    }
}
