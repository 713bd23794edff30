//! CNI's attachments after a daemon died, a configuration changed, a pod went too early; directories that change.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::{Mode, Network, NetworkConfig, NetworkErrorKind, NetworkStatus, PodRequest};
use super::cni::{cni_pod, remove_cni};
use super::cni_plugin::{eventually, message};
use super::on_a_node;

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

/// The message of a status that is not ready.
fn told(status: NetworkStatus) -> String {
    assert_eq!(
        (status.ready, status.reason.as_str()),
        (false, "NetworkPluginNotReady")
    );
    status.message
}

#[test]
fn root_cni_status_follows_the_directory_and_says_why() {
    on_a_node(|node| async move {
        let network = node.start_cni(&[]).await;
        let directory = node.directory.path().join("net.d");
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
            message.starts_with(&format!(
                "CNI plugin \"script\" of network \"test\" ({shown}/10-test.conflist) is in none of"
            )),
            "{message}"
        );
        node.install();
        let status = network.status().await;
        assert!(status.ready, "{status:?}");
        assert!(
            status.warnings[0].contains("05-torn.conflist"),
            "{status:?}"
        );
    });
}

#[test]
fn root_cni_status_follows_a_configuration_that_changes_and_goes() {
    on_a_node(|node| async move {
        node.install();
        let network = node.start_cni(&[]).await;
        assert!(network.status().await.ready);
        let directory = node.directory.path().join("net.d");
        let shown = directory.display();
        node.configure("0.4.0", &json!([{ "type": "script" }]));
        let message = told(network.status().await);
        assert!(
            message.ends_with(&format!(
                "does not support cniVersion 0.4.0 of network \"test\" ({shown}/10-test.conflist), but 1.0.0, 1.1.0"
            )),
            "{message}"
        );
        // Another configuration is another question: no old answer is given.
        node.act("STATUS", "unready");
        node.configure("1.1.0", &json!([{ "type": "script", "mtu": 1400 }]));
        let message = told(network.status().await);
        assert_eq!(
            message,
            format!(
                "CNI STATUS by plugin \"script\" of network \"test\" ({shown}/10-test.conflist): no route yet (code 50); \
                 it cannot attach pods"
            )
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

#[test]
fn root_cni_takes_over_and_what_was_prepared_on_the_bridge_goes() {
    on_a_node(|node| async move {
        let config = NetworkConfig {
            mode: Mode::Auto,
            prepared: 2,
            ..node.cni_config()
        };
        let network = Network::start(config, &[].into()).await.unwrap();
        assert!(network.status().await.ready);
        eventually("two are in stock", || network.prepared() == 2).await;
        let links = node.cni_counts()["links"];
        node.install();
        assert!(network.status().await.ready);
        let gone = || {
            let counts = node.cni_counts();
            counts["records"] == 0 && counts["links"] == links - 2
        };
        eventually("the stock is gone", gone).await;
        assert_eq!(network.prepared(), 0);
        node.calls();
        let request = PodRequest::default();
        let (namespace, addresses) = cni_pod(&network, "by-cni", &request).await;
        assert_eq!(addresses[0].to_string(), "10.1.2.3");
        drop(namespace);
        remove_cni(&network, "by-cni").await;
        assert_eq!(node.calls(), ["ADD by-cni", "DEL by-cni"]);
        assert_eq!(network.prepared(), 0);
        // And back: without a configuration the bridge has its stock again.
        fs::remove_dir_all(node.directory.path().join("net.d")).unwrap();
        assert!(network.status().await.ready);
        eventually("two are in stock again", || network.prepared() == 2).await;
        network.reset().await.unwrap();
        assert_eq!(node.cni_counts()["links"], 1);
    });
}
