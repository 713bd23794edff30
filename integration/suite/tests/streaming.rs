//! Exec, attach and port-forward by the real crictl, over SPDY and over WebSocket, and on a real terminal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use carpel_integration::node::Node;
use carpel_integration::request::{container, pod};
use carpel_integration::terminal::Terminal;
use carpel_integration::wait::{try_for, wait_for};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(30);

const TRANSPORTS: [&str; 2] = ["spdy", "websocket"];

/// Runs crictl with this input to its end.
fn crictl_with(node: &Node, arguments: &[&str], input: &[u8]) -> Output {
    let mut crictl = node
        .command("crictl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = crictl.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = crictl.wait_with_output().unwrap();
    // A command that does not read its input closes it.
    drop(writer.join().unwrap());
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What follows dies with the command that is given back, which is not it itself but has entered the node for it.
fn killable(node: &Node) -> Command {
    let mut command = node.command("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    command
}

/// crictl as the foreground program of a terminal of its own.
fn on_terminal(node: &Node, arguments: &[&str]) -> Command {
    node.on_terminal("crictl", arguments)
}

/// Descriptors and threads of the daemon: what it must not keep.
fn holdings(node: &Node) -> (usize, usize) {
    let daemon = node.proc().join(node.daemon_pid().to_string());
    let count = |name: &str| std::fs::read_dir(daemon.join(name)).unwrap().count();
    (count("fd"), count("task"))
}

fn running(node: &Node, name: &str) -> ((String, String), String) {
    let pod = node.run_pod(pod(name));
    let container = node.start_container(&pod, &container(name, &["sleep", "100000"]));
    (pod, container)
}

#[test]
fn root_exec_passes_input_both_outputs_and_the_exit_code() {
    let Some(node) = Node::start() else { return };
    let (pod, id) = running(&node, "exec");
    let input = "a line of input\n".repeat(50_000);
    for transport in TRANSPORTS {
        let script = "cat; echo to stderr >&2; exit 7";
        let arguments = ["exec", "-i", "-r", transport, &id, "sh", "-c", script];
        let output = crictl_with(&node, &arguments, input.as_bytes());
        assert_eq!(text(&output.stdout), input, "{transport}");
        let said = text(&output.stderr);
        assert!(said.contains("to stderr"), "{transport}: {said}");
        assert!(said.contains("exit code 7"), "{transport}: {said}");
        assert!(!output.status.success(), "{transport}");
        // Without -i the input is empty; a missing program is told.
        let output = crictl_with(&node, &["exec", "-r", transport, &id, "cat"], b"ignored");
        assert!(
            output.status.success() && output.stdout.is_empty(),
            "{transport}"
        );
        let output = crictl_with(&node, &["exec", "-r", transport, &id, "/no/such"], b"");
        assert!(
            text(&output.stderr).contains("/no/such"),
            "{transport}: {output:?}"
        );
        // A grandchild that keeps the pipes does not keep the client.
        let arguments = [
            "exec",
            "-r",
            transport,
            &id,
            "sh",
            "-c",
            "sleep 100 & echo done",
        ];
        let output = crictl_with(&node, &arguments, b"");
        assert_eq!(text(&output.stdout), "done\n", "{transport}");
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_exec_on_a_terminal_follows_its_size_and_its_interrupts() {
    let Some(node) = Node::start() else { return };
    let (pod, id) = running(&node, "tty");
    for transport in TRANSPORTS {
        let arguments = ["exec", "-it", "-r", transport, &id, "sh"];
        let mut terminal = Terminal::run(on_terminal(&node, &arguments));
        terminal.type_in("echo $((40+2)) on $(tty)\n");
        terminal.wait_for("42 on /dev/pts/");
        terminal.resize(132, 43);
        wait_for("the size", DEADLINE, || {
            terminal.master.write_all(b"stty size\n").unwrap();
            terminal
                .said
                .lock()
                .unwrap()
                .contains("43 132")
                .then_some(())
        });
        // Told ready when the trap is set; whatever the interrupt meets then, the shell ends.
        terminal.type_in(
            "trap 'echo inter''rupted; exit 5' INT; echo re''ady; while :; do sleep 1; done\n",
        );
        terminal.wait_for("ready\r\n");
        terminal.type_in("\u{3}");
        terminal.wait_for("interrupted");
        terminal.wait_for("exit code 5");
        assert!(!terminal.child.wait().unwrap().success());
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_a_client_that_is_killed_hangs_up_its_terminal() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let (pod, id) = running(&node, "hangup");
    let before = node.processes();
    let arguments = ["exec", "-it", &id, "sleep", "4321"];
    let mut terminal = Terminal::run(on_terminal(&node, &arguments));
    let sleeping = || {
        let new = node.processes().into_iter();
        new.filter(|(pid, name)| name == "sleep" && !before.contains_key(pid))
            .count()
    };
    wait_for("the command", DEADLINE, || (sleeping() == 1).then_some(()));
    // SIGHUP of its terminal ends crictl.
    let processes = node.processes();
    let (crictl, _) = processes
        .iter()
        .find(|(_, name)| *name == "crictl")
        .unwrap();
    node.signal("KILL", *crictl);
    terminal.child.wait().unwrap();
    wait_for("the hang-up", DEADLINE, || (sleeping() == 0).then_some(()));
    node.remove_pod(&pod);
    node.finish();
}

/// A container that repeats its input.
fn echoing(name: &str, changes: &[(&str, bool)]) -> serde_json::Value {
    let line =
        "echo up; while read line; do echo got $line; done; echo end of input; exec sleep 100000";
    let mut request = container(name, &["sh", "-c", line]);
    for (field, value) in changes {
        request[*field] = json!(value);
    }
    request
}

/// An attached crictl, line by line.
struct Attached {
    child: Child,
    stdin: Option<std::process::ChildStdin>,
    lines: BufReader<std::process::ChildStdout>,
}

impl Attached {
    fn start(node: &Node, transport: &str, id: &str) -> Self {
        let mut child = killable(node)
            .args(["crictl", "attach", "-i", "-r", transport, id])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            lines: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Sends a line, which comes back.
    fn exchange(&mut self, word: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{word}\n").as_bytes()).unwrap();
        self.expect(&format!("got {word}"));
    }

    fn expect(&mut self, wanted: &str) {
        let mut line = String::new();
        while line.trim_end() != wanted {
            line.clear();
            assert!(
                self.lines.read_line(&mut line).unwrap() > 0,
                "no {wanted:?}"
            );
        }
    }

    fn detach(mut self) {
        self.stdin = None;
        self.child.wait().unwrap();
    }
}

#[test]
fn root_attach_shares_the_streams_of_a_container_also_after_a_restart() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("attach"));
    let id = node.start_container(&pod, &echoing("attach", &[("stdin", true)]));
    for transport in TRANSPORTS {
        let mut one = Attached::start(&node, transport, &id);
        one.exchange("first");
        let mut other = Attached::start(&node, transport, &id);
        other.exchange("second");
        one.expect("got second");
        other.detach();
        one.exchange("third");
        one.detach();
    }
    node.kill_daemon();
    node.start_daemon();
    let mut after = Attached::start(&node, "spdy", &id);
    after.exchange("after the restart");
    after.detach();
    let log = node.ask(&["logs", &id]);
    assert_eq!(log.matches("got first").count(), 2, "{log}");
    assert!(!log.contains("end of input"), "{log}");
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_stdin_once_ends_the_input_with_its_first_client() {
    let Some(node) = Node::start() else { return };
    let pod = node.run_pod(pod("once"));
    let request = echoing("once", &[("stdin", true), ("stdin_once", true)]);
    let id = node.start_container(&pod, &request);
    let mut client = Attached::start(&node, "spdy", &id);
    client.exchange("only");
    client.stdin = None;
    client.expect("end of input");
    node.tell(&["stop", "--timeout", "0", &id]);
    client.child.wait().unwrap();
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_attach_to_a_terminal_types_into_it() {
    let Some(node) = Node::start() else { return };
    let pod = node.run_pod(pod("attach-tty"));
    let mut request = container("attach-tty", &["sh"]);
    (request["stdin"], request["tty"]) = (json!(true), json!(true));
    let id = node.start_container(&pod, &request);
    let mut terminal = Terminal::run(on_terminal(&node, &["attach", "-it", &id]));
    terminal.resize(101, 37);
    wait_for("the size", DEADLINE, || {
        terminal.master.write_all(b"stty size\n").unwrap();
        terminal
            .said
            .lock()
            .unwrap()
            .contains("37 101")
            .then_some(())
    });
    terminal.type_in("echo $((40+2)); exit\n");
    terminal.wait_for("42");
    terminal.child.wait().unwrap();
    node.wait_until_exited(&id);
    node.remove_pod(&pod);
    node.finish();
}

/// A crictl that forwards a port of a pod; the local port.
struct Forwarded {
    child: Child,
    port: u16,
}

impl Forwarded {
    fn start(node: &Node, transport: &str, pod: &str, port: u16) -> Self {
        let mut child = killable(node)
            .args(["crictl", "port-forward", "-r", transport, pod])
            .arg(format!(":{port}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let local = loop {
            let line = lines.next().expect("crictl forwards").unwrap();
            if let Some(rest) = line.strip_prefix("Forwarding from 127.0.0.1:") {
                break rest.split(' ').next().unwrap().parse().unwrap();
            }
        };
        // Its lines are read on, or it would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port: local }
    }

    /// Asks the web server behind it `count` times; how often it answered.
    fn ask(&self, node: &Node, count: usize) -> usize {
        let script = format!(
            "n=0; for i in $(seq {count}); do
               exec 3<>/dev/tcp/127.0.0.1/{} || continue
               printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' >&3
               grep -q forward <&3 && n=$((n+1)); exec 3>&-
             done; echo $n",
            self.port
        );
        let output = node.command("bash").args(["-c", &script]).output().unwrap();
        text(&output.stdout).trim().parse().unwrap()
    }

    fn stop(mut self) -> String {
        self.child.kill().unwrap();
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        self.child.wait().unwrap();
        said
    }
}

#[test]
fn root_a_thousand_forwards_leave_nothing_behind() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("forward"));
    let serve = ["httpd", "-f", "-p", "8080", "-h", "/etc"];
    node.start_container(&pod, &container("forward", &serve));
    // The first ones make what is kept.
    for transport in TRANSPORTS {
        let forwarded = Forwarded::start(&node, transport, &pod.0, 8080);
        assert_eq!(forwarded.ask(&node, 5), 5, "{transport}");
        forwarded.stop();
    }
    let before = holdings(&node);
    for (transport, count) in [("spdy", 1000), ("websocket", 200)] {
        let forwarded = Forwarded::start(&node, transport, &pod.0, 8080);
        assert_eq!(forwarded.ask(&node, count), count, "{transport}");
        forwarded.stop();
    }
    wait_for("the daemon to give everything back", DEADLINE, || {
        let now = holdings(&node);
        (now.0 <= before.0 && now.1 <= before.1).then_some(())
    });
    // Nobody listens there: told, and the other forwards go on.
    let forwarded = Forwarded::start(&node, "spdy", &pod.0, 9999);
    assert_eq!(forwarded.ask(&node, 1), 0);
    let said = forwarded.stop();
    assert!(said.contains("error forwarding port 9999 to pod"), "{said}");

    node.tell(&["stopp", &pod.0]);
    let arguments = ["port-forward", &pod.0, ":8080"];
    node.is_refused(&arguments, &["FailedPrecondition"], &["is not running"]);
    node.tell(&["rmp", &pod.0]);
    node.finish();
}

#[test]
fn root_ports_of_the_hosts_network_are_forwarded() {
    let Some(node) = Node::start() else { return };
    let mut request = pod("forward-host");
    // NamespaceMode NODE.
    request["linux"]["security_context"]["namespace_options"]["network"] = json!(2);
    let pod = node.run_pod(request);
    let serve = [
        "sh",
        "-c",
        "mkdir /www; echo forward >/www/hostname; httpd -f -p 8765 -h /www",
    ];
    node.start_container(&pod, &container("forward-host", &serve));
    let forwarded = Forwarded::start(&node, "spdy", &pod.0, 8765);
    wait_for("the answer", DEADLINE, || {
        (forwarded.ask(&node, 1) == 1).then_some(())
    });
    forwarded.stop();
    node.remove_pod(&pod);
    node.finish();
}

/// How many descriptors the log writers have: one or two more for each attached client.
fn writer_descriptors(node: &Node) -> usize {
    let of = |pid: &u32| std::fs::read_dir(node.proc().join(pid.to_string()).join("fd"));
    let processes = node.processes();
    let writers = processes
        .iter()
        .filter(|(_, name)| name.as_str() == "carpel-log");
    writers
        .map(|(pid, _)| of(pid).map_or(0, Iterator::count))
        .sum()
}

/// Execs and attachments one after the other: no process, zombie, descriptor or thread stays.
#[test]
fn root_execs_and_attachments_leave_nothing_behind() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let (pod, id) = running(&node, "soak");
    let round = |count: usize| {
        for number in 0..count {
            let transport = TRANSPORTS[number % 2];
            let arguments = ["exec", "-i", "-r", transport, &id, "cat"];
            assert_eq!(crictl_with(&node, &arguments, b"x").stdout, b"x");
            // Only one that is attached has been told to die with its parent.
            let idle = writer_descriptors(&node);
            let mut attached = Attached::start(&node, transport, &id);
            wait_for("a client to be attached", DEADLINE, || {
                (writer_descriptors(&node) > idle).then_some(())
            });
            attached.stdin = None;
            attached.child.kill().unwrap();
            attached.child.wait().unwrap();
            wait_for("the client to be detached", DEADLINE, || {
                (writer_descriptors(&node) <= idle).then_some(())
            });
        }
    };
    round(4);
    let held = |node: &Node| {
        let daemon = node.daemon_pid();
        let mut held: BTreeMap<String, usize> = BTreeMap::new();
        for (pid, name) in node.processes() {
            let path = node.proc().join(pid.to_string()).join("fd");
            let descriptors = std::fs::read_dir(path).map_or(0, Iterator::count);
            // The daemon's are counted below: its threads come and go.
            held.insert(
                format!("{name} {pid}"),
                if pid == daemon { 0 } else { descriptors },
            );
        }
        held
    };
    // A client that was killed above takes a moment to go.
    let clients = || node.processes().into_values().any(|name| name == "crictl");
    wait_for("the last client's end", DEADLINE, || {
        (!clients()).then_some(())
    });
    let (before, expected) = (holdings(&node), held(&node));
    round(40);
    let mut last = String::new();
    let is_back = try_for(DEADLINE, || {
        let (now, held) = (holdings(&node), held(&node));
        last = format!("{before:?} became {now:?}, {expected:#?} became {held:#?}");
        (now.0 <= before.0 && now.1 <= before.1 && held == expected).then_some(())
    });
    assert!(is_back.is_some(), "{last}");
    node.remove_pod(&pod);
    node.finish();
}
