//! Exec, Attach, PortForward: what reaches the streaming server, and what is refused before.

use tonic::Code;

use super::Served;
use super::script::{container_view, sandbox_view};
use crate::cri::wire::runtime::*;
use crate::pod::ContainerState;

fn exec() -> ExecRequest {
    ExecRequest {
        container_id: "c".to_owned(),
        cmd: vec!["sh".to_owned()],
        tty: true,
        stdin: true,
        stdout: true,
        stderr: false,
    }
}

fn attach() -> AttachRequest {
    AttachRequest {
        container_id: "c".to_owned(),
        stdin: false,
        tty: false,
        stdout: true,
        stderr: true,
    }
}

#[tokio::test]
async fn each_gives_the_url_of_what_was_asked() {
    let served = Served::start().await;
    served
        .script
        .containers
        .lock()
        .unwrap()
        .push(container_view("c"));
    served
        .script
        .sandboxes
        .lock()
        .unwrap()
        .push(sandbox_view("s"));
    let mut client = served.runtime().await;
    let url = "http://127.0.0.1:1/token";
    assert_eq!(client.exec(exec()).await.unwrap().into_inner().url, url);
    assert_eq!(client.attach(attach()).await.unwrap().into_inner().url, url);
    let request = PortForwardRequest {
        pod_sandbox_id: "s".to_owned(),
        port: vec![80, 443],
    };
    let answer = client.port_forward(request).await.unwrap();
    assert_eq!(answer.into_inner().url, url);
    let asked = served.script.asked.lock().unwrap().join("\n");
    for wanted in [
        "Exec { container_id: \"c\", arguments: [\"sh\"], wanted: WantedStreams { stdin: true, stdout: true, stderr: false, terminal: true } }",
        "Attach { container_id: \"c\", wanted: WantedStreams { stdin: false, stdout: true, stderr: true, terminal: false } }",
        "PortForward { sandbox_id: \"s\", ports: [80, 443] }",
    ] {
        assert!(asked.contains(wanted), "{asked}");
    }
}

#[tokio::test]
async fn streams_that_do_not_go_together_are_refused() {
    let served = Served::start().await;
    served
        .script
        .containers
        .lock()
        .unwrap()
        .push(container_view("c"));
    let mut client = served.runtime().await;
    for (request, field) in [
        (
            ExecRequest {
                stderr: true,
                ..exec()
            },
            "stderr",
        ),
        (
            ExecRequest {
                stdin: false,
                stdout: false,
                ..exec()
            },
            "stdout",
        ),
        (
            ExecRequest {
                cmd: Vec::new(),
                ..exec()
            },
            "cmd",
        ),
        (
            ExecRequest {
                cmd: vec!["a\0".to_owned()],
                ..exec()
            },
            "cmd",
        ),
    ] {
        let refused = client.exec(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        assert!(refused.message().starts_with(field), "{refused}");
    }
    let request = AttachRequest {
        tty: true,
        ..attach()
    };
    let refused = client.attach(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for port in [0, -1, 65536] {
        let request = PortForwardRequest {
            pod_sandbox_id: "s".to_owned(),
            port: vec![port],
        };
        let refused = client.port_forward(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{port}");
    }
    assert!(served.script.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_does_not_run_or_is_not_there_is_refused() {
    let served = Served::start().await;
    let mut client = served.runtime().await;
    let refused = client.exec(exec()).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let mut exited = container_view("c");
    exited.state = ContainerState::Exited;
    served.script.containers.lock().unwrap().push(exited);
    for refused in [
        client.exec(exec()).await.unwrap_err(),
        client.attach(attach()).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("not running"), "{refused}");
    }
}
