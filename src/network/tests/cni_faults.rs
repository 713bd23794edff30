//! CNI with plugins that fail, hang, print garbage or die at each verb; daemons that died; directories that change.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::{Mode, Network, NetworkConfig, NetworkErrorKind, PodRequest};
use super::cni::{cni_pod, remove_cni};
use super::{Node, on_a_node};

/// A plugin that notes each call, `VERB CONTAINER NETNS`, and acts as the file `act-VERB` says.
const SCRIPT: &str = r#"#!/bin/sh
here=HERE
verb=$CNI_COMMAND
cat >"$here/input-$verb"
[ $verb = VERSION ] || echo "$verb $CNI_CONTAINERID $CNI_NETNS" >>"$here/calls"
case $(cat "$here/act-$verb" 2>/dev/null) in
fail) echo '{"code":100,"msg":"made to fail","details":"by the test"}'; exit 1 ;;
unready) echo '{"code":50,"msg":"no route yet"}'; exit 1 ;;
hang) sleep 1000; exit 0 ;;
garbage) echo 'no JSON'; exit 0 ;;
die) kill -KILL $$ ;;
esac
case $verb in
ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.3/24"}]}' ;;
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}' ;;
esac
"#;

impl Node {
    /// Installs the plugin and a configuration with it.
    fn install(&self) {
        let here = self.directory.path().join("plugin");
        self.write("plugin/calls", "");
        self.write(
            "bin/script",
            &SCRIPT.replace("HERE", &here.display().to_string()),
        );
        let program = self.directory.path().join("bin/script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        self.configure("1.1.0", &json!([{ "type": "script" }]));
    }

    fn act(&self, verb: &str, how: &str) {
        self.write(&format!("plugin/act-{verb}"), how);
    }

    /// The verbs that were called since the last time, with the container; without the GC of a start.
    fn calls(&self) -> Vec<String> {
        let mut calls = self.all_calls();
        calls.retain(|call| call != "GC ");
        calls
    }

    fn all_calls(&self) -> Vec<String> {
        let path = self.directory.path().join("plugin/calls");
        let text = fs::read_to_string(&path).unwrap();
        self.write("plugin/calls", "");
        text.lines()
            .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect()
    }

    fn input(&self, verb: &str) -> Value {
        let path = self.directory.path().join(format!("plugin/input-{verb}"));
        // Half of it, while the plugin is writing, is as good as nothing.
        serde_json::from_slice(&fs::read(path).unwrap_or_default()).unwrap_or_default()
    }

    /// A patience that tests can wait for.
    async fn start_impatient(&self, live: &[&str]) -> Network {
        let mut config = self.cni_config();
        config.cni.timeout = Duration::from_millis(700);
        let live = live.iter().map(ToString::to_string).collect();
        Network::start(config, &live).await.unwrap()
    }
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "never so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn message(error: &(dyn std::error::Error + 'static)) -> String {
    super::super::cni::chain(error)
}

#[test]
fn root_cni_an_add_that_fails_in_any_way_is_followed_by_a_del() {
    on_a_node(|node| async move {
        node.install();
        let network = node.start_impatient(&[]).await;
        for (how, expected) in [
            ("fail", "made to fail (code 100): by the test"),
            ("hang", "killed: not done after 0.7"),
            ("garbage", "its answer \"no JSON\\n\" is not JSON"),
            ("die", "signal: 9 (SIGKILL)"),
        ] {
            node.act("ADD", how);
            node.calls();
            let namespace = network.create_namespace(how).await.unwrap();
            let error = network
                .attach_pod(how, &namespace, &PodRequest::default())
                .await
                .unwrap_err();
            let text = message(&error);
            assert!(
                text.starts_with("CNI ADD by plugin \"script\" of network \"test\": "),
                "{text}"
            );
            assert!(text.contains(expected), "{expected}: {text}");
            drop(namespace);
            remove_cni(&network, how).await;
            assert_eq!(node.calls(), [format!("ADD {how}"), format!("DEL {how}")]);
            let counts = node.cni_counts();
            assert_eq!(
                (counts["CNI records"], counts["namespaces"]),
                (0, 0),
                "{how}"
            );
        }
    });
}

#[test]
fn root_cni_a_del_that_fails_in_any_way_is_tried_until_it_works() {
    on_a_node(|node| async move {
        node.install();
        let network = node.start_impatient(&[]).await;
        for (how, expected) in [
            ("fail", "made to fail (code 100): by the test"),
            ("hang", "killed: not done after 0.7"),
            ("garbage", "is not JSON"),
            ("die", "signal: 9 (SIGKILL)"),
        ] {
            let (namespace, _) = cni_pod(&network, how, &PodRequest::default()).await;
            drop(namespace);
            node.act("DEL", how);
            network.detach(how).await.unwrap();
            network.remove_namespace(how).await.unwrap();
            let error = network.wait_detached(how).await.unwrap_err();
            let text = message(&error);
            assert!(text.contains(expected), "{expected}: {text}");
            // Not before DEL has worked.
            let counts = node.cni_counts();
            assert_eq!(
                (counts["CNI records"], counts["namespaces"]),
                (1, 1),
                "{how}"
            );
            node.act("DEL", "");
            network.detach(how).await.unwrap();
            network.wait_detached(how).await.unwrap();
            let counts = node.cni_counts();
            assert_eq!(
                (counts["CNI records"], counts["namespaces"]),
                (0, 0),
                "{how}"
            );
        }
    });
}

#[test]
fn root_cni_del_gets_what_add_got_although_the_configuration_changed() {
    on_a_node(|node| async move {
        node.install();
        let network = node.start_cni(&[]).await;
        let pod = PodRequest {
            name: "web".into(),
            namespace: "default".into(),
            ..PodRequest::default()
        };
        let (namespace, _) = cni_pod(&network, "pod", &pod).await;
        drop(namespace);
        fs::remove_dir_all(node.directory.path().join("net.d")).unwrap();
        drop(network);
        // Another mode, another daemon.
        let config = NetworkConfig {
            mode: Mode::None,
            ..node.cni_config()
        };
        let live = ["pod".to_owned()].into();
        let network = Network::start(config, &live).await.unwrap();
        remove_cni(&network, "pod").await;
        let given = node.input("DEL");
        assert_eq!(given["name"], "test");
        assert_eq!(given["prevResult"]["ips"][0]["address"], "10.1.2.3/24");
    });
}

#[test]
fn root_cni_a_namespace_that_is_gone_is_told_by_an_empty_path() {
    on_a_node(|node| async move {
        node.install();
        let network = node.start_cni(&[]).await;
        let (namespace, _) = cni_pod(&network, "pod", &PodRequest::default()).await;
        super::super::namespace::remove(namespace.path()).unwrap();
        drop(namespace);
        remove_cni(&network, "pod").await;
        let calls = fs::read_to_string(node.directory.path().join("plugin/calls")).unwrap();
        assert!(calls.ends_with("DEL pod \n"), "{calls}");
        assert_eq!(node.cni_counts()["CNI records"], 0);
    });
}

#[test]
fn root_cni_a_pod_that_is_detached_while_it_is_attached_does_not_wait() {
    on_a_node(|node| async move {
        node.install();
        node.act("ADD", "hang");
        let network = node.start_cni(&[]).await;
        let namespace = network.create_namespace("pod").await.unwrap();
        let request = PodRequest::default();
        let attach = network.attach_pod("pod", &namespace, &request);
        let detach = async {
            let calls = node.directory.path().join("plugin/calls");
            let started = || fs::read_to_string(&calls).unwrap().contains("ADD pod");
            eventually("ADD runs", started).await;
            remove_cni(&network, "pod").await;
        };
        let started = Instant::now();
        let (attached, ()) = tokio::join!(attach, detach);
        assert!(message(&attached.unwrap_err()).starts_with("the pod is detached before"),);
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!(node.calls(), ["ADD pod", "DEL pod"]);
    });
}

#[test]
fn root_cni_a_start_names_the_living_and_releases_the_rest() {
    on_a_node(|node| async move {
        node.install();
        let network = node.start_cni(&[]).await;
        for sandbox in ["living", "dead", "half"] {
            drop(cni_pod(&network, sandbox, &PodRequest::default()).await);
        }
        drop(network);
        // A daemon that died before it could note that ADD had worked.
        let record = node.config().state_directory.join("cni/half");
        let text = fs::read_to_string(&record).unwrap();
        node.write("state/cni/half", text.lines().next().unwrap());
        node.calls();
        let network = node.start_cni(&["living", "half"]).await;
        eventually("two records are gone", || {
            node.cni_counts()["CNI records"] == 1
        })
        .await;
        let living = json!([
            { "containerID": "dead", "ifname": "eth0" }, { "containerID": "half", "ifname": "eth0" },
            { "containerID": "living", "ifname": "eth0" },
        ]);
        assert_eq!(node.input("GC")["cni.dev/valid-attachments"], living);
        let path = node.directory.path().join("plugin/calls");
        let checked = || fs::read_to_string(&path).unwrap().contains("CHECK");
        eventually("the living one is checked", checked).await;
        let mut calls = node.all_calls();
        assert_eq!(calls.remove(0), "GC ");
        calls.sort();
        assert_eq!(calls, ["CHECK living", "DEL dead", "DEL half"]);
        assert_eq!(node.cni_counts()["namespaces"], 1);
        remove_cni(&network, "living").await;
        drop(network);
        // Nothing of ours is left: everything in the network is garbage.
        let _network = node.start_cni(&[]).await;
        let empty = || node.input("GC")["cni.dev/valid-attachments"] == json!([]);
        eventually("GC names nobody", empty).await;
    });
}

#[test]
fn root_cni_status_follows_the_directory_and_says_why() {
    on_a_node(|node| async move {
        let network = node.start_cni(&[]).await;
        let directory = node.directory.path().join("net.d");
        let told = |status: super::super::NetworkStatus| {
            assert_eq!(
                (status.ready, status.reason.as_str()),
                (false, "NetworkPluginNotReady")
            );
            status.message
        };
        let shown = directory.display();
        let message = told(network.status().await);
        assert_eq!(
            message,
            format!("no CNI configuration: {shown} does not exist")
        );
        fs::create_dir(&directory).unwrap();
        let message = told(network.status().await);
        assert_eq!(
            message,
            format!("no CNI configuration: {shown} has no .conflist, .conf or .json")
        );
        node.write("net.d/05-torn.conflist", "{");
        let message = told(network.status().await);
        assert!(
            message.starts_with(&format!(
                "no usable CNI configuration: {shown}/05-torn.conflist: not JSON: EOF"
            )),
            "{message}"
        );
        node.configure("1.1.0", &json!([{ "type": "script" }]));
        let message = told(network.status().await);
        assert!(
            message.starts_with("CNI plugin \"script\" of network \"test\" is in none of"),
            "{message}"
        );
        node.install();
        let status = network.status().await;
        assert!(status.ready, "{status:?}");
        assert!(
            status.warnings[0].contains("05-torn.conflist"),
            "{status:?}"
        );

        node.configure("0.4.0", &json!([{ "type": "script" }]));
        let message = told(network.status().await);
        assert!(
            message.ends_with(
                "does not support cniVersion 0.4.0 of network \"test\", but 1.0.0, 1.1.0"
            ),
            "{message}"
        );
        // Another configuration is another question: no old answer is given.
        node.act("STATUS", "unready");
        node.configure("1.1.0", &json!([{ "type": "script", "mtu": 1400 }]));
        let message = told(network.status().await);
        assert_eq!(
            message,
            "CNI STATUS by plugin \"script\" of network \"test\": no route yet (code 50); it cannot attach pods"
        );
        fs::remove_dir_all(&directory).unwrap();
        assert!(told(network.status().await).contains("does not exist"));
        let namespace = network.create_namespace("pod").await.unwrap();
        let error = network
            .attach_pod("pod", &namespace, &PodRequest::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::NotReady);
        drop(namespace);
        remove_cni(&network, "pod").await;
    });
}

#[test]
fn root_cni_is_chosen_if_there_is_a_configuration_and_each_pod_leaves_as_it_came() {
    on_a_node(|node| async move {
        let config = NetworkConfig {
            mode: Mode::Auto,
            ..node.cni_config()
        };
        let network = Network::start(config, &[].into()).await.unwrap();
        let request = PodRequest::default();
        let (_built_in, addresses) = cni_pod(&network, "one", &request).await;
        assert_eq!(addresses[0].to_string(), "10.63.0.2");
        node.install();
        let (_by_cni, addresses) = cni_pod(&network, "two", &request).await;
        assert_eq!(addresses[0].to_string(), "10.1.2.3");
        node.write("net.d/10-test.conflist", "{");
        let status = network.status().await;
        assert!(
            !status.ready,
            "a broken configuration is no reason to take another network"
        );
        fs::remove_dir_all(node.directory.path().join("net.d")).unwrap();
        assert!(network.status().await.ready);
        let (_again, addresses) = cni_pod(&network, "three", &request).await;
        assert_eq!(addresses[0].to_string(), "10.63.0.3");
        for sandbox in ["one", "two", "three"] {
            remove_cni(&network, sandbox).await;
        }
        assert_eq!(node.calls(), ["ADD two", "DEL two"]);
        let counts = node.cni_counts();
        assert_eq!(
            (
                counts["records"],
                counts["CNI records"],
                counts["namespaces"]
            ),
            (0, 0, 0)
        );
    });
}
