//! The JSON files that crictl takes: a pod and a container with everything that
//! a test does not care about filled in.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use serde_json::Value;
use serde_json::json;

use crate::node::Node;

/// The image of nearly all tests: busybox, served by the node's own registry.
pub const BUSYBOX: &str = "registry.k8s.io/e2e-test-images/busybox:1.29-2";

/// CRI NamespaceMode CONTAINER: what the kubelet asks for unless the pod shares
/// its pid namespace. The zero value is POD.
const PID_CONTAINER: u32 = 1;

static NEXT_FILE: AtomicU32 = AtomicU32::new(0);

/// A pod's request with a network of its own.
#[must_use]
pub fn pod(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "default", "uid": format!("uid-{name}"), "attempt": 0 },
        "hostname": name,
        "labels": { "app": name },
        "annotations": { "carpel.example/note": "kept byte for byte: ä\n" },
        "dns_config": { "servers": ["10.10.10.10"], "searches": ["example.org"], "options": ["ndots:2"] },
        "linux": { "security_context": { "namespace_options": { "pid": PID_CONTAINER } } },
    })
}

/// A container's request: a command in the default image.
#[must_use]
pub fn container(name: &str, command: &[&str]) -> Value {
    json!({
        "metadata": { "name": name, "attempt": 0 },
        "image": { "image": BUSYBOX },
        "command": command,
        "log_path": format!("{name}.log"),
        "labels": { "container": name },
        "linux": { "security_context": { "namespace_options": { "pid": PID_CONTAINER } } },
    })
}

impl Node {
    /// Writes a request into a file of the node and gives its path.
    #[must_use]
    pub fn write_request(&self, request: &Value) -> String {
        let number = NEXT_FILE.fetch_add(1, Ordering::Relaxed);
        let file = self.work.join(format!("request-{number}.json"));
        write_new(&file, request.to_string().as_bytes());
        file.to_str().unwrap().to_owned()
    }

    /// Runs a pod whose containers log below `logs/`, and gives its id and the
    /// file of its request.
    #[must_use]
    pub fn run_pod(&self, mut request: Value) -> (String, String) {
        let name = request["metadata"]["name"].as_str().unwrap().to_owned();
        let logs = self.work.join("logs").join(name);
        std::fs::create_dir_all(&logs).unwrap();
        request["log_directory"] = json!(logs);
        let file = self.write_request(&request);
        (self.ask(&["runp", &file]), file)
    }

    /// Creates a container in a pod, pulling the image first, and gives its id.
    #[must_use]
    pub fn create(&self, pod: &(String, String), request: &Value) -> String {
        let file = self.write_request(request);
        self.ask(&["create", "--with-pull", &pod.0, &file, &pod.1])
    }

    /// Creates and starts a container, and gives its id.
    pub fn start_container(&self, pod: &(String, String), request: &Value) -> String {
        let container = self.create(pod, request);
        self.tell(&["start", &container]);
        container
    }

    /// Runs and removes a pod with a container, so that the inventory taken next
    /// has what a runtime makes at its first pod and keeps, as a bridge.
    pub fn warm_up(&self) {
        let pod = self.run_pod(pod("warm-up"));
        self.start_container(&pod, &container("warm-up", &["sleep", "1000"]));
        self.remove_pod(&pod);
    }

    /// Stops and removes a pod.
    pub fn remove_pod(&self, pod: &(String, String)) {
        self.tell(&["stopp", &pod.0]);
        self.tell(&["rmp", &pod.0]);
    }
}

/// Writes a file that nobody reads meanwhile.
#[expect(
    clippy::disallowed_methods,
    reason = "a file of a test: nobody reads it before it is whole"
)]
pub fn write_new(file: &std::path::Path, content: &[u8]) {
    std::fs::write(file, content).unwrap();
}
