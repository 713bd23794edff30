//! `carpel ps`, `inspect`, `exec`, `attach`, `logs`, `port-forward`, `events` and `stats` against a daemon, on a real
//! terminal where it matters.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use carpel_integration::node::Node;
use carpel_integration::request::{container, pod};
use carpel_integration::terminal::Terminal;
use carpel_integration::wait::wait_for;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

fn carpel(node: &Node, arguments: &[&str]) -> Command {
    let mut command = node.command(node.variable("NODE_CARPEL"));
    command.args(arguments).env("CARPEL_SOCKET", &node.socket);
    command
}

fn output(node: &Node, arguments: &[&str]) -> Output {
    carpel(node, arguments).output().unwrap()
}

/// What it prints, if it succeeds.
fn said(node: &Node, arguments: &[&str]) -> String {
    let output = output(node, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn parsed(node: &Node, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(node, arguments)).unwrap()
}

fn terminal(node: &Node, arguments: &[&str]) -> Terminal {
    let mut command = node.on_terminal(node.variable("NODE_CARPEL"), arguments);
    command.env("CARPEL_SOCKET", &node.socket);
    Terminal::run(command)
}

fn running(node: &Node, name: &str, script: &str) -> ((String, String), String) {
    let pod = node.run_pod(pod(name));
    let container = node.start_container(&pod, &container(name, &["sh", "-c", script]));
    (pod, container)
}

fn descriptors(node: &Node) -> usize {
    let daemon = node.proc().join(node.daemon_pid().to_string());
    std::fs::read_dir(daemon.join("fd")).unwrap().count()
}

#[test]
fn root_what_runs_is_listed_and_told_by_name_id_and_prefix() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let (front, web) = running(&node, "front", "exec sleep 100000");
    let (back, done) = running(&node, "back", "echo hello; exit 3");
    node.wait_until_exited(&done);

    let table = said(&node, &["ps"]);
    assert!(
        table.contains("front") && !table.contains("back"),
        "{table}"
    );
    assert_eq!(said(&node, &["ps", "-q"]).trim(), web);
    let all = parsed(&node, &["ps", "--all", "--output", "json"]);
    assert_eq!(all.as_array().unwrap().len(), 2);
    let exited = parsed(&node, &["ps", "--state", "exited", "-o", "json"]);
    assert_eq!(exited[0]["id"], json!(done));
    assert_eq!(exited[0]["pod_name"], "back");
    assert_eq!(
        said(&node, &["ps", "-a", "-q", "--pod", "back"]).trim(),
        done
    );
    let yaml = said(&node, &["ps", "--label", "container=front", "-o", "yaml"]);
    assert!(yaml.contains("name: front\n"), "{yaml}");
    let pods = parsed(&node, &["pods", "--name", "fr", "-o", "json"]);
    assert_eq!(pods[0]["id"], json!(front.0));
    let wide = said(&node, &["pods", "-o", "wide", "--no-trunc"]);
    assert!(
        wide.contains(&back.0) && wide.contains("uid-back"),
        "{wide}"
    );

    // A name that is a pod's and its container's must be told apart.
    let refused = output(&node, &["inspect", "front"]);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(why.contains(&web) && why.contains(&front.0), "{why}");
    let told = parsed(&node, &["inspect", "--type", "container", "front"]);
    assert_eq!(told[0]["state"], "running");
    assert!(told[0]["info"]["pid"].as_i64().unwrap() > 0);
    let told = parsed(&node, &["inspect", &done[..12], &back.0[..12]]);
    assert_eq!(told[0]["exit_code"], 3);
    assert_eq!(told[1]["kind"], "pod");
    assert_eq!(told[1]["containers"][0]["state"], "exited");
    assert!(!output(&node, &["inspect", "nothing"]).status.success());
    for pod in [&front, &back] {
        node.remove_pod(pod);
    }
    node.finish();
}

#[test]
fn root_exec_passes_streams_and_exit_code_on() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let (pod, id) = running(&node, "exec", "exec sleep 100000");
    let input = "a line of input\n".repeat(50_000);
    let arguments = [
        "exec",
        "-i",
        "exec",
        "sh",
        "-c",
        "cat; echo aside >&2; exit 7",
    ];
    let mut child = carpel(&node, &arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = input.clone().into_bytes();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let result = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(String::from_utf8(result.stdout).unwrap(), input);
    assert_eq!(String::from_utf8(result.stderr).unwrap(), "aside\n");
    assert_eq!(result.status.code(), Some(7));

    // Without -i there is no input; a signal is 128 and its number; what cannot be started is told.
    assert_eq!(said(&node, &["exec", &id[..10], "cat"]), "");
    let killed = output(&node, &["exec", "exec/exec", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.status.code(), Some(137));
    let missing = output(&node, &["exec", &id, "/no/such"]);
    let why = String::from_utf8(missing.stderr).unwrap();
    assert!(
        !missing.status.success() && why.contains("/no/such"),
        "{why}"
    );

    let sync = [
        "exec",
        "--sync",
        "--output",
        "json",
        &id,
        "sh",
        "-c",
        "echo x; exit 5",
    ];
    let result = output(&node, &sync);
    assert_eq!(result.status.code(), Some(5));
    let told: Value = serde_json::from_slice(&result.stdout).unwrap();
    assert_eq!(
        (&told["stdout"], &told["exit_code"]),
        (&json!("x\n"), &json!(5))
    );
    let late = output(
        &node,
        &["exec", "-s", "--timeout", "1s", &id, "sleep", "1000"],
    );
    let why = String::from_utf8(late.stderr).unwrap();
    assert!(
        !late.status.success() && why.contains("DeadlineExceeded"),
        "{why}"
    );
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_a_terminal_is_followed_and_put_right_afterwards() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let (pod, id) = running(&node, "tty", "exec sleep 100000");
    let mut shell = terminal(&node, &["exec", "-it", "tty", "sh"]);
    shell.type_in("echo $((40+2)) on $(tty)\n");
    shell.wait_for("42 on /dev/pts/");
    assert!(shell.is_raw());
    shell.resize(132, 43);
    wait_for("the size", DEADLINE, || {
        shell.type_in("stty size\n");
        shell.said.lock().unwrap().contains("43 132").then_some(())
    });
    // Ctrl-C is the command's, not this program's.
    shell.type_in(
        "trap 'echo inter''rupted; exit 5' INT; echo re''ady; while :; do sleep 1; done\n",
    );
    shell.wait_for("ready\r\n");
    shell.type_in("\u{3}");
    shell.wait_for("interrupted");
    assert_eq!(shell.child.wait().unwrap().code(), Some(5));
    assert!(!shell.is_raw());

    // One that is ended from outside leaves the terminal as it was, too.
    let before = node.processes();
    let mut shell = terminal(&node, &["exec", "-it", &id, "sh"]);
    shell.type_in("echo $((40+3))\n");
    shell.wait_for("43");
    assert!(shell.is_raw());
    let processes = node.processes();
    let mut new = processes
        .iter()
        .filter(|(pid, _)| !before.contains_key(pid));
    let program = std::path::Path::new(node.variable("NODE_CARPEL"));
    let program = program.file_name().unwrap().to_str().unwrap();
    // The kernel keeps 15 bytes of a name.
    let is_client = |name: &str| program.starts_with(name);
    let (client, _) = new.find(|(_, name)| is_client(name)).unwrap();
    node.signal("TERM", *client);
    shell.child.wait().unwrap();
    assert!(!shell.is_raw());
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_one_attaches_and_detaches() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("attach"));
    let mut request = container("attach", &["sh"]);
    (request["stdin"], request["tty"]) = (json!(true), json!(true));
    let id = node.start_container(&pod, &request);
    let mut attached = terminal(&node, &["attach", "attach"]);
    attached.type_in("echo $((40+2))\n");
    attached.wait_for("42");
    attached.type_in("\u{10}\u{11}");
    attached.wait_for("detached");
    assert!(attached.child.wait().unwrap().success());
    assert!(!attached.is_raw());
    // The container has seen nothing of it.
    let mut again = terminal(&node, &["attach", &id]);
    again.type_in("echo $((40+3)); exit\n");
    again.wait_for("43");
    assert!(again.child.wait().unwrap().success());
    node.wait_until_exited(&id);
    node.remove_pod(&pod);
    node.finish();
}

/// Puts the log of a container aside, as the kubelet does. False if the container has ended meanwhile.
fn rotate(node: &Node, name: &str, id: &str, number: usize) -> bool {
    let log = node
        .work
        .join("logs")
        .join(name)
        .join(format!("{name}.log"));
    let aside = log.with_extension(format!("log.20260102-{number:06}"));
    std::fs::rename(&log, aside).unwrap();
    let mut reopen = node.command("crictl");
    let reopened = reopen.args(["logs", "-r", id]).output().unwrap();
    let is_running = said(node, &["ps", "-q"]).trim() == id;
    assert!(reopened.status.success() || !is_running, "{reopened:?}");
    reopened.status.success()
}

#[test]
fn root_logs_are_whole_and_followed_through_rotations_under_full_load() {
    const LINES: u64 = 4_000_000;
    let Some(node) = Node::start_carpel() else {
        return;
    };
    // It begins when the follower is there.
    let script = format!("while ! [ -e /go ]; do sleep 0.1; done; seq 1 {LINES}; echo the end >&2");
    let (pod, id) = running(&node, "load", &script);
    let mut follower = carpel(&node, &["logs", "--follow", "load"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let counting = std::thread::spawn(move || {
        let mut expected = 0_u64;
        for line in lines {
            expected += 1;
            assert_eq!(line.unwrap(), expected.to_string());
        }
        expected
    });
    said(&node, &["exec", "load", "touch", "/go"]);
    let mut rotations = 1;
    while rotate(&node, "load", &id, rotations) {
        rotations += 1;
    }
    // The follower ends by itself, with the container.
    assert_eq!(counting.join().unwrap(), LINES);
    assert!(follower.wait().unwrap().success());
    println!("{rotations} rotations of {LINES} lines");

    let mut reader = carpel(&node, &["logs", &id])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut expected = 0_u64;
    for line in BufReader::new(reader.stdout.take().unwrap()).lines() {
        expected += 1;
        assert_eq!(line.unwrap(), expected.to_string());
    }
    assert_eq!(expected, LINES);
    reader.wait().unwrap();

    let last = output(&node, &["logs", "--tail", "2", "--timestamps", "load"]);
    let stdout = String::from_utf8(last.stdout).unwrap();
    assert!(
        stdout.starts_with("20") && stdout.ends_with(&format!("Z {LINES}\n")),
        "{stdout}"
    );
    assert!(
        String::from_utf8(last.stderr)
            .unwrap()
            .ends_with("Z the end\n")
    );
    assert_eq!(
        said(&node, &["logs", "--since", "2100-01-01T00:00:00Z", "load"]),
        ""
    );
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_the_previous_container_of_the_name_is_found() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("again"));
    for attempt in [0, 1] {
        let mut request = container("again", &["sh", "-c", &format!("echo attempt {attempt}")]);
        request["metadata"]["attempt"] = json!(attempt);
        request["log_path"] = json!(format!("{attempt}.log"));
        let id = node.start_container(&pod, &request);
        node.wait_until_exited(&id);
    }
    assert_eq!(said(&node, &["logs", "again"]), "attempt 1\n");
    assert_eq!(said(&node, &["logs", "--previous", "again"]), "attempt 0\n");
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_forwarded_ports_answer_and_leave_nothing() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("forward"));
    let serve = ["httpd", "-f", "-p", "8080", "-h", "/etc"];
    node.start_container(&pod, &container("forward", &serve));
    let before = descriptors(&node);
    let mut child = node
        .command("setpriv")
        .args(["--pdeathsig", "KILL", node.variable("NODE_CARPEL")])
        .args(["port-forward", "forward", ":8080", ":9999"])
        .env("CARPEL_SOCKET", &node.socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut port = || -> u16 {
        let line = lines.next().unwrap().unwrap();
        let (_, rest) = line.split_once("127.0.0.1:").unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    let (web, nobody) = (port(), port());
    let ask = |port: u16, count: usize| -> usize {
        let script = format!(
            "trap '' PIPE; n=0; for i in $(seq {count}); do exec 3<>/dev/tcp/127.0.0.1/{port} || continue
               printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' >&3
               grep -q forward <&3 && n=$((n+1)); exec 3>&-; done; echo $n"
        );
        let output = node.command("bash").args(["-c", &script]).output().unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    };
    assert_eq!(ask(web, 300), 300);
    assert_eq!(ask(nobody, 1), 0);
    assert_eq!(ask(web, 1), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut why = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut why)
        .unwrap();
    assert!(why.contains("error forwarding port 9999 to pod"), "{why}");
    wait_for("the daemon to give everything back", DEADLINE, || {
        (descriptors(&node) <= before).then_some(())
    });
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_a_full_disk_blocks_nobody_and_the_lost_lines_are_told_while_it_runs() {
    const LINES: u64 = 100_000;
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let logs = node.work.join("logs/full");
    std::fs::create_dir_all(&logs).unwrap();
    let mount = |options: &str| {
        let mut command = node.command("mount");
        command
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&logs);
        assert!(command.status().unwrap().success(), "mount {options}");
    };
    mount("size=64k");
    let script = format!("seq 1 {LINES}; touch /done; exec sleep 100000");
    let (pod, id) = running(&node, "full", &script);
    wait_for("the container, which nothing blocks", DEADLINE, || {
        let there = output(&node, &["exec", "-s", "full", "test", "-e", "/done"]);
        there.status.success().then_some(())
    });
    let told =
        || parsed(&node, &["inspect", "--type", "container", "full"])[0]["info"]["log"].clone();
    let written = said(&node, &["logs", "full"]).lines().count();
    let expected = LINES - u64::try_from(written).unwrap();
    wait_for("the number of the lost lines", DEADLINE, || {
        (told()["lostLines"] == json!(expected)).then_some(())
    });
    let why = told()["error"].clone();
    assert!(why.as_str().unwrap().contains("No space left"), "{why}");

    // When there is room again, the log goes on.
    mount("remount,size=10m");
    said(
        &node,
        &["exec", "full", "sh", "-c", "echo room again >/proc/1/fd/1"],
    );
    wait_for("the log to go on", DEADLINE, || {
        (said(&node, &["logs", "--tail", "1", &id]) == "room again\n").then_some(())
    });
    wait_for("the trouble to be over", DEADLINE, || {
        told()["error"].is_null().then_some(())
    });
    assert!(node.daemon_log().contains("the log cannot be written"));
    node.remove_pod(&pod);
    let unmounted = node.command("umount").arg(&logs).status().unwrap();
    assert!(unmounted.success());
    node.finish();
}

#[test]
fn root_events_are_told_as_they_happen_and_stats_show_who_is_busy() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let mut listener = carpel(&node, &["events", "--output", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(listener.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&told.next().unwrap().unwrap()).unwrap() };
    // What happens before it listens is not told: pods come and go until one is heard of.
    let heard = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !heard.load(std::sync::atomic::Ordering::Relaxed) {
                let first = node.run_pod(pod("first"));
                node.remove_pod(&first);
            }
        });
        assert_eq!(next()["sandbox"]["name"], "first");
        heard.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let (busy, id) = running(&node, "busy", "while :; do :; done");
    let mut of_container = || loop {
        let event = next();
        if event["id"] == json!(id) {
            return event;
        }
    };
    assert_eq!(of_container()["kind"], "created");
    let started = of_container();
    assert_eq!(started["kind"], "started");
    assert_eq!(started["containers"][0]["state"], "running");

    let (idle, _) = running(&node, "idle", "exec sleep 100000");
    wait_for("processor time", DEADLINE, || {
        let stats = parsed(&node, &["stats", "--output", "json"]);
        assert_eq!(stats.as_array().unwrap().len(), 2);
        // The busiest is the first.
        (stats[0]["id"] == json!(id) && stats[0]["cpu_nano_cores"].as_u64() > Some(50_000_000))
            .then_some(())
    });
    let table = said(&node, &["stats", "idle"]);
    assert!(table.contains("idle") && !table.contains("busy"), "{table}");
    assert_eq!(table.lines().count(), 2, "{table}");
    // On a terminal the table is shown again and again, until Ctrl-C.
    let mut live = terminal(&node, &["stats", "--interval", "100ms"]);
    wait_for("a second look", DEADLINE, || {
        let said = live.said.lock().unwrap();
        (said.matches("CONTAINER").count() > 1).then_some(())
    });
    live.type_in("\u{3}");
    assert!(!live.child.wait().unwrap().success());

    node.remove_pod(&busy);
    let stopped = of_container();
    assert_eq!(stopped["kind"], "stopped");
    assert_eq!(stopped["containers"][0]["exit_code"], 137);
    listener.kill().unwrap();
    listener.wait().unwrap();
    node.remove_pod(&idle);
    node.finish();
}
