//! The real kubectl by way of the API server: what it says to a container, brings into it and takes from it, and debugging.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use carpel_integration::cluster::Cluster;
use carpel_integration::node::Node;
use carpel_integration::request::BUSYBOX;
use carpel_integration::table::{Verdict, expect};
use carpel_integration::wait::try_for;
use serde_json::{Value, json};

use crate::pod_behaviours::manifest::server;
use crate::pod_behaviours::scene::first_container;
use crate::rows::{self, Look};

const SOON: Duration = Duration::from_secs(60);

/// Serves a page, says something on both streams, and echoes what it is told by attach.
const WEB: &str = "echo page >/tmp/index.html; httpd -p 8080 -h /tmp; echo out; echo err >&2; \
    while read -r line; do echo \"heard $line\"; done; sleep 1000";

#[test]
#[ignore = "the control plane is built by make cluster"]
fn root_kubectl_reaches_containers_through_the_api_server() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let Some(cluster) = Cluster::start(&node, &json!({})) else {
        return;
    };
    cluster.apply(&server("web", WEB, &json!({ "main": { "stdin": true } })));
    cluster.apply(&server("dies", "echo life; sleep 2; exit 3", &json!({})));
    cluster
        .wait("pod", "web", SOON, |pod| {
            first_container(pod)["ready"] == true
        })
        .unwrap();
    rows::show(&node, &cluster, &ROWS);
    drop(cluster);
    node.finish();
}

const ROWS: [(&str, Look); 15] = [
    ("kubectl exec tells output, errors and the exit code", exec),
    ("kubectl exec of a megabyte there and back", exec_cat),
    ("kubectl exec --tty has a terminal", exec_terminal),
    ("kubectl attach with standard input", attach),
    ("kubectl cp into a container and out of it", copy),
    ("kubectl port-forward", port_forward),
    ("kubectl logs of one stream", one_stream),
    ("kubectl logs --previous", previous),
    ("kubectl logs --follow ends with the container", follow),
    (
        "kubectl debug: an ephemeral container sees its target's processes",
        debug,
    ),
    (
        "kubectl debug --copy-to: another pod with another command",
        debug_copy,
    ),
    (
        "kubectl debug node: the node's root and processes",
        debug_node,
    ),
    ("kubectl describe has the events of a pod's life", events),
    ("metrics of the node through the API server", metrics),
    (
        "pressure of a container (PSI), where the kernel has it",
        pressure,
    ),
];

fn exec(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let script = "echo out; echo err >&2; exit 5";
    let output = cluster.kubectl(&["exec", "web", "--", "sh", "-c", script]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    expect(
        output.stdout == b"out\n" && errors.starts_with("err\n") && output.status.code() == Some(5),
        errors,
    )
}

fn exec_cat(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let sent: Vec<u8> = (0..1 << 20)
        .map(|byte: u32| byte.to_le_bytes()[0])
        .collect();
    let got = with_input(cluster, &["exec", "-i", "web", "--", "cat"], sent.clone())?;
    expect(got == sent, format!("{} bytes came back", got.len()))
}

/// What kubectl says when it is told something.
fn with_input(
    cluster: &Cluster<'_>,
    arguments: &[&str],
    bytes: Vec<u8>,
) -> Result<Vec<u8>, String> {
    let mut process = cluster
        .kubectl_command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let sender = std::thread::spawn(move || input.write_all(&bytes));
    let output = process.wait_with_output().unwrap();
    // A command that has ended reads no more.
    let _broken_pipe = sender.join().unwrap();
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn exec_terminal(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    // kubectl wants a terminal of its own, which script(1) makes.
    let mut words = vec![String::from("kubectl")];
    let command = cluster.kubectl_command(&["exec", "-it", "web", "--", "sh", "-c", "tty"]);
    let arguments = command
        .get_args()
        .map(|word| word.to_str().unwrap().to_owned());
    words.extend(arguments.skip_while(|word| word != "kubectl").skip(1));
    let output = node
        .command("script")
        .args(["-q", "-e", "-c", &words.join(" "), "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    expect(said.contains("/dev/pts/0"), said)
}

fn attach(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let mut process = cluster
        .kubectl_command(&["attach", "-i", "web"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    input.write_all(b"hello\n").unwrap();
    let line = first_line(&mut process);
    drop(input);
    process.wait().unwrap();
    expect(line == "heard hello\n", line)
}

fn first_line(process: &mut Child) -> String {
    let mut line = String::new();
    let output = process.stdout.as_mut().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    line
}

fn copy(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let (there, back) = (node.work.join("there"), node.work.join("back"));
    std::fs::create_dir(&there).unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|byte| byte.to_le_bytes()[1]).collect();
    carpel_integration::request::write_new(&there.join("file"), &bytes);
    cluster.ask(&["cp", there.to_str().unwrap(), "web:/tmp/copied"])?;
    cluster.ask(&["cp", "web:/tmp/copied", back.to_str().unwrap()])?;
    let found = std::fs::read(back.join("file")).unwrap_or_default();
    expect(found == bytes, format!("{} bytes", found.len()))
}

fn port_forward(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let mut process = cluster
        .kubectl_command(&["port-forward", "pod/web", "18080:8080"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = first_line(&mut process);
    let mut pages = Vec::new();
    for _ in 0..20 {
        let fetch = ["wget", "-q", "-O", "-", "http://127.0.0.1:18080/"];
        let page = node.command("busybox").args(fetch).output().unwrap();
        pages.push(String::from_utf8_lossy(&page.stdout).into_owned());
    }
    for (pid, name) in node.processes() {
        if name == "kubectl" {
            node.signal("TERM", pid);
        }
    }
    process.wait().unwrap();
    expect(
        pages.iter().all(|page| page == "page\n"),
        format!("{line}{pages:?}"),
    )
}

fn one_stream(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let log = |stream: &str| {
        let path = format!("/api/v1/namespaces/default/pods/web/log?stream={stream}");
        cluster.ask(&["get", "--raw", &path])
    };
    let (out, err) = (log("Stdout")?, log("Stderr")?);
    expect(
        out.starts_with("out\n") && err == "err\n",
        format!("{out:?} {err:?}"),
    )
}

fn previous(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    cluster.wait("pod", "dies", SOON, |pod| {
        first_container(pod)["restartCount"].as_u64() >= Some(1)
    })?;
    // The kubelet removes the one before the previous while it looks for it.
    let mut last = String::new();
    let found = try_for(SOON, || {
        last = cluster
            .ask(&["logs", "dies", "--previous"])
            .unwrap_or_else(|said| said);
        (last == "life\n").then_some(())
    });
    found.ok_or(last)
}

fn follow(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    cluster.apply(&{
        let mut pod = server(
            "counts",
            "for i in 1 2 3; do echo $i; sleep 1; done",
            &json!({}),
        );
        pod["spec"]["restartPolicy"] = json!("Never");
        pod
    });
    cluster.wait("pod", "counts", SOON, |pod| {
        pod["status"]["phase"] != "Pending"
    })?;
    let said = cluster.ask(&["logs", "counts", "--follow"])?;
    expect(said == "1\n2\n3\n", said)
}

fn debug(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let script =
        "ps; cat /proc/$(ps | awk '/httpd -p 8080 -h .tmp$/ { print $1 }')/root/tmp/index.html";
    let image = format!("--image={BUSYBOX}");
    let debug = [
        "debug",
        "web",
        &image,
        "--target=main",
        "--container=debugger",
    ];
    let command = ["--profile=general", "--", "sh", "-c", script];
    cluster.ask(&[&debug[..], &command].concat())?;
    cluster.wait("pod", "web", SOON, |pod| {
        pod["status"]["ephemeralContainerStatuses"][0]["state"]["terminated"].is_object()
    })?;
    let said = cluster.ask(&["logs", "web", "--container", "debugger"])?;
    expect(
        said.contains("httpd -p 8080") && said.contains("page\n"),
        said,
    )
}

fn debug_copy(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let command = ["--", "sh", "-c", "echo copied; sleep 1000"];
    let debug = ["debug", "dies", "--copy-to=copy", "--container=main"];
    cluster.ask(&[&debug[..], &command].concat())?;
    cluster.wait("pod", "copy", SOON, |pod| {
        first_container(pod)["ready"] == true
    })?;
    let said = cluster.ask(&["logs", "copy"])?;
    expect(said == "copied\n", said)
}

fn debug_node(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let image = format!("--image={BUSYBOX}");
    let script = "ls -d /host/proc/1; cat /proc/1/cmdline | tr '\\0' ' '; id -u";
    let said = cluster.ask(&["debug", "node/node", &image, "--", "sh", "-c", script])?;
    // "Creating debugging pod node-debugger-node-xxxxx with container debugger on node node."
    let pod = said
        .split_whitespace()
        .find(|word| word.starts_with("node-debugger-"))
        .ok_or_else(|| format!("it said {said:?}"))?;
    cluster.wait("pod", pod, SOON, |pod| {
        pod["status"]["phase"] == "Succeeded"
    })?;
    let said = cluster.ask(&["logs", pod])?;
    expect(
        said.contains("/host/proc/1\n") && said.contains("inside"),
        said,
    )
}

fn events(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let told = |name: &str, wanted: &[&str]| {
        let mut last = Vec::new();
        let found = try_for(SOON, || {
            last = cluster.events(name);
            let has = |reason: &&str| last.iter().any(|event| event.contains(*reason));
            wanted.iter().all(has).then_some(())
        });
        found.ok_or_else(|| format!("{name}: {last:#?}"))
    };
    told(
        "web",
        &[
            "Normal Scheduled",
            "Normal Pulled",
            "Normal Created",
            "Normal Started",
        ],
    )?;
    told("dies", &["Warning BackOff"])
}

fn metrics(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    for (path, wanted) in [
        (
            "metrics/resource",
            "container_memory_working_set_bytes{container=\"main\"",
        ),
        (
            "metrics/cadvisor",
            "container_cpu_usage_seconds_total{container=\"main\"",
        ),
        ("stats/summary", "\"usageCoreNanoSeconds\""),
    ] {
        let path = format!("/api/v1/nodes/node/proxy/{path}");
        let mut last = String::new();
        let found = try_for(SOON, || {
            last = cluster
                .ask(&["get", "--raw", &path])
                .unwrap_or_else(|said| said);
            last.contains(wanted).then_some(())
        });
        found.ok_or_else(|| format!("{path} has no {wanted}"))?;
    }
    Ok(())
}

/// KubeletPSI: what the runtime tells of `cpu.pressure` and the like.
fn pressure(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    if !Path::new("/proc/pressure/cpu").exists() {
        return Ok(());
    }
    let summary = cluster.ask(&["get", "--raw", "/api/v1/nodes/node/proxy/stats/summary"])?;
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let pods = summary["pods"].as_array().cloned().unwrap_or_default();
    let web = pods.iter().find(|pod| pod["podRef"]["name"] == "web");
    let container = web.map(|pod| pod["containers"][0].clone());
    let container = container.unwrap_or_default();
    let told = |resource: &str| container[resource]["psi"]["some"]["total"].is_u64();
    expect(
        ["cpu", "memory", "io"]
            .iter()
            .all(|resource| told(resource)),
        container.to_string(),
    )
}
