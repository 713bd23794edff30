//! Exec over SPDY and WebSocket.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::client::{ALL, AtDisconnect, Served, request, spdy, wait_until, websocket};
use super::script::size_of;
use crate::pod::WantedStreams;
use crate::streaming::spdy::test_client::TestClient;

/// Streams 1, 3, 5, 7: error, stdin, stdout, stderr.
async fn open_all(client: &mut TestClient) {
    for kind in ["error", "stdin", "stdout", "stderr"] {
        client.open(&[("streamtype", kind)]).await;
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[tokio::test]
async fn a_command_reads_its_input_to_the_end_and_all_that_it_says_arrives() {
    let served = Served::start(AtDisconnect::Leave).await;
    let script = "cat; echo to stderr >&2; exit 3";
    let url = served.exec_url(&["sh", "-c", script], ALL);
    let mut client = spdy(&url, "v4.channel.k8s.io").await;
    open_all(&mut client).await;
    client.ping(1).await;
    let line = "a line of input\n".repeat(60_000);
    for piece in line.as_bytes().chunks(32 << 10) {
        client.data(3, piece).await;
    }
    client.finish(3).await;
    client.until_end().await;
    assert_eq!(client.came(5).text(), line);
    assert_eq!(client.came(7).text(), "to stderr\n");
    let status = json(&client.came(1).bytes);
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0]["message"], "3");
    for stream in [1, 3, 5, 7] {
        assert!(client.came(stream).is_finished, "stream {stream}");
    }
    assert_eq!(client.pings, [1]);
    assert!(client.is_gone_away);
    let (taken, all) = (client.updates[&3], u32::try_from(line.len()).unwrap());
    assert!(taken > all - (64 << 10) && taken <= all, "{taken} of {all}");
    assert_eq!(client.updates[&0], taken);
}

#[tokio::test]
async fn old_protocols_get_text_or_nothing() {
    let served = Served::start(AtDisconnect::Leave).await;
    for protocol in ["channel.k8s.io", "v2.channel.k8s.io", "v3.channel.k8s.io"] {
        for (command, said) in [
            ("true", ""),
            (
                "exit 9",
                "command terminated with non-zero exit code: exit code 9",
            ),
        ] {
            let url = served.exec_url(&["sh", "-c", command], ALL);
            let mut client = spdy(&url, protocol).await;
            open_all(&mut client).await;
            client.until_end().await;
            assert_eq!(client.came(1).text(), said, "{protocol}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_executed_is_told_on_the_error_stream() {
    let served = Served::start(AtDisconnect::Leave).await;
    let url = served.exec_url(&["/does/not/exist"], ALL);
    let mut client = spdy(&url, "v4.channel.k8s.io").await;
    open_all(&mut client).await;
    client.until_end().await;
    let status = json(&client.came(1).bytes);
    assert_eq!(status["reason"], "InternalError");
    let message = status["message"].as_str().unwrap();
    assert!(
        message
            .contains("error executing command in container: container c: execute: No such file"),
        "{message}"
    );
}

#[tokio::test]
async fn a_grandchild_that_keeps_the_pipes_is_not_waited_for() {
    let served = Served::start(AtDisconnect::Leave).await;
    let started = Instant::now();
    let url = served.exec_url(&["sh", "-c", "sleep 15 & echo $!; exit 0"], ALL);
    let mut client = spdy(&url, "v4.channel.k8s.io").await;
    open_all(&mut client).await;
    client.until_end().await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(json(&client.came(1).bytes)["status"], "Success");
    let grandchild = client.came(5).text().trim().parse().unwrap();
    let grandchild = rustix::process::Pid::from_raw(grandchild).unwrap();
    rustix::process::kill_process(grandchild, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_client_that_goes_takes_its_command_along_only_if_that_is_wanted() {
    for (at_disconnect, code) in [(AtDisconnect::Kill, 137), (AtDisconnect::Leave, 5)] {
        let served = Served::start(at_disconnect).await;
        // It ends by itself when its input does.
        let url = served.exec_url(&["sh", "-c", "echo up; cat >&2; exit 5"], ALL);
        let mut client = spdy(&url, "v4.channel.k8s.io").await;
        open_all(&mut client).await;
        client.until(|client| client.came(5).text() == "up\n").await;
        drop(client);
        let exits = || served.script.exits.lock().unwrap().clone();
        wait_until("the end of the command", || !exits().is_empty()).await;
        assert_eq!(exits(), [code], "{at_disconnect:?}");
    }
}

/// The reader is stuck with input that nobody reads: that the client has gone shows by a sign of life that fails.
#[tokio::test]
async fn a_client_that_goes_is_noticed_while_its_input_is_not_read() {
    let served = Served::start(AtDisconnect::Kill).await;
    let url = served.exec_url(&["sleep", "1000"], ALL);
    let mut client = spdy(&url, "v4.channel.k8s.io").await;
    open_all(&mut client).await;
    wait_until("its start", || {
        !served.script.pids.lock().unwrap().is_empty()
    })
    .await;
    let flood = async {
        loop {
            client.data(3, &[b'x'; 16 << 10]).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), flood)
        .await
        .unwrap_err();
    drop(client);
    let waiting = async {
        while served.script.exits.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_terminal_has_the_size_of_the_clients_and_passes_bytes_both_ways() {
    let served = Served::start(AtDisconnect::Leave).await;
    let (sender, mut terminals) = tokio::sync::mpsc::unbounded_channel();
    *served.script.terminals.lock().unwrap() = Some(sender);
    let wanted = WantedStreams {
        stderr: false,
        terminal: true,
        ..ALL
    };
    let url = served.exec_url(&["ignored"], wanted);
    let mut client = spdy(&url, "v4.channel.k8s.io").await;
    for kind in ["error", "stdin", "stdout", "resize"] {
        client.open(&[("streamtype", kind)]).await;
    }
    client.data(7, b"{\"Width\":123,").await;
    client.data(7, b"\"Height\":45}\n").await;
    client.data(3, b"typed\n").await;
    let slave = terminals.recv().await.unwrap();
    wait_until("the size", || size_of(&slave) == (123, 45)).await;
    rustix::io::write(&slave, b"shown\n").unwrap();
    // The line discipline echoes, and makes returns of newlines.
    client
        .until(|client| {
            let text = client.came(5).text().to_owned();
            text.contains("typed\r\n") && text.contains("shown\r\n")
        })
        .await;
}

#[tokio::test]
async fn websocket_v5_closes_the_input_and_gives_the_exit_code() {
    let served = Served::start(AtDisconnect::Leave).await;
    let url = served.exec_url(&["sh", "-c", "cat; echo e >&2; exit 4"], ALL);
    let mut socket = websocket(&url, "v5.channel.k8s.io").await;
    socket
        .send(Message::Binary(b"\0hello".to_vec().into()))
        .await
        .unwrap();
    socket
        .send(Message::Binary(vec![255, 0].into()))
        .await
        .unwrap();
    let mut channels = vec![Vec::new(); 5];
    let mut close = None;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(bytes) => {
                channels[usize::from(bytes[0])].extend_from_slice(&bytes[1..]);
            }
            Message::Close(frame) => close = frame.map(|frame| frame.code),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(close, Some(CloseCode::Normal));
    assert_eq!(channels[1], b"hello");
    assert_eq!(channels[2], b"e\n");
    assert_eq!(json(&channels[3])["details"]["causes"][0]["message"], "4");
}

#[tokio::test]
async fn websocket_base64_is_text() {
    let served = Served::start(AtDisconnect::Leave).await;
    let url = served.exec_url(&["sh", "-c", "read line; echo got $line"], ALL);
    let mut socket = websocket(&url, "v4.base64.channel.k8s.io").await;
    socket
        .send(Message::Text("0Zm9vCg==".into()))
        .await
        .unwrap();
    let mut texts = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(text) = message {
            texts.push(text.to_string());
        }
    }
    // The empty message that says "connected", the output, the status.
    assert_eq!(texts[..2], ["1", "1Z290IGZvbwo="]);
    assert!(texts[2].starts_with('3'), "{texts:?}");
}

#[tokio::test]
async fn a_url_is_good_for_one_request() {
    let served = Served::start(AtDisconnect::Leave).await;
    let url = served.exec_url(&["true"], ALL);
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "SPDY/3.1"),
        ("X-Stream-Protocol-Version", "v4.channel.k8s.io"),
    ];
    let (head, _socket) = request(&url, &upgrade).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let (head, _socket) = request(&url, &upgrade).await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    let (head, _socket) = request(&served.exec_url(&["true"], ALL), &[]).await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
}

/// A client that sends nonsense is told GOAWAY, and nothing of it stays.
#[tokio::test]
async fn nonsense_ends_the_connection_and_the_command() {
    let served = Served::start(AtDisconnect::Kill).await;
    let url = served.exec_url(&["sleep", "1000"], ALL);
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "SPDY/3.1"),
        ("X-Stream-Protocol-Version", "v4.channel.k8s.io"),
    ];
    let (_, socket) = request(&url, &upgrade).await;
    let (reader, mut writer) = socket.into_split();
    {
        use tokio::io::AsyncWriteExt;
        writer
            .write_all(&[0x80, 9, 0, 1, 0, 0, 0, 0])
            .await
            .unwrap();
    }
    let mut client = TestClient::new(reader, writer);
    client.until_end().await;
    assert!(client.is_gone_away);
}
