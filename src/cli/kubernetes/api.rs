//! Talking to the agent: the only file of these commands that does.

use std::path::Path;

use carpel_agent::client::{ApiClient, ApiError, Lines};
use carpel_agent::manifest::Kind;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::cli::arguments::{AgentAddress, ConfigFile};
use crate::cli::error::CliError;
use crate::config::Config;

/// A connection to an agent, for one command.
pub(super) struct Agent {
    runtime: Runtime,
    client: ApiClient,
}

impl Agent {
    /// The agent that the command line means.
    pub(super) fn of(address: &AgentAddress) -> Result<Self, CliError> {
        Self::at(address.agent_socket.as_deref(), &address.file)
    }

    /// The agent at a socket, or at that of the configuration file.
    pub(super) fn at(socket: Option<&Path>, file: &ConfigFile) -> Result<Self, CliError> {
        let socket = match socket {
            Some(socket) => socket.to_owned(),
            None => Config::read_or_default(file.path.as_deref())?.agent_socket_path(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(CliError::Threads)?;
        Ok(Self {
            runtime,
            client: ApiClient::new(&socket),
        })
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, CliError> {
        Ok(self.runtime.block_on(self.client.get(path))?)
    }

    /// `None` if it is not there.
    pub(super) fn find(&self, path: &str) -> Result<Option<Value>, CliError> {
        match self.runtime.block_on(self.client.get(path)) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The object as it is then, and what was done.
    pub(super) fn apply(&self, path: &str, object: &Value) -> Result<(Value, String), CliError> {
        Ok(self.runtime.block_on(self.client.apply(path, object))?)
    }

    pub(super) fn post(&self, path: &str, object: &Value) -> Result<Value, CliError> {
        Ok(self.runtime.block_on(self.client.post(path, object))?)
    }

    /// `None` if it was not there.
    pub(super) fn delete(&self, path: &str) -> Result<Option<Value>, CliError> {
        match self.runtime.block_on(self.client.delete(path)) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Watches until `enough` says so, or the time is over; whether it was said.
    pub(super) fn watch(
        &self,
        path: &str,
        deadline: Option<std::time::Instant>,
        mut enough: impl FnMut(&str, &Value) -> Result<bool, CliError>,
    ) -> Result<bool, CliError> {
        let watching = async {
            loop {
                let mut lines = self.client.watch(path).await?;
                if watch_one(&mut lines, &mut enough).await? {
                    return Ok::<_, CliError>(true);
                }
                // It was too far behind, or the agent is being restarted.
            }
        };
        self.runtime.block_on(async {
            match deadline {
                None => watching.await,
                Some(deadline) => tokio::time::timeout_at(deadline.into(), watching)
                    .await
                    .unwrap_or(Ok(false)),
            }
        })
    }
}

async fn watch_one(
    lines: &mut Lines,
    enough: &mut impl FnMut(&str, &Value) -> Result<bool, CliError>,
) -> Result<bool, CliError> {
    loop {
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(false),
            Err(ApiError::Connection(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let word = line["type"].as_str().unwrap_or_default();
        if word != "ERROR" && enough(word, &line["object"])? {
            return Ok(true);
        }
    }
}

/// The path of a kind's objects.
pub(super) fn objects_path(kind: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/{kind}"),
        None => format!("/api/v1/{kind}"),
    }
}

/// The path of an object.
pub(super) fn object_path(kind: Kind, namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{}/{name}", kind.plural())
}

/// The text of a field, by its JSON pointer; nothing if it is not there.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The values of a list; none if it is not there.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}
