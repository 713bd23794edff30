//! The process of a real kubelet in a node in a box, with or without an API server (`kubelet`, `cluster`).

use std::path::PathBuf;
use std::time::Duration;

use crate::kubelet_errors::sort_out;
use crate::node::Node;
use crate::node::Runtime;
use crate::node::repository;
use crate::wait::wait_for;

/// A kubelet with its folder, `NODE_WORK/kubelet`. Dropping it kills it; its pods go on, and end with the node.
#[derive(Debug)]
pub struct KubeletProcess<'node> {
    node: &'node Node,
    /// `manifests/`, `pod-logs/`, `root/`, `config.yaml`, `config.d/`.
    pub work: PathBuf,
    /// How much the kubelets before it on this node have logged.
    logged_before: usize,
}

impl<'node> KubeletProcess<'node> {
    /// Prepares a node for a kubelet; nothing runs yet. `programs` must have been built by the named target; if one has
    /// not, or this runtime cannot have a kubelet, prints `SKIP` and the reason.
    #[must_use]
    pub fn prepare(node: &'node Node, target: &str, programs: &[&str]) -> Option<Self> {
        if node.runtime == Runtime::Containerd {
            // The kubelet asks for what is cgroup v2's alone, and runc 1.1 takes a hybrid host for cgroup v1.
            println!("SKIP a kubelet that sees cgroup v2 needs a runtime that does");
            return None;
        }
        if !are_built(target, programs) {
            return None;
        }
        // An address that the kubelet takes for the node's: it is on the loopback interface of the node alone.
        let address = node
            .command("ip")
            .args(["address", "replace", "10.99.0.1/32", "dev", "lo"])
            .status();
        assert!(address.unwrap().success());
        let work = node.work.join("kubelet");
        let mut process = Self {
            node,
            work,
            logged_before: 0,
        };
        process.logged_before = process.log().len();
        Some(process)
    }

    /// Starts it, with variables that `integration/kubelet/start` reads. It does not answer yet.
    pub fn launch(&self, variables: &[(&str, &str)]) {
        let status = self
            .node
            .command(repository().join("integration/kubelet/start"))
            .arg(&self.work)
            .envs(variables.iter().copied())
            .status()
            .unwrap();
        assert!(status.success(), "the kubelet did not start: {status}");
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.pid().is_some_and(|pid| self.node.is_running(pid))
    }

    /// Kills it with SIGKILL, and waits until it has gone.
    pub fn kill(&self) {
        let pid = self.pid().unwrap();
        self.node.signal("KILL", pid);
        wait_for("the killed kubelet's end", Duration::from_secs(10), || {
            (!self.node.is_running(pid)).then_some(())
        });
    }

    /// The kubelet's folder, of `--root-dir`.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.work.join("root")
    }

    /// What it has logged so far; nothing before its first start.
    #[must_use]
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.node.work.join("kubelet.log"));
        log.unwrap_or_default().split_off(self.logged_before)
    }

    /// Its errors so far, by klog's first letter.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        let log = self.log();
        let errors = log.lines().filter(|line| line.starts_with('E'));
        errors.map(ToOwned::to_owned).collect()
    }

    /// Whether volumes of pods are still mounted.
    #[must_use]
    pub fn has_volumes(&self) -> bool {
        let mounts = std::fs::read_to_string(self.node.path_inside("/proc/1/mounts")).unwrap();
        mounts.contains("/kubelet/root/pods/")
    }

    fn pid(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.work.join("pid")).ok()?;
        text.trim().parse().ok()
    }
}

/// Whether the named target has built these; if not, prints `SKIP` and the first that is missing.
fn are_built(target: &str, programs: &[&str]) -> bool {
    let folder = repository().join("integration/tools/bin");
    let mut files = programs.iter().map(|program| folder.join(program));
    let missing = files.find(|file| !file.exists());
    if let Some(file) = &missing {
        println!("SKIP {} is missing: run make {target}", file.display());
    }
    missing.is_none()
}

impl Drop for KubeletProcess<'_> {
    fn drop(&mut self) {
        let Some(pid) = self.pid() else {
            // It was never started.
            return;
        };
        if self.node.is_running(pid) {
            self.node.signal("KILL", pid);
        }
        let root = self.root();
        let unmounted = self.node.command("umount").arg("--lazy").arg(root).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            println!("the folder of the kubelet could not be unmounted");
        }
        if std::thread::panicking() {
            return;
        }
        let errors = self.errors();
        let (counts, unexplained) = sort_out(&errors);
        for ((name, why), count) in counts {
            // `integration/kubelet/errors` adds these lines up.
            println!("kubelet's errors: {count:>5}  {name} | {why}");
        }
        for line in &unexplained {
            println!("kubelet's error that nothing explains: {line}");
        }
        assert!(
            unexplained.is_empty(),
            "the kubelet has logged errors that nothing explains"
        );
    }
}
