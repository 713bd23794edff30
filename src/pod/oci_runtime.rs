//! What the shim is told of another OCI runtime: for a container, and for an exec in it.

use carpel_shim_protocol::message::{self, Process};
use serde_json::Value;

use super::error::{PodError, PodErrorKind, Subject};
use super::procedure::Context;
use super::runtime_handler::{OciHandler, RuntimeHandler};
use super::sandbox_state::Pod;
use crate::oci::{Calculated, other_configuration};

/// Where the shim mounts roots, below the pod's live directory.
const ROOT_PLACE: &str = "root";
/// Where a runtime keeps its state, below the pod's live directory: it goes with the pod.
const STATE: &str = "runtime";

/// The other runtime that makes the pod's containers; none: the shim itself.
///
/// # Errors
/// `FailedPrecondition` if the pod's handler has gone from the configuration.
pub(super) fn handler_of<'a>(
    context: &'a Context,
    pod: &Pod,
) -> Result<Option<&'a OciHandler>, PodError> {
    match context.parts.settings.handlers.get(&pod.runtime_handler) {
        Some(RuntimeHandler::BuiltIn) => Ok(None),
        Some(RuntimeHandler::Oci(handler)) => Ok(Some(handler)),
        None => Err(PodError::new(
            PodErrorKind::FailedPrecondition,
            Subject::Sandbox(pod.id.clone()),
            format!(
                "its runtime handler {:?} is not configured any more",
                pod.runtime_handler
            ),
        )),
    }
}

/// The message for a container.
///
/// # Errors
/// `InvalidArgument` for what is no JSON.
pub(super) fn message_of(
    context: &Context,
    handler: &OciHandler,
    container_id: &str,
    calculated: &Calculated,
) -> Result<message::OciRuntime, PodError> {
    let directories = &context.slot.directories;
    let live = |name: &str| directories.live.join(name).to_string_lossy().into_owned();
    let configuration = other_configuration(calculated, container_id, &live(ROOT_PLACE));
    let configuration = configuration.map_err(|error| {
        let subject = Subject::Container(container_id.to_owned());
        PodError::new(PodErrorKind::InvalidArgument, subject, "write it as JSON").caused_by(error)
    })?;
    let mount = handler.cgroup_mount.as_ref();
    Ok(message::OciRuntime {
        program: handler.program.to_string_lossy().into_owned(),
        options: handler.options.clone(),
        state_directory: live(STATE),
        bundle: directories
            .bundle(container_id)
            .to_string_lossy()
            .into_owned(),
        configuration_head: configuration.head,
        configuration_tail: configuration.tail,
        cgroup_mount: mount.map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
    })
}

/// The process of an exec as JSON, made of the container's own; empty if the shim itself makes it.
///
/// # Errors
/// If the container's configuration cannot be read.
pub(super) fn process_of_exec(
    context: &Context,
    container_id: &str,
    process: &Process,
) -> Result<String, PodError> {
    let handlers = &context.parts.settings.handlers;
    // One that has gone from the configuration was another's: the built-in one cannot go.
    if handlers.get(&context.slot.pod().runtime_handler) == Some(&RuntimeHandler::BuiltIn) {
        return Ok(String::new());
    }
    let path = context.slot.directories.specification(container_id);
    let read = std::fs::read(path).and_then(|text| of_exec(&text, process));
    read.map_err(|error| {
        let subject = Subject::Container(container_id.to_owned());
        let step = "read how its first process was started";
        PodError::new(PodErrorKind::Internal, subject, step).caused_by(error)
    })
}

/// The container's process with what is the exec's own. Its user was looked up when the container was made.
fn of_exec(configuration: &[u8], process: &Process) -> std::io::Result<String> {
    let configuration: Value = serde_json::from_slice(configuration)?;
    let texts = |list: &[Vec<u8>]| -> Value {
        let texts = list.iter().map(|text| String::from_utf8_lossy(text));
        texts.map(|text| Value::from(&*text)).collect()
    };
    let mut own = configuration.get("process").cloned().unwrap_or_default();
    own["args"] = texts(&process.arguments);
    own["env"] = texts(&process.environment);
    own["terminal"] = process.terminal.into();
    Ok(own.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_exec_is_the_containers_process_with_another_command() {
        let configuration = json!({ "process": {
            "args": ["sleep"], "env": ["A=B"], "terminal": true, "cwd": "/w",
            "user": { "uid": 7, "gid": 8, "additionalGids": [9] }, "noNewPrivileges": true,
        }});
        let process = Process {
            arguments: vec![b"id".to_vec(), b"-u".to_vec()],
            environment: vec![b"A=B".to_vec(), b"TERM=xterm".to_vec()],
            ..Process::default()
        };
        let text = of_exec(configuration.to_string().as_bytes(), &process).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            json!({
                "args": ["id", "-u"], "env": ["A=B", "TERM=xterm"], "terminal": false, "cwd": "/w",
                "user": { "uid": 7, "gid": 8, "additionalGids": [9] }, "noNewPrivileges": true,
            })
        );
    }
}
