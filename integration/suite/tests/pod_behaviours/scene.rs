//! A table of behaviours: pods are applied together, then each is looked at.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use carpel_integration::node::Node;
use carpel_integration::table::{Table, Verdict, expect};
use carpel_integration::wait::try_for;
use serde_json::Value;

/// For what a kubelet does of its own accord, with thirty pods on two cores.
const SOON: Duration = Duration::from_secs(45);

/// For what must not happen: a pod starts in less when nothing holds it up.
const A_WHILE: Duration = Duration::from_secs(10);

/// Who runs pods.
pub(crate) trait PodRunner {
    /// Has a pod run, or another one in its place.
    fn apply(&self, pod: &Value);

    /// Has it end.
    fn remove(&self, name: &str);

    /// What is said of it.
    fn pod(&self, name: &str) -> Option<Value>;

    /// What its containers said.
    fn logs(&self, name: &str) -> String;

    /// The name that it gets.
    fn full_name(&self, name: &str) -> String;

    /// The name of the node.
    fn node_name(&self) -> &str;

    /// Where Localhost profiles of seccomp are looked for.
    fn seccomp_profiles(&self) -> PathBuf;
}

/// Where the behaviours are shown.
pub(crate) struct Scene<'node> {
    pub(crate) node: &'node Node,
    pub(crate) runner: &'node dyn PodRunner,
    /// A folder of the node that pods can have by hostPath.
    pub(crate) shared: PathBuf,
}

/// A pod, and how it shows that it is as it should be.
pub(crate) struct Behaviour {
    pub(crate) what: &'static str,
    pub(crate) pod: Value,
    pub(crate) check: Check,
}

/// How a behaviour is seen.
pub(crate) enum Check {
    /// The pod ends with this phase.
    Phase(&'static str),
    /// The pod becomes ready.
    Ready,
    /// The first container waits with this reason.
    Waits(&'static str),
    /// The pod is not started, as what it asks for cannot be had: it is still so when all others have been seen.
    Held,
    /// Something of its own, once it is so.
    Status(fn(&Value) -> bool),
    /// After the pod is removed, this file of the shared folder has this text.
    RemovedLeaves(&'static str, &'static str),
}

impl<'node> Scene<'node> {
    pub(crate) fn new(node: &'node Node, runner: &'node dyn PodRunner) -> Self {
        let shared = node.work.join("shared");
        std::fs::create_dir(&shared).unwrap();
        Self {
            node,
            runner,
            shared,
        }
    }

    /// A file as the node sees it, with its folders.
    pub(crate) fn put_in_node(&self, path: &Path, text: &str) {
        let script = r#"mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1""#;
        let status = self
            .node
            .command("sh")
            .args(["-ec", script, "sh"])
            .arg(path)
            .arg(text)
            .status();
        assert!(status.unwrap().success(), "{}", path.display());
    }

    fn wait(&self, pod: &Value, is_so: impl Fn(&Value) -> bool) -> Result<Value, String> {
        let name = name_of(pod);
        let mut last = Value::Null;
        let found = try_for(SOON, || {
            last = self.runner.pod(name).unwrap_or_default();
            is_so(&last).then(|| last.clone())
        });
        found.ok_or_else(|| format!("it is {}", last["status"]))
    }

    fn check(&self, behaviour: &Behaviour) -> Verdict {
        let pod = &behaviour.pod;
        match behaviour.check {
            Check::Phase(phase) => {
                let ended = |status: &Value| {
                    ["Succeeded", "Failed"]
                        .iter()
                        .any(|end| status["phase"] == *end)
                };
                let found = self.wait(pod, |pod| ended(&pod["status"]))?;
                if found["status"]["phase"] == phase {
                    return Ok(());
                }
                Err(format!(
                    "it is {}; it said: {}",
                    found["status"],
                    self.runner.logs(name_of(pod))
                ))
            }
            Check::Ready => self.wait(pod, is_ready).map(drop),
            Check::Waits(reason) => self
                .wait(pod, |pod| {
                    first_container(pod)["state"]["waiting"]["reason"] == reason
                })
                .map(drop),
            Check::Held => {
                let found = self.runner.pod(name_of(pod)).unwrap_or_default();
                let reason = &first_container(&found)["state"]["waiting"]["reason"];
                expect(reason == "ContainerCreating", &found["status"])
            }
            Check::Status(is_so) => self.wait(pod, is_so).map(drop),
            Check::RemovedLeaves(file, text) => {
                self.wait(pod, is_ready)?;
                self.runner.remove(name_of(pod));
                let file = self.shared.join(file);
                let mut last = String::new();
                let found = try_for(SOON, || {
                    last = std::fs::read_to_string(&file).unwrap_or_default();
                    (last.trim() == text).then_some(())
                });
                found.ok_or_else(|| format!("{} says {last:?}", file.display()))
            }
        }
    }

    /// Applies all pods, checks each, and prints the table.
    ///
    /// # Panics
    ///
    /// When one of them is not as it should be, after all have been looked at.
    pub(crate) fn show(&self, behaviours: &[Behaviour]) {
        for behaviour in behaviours {
            self.runner.apply(&behaviour.pod);
        }
        let mut table = Table::default();
        let (held, others): (Vec<_>, Vec<_>) = behaviours
            .iter()
            .partition(|behaviour| matches!(behaviour.check, Check::Held));
        for behaviour in others {
            table.row(behaviour.what, self.check(behaviour));
        }
        if !held.is_empty() {
            let never = || None::<()>;
            assert_eq!(try_for(A_WHILE, never), None);
        }
        for behaviour in held {
            table.row(behaviour.what, self.check(behaviour));
        }
        table.finish();
    }
}

fn name_of(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap()
}

pub(crate) fn first_container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|conditions| {
        let mut conditions = conditions.iter();
        conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    })
}
