//! A real kubelet on a node in a box, without an API server: its pods are static, files in a folder. `kubectl` reaches
//! it through `kubelet-api`, which answers for the API server that is not there.

use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::kubelet_process::KubeletProcess;
use crate::node::Node;
use crate::request::write_new;
use crate::wait::try_for;
use crate::wait::wait_for;

/// The kubelet's start takes two seconds on an idle machine.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// For the end of forty pods.
const END_DEADLINE: Duration = Duration::from_secs(120);

/// Where `kubelet-api` listens, in the node.
const API: &str = "127.0.0.1:8001";

/// A running kubelet. Dropping it kills it; its pods go on, and end with the node.
#[derive(Debug)]
pub struct Kubelet<'node> {
    node: &'node Node,
    process: KubeletProcess<'node>,
    api: Child,
    evented: bool,
}

impl<'node> Kubelet<'node> {
    /// Starts a kubelet on a node, or prints `SKIP` and the reason. `evented`: it follows GetContainerEvents instead of
    /// listing each second.
    #[must_use]
    pub fn start(node: &'node Node, evented: bool) -> Option<Self> {
        let programs = ["kubelet", "kubectl", "kubelet-api"];
        let process = KubeletProcess::prepare(node, "kubelet-tools", &programs)?;
        let log = std::fs::File::create(node.work.join("kubelet-api.log")).unwrap();
        let api = node
            .command("kubelet-api")
            .args(["--listen", API])
            // It serves until this end of the pipe is dropped.
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let kubelet = Self {
            node,
            process,
            api,
            evented,
        };
        kubelet.start_again();
        Some(kubelet)
    }

    /// Starts the kubelet after [`Self::kill`], and waits until it answers.
    pub fn start_again(&self) {
        let evented = self.evented.to_string();
        self.process.launch(&[("EVENTED_PLEG", &evented)]);
        let answer = try_for(START_DEADLINE, || {
            let output = self.kubectl(&["get", "--raw", "/kubelet/healthz"]);
            (output.stdout == b"ok").then_some(())
        });
        assert!(
            answer.is_some(),
            "the kubelet does not answer:\n{}",
            self.log()
        );
    }

    /// Kills the kubelet with SIGKILL, and waits until it has gone.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Its folder, of `--root-dir`.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.process.root()
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its errors so far, by klog's first letter.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        self.process.errors()
    }

    /// Puts a pod into the folder of static pods, or another one in its place: at once, as a file is renamed.
    pub fn apply(&self, pod: &Value) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let file = self.manifest(name);
        let whole = self.process.work.join(format!("{name}.new"));
        write_new(&whole, pod.to_string().as_bytes());
        std::fs::rename(whole, file).unwrap();
    }

    /// Takes a pod out of the folder.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.manifest(name)).unwrap();
    }

    /// Takes all pods out of the folder, waits until none runs and the kubelet has unmounted all volumes, and removes
    /// what is left of them: the kubelet itself collects that once a minute.
    pub fn remove_all(&self) {
        self.stop_all();
        self.node.tell(&["rmp", "--all"]);
    }

    /// The same, but it is the kubelet that removes what is left.
    pub fn remove_all_by_itself(&self) {
        self.stop_all();
        wait_for("a collection of dead pods", END_DEADLINE, || {
            self.node.ask(&["pods", "--quiet"]).is_empty().then_some(())
        });
    }

    fn stop_all(&self) {
        for entry in std::fs::read_dir(self.process.work.join("manifests")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        wait_for("the end of all pods", END_DEADLINE, || {
            self.node.has_no_ready_pod().then_some(())
        });
        wait_for("the end of all volumes", END_DEADLINE, || {
            (!self.process.has_volumes()).then_some(())
        });
    }

    fn manifest(&self, name: &str) -> PathBuf {
        self.process.work.join(format!("manifests/{name}.json"))
    }

    /// What it says of a pod. A static pod has the node's name behind its own.
    #[must_use]
    pub fn pod(&self, name: &str) -> Option<Value> {
        let name = full_name(name);
        let list = self.raw_json("/kubelet/pods");
        let pods = list["items"].as_array()?;
        let mut pods = pods.iter();
        pods.find(|pod| pod["metadata"]["name"] == name.as_str())
            .cloned()
    }

    /// Waits until a pod is as it should be.
    ///
    /// # Panics
    ///
    /// When the deadline passes; with what the pod was last, and the last errors of the kubelet.
    pub fn wait_for_pod(
        &self,
        name: &str,
        deadline: Duration,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        let found = try_for(deadline, || {
            last = self.pod(name).unwrap_or_default();
            is_so(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| {
            let errors = self.errors();
            let tail = errors.len().saturating_sub(5);
            panic!(
                "{name} is not as it should be: {}\n{}",
                last["status"],
                errors[tail..].join("\n")
            )
        })
    }

    /// Runs the real kubectl.
    #[must_use]
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_command(arguments).output().unwrap()
    }

    /// The same, to be run by the caller.
    #[must_use]
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.node.command("kubectl");
        command
            .args(["--server", &format!("http://{API}")])
            .args([
                "--cache-dir",
                self.process.work.join("cache").to_str().unwrap(),
            ])
            .args(arguments);
        command
    }

    /// Runs kubectl, which must succeed, and gives its standard output.
    #[must_use]
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(arguments);
        assert!(
            output.status.success(),
            "kubectl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Asks for a path of the API; the kubelet's own are below `/kubelet/`.
    #[must_use]
    pub fn raw(&self, path: &str) -> String {
        self.ask(&["get", "--raw", path])
    }

    /// The same, read as JSON; null while the kubelet does not answer.
    #[must_use]
    pub fn raw_json(&self, path: &str) -> Value {
        let output = self.kubectl(&["get", "--raw", path]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

impl Node {
    /// Whether all pods have been stopped.
    #[must_use]
    pub fn has_no_ready_pod(&self) -> bool {
        self.ask(&["pods", "--quiet", "--state", "ready"])
            .is_empty()
    }
}

/// A static pod's name with that of its node.
#[must_use]
pub fn full_name(name: &str) -> String {
    format!("{name}-node")
}

impl Drop for Kubelet<'_> {
    fn drop(&mut self) {
        drop(self.api.stdin.take());
        if let Err(error) = self.api.wait() {
            println!("kubelet-api could not be waited for: {error}");
        }
    }
}
