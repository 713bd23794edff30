//! `carpel inspect`: everything that is known of containers and pods.

use std::io::Write;

use serde_json::{Value, json};

use super::find::{Object, Objects};
use crate::cli::arguments::{InspectContainerArguments, ObjectFormat};
use crate::cli::endpoint::Daemon;
use crate::cli::error::CliError;
use crate::cli::time;
use crate::cli::writer::Writer;
use crate::cri::{ContainerDetails, PodDetails};

pub(in crate::cli) fn run<W: Write>(
    arguments: &InspectContainerArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::of(&arguments.daemon)?;
    let objects = Objects::of(&daemon)?;
    // All are found before one is printed: a list with a hole is worse than none.
    let found: Vec<Object> = arguments
        .objects
        .iter()
        .map(|word| objects.find(word, arguments.kind))
        .collect::<Result<_, _>>()?;
    let described: Vec<Value> = found
        .iter()
        .map(|object| match object {
            Object::Container(found) => {
                let details = daemon.wait(daemon.client().container_details(&found.id))?;
                Ok(container(&details, &objects))
            }
            Object::Pod(found) => {
                let details = daemon.wait(daemon.client().pod_details(&found.id))?;
                Ok(pod(&details, &objects))
            }
        })
        .collect::<Result<_, CliError>>()?;
    match arguments.output {
        ObjectFormat::Json => output.json(&described)?,
        ObjectFormat::Yaml => output.yaml(&described)?,
    }
    Ok(())
}

/// `null` for a point in time that has not come.
fn point(nanoseconds: i64) -> Value {
    match nanoseconds {
        0 => Value::Null,
        nanoseconds => Value::from(time::utc(nanoseconds)),
    }
}

fn container(details: &ContainerDetails, objects: &Objects) -> Value {
    let summary = &details.summary;
    let pod = objects.pod_of(&summary.pod_id);
    let user = details.user.as_ref();
    json!({
        "kind": "container",
        "id": summary.id,
        "name": summary.name,
        "attempt": summary.attempt,
        "pod": {
            "id": summary.pod_id,
            "name": pod.map(|pod| &pod.name),
            "namespace": pod.map(|pod| &pod.namespace),
            "uid": pod.map(|pod| &pod.uid),
        },
        "image": summary.image,
        "image_id": summary.image_id,
        "image_reference": details.image_reference,
        "state": summary.state,
        "created": point(summary.created_at),
        "started": point(details.started_at),
        "finished": point(details.finished_at),
        "exit_code": (summary.state == "exited").then_some(details.exit_code),
        "reason": details.reason,
        "message": details.message,
        "log_path": details.log_path,
        "mounts": details.mounts,
        "user": user.map(|(uid, gid, groups)| json!({
            "uid": uid, "gid": gid, "supplemental_groups": groups,
        })),
        "stop_signal": details.stop_signal,
        "labels": summary.labels,
        "annotations": summary.annotations,
        "info": details.info,
    })
}

fn pod(details: &PodDetails, objects: &Objects) -> Value {
    let summary = &details.summary;
    let of_pod = |container: &&crate::cri::ContainerSummary| container.pod_id == summary.id;
    let containers: Vec<Value> = objects
        .containers()
        .iter()
        .filter(of_pod)
        .map(|container| {
            json!({
                "id": container.id,
                "name": container.name,
                "attempt": container.attempt,
                "state": container.state,
            })
        })
        .collect();
    json!({
        "kind": "pod",
        "id": summary.id,
        "name": summary.name,
        "namespace": summary.namespace,
        "uid": summary.uid,
        "attempt": summary.attempt,
        "state": summary.state,
        "created": point(summary.created_at),
        "addresses": details.addresses,
        "runtime_handler": summary.runtime_handler,
        "containers": containers,
        "labels": summary.labels,
        "annotations": summary.annotations,
        "info": details.info,
    })
}
