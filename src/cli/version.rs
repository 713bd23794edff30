//! `carpel version`: this program's version, and the daemon's if one answers.

use std::io::Write;

use super::arguments::{TextOrJson, VersionArguments};
use super::endpoint::{self, Daemon};
use super::error::CliError;
use super::writer::{Style, Writer, chain};

#[derive(serde::Serialize)]
struct Versions {
    client: Program,
    /// Absent if no daemon answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    daemon: Option<Program>,
    /// Why none answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    daemon_error: Option<String>,
}

#[derive(serde::Serialize)]
struct Program {
    name: String,
    version: String,
    cri_version: String,
}

pub(super) fn run<W: Write>(
    arguments: &VersionArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let socket = endpoint::socket_of(&arguments.daemon)?;
    let answer = Daemon::connect(&socket).and_then(|daemon| daemon.version());
    let (daemon, daemon_error) = match answer {
        Ok(version) => (
            Some(Program {
                name: version.runtime_name,
                version: version.runtime_version,
                cri_version: version.runtime_api_version,
            }),
            None,
        ),
        Err(error) => (None, Some(chain(&error))),
    };
    let versions = Versions {
        client: Program {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cri_version: "v1".to_owned(),
        },
        daemon,
        daemon_error,
    };
    match arguments.output {
        TextOrJson::Json => output.json(&versions)?,
        TextOrJson::Text => print(&versions, output)?,
    }
    Ok(())
}

fn print<W: Write>(versions: &Versions, output: &mut Writer<W>) -> std::io::Result<()> {
    let client = &versions.client;
    output.line(format!(
        "{} {} (CRI {})",
        client.name, client.version, client.cri_version
    ))?;
    if let Some(daemon) = &versions.daemon {
        output.line(format!(
            "daemon: {} {} (CRI {})",
            daemon.name, daemon.version, daemon.cri_version
        ))?;
    }
    if let Some(error) = &versions.daemon_error {
        output.styled(&[(Style::Dim, &format!("daemon: none answers ({error})"))])?;
    }
    Ok(())
}
