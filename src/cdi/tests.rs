//! Specifications in directories, as drivers and device plugins write them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use super::{CdiError, annotated_devices, resolve};

const JSON: &str = r#"{
    "cdiVersion": "0.6.0", "kind": "example.com/gpu",
    "containerEdits": { "env": ["ALL=1"], "additionalGids": [0, 44] },
    "devices": [
        { "name": "0", "containerEdits": {
            "env": ["GPU=0"],
            "deviceNodes": [{ "path": "/dev/gpu0", "hostPath": "/dev/null", "permissions": "rw", "fileMode": 432 }],
            "mounts": [{ "hostPath": "/usr/lib/gpu", "containerPath": "/usr/lib/gpu", "options": ["ro", "rbind"] }] } },
        { "name": "1", "containerEdits": { "env": ["GPU=1"] } }
    ] }"#;

const YAML: &str = "cdiVersion: 0.6.0
kind: example.com/net
devices:
- name: eth:0
  containerEdits:
    env:
    - NET=0
    deviceNodes:
    - path: /dev/net0
      major: 10
      minor: 200
      type: c
";

struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        for directory in node.directories() {
            fs::create_dir(directory).unwrap();
        }
        node
    }

    fn directories(&self) -> Vec<PathBuf> {
        ["etc", "run"].map(|name| self.0.path().join(name)).to_vec()
    }

    fn write(&self, name: &str, text: &str) {
        let mut file = fs::File::create(self.0.path().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn resolve(&self, names: &[&str]) -> Result<super::Edits, CdiError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        resolve(&self.directories(), &names)
    }

    fn refused(&self, name: &str) -> String {
        self.resolve(&[name]).unwrap_err().to_string()
    }
}

#[test]
fn devices_of_json_and_yaml_are_put_together_in_order() {
    let node = Node::new();
    node.write("etc/gpu.json", JSON);
    node.write("run/net.yaml", YAML);
    let edits = node
        .resolve(&[
            "example.com/gpu=0",
            "example.com/net=eth:0",
            "example.com/gpu=1",
        ])
        .unwrap();
    // What is for every device of a file comes once.
    assert_eq!(edits.environment, ["ALL=1", "GPU=0", "NET=0", "GPU=1"]);
    assert_eq!(edits.additional_gids, [44]);
    assert_eq!(edits.mounts[0].options, ["ro", "rbind"]);
    let paths: Vec<_> = edits.device_nodes.iter().map(|node| &node.path).collect();
    assert_eq!(paths, ["/dev/gpu0", "/dev/net0"]);
    assert_eq!(
        edits.device_nodes[0].host_path.as_deref(),
        Some("/dev/null")
    );
    assert_eq!(edits.device_nodes[0].file_mode, Some(0o660));
    assert_eq!(
        (edits.device_nodes[1].major, edits.device_nodes[1].minor),
        (Some(10), Some(200))
    );
}

#[test]
fn a_file_that_comes_or_goes_counts_at_once() {
    let node = Node::new();
    let unknown = node.refused("example.com/gpu=0");
    assert!(
        unknown.starts_with("no CDI device \"example.com/gpu=0\" in "),
        "{unknown}"
    );
    node.write("run/gpu.json", JSON);
    assert!(node.resolve(&["example.com/gpu=0"]).is_ok());
    fs::remove_file(node.0.path().join("run/gpu.json")).unwrap();
    assert!(node.resolve(&["example.com/gpu=0"]).is_err());
}

#[test]
fn a_later_directory_stands_over_an_earlier_one_and_two_files_of_one_conflict() {
    let node = Node::new();
    node.write("etc/gpu.json", JSON);
    node.write("run/gpu.json", &JSON.replace("GPU=1", "GPU=later"));
    let edits = node.resolve(&["example.com/gpu=1"]).unwrap();
    assert_eq!(edits.environment, ["ALL=1", "GPU=later"]);
    node.write("run/other.json", JSON);
    let ambiguous = node.refused("example.com/gpu=1");
    assert!(ambiguous.contains("gpu.json and in "), "{ambiguous}");
}

#[test]
fn a_broken_file_harms_only_those_who_need_it() {
    let node = Node::new();
    node.write("etc/gpu.json", JSON);
    node.write("etc/broken.yaml", "kind: [");
    node.write(
        "etc/broken.json",
        r#"{"cdiVersion": "0.6.0", "kind": "a/b", "containerEdit": {}}"#,
    );
    node.write("etc/notes.txt", "no specification");
    assert!(node.resolve(&["example.com/gpu=0"]).is_ok());
    assert!(node.refused("example.com/net=0").contains("broken."));
}

#[test]
fn what_is_no_name_and_what_is_not_built_is_refused_by_name() {
    let node = Node::new();
    for name in [
        "",
        "gpu",
        "example.com/gpu",
        "example.com=0",
        "/gpu=0",
        "a/b=-c",
        "a/b=",
        "a/b=c/d",
    ] {
        assert!(node.refused(name).contains("is not a name"), "{name}");
    }
    for (edit, text) in [
        (
            "hooks",
            r#""hooks": [{"hookName": "createContainer", "path": "/bin/true"}]"#,
        ),
        ("intelRdt classes", r#""intelRdt": {"closID": "x"}"#),
        (
            "netDevices",
            r#""netDevices": [{"hostInterfaceName": "eth1", "name": "eth1"}]"#,
        ),
    ] {
        let text = format!(
            r#"{{"cdiVersion": "1.1.0", "kind": "a/b", "devices": [{{"name": "c", "containerEdits": {{{text}}}}}]}}"#
        );
        node.write("etc/later.json", &text);
        let refused = node.refused("a/b=c");
        assert!(
            refused.contains(&format!("{edit} are not supported yet")),
            "{refused}"
        );
    }
}

#[test]
fn annotations_ask_for_devices_too() {
    let annotations = BTreeMap::from([
        ("cdi.k8s.io/plugin_0".to_owned(), "a/b=c, a/b=d".to_owned()),
        ("example.com/note".to_owned(), "a/b=e".to_owned()),
    ]);
    assert_eq!(annotated_devices(&annotations), ["a/b=c", "a/b=d"]);
}
