//! Attach over SPDY: several clients, the end of the input, the end of the container, and a client that is dropped.

use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::client::{ALL, AtDisconnect, Served, spdy};
use crate::pod::{AtStdinEnd, Attachment, ProcessInput, ProcessOutput, ProcessStreams};
use crate::streaming::spdy::test_client::TestClient;

/// The container's ends of the streams of an attachment.
struct Container {
    stdin: OwnedFd,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    exit: Option<oneshot::Sender<()>>,
    stdin_closed: CancellationToken,
}

fn attachment(at_stdin_end: AtStdinEnd) -> (Attachment, Container) {
    let make = || pipe_with(PipeFlags::CLOEXEC).unwrap();
    let ((stdin, input), (output, stdout), (error, stderr)) = (make(), make(), make());
    let (exit, exited) = oneshot::channel();
    let stdin_closed = CancellationToken::new();
    let attachment = Attachment {
        streams: ProcessStreams {
            stdin: Some(ProcessInput::new(input).unwrap()),
            stdout: Some(ProcessOutput::new(output).unwrap()),
            stderr: Some(ProcessOutput::new(error).unwrap()),
            terminal: None,
        },
        exited,
        at_stdin_end,
        stdin_closed: stdin_closed.clone(),
    };
    let container = Container {
        stdin,
        stdout: Some(stdout),
        stderr: Some(stderr),
        exit: Some(exit),
        stdin_closed,
    };
    (attachment, container)
}

async fn attach(served: &Served, attachment: Attachment) -> TestClient {
    *served.script.attachment.lock().unwrap() = Some(attachment);
    let mut client = spdy(&served.attach_url(ALL), "v4.channel.k8s.io").await;
    for kind in ["error", "stdin", "stdout", "stderr"] {
        client.open(&[("streamtype", kind)]).await;
    }
    client
}

/// Reads from the container's input on a thread of its own.
async fn read(end: &OwnedFd) -> Vec<u8> {
    let end = end.try_clone().unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 100];
        let length = rustix::io::read(&end, &mut buffer).unwrap();
        buffer[..length].to_vec()
    });
    reading.await.unwrap()
}

fn status(client: &TestClient) -> Value {
    serde_json::from_slice(&client.came(1).bytes).unwrap()
}

#[tokio::test]
async fn a_client_writes_and_reads_until_it_ends_its_input() {
    let served = Served::start(AtDisconnect::Leave).await;
    let (attachment, container) = attachment(AtStdinEnd::Detach);
    let mut client = attach(&served, attachment).await;
    client.data(3, b"in").await;
    assert_eq!(read(&container.stdin).await, b"in");
    rustix::io::write(container.stdout.as_ref().unwrap(), b"out").unwrap();
    rustix::io::write(container.stderr.as_ref().unwrap(), b"err").unwrap();
    client
        .until(|client| client.came(5).text() == "out" && client.came(7).text() == "err")
        .await;
    client.finish(3).await;
    client.until_end().await;
    assert_eq!(status(&client)["status"], "Success");
}

#[tokio::test]
async fn stdin_once_closes_the_input_and_goes_on_reading() {
    let served = Served::start(AtDisconnect::Leave).await;
    let (close, mut closed) = oneshot::channel();
    let (attachment, mut container) = attachment(AtStdinEnd::Close(close));
    let mut client = attach(&served, attachment).await;
    client.data(3, b"in").await;
    client.finish(3).await;
    assert_eq!(read(&container.stdin).await, b"in");
    assert_eq!(read(&container.stdin).await, b"");
    (&mut closed).await.unwrap();
    rustix::io::write(container.stdout.as_ref().unwrap(), b"after").unwrap();
    client
        .until(|client| client.came(5).text() == "after")
        .await;
    container.exit.take().unwrap().send(()).unwrap();
    (container.stdout, container.stderr) = (None, None);
    client.until_end().await;
    assert_eq!(status(&client)["status"], "Success");
}

#[tokio::test]
async fn another_client_that_closes_the_input_closes_it_for_all() {
    let served = Served::start(AtDisconnect::Leave).await;
    let (attachment, container) = attachment(AtStdinEnd::Detach);
    let mut client = attach(&served, attachment).await;
    client.data(3, b"in").await;
    assert_eq!(read(&container.stdin).await, b"in");
    container.stdin_closed.cancel();
    assert_eq!(read(&container.stdin).await, b"");
    rustix::io::write(container.stdout.as_ref().unwrap(), b"still").unwrap();
    client
        .until(|client| client.came(5).text() == "still")
        .await;
}

#[tokio::test]
async fn a_client_that_was_too_slow_is_told() {
    let served = Served::start(AtDisconnect::Leave).await;
    let (attachment, mut container) = attachment(AtStdinEnd::Detach);
    let mut client = attach(&served, attachment).await;
    // As the log writer does with one whose pipe is full.
    (container.stdout, container.stderr) = (None, None);
    client.until_end().await;
    let message = status(&client)["message"].to_string();
    assert!(message.contains("the client was too slow"), "{message}");
    assert!(container.exit.is_some());
}

#[tokio::test]
async fn a_container_that_does_not_run_is_told() {
    let served = Served::start(AtDisconnect::Leave).await;
    let mut client = spdy(&served.attach_url(ALL), "v4.channel.k8s.io").await;
    for kind in ["error", "stdin", "stdout", "stderr"] {
        client.open(&[("streamtype", kind)]).await;
    }
    client.until_end().await;
    let message = status(&client)["message"].to_string();
    assert!(message.contains("not running"), "{message}");
}
