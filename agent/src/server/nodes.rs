//! This machine, in the shape of a Node of Kubernetes.

use std::fs;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::listen::Api;
use super::reply::{self, Refusal, Reply};
use crate::runtime::RuntimeError;
use crate::runtime::wire::VersionResponse;

/// os-release(5), in the order in which it is looked for.
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// There is one.
pub(super) async fn list(api: &Api) -> Reply {
    let list = json!({
        "kind": "NodeList",
        "apiVersion": "v1",
        "metadata": { "resourceVersion": "" },
        "items": [node(api).await],
    });
    reply::value(StatusCode::OK, &list)
}

/// It, if it has that name.
pub(super) async fn get(api: &Api, name: &str) -> Result<Reply, Refusal> {
    match name == api.node.name {
        true => Ok(reply::value(StatusCode::OK, &node(api).await)),
        false => Err(Refusal::not_found("nodes", name)),
    }
}

async fn node(api: &Api) -> Value {
    let node = &api.node;
    let runtime = node.runtime.version().await;
    let addresses = node
        .host_ips
        .iter()
        .map(|ip| json!({ "type": "InternalIP", "address": ip.to_string() }))
        .chain([json!({ "type": "Hostname", "address": node.name })]);
    let capacity = json!({
        "cpu": (node.cpu_milli / 1000).to_string(),
        "memory": format!("{}Ki", node.memory / 1024),
    });
    let architecture = node.labels.get("kubernetes.io/arch");
    json!({
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {
            "name": node.name,
            "labels": node.labels,
            "creationTimestamp": whole_seconds(node.since),
        },
        "spec": {},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [ready(&runtime)],
            "addresses": addresses.collect::<Vec<Value>>(),
            "nodeInfo": {
                "kernelVersion": rustix::system::uname().release().to_string_lossy(),
                "osImage": os_image(),
                "containerRuntimeVersion": runtime.as_ref().map(shown).unwrap_or_default(),
                "kubeletVersion": super::route::VERSION,
                "operatingSystem": "linux",
                "architecture": architecture,
            },
        },
    })
}

fn ready(runtime: &Result<VersionResponse, RuntimeError>) -> Value {
    match runtime {
        Ok(_) => json!({
            "type": "Ready", "status": "True", "reason": "AgentReady",
            "message": "the runtime answers",
        }),
        Err(error) => json!({
            "type": "Ready", "status": "False", "reason": "RuntimeDown",
            "message": error.to_string(),
        }),
    }
}

/// `carpel://0.1.0`
fn shown(version: &VersionResponse) -> String {
    format!("{}://{}", version.runtime_name, version.runtime_version)
}

/// Times of objects are whole seconds.
fn whole_seconds(time: jiff::Timestamp) -> String {
    jiff::Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}

fn os_image() -> String {
    let text = OS_RELEASE
        .iter()
        .find_map(|path| fs::read_to_string(path).ok());
    pretty_name(&text.unwrap_or_default()).unwrap_or_else(|| "Linux".to_owned())
}

fn pretty_name(text: &str) -> Option<String> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::pretty_name;

    #[test]
    fn the_system_says_its_name() {
        let text = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        let name = pretty_name(text);
        assert_eq!(name.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(pretty_name("NAME=x\n"), None);
    }
}
