//! CDI devices, seen by a program in the container that gets them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use carpel_integration::node::Node;
use carpel_integration::request::{BUSYBOX, container, pod, write_new};
use serde_json::{Value, json};

/// A directory of the node's own where specifications may come and go.
fn specifications(node: &Node) -> std::path::PathBuf {
    // What /var/run is a link to: followed from here it would lead out of the node.
    let folder = node.path_inside("/run/cdi");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn with_devices(name: &str, devices: &[&str]) -> Value {
    let mut request = container(name, &["sleep", "1000"]);
    let devices: Vec<Value> = devices.iter().map(|name| json!({ "name": name })).collect();
    request["CDI_devices"] = json!(devices);
    request
}

#[test]
fn root_a_program_finds_what_its_devices_bring() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let folder = specifications(&node);
    let library = node.work.join("library");
    std::fs::create_dir(&library).unwrap();
    write_new(&library.join("lib.so"), b"code");
    let class = format!("carpel-test-{}", std::process::id());
    let file = folder.join(format!("{class}.json"));
    let specification = json!({
        "cdiVersion": "0.6.0",
        "kind": format!("example.com/{class}"),
        "containerEdits": { "env": ["DRIVER=7"], "additionalGids": [4400] },
        "devices": [{ "name": "0", "containerEdits": {
            "env": ["VISIBLE=0"],
            "deviceNodes": [
                { "path": "/dev/gpu0", "hostPath": "/dev/zero", "permissions": "r", "fileMode": 0o640 },
                { "path": "/dev/loop-control-like", "hostPath": "/dev/full" },
            ],
            "mounts": [{ "hostPath": library, "containerPath": "/usr/lib/gpu", "options": ["ro", "rbind"] }],
        } }],
    });
    write_new(&file, specification.to_string().as_bytes());
    let pod = node.run_pod(pod("devices"));
    let name = format!("example.com/{class}=0");
    let mut annotated = with_devices("annotated", &[]);
    annotated["annotations"] = json!({ "cdi.k8s.io/test": name });
    annotated["linux"]["security_context"]["run_as_user"] = json!({ "value": 1000 });
    for (request, owner) in [
        (with_devices("field", &[&name]), "0:"),
        (annotated, "1000:"),
    ] {
        let container = node.start_container(&pod, &request);
        let said = node.ask_inside(&container,
            "echo $DRIVER $VISIBLE; id -G; cat /usr/lib/gpu/lib.so; echo; touch /usr/lib/gpu/x; \
             stat -c '%A %t,%T %u:' /dev/gpu0; head -c 2 /dev/gpu0 | wc -c; echo x >/dev/loop-control-like",
        );
        for part in [
            "7 0\n",
            "4400",
            "code\n",
            "Read-only file system",
            &format!("crw-r----- 1,5 {owner}"),
            "\n2\n",
            "No space left on device",
        ] {
            assert!(said.contains(part), "{part:?} in {said}");
        }
    }
    std::fs::remove_file(&file).unwrap();
    let request = node.write_request(&with_devices("gone", &[&name]));
    node.is_refused(
        &["create", &pod.0, &request, &pod.1],
        &["InvalidArgument"],
        &["CDI_devices", "no CDI device", &name],
    );
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_a_hook_is_refused_by_name_and_a_new_yaml_file_counts_at_once() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let folder = specifications(&node);
    let class = format!("carpel-yaml-{}", std::process::id());
    let pod = node.run_pod(pod("yaml"));
    node.tell(&["pull", BUSYBOX]);
    let file = folder.join(format!("{class}.yaml"));
    let text = |edits: &str| {
        format!(
            "cdiVersion: \"0.6.0\"\nkind: example.com/{class}\ndevices:\n- name: one\n  containerEdits:\n{edits}"
        )
    };
    write_new(
        &file,
        text("    hooks:\n    - hookName: createContainer\n      path: /bin/true\n").as_bytes(),
    );
    let name = format!("example.com/{class}=one");
    let request = node.write_request(&with_devices("hook", &[&name]));
    node.is_refused(
        &["create", &pod.0, &request, &pod.1],
        &["InvalidArgument", "Unimplemented"],
        &[&format!("{class}.yaml"), "hooks are not supported yet"],
    );
    std::fs::remove_file(&file).unwrap();
    write_new(&file, text("    env:\n    - FROM=yaml\n").as_bytes());
    let container = node.start_container(&pod, &with_devices("yaml", &[&name]));
    assert_eq!(node.ask_inside(&container, "echo $FROM"), "yaml");
    std::fs::remove_file(&file).unwrap();
    node.remove_pod(&pod);
    node.finish();
}
