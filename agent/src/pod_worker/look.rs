//! Asks the runtime what it has of a pod. What has ended for good is asked once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use super::decide::container_of;
use super::files;
use super::node::Node;
use super::observed::{self, Observed, Record, State};
use crate::runtime::{RuntimeError, last_words};

/// kubelet, `MaxContainerTerminationMessageLength`.
const MESSAGE_MAX: u64 = 4096;

/// Containers that have ended: what they are does not change any more.
#[derive(Debug, Default)]
pub(super) struct Ended {
    records: BTreeMap<String, (String, Record)>,
}

/// Looks. `pod` tells where last words are; without it there are none.
pub(super) async fn look(
    node: &Node,
    uid: &str,
    pod: Option<&Pod>,
    ended: &mut Ended,
) -> Result<Observed, RuntimeError> {
    let mut sandboxes = Vec::new();
    for listed in node.runtime.sandboxes(Some(uid)).await? {
        if let Some(status) = node.runtime.sandbox(&listed.id).await? {
            sandboxes.push(observed::sandbox(&status));
        }
    }
    let mut records = Vec::new();
    let listed = node.runtime.containers(Some(uid)).await?;
    ended
        .records
        .retain(|id, _| listed.iter().any(|it| it.id == *id));
    for container in listed {
        if let Some(known) = ended.records.get(&container.id) {
            records.push(known.clone());
            continue;
        }
        let Some(status) = node.runtime.container(&container.id).await? else {
            continue;
        };
        let (name, mut record) = observed::record(&status, &container.pod_sandbox_id);
        if record.state == State::Exited {
            if let Some(pod) = pod {
                add_last_words(node, pod, uid, &name, &mut record);
            }
            let known = (name.clone(), record.clone());
            ended.records.insert(record.id.clone(), known);
        }
        records.push((name, record));
    }
    Ok(Observed::new(sandboxes, records))
}

/// What the container wrote to its terminationMessagePath, or the end of its log.
fn add_last_words(node: &Node, pod: &Pod, uid: &str, name: &str, record: &mut Record) {
    let path = files::termination_file(&node.pod_directory(uid), name, record.attempt);
    let mut said = read(&path);
    let policy = container_of(pod, name).and_then(|it| it.termination_message_policy.as_deref());
    let falls_back = policy == Some("FallbackToLogsOnError") && record.exit_code != 0;
    if said.is_empty() && falls_back {
        said = last_words(Path::new(&record.log_path));
    }
    // Why the runtime could not start it is in its own message.
    if !said.is_empty() {
        record.message = said;
    }
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MESSAGE_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}
