//! What mounts and devices of a request mean to a program that uses them.
#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

use carpel_integration::node::Node;
use carpel_integration::request::{container, pod};
use rustix::fs::{CWD, FileType, Gid, Mode, Uid};
use serde_json::{Value, json};

/// CRI MountPropagation.
const PRIVATE: u32 = 0;
const HOST_TO_CONTAINER: u32 = 1;
const BIDIRECTIONAL: u32 = 2;

/// A container that may mount.
fn mounting(name: &str, mounts: Value) -> Value {
    let mut request = container(name, &["sleep", "1000"]);
    request["mounts"] = mounts;
    request["linux"]["security_context"]["capabilities"] =
        json!({ "add_capabilities": ["SYS_ADMIN"] });
    request
}

/// Runs a script in the node's own mount namespace.
fn on_the_node(node: &Node, script: &str) -> String {
    let output = node.command("sh").args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn root_mounts_go_the_ways_that_the_propagation_says() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("propagation"));
    let volume = node.work.join("volume");
    let volume = volume.to_str().unwrap();
    let modes = [
        ("private", PRIVATE, false, false),
        ("slave", HOST_TO_CONTAINER, true, false),
        ("shared", BIDIRECTIONAL, true, true),
    ];
    for (name, propagation, comes_in, goes_out) in modes {
        on_the_node(
            &node,
            &format!("mkdir -p {volume}/{name}/host {volume}/{name}/inside"),
        );
        let mounts = json!([{
            "container_path": "/volume", "host_path": format!("{volume}/{name}"), "propagation": propagation,
        }]);
        let id = node.start_container(&pod, &mounting(name, mounts));
        on_the_node(
            &node,
            &format!(
                "mount -t tmpfs node {volume}/{name}/host && touch {volume}/{name}/host/of-the-node"
            ),
        );
        let said = node.ask_inside(&id, "ls /volume/host");
        assert_eq!(said == "of-the-node", comes_in, "{name}: {said}");
        let said = node.ask_inside(
            &id,
            "mount -t tmpfs inside /volume/inside && touch /volume/inside/of-the-container && ls /volume/inside",
        );
        assert_eq!(said, "of-the-container", "{name}");
        let seen = on_the_node(&node, &format!("ls {volume}/{name}/inside"));
        assert_eq!(seen == "of-the-container", goes_out, "{name}: {seen}");
        // What goes away on the node does so as far as it came in.
        on_the_node(&node, &format!("umount {volume}/{name}/host"));
        assert_eq!(node.ask_inside(&id, "ls /volume/host"), "", "{name}");
        if goes_out {
            on_the_node(&node, &format!("umount {volume}/{name}/inside"));
            assert_eq!(node.ask_inside(&id, "ls /volume/inside"), "", "{name}");
        }
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_read_only_is_of_the_mount_or_of_all_below_it() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("readonly"));
    let volume = node.work.join("volume");
    let volume = volume.to_str().unwrap();
    on_the_node(
        &node,
        &format!("mkdir -p {volume}/below && mount -t tmpfs below {volume}/below"),
    );
    let mount = |path: &str, readonly: bool, recursive: bool| json!({ "container_path": path, "host_path": volume, "readonly": readonly, "recursive_read_only": recursive });
    let mounts = json!([
        mount("/writable", false, false),
        mount("/readonly", true, false),
        mount("/recursive", true, true),
    ]);
    let id = node.start_container(&pod, &mounting("writes", mounts));
    for (place, is_refused) in [
        ("/writable", false),
        ("/writable/below", false),
        ("/readonly", true),
        ("/readonly/below", false),
        ("/recursive", true),
        ("/recursive/below", true),
    ] {
        let said = node.ask_inside(&id, &format!("touch {place}/made && echo done"));
        let refused = said.contains("Read-only file system");
        assert_eq!(refused, is_refused, "{place}: {said}");
        assert_eq!(said == "done", !is_refused, "{place}: {said}");
    }
    // CRI: it needs `readonly`, and no propagation.
    for (name, wrong) in [
        ("writable", mount("/recursive", false, true)),
        ("slave", {
            let mut wrong = mount("/recursive", true, true);
            wrong["propagation"] = json!(HOST_TO_CONTAINER);
            wrong
        }),
    ] {
        let request = node.write_request(&mounting(name, json!([wrong])));
        let arguments = ["create", &pod.0, &request, &pod.1];
        node.is_refused(&arguments, &["InvalidArgument"], &["recursive_read_only"]);
    }
    node.remove_pod(&pod);
    on_the_node(&node, &format!("umount {volume}/below"));
    node.finish();
}

#[test]
fn root_a_mount_is_where_it_is_asked_for_and_follows_a_link_of_the_host() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("places"));
    let work = node.work.to_str().unwrap();
    on_the_node(
        &node,
        &format!(
            "mkdir {work}/folder && echo content >{work}/folder/file && ln -s folder {work}/link"
        ),
    );
    let mounts = json!([
        { "container_path": "/new/place", "host_path": format!("{work}/link") },
        { "container_path": "/etc/file", "host_path": format!("{work}/folder/file") },
        { "container_path": "/made", "host_path": format!("{work}/not/there") },
    ]);
    let id = node.start_container(&pod, &mounting("places", mounts));
    assert_eq!(
        node.ask_inside(
            &id,
            "cat /new/place/file /etc/file; touch /made/by-the-container"
        ),
        "content\ncontent"
    );
    assert!(node.work.join("not/there/by-the-container").exists());
    node.remove_pod(&pod);
    node.finish();
}

/// FUSE, which no ordinary container may open.
const DEVICE: (u32, u32) = (10, 229);

#[test]
fn root_a_device_may_be_used_as_its_permissions_say() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    // Nodes with an owner and a mode of their own, alone and in a directory.
    let folder = node.work.join("devices");
    std::fs::create_dir(&folder).unwrap();
    let (major, minor) = DEVICE;
    for name in ["one", "two"] {
        let device = rustix::fs::makedev(major, minor);
        let mode = Mode::from_raw_mode(0o640);
        let path = folder.join(name);
        rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, mode, device).unwrap();
        let (user, group) = (Uid::from_raw(7), Gid::from_raw(8));
        rustix::fs::chown(&path, Some(user), Some(group)).unwrap();
    }
    let pod = node.run_pod(pod("devices"));
    // Everybody may make nodes, as under runc: what they may be used for is what counts.
    let ask = format!(
        "mknod -m 666 /made c {major} {minor}; \
         for use in 'true </dev/mine/one' 'true >/dev/mine/one' 'true </made' 'true >/made'; do \
         (eval \"$use\") 2>&1 | grep -q 'not permitted' && echo refused || echo passes; done"
    );
    for (permissions, says) in [
        ("", ["refused", "refused"]),
        ("r", ["passes", "refused"]),
        ("w", ["refused", "passes"]),
        ("rw", ["passes", "passes"]),
        ("rwm", ["passes", "passes"]),
    ] {
        let mut request = container(&format!("permissions-{permissions}"), &["sleep", "1000"]);
        if !permissions.is_empty() {
            request["devices"] = json!([
                { "container_path": "/dev/mine/one", "host_path": folder.join("one"), "permissions": permissions },
                { "container_path": "/dev/all", "host_path": folder, "permissions": permissions },
            ]);
        }
        let id = node.start_container(&pod, &request);
        let said = node.ask_inside(&id, &ask);
        let answers: Vec<&str> = said.lines().collect();
        assert_eq!(
            answers[2..],
            says,
            "a node of its own with {permissions:?}: {said}"
        );
        if permissions.is_empty() {
            continue;
        }
        assert_eq!(answers[..2], says, "{permissions}: {said}");
        let said = node.ask_inside(
            &id,
            "stat -c '%A %t,%T %u:%g' /dev/mine/one /dev/all/one /dev/all/two",
        );
        let expected = format!("crw-r----- {major:x},{minor:x} 7:8");
        assert_eq!(said, [expected.as_str(); 3].join("\n"), "{permissions}");
    }
    node.remove_pod(&pod);
    node.finish();
}

/// `pod.device_ownership_from_security_context`: a device belongs to whom the container runs as.
#[test]
fn root_a_device_belongs_to_the_containers_user_if_the_node_says_so() {
    let settings = [(
        "NODE_CONFIG_EXTRA",
        "[pod]\ndevice_ownership_from_security_context = true\n",
    )];
    let Some(node) = Node::start_carpel_with(&settings) else {
        return;
    };
    let pod = node.run_pod(pod("owner"));
    let mut request = container("owner", &["sleep", "1000"]);
    request["devices"] =
        json!([{ "container_path": "/dev/mine", "host_path": "/dev/full", "permissions": "rw" }]);
    request["linux"]["security_context"]["run_as_user"] = json!({ "value": 1000 });
    request["linux"]["security_context"]["run_as_group"] = json!({ "value": 2000 });
    let id = node.start_container(&pod, &request);
    assert_eq!(node.ask_inside(&id, "stat -c %u:%g /dev/mine"), "1000:2000");
    node.remove_pod(&pod);
    node.finish();
}
