//! GetContainerEvents over a socket, with pods of fakes: everyone hears of everything once, in order, with the states.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking"
)]

#[allow(dead_code, reason = "tests/pod_procedures.rs uses the rest")]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carpel::cri::{
    CgroupDriver, Client, ClientError, Events, ReportedEvent, Settings, Socket, StreamUrls, serve,
};
use carpel::image::{Images, ImagesConfig};
use carpel::pod::{PodError, PodErrorKind, Pods, StreamRequest, Subject};
use support::node::{Node, container, sandbox, wait_until};
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct NoUrls;

impl StreamUrls for NoUrls {
    fn url_of(&self, _request: StreamRequest) -> Result<String, PodError> {
        Err(PodError::new(
            PodErrorKind::Unimplemented,
            Subject::Runtime,
            "not here",
        ))
    }
}

/// The CRI server of a node of fakes.
struct Served {
    pods: Pods,
    folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn start(pods: Pods) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::open(ImagesConfig {
            root: folder.path().join("images"),
            ..ImagesConfig::default()
        })
        .unwrap();
        let socket = Socket::bind(&folder.path().join("carpel.sock")).unwrap();
        let settings = Settings {
            cgroup_driver: CgroupDriver::Cgroupfs,
            spool_directory: folder.path().to_owned(),
            urls: Arc::new(NoUrls),
            calls: None,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let served = pods.clone();
        let server = tokio::spawn(async move {
            let shutdown = async { stopped.await.unwrap_or_default() };
            serve(socket, served, images, settings, shutdown)
                .await
                .unwrap();
        });
        Self {
            pods,
            folder,
            stop,
            server,
        }
    }

    async fn listen(&self) -> Events {
        let client = Client::connect(&self.folder.path().join("carpel.sock")).await;
        client.unwrap().events().await.unwrap()
    }
}

async fn next(events: &mut Events) -> Result<Option<ReportedEvent>, ClientError> {
    tokio::time::timeout(PATIENCE, events.next()).await.unwrap()
}

/// The next events, up to the deletion of a sandbox.
async fn until_deleted(events: &mut Events, sandbox: &str) -> Vec<ReportedEvent> {
    let mut all = Vec::new();
    loop {
        let event = next(events).await.unwrap().unwrap();
        let is_last = event.id == sandbox && event.kind == "deleted";
        all.push(event);
        if is_last {
            return all;
        }
    }
}

fn kinds<'a>(events: &'a [ReportedEvent], id: &str) -> Vec<&'a str> {
    let mine = events.iter().filter(|event| event.id == id);
    mine.map(|event| event.kind).collect()
}

const WHOLE_LIFE: [&str; 4] = ["created", "started", "stopped", "deleted"];

#[tokio::test]
async fn two_clients_hear_of_the_whole_life_of_a_pod() {
    let node = Node::new();
    let served = Served::start(node.daemon().await).await;
    let mut first = served.listen().await;
    let mut second = served.listen().await;
    let pods = &served.pods;
    let pod = pods.run_sandbox(sandbox("web"), "").await.unwrap();
    let one = pods.create_container(&pod, container("one")).await.unwrap();
    pods.start_container(&one).await.unwrap();
    node.shim(&pod).exit(&one, 3, 0);
    wait_until("exited", || {
        pods.container_status(&one).unwrap().exit_code == 3
    })
    .await;
    pods.remove_container(&one).await.unwrap();
    pods.stop_sandbox(&pod).await.unwrap();
    pods.remove_sandbox(&pod).await.unwrap();

    let told = until_deleted(&mut first, &pod).await;
    assert_eq!(told, until_deleted(&mut second, &pod).await);
    let line = |event: &ReportedEvent| {
        let who = if event.id == pod { "pod" } else { "one" };
        let containers: Vec<String> = event
            .containers
            .iter()
            .map(|container| format!("{}:{}", container.name, container.state))
            .collect();
        let ready = event.sandbox.is_ready;
        format!("{who} {} {ready} {}", event.kind, containers.join(","))
    };
    let lines: Vec<String> = told.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "pod created true ",
            "pod started true ",
            "one created true one:created",
            "one started true one:running",
            "one stopped true one:exited",
            "one deleted true ",
            "pod stopped false ",
            "pod deleted false ",
        ]
    );
    assert!(told.is_sorted_by(|one, next| one.created_at < next.created_at));
    assert_eq!(told[4].containers[0].exit_code, 3);
    assert_eq!(told[4].containers[0].reason, "Error");
    for event in &told {
        assert_eq!((&*event.sandbox.id, &*event.sandbox.name), (&*pod, "web"));
        assert_eq!(event.sandbox.uid, "uid-web");
    }
}

#[tokio::test]
async fn nothing_is_lost_while_fifty_pods_come_and_go_at_once() {
    let node = Arc::new(Node::new());
    let served = Served::start(node.daemon().await).await;
    let mut events = served.listen().await;
    let lives: Vec<_> = (0..50)
        .map(|index| {
            let pods = served.pods.clone();
            tokio::spawn(async move {
                let config = sandbox(&format!("pod-{index}"));
                let pod = pods.run_sandbox(config, "").await.unwrap();
                let mut all = vec![pod.clone()];
                for name in ["one", "two"] {
                    let id = pods.create_container(&pod, container(name)).await.unwrap();
                    pods.start_container(&id).await.unwrap();
                    all.push(id);
                }
                pods.remove_sandbox(&pod).await.unwrap();
                all
            })
        })
        .collect();
    let mut ids = Vec::new();
    for life in lives {
        ids.extend(life.await.unwrap());
    }
    let mut told: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for _ in 0..ids.len() * WHOLE_LIFE.len() {
        let event = next(&mut events).await.unwrap().unwrap();
        told.entry(event.id).or_default().push(event.kind);
    }
    for id in ids {
        assert_eq!(told[&id], WHOLE_LIFE);
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_was_never_started() {
    let node = Node::new();
    let served = Served::start(node.daemon().await).await;
    let mut events = served.listen().await;
    let pod = served.pods.run_sandbox(sandbox("web"), "").await.unwrap();
    let id = served
        .pods
        .create_container(&pod, container("one"))
        .await
        .unwrap();
    node.ledger.fail_after(0);
    served.pods.start_container(&id).await.unwrap_err();
    served.pods.remove_sandbox(&pod).await.unwrap();
    let told = until_deleted(&mut events, &pod).await;
    assert_eq!(kinds(&told, &id), ["created", "stopped", "deleted"]);
    let stopped = told.iter().find(|event| event.kind == "stopped").unwrap();
    assert_eq!(stopped.containers[0].reason, "StartError");
}

#[tokio::test]
async fn a_pod_that_was_never_ready_is_not_told_of() {
    let node = Node::new();
    let served = Served::start(node.daemon().await).await;
    let mut events = served.listen().await;
    node.ledger.fail_after(2);
    served
        .pods
        .run_sandbox(sandbox("bad"), "")
        .await
        .unwrap_err();
    let pod = served.pods.run_sandbox(sandbox("good"), "").await.unwrap();
    node.ledger.fail_after(1);
    let refused = served.pods.create_container(&pod, container("one")).await;
    refused.unwrap_err();
    served.pods.remove_sandbox(&pod).await.unwrap();
    let told = until_deleted(&mut events, &pod).await;
    assert_eq!(kinds(&told, &pod), WHOLE_LIFE);
    assert_eq!(told.len(), WHOLE_LIFE.len(), "{told:?}");
}

#[tokio::test]
async fn an_infra_process_and_a_shim_that_die_are_told() {
    let node = Node::new();
    let served = Served::start(node.daemon().await).await;
    let mut events = served.listen().await;
    let pod = served.pods.run_sandbox(sandbox("web"), "").await.unwrap();
    let id = served
        .pods
        .create_container(&pod, container("one"))
        .await
        .unwrap();
    served.pods.start_container(&id).await.unwrap();
    node.shim(&pod).lose_infra();
    let mut told = Vec::new();
    while kinds(&told, &pod).last() != Some(&"stopped") {
        told.push(next(&mut events).await.unwrap().unwrap());
    }
    assert_eq!(kinds(&told, &id), ["created", "started"]);
    node.shim(&pod).kill();
    let event = next(&mut events).await.unwrap().unwrap();
    assert_eq!((&*event.id, event.kind), (&*id, "stopped"));
    assert_eq!(event.containers[0].reason, "Unknown");
    served.pods.remove_sandbox(&pod).await.unwrap();
    let rest = until_deleted(&mut events, &pod).await;
    assert_eq!(kinds(&rest, &pod), ["deleted"]);
    assert_eq!(kinds(&rest, &id), ["deleted"]);
}

#[tokio::test]
async fn exits_while_no_daemon_ran_are_told_to_those_who_listen_to_the_new_one() {
    let node = Node::new();
    let (pod, alive, ended) = node.in_dying_daemon(async |pods| {
        let pod = pods.run_sandbox(sandbox("web"), "").await.unwrap();
        let mut ids = Vec::new();
        for name in ["alive", "ended"] {
            let id = pods.create_container(&pod, container(name)).await.unwrap();
            pods.start_container(&id).await.unwrap();
            ids.push(id);
        }
        let ended = ids.pop().unwrap();
        (pod, ids.pop().unwrap(), ended)
    });
    node.shim(&pod).exit(&ended, 7, 0);
    let served = Served::start(node.daemon().await).await;
    for _client in 0..2 {
        let mut events = served.listen().await;
        let event = next(&mut events).await.unwrap().unwrap();
        assert_eq!((&*event.id, event.kind), (&*ended, "stopped"));
        let states: BTreeMap<&str, i32> = event
            .containers
            .iter()
            .map(|container| (&*container.id, container.exit_code))
            .collect();
        assert_eq!(states, BTreeMap::from([(&*alive, 0), (&*ended, 7)]));
    }
    // What has been told before is not told again.
    let mut events = served.listen().await;
    served.pods.remove_sandbox(&pod).await.unwrap();
    let told = until_deleted(&mut events, &pod).await;
    assert_eq!(kinds(&told, &ended), ["stopped", "deleted"]);
    assert_eq!(kinds(&told, &alive), ["stopped", "deleted"]);
    assert_eq!(kinds(&told, &pod), ["stopped", "deleted"]);
}

#[tokio::test]
async fn listeners_do_not_hold_up_the_end_of_the_daemon() {
    let node = Node::new();
    let served = Served::start(node.daemon().await).await;
    let mut events = served.listen().await;
    let asked = tokio::time::Instant::now();
    served.stop.send(()).unwrap();
    let error = next(&mut events).await.unwrap_err();
    assert!(
        error.to_string().contains("the daemon is stopping"),
        "{error}"
    );
    drop(events);
    served.server.await.unwrap();
    // Calls that do not end by themselves are cut off after five seconds.
    assert!(asked.elapsed() < Duration::from_secs(5));
}
