//! Seccomp profiles, shown by what a program in a container may and may not do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::os::fd::AsFd;

use carpel_integration::node::Node;
use carpel_integration::request::{BUSYBOX, container, pod, write_new};
use carpel_linux::seccomp;
use rustix::io::Errno;
use serde_json::{Value, json};

const RUNTIME_DEFAULT: u32 = 0;
const UNCONFINED: u32 = 1;
const LOCALHOST: u32 = 2;

/// How many filters this program has, and whether it may make a user namespace, which needs no capability.
const ASK: &str = "grep '^Seccomp_filters\\|^Seccomp:' /proc/self/status; \
    unshare -U true && echo may || echo may not";

/// A container with a profile, that waits to be asked.
fn with_profile(name: &str, profile: &Value) -> Value {
    let mut request = container(name, &["sleep", "1000"]);
    request["linux"]["security_context"]["seccomp"] = profile.clone();
    request
}

/// Writes a profile that allows all but one call, and gives its path.
fn deny(node: &Node, name: &str, entry: &Value) -> String {
    let file = node.work.join(format!("{name}.json"));
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
        "syscalls": [entry],
    });
    write_new(&file, profile.to_string().as_bytes());
    file.to_str().unwrap().to_owned()
}

#[test]
fn root_the_default_profile_keeps_a_program_from_what_unconfined_may() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("profiles"));
    for (name, profile, filters, says) in [
        ("none", json!(null), 0, "may"),
        (
            "unconfined",
            json!({ "profile_type": UNCONFINED }),
            0,
            "may",
        ),
        (
            "default",
            json!({ "profile_type": RUNTIME_DEFAULT }),
            1,
            "may not",
        ),
    ] {
        let container = node.start_container(&pod, &with_profile(name, &profile));
        let said = node.ask_inside(&container, ASK);
        let mode = if filters == 0 { 0 } else { 2 };
        assert!(
            said.contains(&format!("Seccomp:\t{mode}")),
            "{name}: {said}"
        );
        assert!(
            said.contains(&format!("Seccomp_filters:\t{filters}")),
            "{name}: {said}"
        );
        assert!(said.ends_with(says), "{name}: {said}");
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_the_first_program_and_every_exec_have_the_same_filter() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("same"));
    for (name, user) in [("root", 0), ("other", 1000)] {
        let mut request = with_profile(name, &json!({ "profile_type": RUNTIME_DEFAULT }));
        let script = format!("({ASK}) 2>&1; sleep 1000");
        request["command"] = json!(["sh", "-c", script]);
        let security = &mut request["linux"]["security_context"];
        security["run_as_user"] = json!({ "value": user });
        security["no_new_privs"] = json!(user != 0);
        let container = node.start_container(&pod, &request);
        let expected = node.ask_inside(&container, ASK);
        assert!(expected.ends_with("may not"), "{expected}");
        carpel_integration::wait::wait_for(
            "what the first program says",
            std::time::Duration::from_secs(20),
            || (node.ask(&["logs", &container]) == expected).then_some(()),
        );
        let synchronous = node.ask(&["exec", "--sync", &container, "sh", "-c", ASK]);
        assert!(synchronous.contains("may not"), "{synchronous}");
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_a_capability_opens_its_calls_in_the_default_profile() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("capable"));
    let mut request = with_profile("admin", &json!({ "profile_type": RUNTIME_DEFAULT }));
    request["linux"]["security_context"]["capabilities"] =
        json!({ "add_capabilities": ["SYS_ADMIN"] });
    let admin = node.start_container(&pod, &request);
    let said = node.ask_inside(
        &admin,
        "mkdir /m && mount -t tmpfs m /m && unshare -m hostname && echo mounted",
    );
    assert!(said.ends_with("mounted"), "{said}");
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_every_action_of_a_file_is_what_a_program_meets() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("actions"));
    // On arm64 there is only the call that names its directory too.
    let call = |action: &str| json!({ "names": ["mkdir", "mkdirat"], "action": action });
    let mut errno = call("SCMP_ACT_ERRNO");
    errno["errnoRet"] = json!(28);
    let mut masked = call("SCMP_ACT_ERRNO");
    // mkdir(path, mode), not mkdirat: the sticky bit is refused, whatever the others are.
    masked["names"] = json!(["mkdir"]);
    masked["args"] =
        json!([{ "index": 1, "value": 0o1000, "valueTwo": 0o1000, "op": "SCMP_CMP_MASKED_EQ" }]);
    for (name, entry, script, expected) in [
        ("errno", errno, "mkdir /a", "No space left on device"),
        (
            "eperm",
            call("SCMP_ACT_ERRNO"),
            "mkdir /a",
            "Operation not permitted",
        ),
        (
            "trace",
            call("SCMP_ACT_TRACE"),
            "mkdir /a",
            "Function not implemented",
        ),
        ("log", call("SCMP_ACT_LOG"), "mkdir /a && echo made", "made"),
        (
            "allow",
            call("SCMP_ACT_ALLOW"),
            "mkdir /a && echo made",
            "made",
        ),
        ("trap", call("SCMP_ACT_TRAP"), "mkdir /a; echo $?", "159"),
        ("kill", call("SCMP_ACT_KILL"), "mkdir /a; echo $?", "159"),
        (
            "thread",
            call("SCMP_ACT_KILL_THREAD"),
            "mkdir /a; echo $?",
            "159",
        ),
        (
            "process",
            call("SCMP_ACT_KILL_PROCESS"),
            "mkdir /a; echo $?",
            "159",
        ),
        (
            "masked",
            masked,
            "mkdir -m 755 /a && mkdir -m 1755 /b; ls -d /a",
            "/a",
        ),
    ] {
        let profile =
            json!({ "profile_type": LOCALHOST, "localhost_ref": deny(&node, name, &entry) });
        let container = node.start_container(&pod, &with_profile(name, &profile));
        let said = node.ask_inside(&container, script);
        assert!(said.contains(expected), "{name}: {said}");
    }
    node.remove_pod(&pod);
    node.finish();
}

/// Answers every call that it is told of with an error that the call does not have, and gives the state that came first.
fn listen(place: &std::path::Path) -> std::sync::mpsc::Receiver<Value> {
    let listener = std::os::unix::net::UnixListener::bind(place).unwrap();
    let (tell, states) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                let stream = stream.unwrap();
                let mut received =
                    carpel_linux::socket::receive(stream.as_fd(), &mut buffer).unwrap();
                let filter = received.descriptors.pop().unwrap();
                tell.send(serde_json::from_slice(&buffer[..received.length]).unwrap())
                    .ok();
                while let Ok(call) = seccomp::receive_notification(filter.as_fd()) {
                    seccomp::answer_notification(filter.as_fd(), call, Errno::PROTO).unwrap();
                }
            });
        }
    });
    states
}

#[test]
fn root_a_program_of_the_host_answers_calls() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("listener"));
    let place = node.work.join("listener.sock");
    let entry = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" });
    let file = deny(&node, "notify", &entry);
    let mut profile: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    profile["listenerPath"] = json!(place);
    profile["listenerMetadata"] = json!("of this test");
    write_new(file.as_ref(), profile.to_string().as_bytes());
    let profile = json!({ "profile_type": LOCALHOST, "localhost_ref": file });

    // Nobody listens.
    let lonely = node.create(&pod, &with_profile("lonely", &profile));
    let codes = ["Internal", "Unknown", "FailedPrecondition", "NotFound"];
    node.is_refused(&["start", &lonely], &codes, &["listener.sock"]);
    assert_eq!(node.wait_until_exited(&lonely)["exitCode"], 128);

    let states = listen(&place);
    let mut request = with_profile("heard", &profile);
    request["command"] = json!(["sh", "-c", "mkdir /a 2>&1; exec sleep 1000"]);
    let heard = node.start_container(&pod, &request);
    let patience = std::time::Duration::from_secs(20);
    let state = states.recv_timeout(patience).unwrap();
    assert_eq!(state["metadata"], "of this test");
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["state"]["id"], json!(heard));
    assert_eq!(state["pid"], state["state"]["pid"]);
    carpel_integration::wait::wait_for("what the first program says", patience, || {
        let said = node.ask(&["logs", &heard]);
        said.contains("Protocol error").then_some(())
    });
    let said = node.ask_inside(&heard, "mkdir /a 2>&1; ls -d /a 2>&1");
    assert!(
        said.contains("Protocol error") && said.contains("No such file"),
        "{said}"
    );
    let state = states.recv_timeout(patience).unwrap();
    assert_eq!(state["state"]["status"], "running");
    assert_ne!(state["pid"], state["state"]["pid"]);
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_the_old_field_names_profiles_too_and_privileged_has_none() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let mut request = pod("old");
    request["linux"]["security_context"]["privileged"] = json!(true);
    let pod = node.run_pod(request);
    let entry = json!({ "names": ["unshare"], "action": "SCMP_ACT_ERRNO" });
    let file = deny(&node, "old", &entry);
    for (index, (text, privileged, says)) in [
        ("runtime/default".to_owned(), false, "may not"),
        ("docker/default".to_owned(), false, "may not"),
        (format!("localhost/{file}"), false, "may not"),
        ("unconfined".to_owned(), false, "may"),
        ("runtime/default".to_owned(), true, "may"),
        (format!("localhost/{file}"), true, "may"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut request = container(&format!("old-{index}"), &["sleep", "1000"]);
        request["linux"]["security_context"]["seccomp_profile_path"] = json!(text);
        request["linux"]["security_context"]["privileged"] = json!(privileged);
        let container = node.start_container(&pod, &request);
        let said = node.ask_inside(&container, ASK);
        assert!(
            said.ends_with(says),
            "{text}, privileged {privileged}: {said}"
        );
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_a_profile_that_cannot_be_is_refused_by_name() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("refused"));
    node.tell(&["pull", BUSYBOX]);
    let notify = json!({ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" });
    let notify = deny(&node, "notify", &notify);
    let missing = node.work.join("missing.json").display().to_string();
    let text = node.work.join("text.json");
    write_new(&text, b"no JSON");
    for (index, (path, says)) in [
        (notify.as_str(), "SCMP_ACT_NOTIFY"),
        (&missing, "No such file or directory"),
        (text.to_str().unwrap(), "not a seccomp profile"),
        ("profiles/web.json", "not an absolute path"),
    ]
    .into_iter()
    .enumerate()
    {
        let profile = json!({ "profile_type": LOCALHOST, "localhost_ref": path });
        let file = node.write_request(&with_profile(&format!("refused-{index}"), &profile));
        node.is_refused(
            &["create", &pod.0, &file, &pod.1],
            &["InvalidArgument"],
            &[path, says],
        );
    }
    assert_eq!(node.ask(&["ps", "--all", "--quiet"]), "");
    node.remove_pod(&pod);
    node.finish();
}
