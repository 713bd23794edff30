//! A cluster of one node in a box: etcd, API server, controller manager, scheduler, kubelet, and the real `kubectl` that
//! goes through the API server.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::kubelet_process::KubeletProcess;
use crate::node::Node;
use crate::node::repository;
use crate::wait::try_for;
use crate::wait::wait_for;

/// Until the node is ready: certificates of processes that start on two busy cores.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// For the end of forty pods.
const END_DEADLINE: Duration = Duration::from_secs(120);

/// What `make cluster-tools` builds, and what they need.
const PROGRAMS: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubeadm",
    "kubelet",
    "kubectl",
];

/// A running cluster. Dropping it ends kubelet and control plane; the pods end with the node.
#[derive(Debug)]
pub struct Cluster<'node> {
    node: &'node Node,
    process: KubeletProcess<'node>,
    work: PathBuf,
}

impl<'node> Cluster<'node> {
    /// Starts a cluster on a node, or prints `SKIP` and the reason. `kubelet` has fields of the kubelet's configuration,
    /// which come after those of `integration/kubelet/config.yaml`.
    #[must_use]
    pub fn start(node: &'node Node, kubelet: &Value) -> Option<Self> {
        let process = KubeletProcess::prepare(node, "cluster-tools", &PROGRAMS)?;
        let work = node.work.join("cluster");
        let output = node
            .command(repository().join("integration/cluster/start"))
            .arg(&work)
            .output()
            .unwrap();
        let cluster = Self {
            node,
            process,
            work,
        };
        assert!(
            output.status.success(),
            "the control plane did not start: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        cluster.start_kubelet(kubelet);
        Some(cluster)
    }

    /// The kubelet's folder, of `--root-dir`.
    #[must_use]
    pub fn kubelet_root(&self) -> PathBuf {
        self.process.root()
    }

    /// Starts the kubelet, and waits until the node is ready.
    pub fn start_kubelet(&self, configuration: &Value) {
        let mut configuration = configuration.clone();
        configuration["apiVersion"] = "kubelet.config.k8s.io/v1beta1".into();
        configuration["kind"] = "KubeletConfiguration".into();
        self.process.launch(&[
            ("CLUSTER", self.work.to_str().unwrap()),
            ("KUBELET_CONFIG", &configuration.to_string()),
        ]);
        let ready = try_for(START_DEADLINE, || {
            let ready = self.condition("Ready");
            let is_ready = ready.is_some_and(|(status, _)| status == "True");
            (is_ready || !self.process.is_running()).then_some(is_ready)
        });
        assert!(
            ready == Some(true),
            "the node is not ready: {:?}\n{}",
            self.condition("Ready"),
            self.process.log()
        );
    }

    /// The kubelet's process.
    #[must_use]
    pub fn kubelet(&self) -> &KubeletProcess<'node> {
        &self.process
    }

    /// The node's object.
    #[must_use]
    pub fn node_object(&self) -> Value {
        self.get("node", "node").unwrap_or_default()
    }

    /// Status and message of a condition of the node.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<(String, String)> {
        let node = self.node_object();
        let conditions = node["status"]["conditions"].as_array()?;
        let mut conditions = conditions.iter();
        let condition = conditions.find(|condition| condition["type"] == kind)?;
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        Some((text("status"), text("message")))
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
            .arg("--kubeconfig")
            .arg(self.work.join("admin.conf"))
            .arg("--cache-dir")
            .arg(self.work.join("cache"))
            .args(arguments);
        command
    }

    /// Runs kubectl, and gives its standard output.
    ///
    /// # Errors
    ///
    /// What it said when it failed.
    pub fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.kubectl(arguments);
        if !output.status.success() {
            return Err(format!(
                "kubectl {}: {}{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        String::from_utf8(output.stdout).map_err(|error| error.to_string())
    }

    /// Applies an object of any kind.
    ///
    /// # Errors
    ///
    /// What kubectl said.
    pub fn try_apply(&self, object: &Value) -> Result<(), String> {
        self.send("apply", object).map(drop)
    }

    /// Creates an object of any kind, and gives what the API server made of it.
    ///
    /// # Errors
    ///
    /// What kubectl said.
    pub fn create(&self, object: &Value) -> Result<Value, String> {
        self.send("create", object)
    }

    fn send(&self, verb: &str, object: &Value) -> Result<Value, String> {
        let mut process = self
            .kubectl_command(&[verb, "--output", "json", "--filename", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = process.stdin.take().unwrap();
        input.write_all(object.to_string().as_bytes()).unwrap();
        drop(input);
        let output = process.wait_with_output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
    }

    /// Applies an object of any kind, which must succeed.
    pub fn apply(&self, object: &Value) {
        if let Err(said) = self.try_apply(object) {
            panic!("kubectl apply: {said}\n{object}");
        }
    }

    /// An object of the namespace `default`, or one that has none.
    #[must_use]
    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let output = self.kubectl(&["get", kind, name, "--output", "json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until an object is as it should be.
    ///
    /// # Errors
    ///
    /// When the deadline passes: what its status was last.
    pub fn wait(
        &self,
        kind: &str,
        name: &str,
        deadline: Duration,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<Value, String> {
        let mut last = Value::Null;
        let found = try_for(deadline, || {
            last = self.get(kind, name).unwrap_or_default();
            is_so(&last).then(|| last.clone())
        });
        found.ok_or_else(|| format!("{kind} {name} is {}", last["status"]))
    }

    /// What containers of a pod said.
    #[must_use]
    pub fn logs(&self, pod: &str) -> String {
        let output = self.kubectl(&["logs", pod, "--all-containers"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The events of an object, oldest first: type, reason and message of each.
    #[must_use]
    pub fn events(&self, name: &str) -> Vec<String> {
        let selector = format!("involvedObject.name={name}");
        let output = self.kubectl(&["get", "events", "--field-selector", &selector, "-o", "json"]);
        let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let events = list["items"].as_array().cloned().unwrap_or_default();
        let line = |event: &Value| {
            let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            format!("{} {}: {}", text("type"), text("reason"), text("message"))
        };
        events.iter().map(line).collect()
    }

    /// Deletes all that the tests have made, waits until no pod runs and no volume is mounted, and removes what is left
    /// of dead pods: the kubelet itself collects that once a minute.
    pub fn remove_all(&self) {
        let kinds = "deployments,jobs,daemonsets,pods";
        if let Err(said) = self.ask(&["delete", kinds, "--all", "--wait=false"]) {
            panic!("{said}");
        }
        wait_for("the end of all pods", END_DEADLINE, || {
            self.node.has_no_ready_pod().then_some(())
        });
        wait_for("the end of all volumes", END_DEADLINE, || {
            (!self.process.has_volumes()).then_some(())
        });
        self.node.tell(&["rmp", "--all"]);
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        let pids = std::fs::read_to_string(self.work.join("pids")).unwrap_or_default();
        for line in pids.lines() {
            let (pid, name) = line.split_once(' ').unwrap_or_default();
            let pid = pid.parse().unwrap_or_default();
            if pid > 1 && self.node.is_running(pid) {
                self.node.signal("KILL", pid);
            } else {
                println!("{name} had ended by itself");
            }
        }
        if std::thread::panicking() {
            let errors = self.process.errors();
            let last = errors.len().saturating_sub(10);
            println!("the kubelet's last errors:\n{}", errors[last..].join("\n"));
        }
    }
}
