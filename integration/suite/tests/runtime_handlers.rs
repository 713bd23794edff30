//! Pods whose containers another OCI runtime makes: crun and runc, as Debian has them, below Carpel's shim.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and what it skips by printing"
)]

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use carpel_integration::crictl::text;
use carpel_integration::node::Node;
use carpel_integration::request::BUSYBOX;
use carpel_integration::request::container;
use carpel_integration::request::pod;
use carpel_integration::request::write_new;
use carpel_integration::terminal::Terminal;
use carpel_integration::wait::wait_for;
use serde_json::Value;
use serde_json::json;

const CRUN: &str = "/usr/bin/crun";
const RUNC: &str = "/usr/sbin/runc";

/// A node whose handlers are these runtimes, by the names of their programs.
fn node_with(programs: &[&str]) -> Option<Node> {
    if let Some(missing) = programs.iter().find(|program| !Path::new(program).exists()) {
        println!("SKIP {missing} is missing: run make test");
        return None;
    }
    let mut sections = String::new();
    for program in programs {
        let name = name_of(program);
        sections.push_str(&format!(
            "\n[runtime.handlers.{name}]\ntype = \"oci\"\npath = \"{program}\"\n"
        ));
    }
    Node::start_carpel_with(&[("NODE_CONFIG_EXTRA", &sections)])
}

fn name_of(program: &str) -> &str {
    program.rsplit('/').next().unwrap()
}

/// A pod with this handler: its id, and the file of its request.
fn run_pod(node: &Node, handler: &str, name: &str) -> (String, String) {
    run(node, handler, pod(name))
}

fn run(node: &Node, handler: &str, mut request: Value) -> (String, String) {
    let name = text(&request, "/metadata/name");
    let logs = node.work.join("logs").join(name);
    std::fs::create_dir_all(&logs).unwrap();
    request["log_directory"] = json!(logs);
    let file = node.write_request(&request);
    (node.ask(&["runp", "--runtime", handler, &file]), file)
}

/// What is running in the node under the name of a runtime, or waits for it.
fn runtimes_running(node: &Node, program: &str) -> Vec<String> {
    let name = name_of(program);
    let entries = std::fs::read_dir(node.proc()).unwrap();
    let programs = entries.filter_map(|entry| {
        let entry = entry.unwrap().path();
        let stat = std::fs::read_to_string(entry.join("stat")).ok()?;
        stat.contains(&format!("({name}")).then_some(stat)
    });
    programs.collect()
}

fn lives_its_life(program: &str) {
    let Some(node) = node_with(&[program]) else {
        return;
    };
    let handler = name_of(program);
    node.warm_up();
    let mut before = node.inventory();
    let pod = run_pod(&node, handler, "life");
    let status = node.ask_json(&["inspectp", &pod.0]);
    assert_eq!(text(&status, "/status/runtimeHandler"), handler);

    let worker = container(
        "worker",
        &[
            "sh",
            "-c",
            "echo out; echo err >&2; trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done",
        ],
    );
    let worker = node.create(&pod, &worker);
    assert_eq!(node.container_state(&worker), "CONTAINER_CREATED");
    node.tell(&["start", &worker]);
    assert_eq!(node.container_state(&worker), "CONTAINER_RUNNING");
    let quick = node.start_container(&pod, &container("quick", &["sh", "-c", "exit 3"]));
    assert_eq!(node.wait_until_exited(&quick)["exitCode"], 3);
    let never = node.create(&pod, &container("never", &["sleep", "1000"]));

    // The same before and after a daemon that was killed.
    for round in 0..2 {
        execs_work(&node, &worker);
        if round == 0 {
            let dying = container("dying", &["sh", "-c", "sleep 1; exit 9"]);
            let dying = node.start_container(&pod, &dying);
            let process = node.ask_json(&["inspect", &dying])["info"]["pid"].clone();
            let process = u32::try_from(process.as_u64().unwrap()).unwrap();
            node.kill_daemon();
            wait_for("the container's end", Duration::from_secs(10), || {
                (!node.is_running(process)).then_some(())
            });
            node.start_daemon();
            before.insert(format!("process {}", node.daemon_pid()));
            assert_eq!(node.wait_until_exited(&dying)["exitCode"], 9);
        }
    }
    assert_eq!(node.container_state(&never), "CONTAINER_CREATED");
    node.tell(&["start", &never]);
    node.tell(&["stop", "--timeout", "0", &never]);
    assert_eq!(node.wait_until_exited(&never)["exitCode"], 137);

    let statistics = node.ask_json(&["stats", "--output", "json", &worker]);
    let used = text(&statistics, "/stats/0/cpu/usageCoreNanoSeconds/value");
    assert!(used.parse::<u64>().unwrap() > 0, "{statistics:#}");

    node.tell(&["stop", "--timeout", "10", &worker]);
    let status = node.wait_until_exited(&worker);
    assert_eq!(status["exitCode"], 7, "{status:#}");
    assert_eq!(status["reason"], "Error");
    let log = std::fs::read_to_string(text(&status, "/logPath")).unwrap();
    for line in [" stdout F out\n", " stderr F err\n", " stdout F bye\n"] {
        assert!(log.contains(line), "{line:?} in {log}");
    }
    node.tell(&["rm", &worker]);
    node.remove_pod(&pod);
    node.assert_nothing_left_since(&before);
    assert_eq!(runtimes_running(&node, program), [""; 0]);
    node.finish();
}

fn execs_work(node: &Node, worker: &str) {
    assert_eq!(node.ask(&["exec", worker, "echo", "streamed"]), "streamed");
    assert_eq!(node.ask(&["exec", "-s", worker, "hostname"]), "life");
    let failing = node.crictl(&["exec", "-s", worker, "sh", "-c", "echo x; exit 5"]);
    assert_eq!(failing.status.code(), Some(1));
    let said = String::from_utf8_lossy(&failing.stderr).into_owned();
    assert!(said.contains("exit code 5") || said.contains("5"), "{said}");
    let begun = Instant::now();
    node.is_refused(
        &[
            "exec",
            "-s",
            "--timeout",
            "1",
            worker,
            "sh",
            "-c",
            "sleep 50 & sleep 50",
        ],
        &["DeadlineExceeded"],
        &["was killed"],
    );
    assert!(begun.elapsed() < Duration::from_secs(10));
    let left = node.ask(&["exec", "-s", worker, "ps"]);
    assert!(!left.contains("sleep 50"), "{left}");
    node.is_refused(
        &["exec", "-s", worker, "no-such-program"],
        &["InvalidArgument"],
        &["no-such-program", "not found"],
    );
}

#[test]
fn root_a_pod_lives_its_life_under_crun() {
    lives_its_life(CRUN);
}

#[test]
fn root_a_pod_lives_its_life_under_runc() {
    lives_its_life(RUNC);
}

/// Writes the specification of a device that may be read only, and gives its file and the device's name.
fn device(node: &Node) -> (PathBuf, String) {
    let folder = node.path_inside("/run/cdi");
    std::fs::create_dir_all(&folder).unwrap();
    let class = format!("carpel-handlers-{}", std::process::id());
    let specification = json!({
        "cdiVersion": "0.6.0",
        "kind": format!("example.com/{class}"),
        "devices": [{ "name": "0", "containerEdits": {
            "env": ["VISIBLE=0"],
            "deviceNodes": [{ "path": "/dev/gpu0", "hostPath": "/dev/fuse", "permissions": "r" }],
        } }],
    });
    let file = folder.join(format!("{class}.json"));
    write_new(&file, specification.to_string().as_bytes());
    (file, format!("example.com/{class}=0"))
}

/// What a container with nearly every restriction says of itself.
const QUESTIONS: &str = "id; echo visible $VISIBLE; \
    grep -e Seccomp: -e CapEff -e NoNewPrivs /proc/self/status; \
    unshare -U true && echo may || echo may not; \
    (: </dev/gpu0) && echo opened; (: >/dev/gpu0); \
    touch /volume/x; touch /etc/x; echo 1 >/proc/sys/kernel/hostname; \
    cat /proc/1/cmdline | tr '\\0' ' '; ls /sys/fs/cgroup/cgroup.procs; wc -c </proc/version";

const ANSWERS: [&str; 12] = [
    "uid=65534(nobody)",
    "4400",
    "visible 0",
    "Seccomp:\t2",
    "CapEff:\t0000000000000000",
    "NoNewPrivs:\t1",
    "may not",
    "opened",
    "can't create /dev/gpu0: Operation not permitted",
    "touch: /volume/x: Read-only file system",
    "touch: /etc/x: Read-only file system",
    "sleep 1000 /sys/fs/cgroup/cgroup.procs\n0",
];

/// Seccomp, capabilities, users, devices and paths, by what a program may do.
fn confines(program: &str) {
    let Some(node) = node_with(&[program]) else {
        return;
    };
    let pod = run_pod(&node, name_of(program), "confined");
    let (file, device) = device(&node);
    let volume: PathBuf = node.work.join("volume");
    std::fs::create_dir(&volume).unwrap();
    let mut request = container("confined", &["sleep", "1000"]);
    request["CDI_devices"] = json!([{ "name": device }]);
    request["mounts"] = json!([
        { "container_path": "/volume", "host_path": volume, "readonly": true },
    ]);
    request["linux"]["security_context"] = json!({
        "namespace_options": { "pid": 1 },
        "run_as_username": "nobody",
        "supplemental_groups": [4400],
        "seccomp": { "profile_type": 0 },
        "no_new_privs": true,
        "masked_paths": ["/proc/version"],
        "readonly_paths": ["/proc/sys"],
        "readonly_rootfs": true,
    });
    let container = node.start_container(&pod, &request);
    let status = node.ask_json(&["inspect", &container]);
    assert_eq!(
        status["status"]["user"]["linux"]["uid"], "65534",
        "{status:#}"
    );
    let said = node.ask_inside(&container, QUESTIONS);
    for part in ANSWERS {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    // As root too the device's rule is for reading, and no other device is allowed.
    let mut maker = self::container("maker", &["sleep", "1000"]);
    maker["CDI_devices"] = json!([{ "name": device }]);
    let maker = node.start_container(&pod, &maker);
    let said = node.ask_inside(
        &maker,
        "(: >/dev/gpu0); mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg; echo end",
    );
    assert_eq!(said.matches("Operation not permitted").count(), 2, "{said}");
    std::fs::remove_file(&file).unwrap();
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_crun_confines_as_the_request_says() {
    confines(CRUN);
}

#[test]
fn root_runc_confines_as_the_request_says() {
    confines(RUNC);
}

fn has_terminals(program: &str) {
    let Some(node) = node_with(&[program]) else {
        return;
    };
    let pod = run_pod(&node, name_of(program), "terminals");
    let mut shell = container("shell", &["sh"]);
    shell["stdin"] = json!(true);
    shell["tty"] = json!(true);
    let shell = node.start_container(&pod, &shell);
    let mut attached = Terminal::run(node.on_terminal("crictl", &["attach", "-it", &shell]));
    attached.type_in("echo $((40+2)) on $(tty)\n");
    attached.wait_for("42 on /dev/");
    let mut exec = Terminal::run(node.on_terminal("crictl", &["exec", "-it", &shell, "sh"]));
    exec.type_in("echo $((50+3)) on $(tty)\n");
    exec.wait_for("53 on /dev/pts/");
    exec.resize(132, 43);
    wait_for("the new size", Duration::from_secs(20), || {
        exec.type_in("stty size\n");
        exec.said.lock().unwrap().contains("43 132").then_some(())
    });
    exec.type_in("exit 5\n");
    exec.wait_for("exit code 5");
    assert!(!exec.child.wait().unwrap().success());
    attached.type_in("exit 6\n");
    assert_eq!(node.wait_until_exited(&shell)["exitCode"], 6);
    attached.child.wait().unwrap();
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_terminals_work_under_crun() {
    has_terminals(CRUN);
}

#[test]
fn root_terminals_work_under_runc() {
    has_terminals(RUNC);
}

#[test]
fn root_what_another_runtime_cannot_do_is_refused_with_its_name() {
    let Some(node) = node_with(&[CRUN, RUNC]) else {
        return;
    };
    let info = node.ask_json(&["info"]);
    let named = |name: &str| {
        let handlers = info["runtimeHandlers"].as_array().unwrap().iter();
        let mut found = handlers.filter(|handler| handler["name"].as_str().unwrap_or("") == name);
        found
            .next()
            .unwrap_or_else(|| panic!("no {name:?} in {info:#}"))["features"]
            .clone()
    };
    assert_eq!(named(""), named("carpel"));
    assert_eq!(named("")["recursive_read_only_mounts"], true);
    assert_eq!(named("runc")["recursive_read_only_mounts"], true);
    assert_ne!(named("runc")["user_namespaces"], true);
    assert_ne!(named("crun")["user_namespaces"], true);

    let file = node.write_request(&pod("unknown"));
    node.is_refused(
        &["runp", "--runtime", "kata", &file],
        &["InvalidArgument"],
        &["runtime_handler", "kata"],
    );
    node.tell(&["pull", BUSYBOX]);
    for handler in ["crun", "runc"] {
        let pod = run_pod(&node, handler, handler);
        for (field, mount) in [
            (
                "mounts[0].image",
                json!({ "container_path": "/i", "image": { "image": BUSYBOX }, "readonly": true }),
            ),
            (
                "mounts[0].propagation",
                json!({ "container_path": "/m", "host_path": "/tmp", "propagation": 2 }),
            ),
        ] {
            let mut request = container("refused", &["true"]);
            request["mounts"] = json!([mount]);
            let file = node.write_request(&request);
            node.is_refused(
                &["create", &pod.0, &file, &pod.1],
                &["Unimplemented"],
                &[field, "runtime handler"],
            );
        }
        // What the runtime itself says of a container that cannot be.
        let file = node.write_request(&container("missing", &["/no/such/program"]));
        node.is_refused(
            &["create", &pod.0, &file, &pod.1],
            &["InvalidArgument"],
            &[&format!("{handler} create"), "/no/such/program"],
        );
        assert_eq!(node.ask(&["ps", "--all", "--quiet"]), "");
        node.remove_pod(&pod);
    }
    node.finish();
}
