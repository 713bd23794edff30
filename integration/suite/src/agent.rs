//! The agent of Kubernetes manifests in a node: inside Carpel's daemon, or alone (`carpel agent`) on containerd; and the
//! command line that talks to it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Child;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::node::Node;
use crate::node::Runtime;
use crate::wait::wait_for;

/// How long a pod may take to get into a state.
const DEADLINE: Duration = Duration::from_secs(60);

/// An agent in a node. Dropping it kills it, if it runs alone.
#[derive(Debug)]
pub struct Agent<'a> {
    node: &'a Node,
    alone: Option<Child>,
    socket: PathBuf,
}

impl<'a> Agent<'a> {
    /// The one of the node's daemon, or one of its own for another runtime. Prints `SKIP` if Carpel is not built.
    #[must_use]
    pub fn start(node: &'a Node) -> Option<Self> {
        let carpel = node.variable("NODE_CARPEL");
        if !std::path::Path::new(carpel).exists() {
            println!("SKIP {carpel} is missing: make build");
            return None;
        }
        let mut agent = Self {
            node,
            alone: None,
            socket: match node.runtime {
                Runtime::Carpel => {
                    PathBuf::from(node.variable("NODE_RUN")).join("carpel/agent.sock")
                }
                Runtime::Containerd => node.work.join("run/agent.sock"),
            },
        };
        if node.runtime == Runtime::Containerd {
            agent.start_alone();
        }
        agent.wait_until_it_answers();
        Some(agent)
    }

    fn start_alone(&mut self) {
        let work = self.node.work.display();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.node.work.join("agent.log"))
            .unwrap();
        // `nsenter` stays its parent: it is known by the pid that it has in the node.
        let script = r#"echo $$ >"$NODE_WORK/agent.pid"; exec "$@""#;
        let process = self
            .node
            .command("sh")
            .args(["-c", script, "sh", self.node.variable("NODE_CARPEL")])
            .args(["agent", "--runtime-endpoint"])
            .arg(&self.node.socket)
            .arg(format!("--directory={work}/agent"))
            .arg(format!("--logs-directory={work}/pod-logs"))
            .arg("--agent-socket")
            .arg(&self.socket)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.alone = Some(process);
    }

    fn wait_until_it_answers(&self) {
        wait_for("the agent's answer", DEADLINE, || {
            let output = self.run(&["get", "pods"]);
            output.status.success().then_some(())
        });
    }

    /// Kills the agent with SIGKILL, with the daemon that it is in, and starts it again.
    pub fn kill_and_start(&mut self) {
        if self.alone.is_some() {
            self.kill_alone();
            self.start_alone();
        } else {
            self.node.kill_daemon();
            self.node.start_daemon();
        }
        self.wait_until_it_answers();
    }

    /// Kills the agent that runs alone, if one does.
    fn kill_alone(&mut self) {
        let Some(mut process) = self.alone.take() else {
            return;
        };
        let pid = std::fs::read_to_string(self.node.work.join("agent.pid"));
        if let Some(pid) = pid.ok().and_then(|pid| pid.trim().parse().ok()) {
            self.node.signal("KILL", pid);
        }
        process.wait().unwrap();
    }

    /// Where events are kept over a restart.
    #[must_use]
    pub fn events_file(&self) -> PathBuf {
        self.socket.with_extension("events")
    }

    /// Runs `carpel`, whatever it says.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Output {
        self.node
            .command(self.node.variable("NODE_CARPEL"))
            .env("CARPEL_AGENT_SOCKET", &self.socket)
            .env("CARPEL_SOCKET", &self.node.socket)
            .args(words)
            .output()
            .unwrap()
    }

    /// Runs `carpel` with its standard output in a pipe, and does not wait for its end.
    #[must_use]
    pub fn spawn(&self, words: &[&str]) -> Child {
        self.node
            .command(self.node.variable("NODE_CARPEL"))
            .env("CARPEL_AGENT_SOCKET", &self.socket)
            .env("CARPEL_SOCKET", &self.node.socket)
            .args(words)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs `carpel`, which must succeed, and gives its standard output.
    #[must_use]
    pub fn ask(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(
            output.status.success(),
            "carpel {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `carpel`, which must succeed, for its effect.
    pub fn tell(&self, words: &[&str]) {
        drop(self.ask(words));
    }

    /// Applies a manifest, which must succeed; what was said.
    pub fn apply(&self, manifest: &str) -> String {
        let output = self.try_apply(manifest);
        assert!(
            output.status.success(),
            "apply: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Applies a manifest, whatever it says.
    #[must_use]
    pub fn try_apply(&self, manifest: &str) -> Output {
        let mut process = self
            .node
            .command(self.node.variable("NODE_CARPEL"))
            .env("CARPEL_AGENT_SOCKET", &self.socket)
            .args(["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = process.stdin.take().unwrap();
        stdin.write_all(manifest.as_bytes()).unwrap();
        drop(stdin);
        process.wait_with_output().unwrap()
    }

    /// A pod, if it is there.
    #[must_use]
    pub fn pod(&self, name: &str) -> Option<Value> {
        let output = self.run(&["get", "pod", name, "-o", "json"]);
        let text = output.status.success().then_some(output.stdout)?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// Waits until a pod is as `holds` says, and gives it.
    pub fn wait_for_pod(&self, what: &str, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = crate::wait::try_for(DEADLINE, || {
            last = self.pod(name).unwrap_or_default();
            holds(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| {
            panic!(
                "waited in vain for pod {name} to be {what}: {:#}\n{}",
                last["status"],
                String::from_utf8_lossy(&self.run(&["get", "events"]).stdout)
            )
        })
    }

    /// Waits until a pod is ready, and gives it.
    pub fn wait_until_ready(&self, name: &str) -> Value {
        self.wait_for_pod("ready", name, |pod| condition(pod, "Ready") == "True")
    }

    /// Waits until a container of a pod waits for that reason, and gives what is said of it.
    pub fn wait_for_reason(&self, name: &str, reason: &str) -> String {
        let waiting = "/status/containerStatuses/0/state/waiting";
        let pod = self.wait_for_pod(reason, name, |pod| {
            pod.pointer(waiting)
                .is_some_and(|waiting| waiting["reason"] == reason)
        });
        let message = pod.pointer(waiting).map(|waiting| &waiting["message"]);
        message
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// What a shell in a container of a pod says.
    #[must_use]
    pub fn ask_inside(&self, pod: &str, container: &str, script: &str) -> String {
        let name = format!("{pod}/{container}");
        self.ask(&["exec", "--sync", &name, "--", "sh", "-c", script])
    }

    /// Deletes a pod at once, and waits until it is gone.
    pub fn delete(&self, name: &str) {
        self.tell(&["delete", "pod", name, "--grace-period=0", "--timeout=60s"]);
    }

    /// Asserts that the runtime has nothing of the agent's any more.
    pub fn assert_nothing_left(&self) {
        wait_for("the end of all pods", DEADLINE, || {
            let pods = self.node.ask(&["pods", "--quiet"]);
            let containers = self.node.ask(&["ps", "--all", "--quiet"]);
            (pods.is_empty() && containers.is_empty()).then_some(())
        });
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        self.kill_alone();
        if std::thread::panicking()
            && let Ok(log) = std::fs::read_to_string(self.node.work.join("agent.log"))
        {
            println!("the agent's log:\n{log}");
        }
    }
}

/// The status of a condition of a pod; nothing if it has none.
#[must_use]
pub fn condition<'a>(pod: &'a Value, name: &str) -> &'a str {
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == name);
    found
        .and_then(|condition| condition["status"].as_str())
        .unwrap_or_default()
}
