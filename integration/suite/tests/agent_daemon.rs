//! The agent as a part of the daemon: the folder of manifests that it follows, and what it knows after a restart.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::fs;
use std::time::Duration;

use carpel_integration::agent::Agent;
use carpel_integration::node::Node;
use carpel_integration::request::{BUSYBOX, write_new};
use carpel_integration::wait::wait_for;
use serde_json::{Value, json};

/// Less than the time after which the folder is looked at without any news.
const SOON: Duration = Duration::from_secs(10);

fn pod(name: &str, word: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "word": word } },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "main", "image": BUSYBOX, "command": ["sleep", "1000"] }],
        },
    })
}

#[test]
fn root_manifests_of_a_folder_are_followed_as_they_change() {
    let above = std::env::temp_dir().join(format!("carpel-manifests-{}", std::process::id()));
    let folder = above.join("manifests");
    fs::create_dir(&above).unwrap();
    let place = folder.to_str().unwrap();
    let Some(node) = Node::start_carpel_with(&[("NODE_MANIFESTS", place)]) else {
        return;
    };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    let file = folder.join("web.json");
    let word = || {
        let pod = agent.pod("web")?;
        pod["metadata"]["labels"]["word"]
            .as_str()
            .map(str::to_owned)
    };
    // The folder itself is made while the daemon runs, too.
    fs::create_dir(&folder).unwrap();
    write_new(&file, pod("web", "one").to_string().as_bytes());
    wait_for("the pod of a new file", SOON, || {
        (word().as_deref() == Some("one")).then_some(())
    });
    // As editors write: into another file that takes the name.
    let beside = folder.join(".web.json.new");
    write_new(&beside, pod("web", "two").to_string().as_bytes());
    fs::rename(&beside, &file).unwrap();
    wait_for("the pod of a file that was replaced", SOON, || {
        (word().as_deref() == Some("two")).then_some(())
    });
    write_new(&file, pod("web", "three").to_string().as_bytes());
    wait_for("the pod of a file that was written again", SOON, || {
        (word().as_deref() == Some("three")).then_some(())
    });
    agent.wait_until_ready("web");
    fs::remove_file(&file).unwrap();
    wait_for("the end of the pod", Duration::from_secs(60), || {
        agent.pod("web").is_none().then_some(())
    });
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
    fs::remove_dir_all(&above).unwrap();
}

#[test]
fn root_events_are_known_after_a_restart() {
    let Some(node) = Node::start() else { return };
    let Some(mut agent) = Agent::start(&node) else {
        return;
    };
    agent.apply(&pod("web", "one").to_string());
    agent.wait_until_ready("web");
    wait_for("the events on the disk", Duration::from_secs(30), || {
        let kept = fs::read_to_string(agent.events_file()).unwrap_or_default();
        kept.contains("Started").then_some(())
    });
    agent.kill_and_start();
    let said = agent.ask(&["describe", "pod", "web"]);
    let events = said.split("\nEvents:").nth(1).unwrap_or_default();
    for reason in ["Pulled", "Created", "Started"] {
        assert!(events.contains(reason), "{reason} is missing: {said}");
    }
    agent.delete("web");
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}
