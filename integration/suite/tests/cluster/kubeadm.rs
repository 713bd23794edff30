//! What kubeadm asks of a runtime before it makes a cluster.

use std::process::Command;

use carpel_integration::kubelet_process::KubeletProcess;
use carpel_integration::node::Node;
use carpel_integration::request::write_new;
use carpel_integration::table::{Table, expect};

/// What `kubeadm init phase preflight` says with this socket. Other checks are of the machine, so none may end it.
fn preflight(node: &Node, socket: &str) -> String {
    let file = node.work.join("preflight.yaml");
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n\
         localAPIEndpoint: {{ advertiseAddress: 10.99.0.1 }}\n\
         nodeRegistration: {{ name: node, criSocket: \"unix://{socket}\" }}\n\
         ---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.36.3\n"
    );
    write_new(&file, text.as_bytes());
    let mut command: Command = node.command("kubeadm");
    let output = command
        .args([
            "init",
            "phase",
            "preflight",
            "--ignore-preflight-errors",
            "all",
            "-v",
            "1",
            "--config",
        ])
        .arg(&file)
        .output()
        .unwrap();
    std::fs::remove_file(file).unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
#[ignore = "the control plane is built by make cluster"]
fn root_kubeadm_finds_nothing_wrong_with_the_runtime() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let Some(kubelet) = KubeletProcess::prepare(&node, "cluster-tools", &["kubeadm"]) else {
        return;
    };
    let wrong = |said: &str| said.contains("CRI]") || said.contains("ContainerRuntimeVersion]");
    let mut table = Table::default();
    let said = preflight(&node, node.socket.to_str().unwrap());
    table.row(
        "kubeadm's preflight accepts runtime and version",
        expect(
            !wrong(&said) && said.contains("validating the container runtime version"),
            &said,
        ),
    );
    table.row(
        "kubeadm asks Carpel for its images",
        expect(
            said.contains("pull registry.k8s.io/kube-apiserver:v1.36.3: 2 hosts were asked"),
            &said,
        ),
    );
    let said = preflight(&node, "/no/such/socket");
    table.row(
        "kubeadm does not accept a socket that is not there",
        expect(wrong(&said), &said),
    );
    table.finish();
    drop(kubelet);
    node.finish();
}
