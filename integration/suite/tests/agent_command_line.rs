//! The command line of manifests, in the words of kubectl: selectors, formats, dry runs, differences, the node.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use carpel_integration::agent::Agent;
use carpel_integration::node::Node;
use carpel_integration::registry::write as write_file;
use carpel_integration::request::{BUSYBOX, write_new};
use carpel_integration::wait::wait_for;
use serde_json::{Value, json};

/// A pod that sleeps, of a tier.
fn pod(name: &str, tier: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": "shop", "tier": tier } },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "main", "image": BUSYBOX, "command": ["sleep", "1000"] }],
        },
    })
}

/// The lines of an answer, in order.
fn sorted(answer: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = answer.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn root_objects_are_found_and_shown_as_kubectl_does() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    for (name, tier) in [("web", "front"), ("proxy", "front"), ("base", "back")] {
        agent.apply(&pod(name, tier).to_string());
    }
    for name in ["web", "proxy", "base"] {
        agent.wait_until_ready(name);
    }

    let front = ["pod/proxy", "pod/web"];
    for selector in ["tier=front", "tier in (front),app", "tier!=back"] {
        let said = agent.ask(&["get", "pods", "-l", selector, "-o", "name"]);
        assert_eq!(sorted(&said), front, "{selector}");
    }
    let phase = "--field-selector=status.phase=Running";
    let said = agent.ask(&["get", "pods", phase, "-o", "name"]);
    assert_eq!(said.lines().count(), 3, "{said}");
    let failed = "--field-selector=status.phase=Failed";
    assert_eq!(agent.ask(&["get", "pods", failed, "-o", "name"]), "");

    let template =
        r#"jsonpath={range .items[*]}{.metadata.name}={.spec.containers[0].image}{"\n"}{end}"#;
    let said = agent.ask(&["get", "pods", "-l", "tier=back", "-o", template]);
    assert_eq!(said, format!("base={BUSYBOX}\n"));
    let columns = "custom-columns=NAME:.metadata.name,TIER:.metadata.labels.tier";
    let said = agent.ask(&["get", "pod", "base", "-o", columns]);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words, ["NAME", "TIER", "base", "back"]);

    let said = agent.ask(&["get", "nodes", "-o", "json"]);
    let nodes: Value = serde_json::from_str(&said).unwrap();
    let runtime = &nodes["items"][0]["status"]["nodeInfo"]["containerRuntimeVersion"];
    assert!(runtime.as_str().unwrap().contains("://"), "{runtime}");
    assert!(
        agent
            .ask(&["describe", "node"])
            .contains("Container Runtime Version")
    );

    let bad = agent.run(&["get", "pods", "-l", "tier in front"]);
    assert!(!bad.status.success());
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(said.contains("tier in front"), "{said}");

    agent.tell(&["delete", "pods", "-l", "app=shop"]);
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}

#[test]
fn root_what_would_change_is_told_without_a_change() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    let manifest = node.work.join("pod.json");
    let file = manifest.to_str().unwrap();
    let write = |tier: &str| write_file(&manifest, &pod("web", tier).to_string());
    write("front");

    let said = agent.ask(&["apply", "-f", file, "--dry-run=server"]);
    assert_eq!(said, "pod/web created (server dry run)\n");
    assert!(agent.pod("web").is_none());
    assert_eq!(agent.ask(&["apply", "-f", file]), "pod/web created\n");
    agent.wait_until_ready("web");
    let same = agent.run(&["diff", "-f", file]);
    assert!(same.status.success() && same.stdout.is_empty());
    write("back");
    let other = agent.run(&["diff", "-f", file]);
    assert_eq!(other.status.code(), Some(1));
    let said = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(
        said.lines()
            .any(|line| line.starts_with('-') && line.contains("front"))
            && said
                .lines()
                .any(|line| line.starts_with('+') && line.contains("back")),
        "{said}"
    );
    let tier = "jsonpath={.metadata.labels.tier}";
    assert_eq!(agent.ask(&["get", "pod", "web", "-o", tier]), "front");

    agent.tell(&["wait", "pod/web", "--for=jsonpath={.status.phase}=Running"]);
    // The manifest's own namespace is none: it goes where it is told.
    let said = agent.ask(&["apply", "-n", "other", "-f", file]);
    assert_eq!(said, "pod/web created\n");
    let both = agent.ask(&[
        "get",
        "pods",
        "-A",
        "-o",
        "jsonpath={.items[*].metadata.namespace}",
    ]);
    let mut both: Vec<&str> = both.split_whitespace().collect();
    both.sort_unstable();
    assert_eq!(both, ["default", "other"]);
    agent.tell(&["delete", "pods", "--all", "-A"]);
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}

/// Pods of two containers and one to begin with, one in another namespace, and one whose image is nowhere.
fn apply_talkers(agent: &Agent<'_>) {
    let container = |name: &str, script: &str| json!({ "name": name, "image": BUSYBOX, "command": ["sh", "-c", script] });
    let talker = |name: &str, namespace: &str, words: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": namespace, "labels": { "app": "talk" } },
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "initContainers": [container("setup", "echo set up")],
                "containers": [
                    container("main", &format!("for it in {words}; do echo $it; done; sleep 1000")),
                    container("log", "echo beside; sleep 1000"),
                ],
            },
        })
    };
    let mut pod = pod("lost", "none");
    pod["spec"]["containers"][0]["image"] = json!("registry.example.com/none:1");
    pod["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    for pod in [
        talker("front", "default", "one two three"),
        talker("back", "default", "four"),
        talker("front", "other", "five"),
        pod,
    ] {
        agent.apply(&pod.to_string());
    }
    agent.wait_until_ready("front");
    agent.wait_until_ready("back");
    let ready = ["wait", "pod/front", "-n", "other", "--for=condition=Ready"];
    agent.tell(&ready);
    drop(agent.wait_for_reason("lost", "ErrImageNeverPull"));
}

/// What is said on stderr by a command that must fail.
fn refusal(agent: &Agent<'_>, words: &[&str]) -> String {
    let output = agent.run(words);
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn root_logs_are_chosen_and_printed_as_kubectl_does() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    apply_talkers(&agent);

    // Lines are there when a container has written them, which may be a moment after it is ready.
    wait_for("the last of its words", Duration::from_secs(20), || {
        let said = agent.ask(&["logs", "front", "-c", "main"]);
        (said == "one\ntwo\nthree\n").then_some(())
    });
    let first = agent.run(&["logs", "pod/front"]);
    assert_eq!(first.stdout, b"one\ntwo\nthree\n");
    assert_eq!(
        String::from_utf8_lossy(&first.stderr),
        "Defaulted container \"main\" out of: main, log, setup (init)\n"
    );
    let other = ["logs", "-n", "other", "front", "-c", "main"];
    assert_eq!(agent.ask(&other), "five\n");
    let all = ["logs", "front", "--all-containers", "--prefix", "--tail=1"];
    assert_eq!(
        agent.ask(&all),
        "[pod/front/setup] set up\n[pod/front/main] three\n[pod/front/log] beside\n"
    );
    let selected = ["logs", "-l", "app=talk", "-c", "main", "--prefix"];
    assert_eq!(
        agent.ask(&selected),
        "[pod/back/main] four\n[pod/front/main] one\n[pod/front/main] two\n[pod/front/main] three\n"
    );
    let few = ["logs", "pod/front", "-c", "main", "--limit-bytes=6"];
    assert_eq!(agent.ask(&few), "one\ntw");
    let none = ["logs", "front", "-c", "main", "--since-time"];
    let later = [&none[..], &["2100-01-01T00:00:00Z"]].concat();
    assert_eq!(agent.ask(&later), "");
    let earlier = [&none[..], &["2020-01-01T00:00:00Z"]].concat();
    assert_eq!(agent.ask(&earlier), "one\ntwo\nthree\n");

    let said = refusal(&agent, &["logs", "front", "-c", "none"]);
    assert!(said.contains("main, log, setup (init)"), "{said}");
    let said = refusal(&agent, &["logs", "lost"]);
    assert!(
        said.contains("waiting to start: ErrImageNeverPull"),
        "{said}"
    );
    let nobody = agent.run(&["logs", "-l", "app=nobody"]);
    assert!(nobody.status.success() && nobody.stdout.is_empty());
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert_eq!(said, "No resources found in default namespace.\n");
    // One that is lost does not hide the others.
    let some = agent.run(&["logs", "-l", "", "-c", "main", "--tail=1"]);
    assert_eq!(some.status.code(), Some(1));
    assert_eq!(some.stdout, b"four\nthree\n");

    let follow = ["logs", "-f", "-l", "app=talk", "--all-containers"];
    let said = refusal(&agent, &[&follow[..], &["--max-log-requests=3"]].concat());
    assert!(said.contains("maximum allowed concurrency is 3"), "{said}");
    let ended = ["logs", "-f", "front", "-c", "setup"];
    assert_eq!(agent.ask(&ended), "set up\n");

    agent.tell(&["delete", "pods", "--all", "-A"]);
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}

#[test]
fn root_logs_of_several_containers_are_followed_at_once() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    // Each waits for the other's word, so that following one after the other would never end.
    let turn = |mine: &str, other: &str| {
        let script = format!(
            "echo {mine}; touch /turns/{mine}; until test -e /turns/{other}-seen; do sleep 0.05; done"
        );
        json!({
            "name": mine, "image": BUSYBOX, "command": ["sh", "-c", script],
            "volumeMounts": [{ "name": "turns", "mountPath": "/turns" }],
        })
    };
    let turns = node.work.join("turns");
    std::fs::create_dir(&turns).unwrap();
    let mut pod = pod("turns", "none");
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["volumes"] = json!([{ "name": "turns", "hostPath": { "path": turns } }]);
    pod["spec"]["containers"] = json!([turn("a", "b"), turn("b", "a")]);
    agent.apply(&pod.to_string());
    agent.wait_until_ready("turns");
    let mut reader = agent.spawn(&["logs", "-f", "turns", "--all-containers", "--prefix"]);
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    for _container in 0..2 {
        let line = lines.next().unwrap().unwrap();
        let name = line.chars().last().unwrap();
        assert_eq!(line, format!("[pod/turns/{name}] {name}"));
        write_new(&turns.join(format!("{name}-seen")), b"");
    }
    assert!(lines.next().is_none());
    assert!(reader.wait().unwrap().success());
    agent.delete("turns");
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}

#[test]
fn root_commands_and_ports_go_into_pods_as_kubectl_has_it() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    apply_talkers(&agent);
    let host = ["exec", "--sync", "pod/front", "--", "hostname"];
    let said = agent.run(&host);
    assert_eq!(said.stdout, b"front\n");
    assert_eq!(
        String::from_utf8_lossy(&said.stderr),
        "Defaulted container \"main\" out of: main, log, setup (init)\n"
    );
    let address = |namespace: &str| {
        let words = [
            "get",
            "pod",
            "front",
            "-o",
            "jsonpath={.status.podIP}",
            "-n",
        ];
        agent.ask(&[&words[..], &[namespace]].concat())
    };
    for namespace in ["default", "other"] {
        let words = [
            "exec", "--sync", "-q", "-n", namespace, "front", "--", "hostname", "-i",
        ];
        let said = agent.run(&words);
        assert_eq!(
            String::from_utf8_lossy(&said.stdout).trim(),
            address(namespace)
        );
        assert!(said.stderr.is_empty());
    }
    let said = refusal(&agent, &["exec", "lost", "--", "true"]);
    assert!(said.contains("waiting to start"), "{said}");
    files_are_copied(&agent, &node.work.join("copies"));
    let said = refusal(&agent, &["port-forward", "lost", ":80"]);
    assert!(said.contains("Current status=Pending"), "{said}");
    let mut ended = pod("ended", "none");
    ended["spec"]["restartPolicy"] = json!("Never");
    ended["spec"]["containers"][0]["command"] = json!(["true"]);
    agent.apply(&ended.to_string());
    let phase = "--for=jsonpath={.status.phase}=Succeeded";
    agent.tell(&["wait", "pod/ended", phase]);
    let said = refusal(&agent, &["exec", "ended", "--", "true"]);
    assert!(said.contains("current phase is Succeeded"), "{said}");
    let said = refusal(&agent, &["exec", "-n", "none", "pod/front", "--", "true"]);
    assert!(said.contains("pod/front"), "{said}");
    for words in [
        &["get", "pod", "nothing"][..],
        &["delete", "pod", "nothing"],
        &["wait", "pod/nothing", phase],
    ] {
        let said = refusal(&agent, words);
        assert!(
            said.contains("pods \"nothing\" not found"),
            "{words:?}: {said}"
        );
    }
    agent.tell(&["delete", "pods", "--all", "-A"]);
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}

/// Into a container and out of it again, a file and a folder, as kubectl names them.
fn files_are_copied(agent: &Agent<'_>, folder: &Path) {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    std::fs::create_dir_all(folder.join("tree/deep")).unwrap();
    write_new(&folder.join("tree/deep/file"), b"deep\n");
    // More than any buffer on the way.
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    write_new(&folder.join("tree/large"), &large);
    let inside = |script: &str| {
        let words = ["exec", "--sync", "-q", "front", "--", "sh", "-c", script];
        agent.ask(&words)
    };
    // A folder that is not there gets its name, one that is there takes it in.
    agent.tell(&["cp", "-c", "main", &path("tree"), "front:/copy"]);
    assert_eq!(inside("cat /copy/deep/file"), "deep\n");
    agent.tell(&[
        "cp",
        "-c",
        "main",
        &path("tree/deep/file"),
        "default/front:/copy",
    ]);
    assert_eq!(inside("cat /copy/file; ln -s /etc /copy/link"), "deep\n");

    let back = path("back");
    let out = agent.run(&["cp", "front:/copy", &back]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    assert!(
        said.contains("left out") && said.contains("copy/link"),
        "{said}"
    );
    assert_eq!(std::fs::read(folder.join("back/large")).unwrap(), large);
    assert!(std::fs::symlink_metadata(folder.join("back/link")).is_err());
    agent.tell(&["cp", "pod/front:/copy/file", &back]);
    assert_eq!(
        std::fs::read_to_string(folder.join("back/file")).unwrap(),
        "deep\n"
    );

    let said = refusal(agent, &["cp", "front:/none", &path("none")]);
    assert!(
        said.contains("none") && said.contains("exit code 1"),
        "{said}"
    );
    let said = refusal(agent, &["cp", &path("none"), "front:/tmp/none"]);
    assert!(said.contains("No such file"), "{said}");
    assert!(!folder.join("none").exists());
}

#[test]
fn root_what_is_not_here_is_said_with_what_to_do_instead() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    let scaled = agent.run(&["scale", "deployment/web", "--replicas=3"]);
    assert_eq!(scaled.status.code(), Some(2));
    let said = String::from_utf8_lossy(&scaled.stderr).into_owned();
    assert!(said.contains("carpel apply -f"), "{said}");

    let said = refusal(&agent, &["apply", "-f", "https://example.com/pod.yaml"]);
    assert!(
        said.contains("curl -fsSL https://example.com/pod.yaml"),
        "{said}"
    );
    let twice = agent.try_apply("kind: Pod\nkind: Pod\n");
    let said = String::from_utf8_lossy(&twice.stderr).into_owned();
    assert!(
        said.contains("duplicate") && !said.contains("Options"),
        "{said}"
    );

    let said = agent.ask(&["explain", "pod.spec.affinity"]);
    assert!(said.contains("SUPPORT:  refused: "), "{said}");
    let said = agent.ask(&["explain", "pods.spec.containers"]);
    let lines: Vec<Vec<&str>> = said
        .lines()
        .map(|it| it.split_whitespace().collect())
        .collect();
    assert!(
        lines.contains(&vec!["spec.containers[].image", "supported"]),
        "{said}"
    );
    assert!(!said.contains("ports[].hostPort"), "{said}");
    let said = refusal(&agent, &["explain", "pod.spec.containerz"]);
    assert!(
        said.contains("spec.containerz") && said.contains("does not exist"),
        "{said}"
    );
    drop(agent);
    node.finish();
}
