//! Bytes on the socket that no gRPC library of ours would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::Served;
use crate::cri::wire::runtime::VersionRequest;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, stream]);
    frame.extend(payload);
    frame
}

fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0x40);
    for text in [name, value] {
        block.push(u8::try_from(text.len()).unwrap());
        block.extend(text.as_bytes());
    }
}

/// `Version` on a stream, with headers as C-core encodes them: names as literals that enter the table.
fn version_call(stream: u8, authority: Option<&str>) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    match authority {
        Some(authority) => {
            literal(&mut block, ":path", "/runtime.v1.RuntimeService/Version");
            literal(&mut block, ":authority", authority);
            literal(&mut block, "te", "trailers");
            literal(&mut block, "content-type", "application/grpc");
        }
        // The same four fields by reference: the newest entry of the table has index 62.
        None => block.extend([0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]),
    }
    let mut call = frame(1, 0x4, stream, &block);
    call.extend(frame(0, 0x1, stream, &[0; 5]));
    call
}

async fn read_until(socket: &mut UnixStream, count: usize, needle: &[u8]) -> Vec<u8> {
    let mut received = Vec::new();
    let read = async {
        while received
            .windows(needle.len())
            .filter(|window| *window == needle)
            .count()
            < count
        {
            if socket.read_buf(&mut received).await.unwrap() == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .unwrap();
    received
}

#[tokio::test]
async fn a_socket_path_as_authority_is_served_also_by_reference_to_the_table() {
    let served = Served::start().await;
    for authority in [
        "%2Frun%2Fcarpel%2Fcarpel.sock",
        "/run/carpel/carpel.sock",
        "localhost",
    ] {
        let mut socket = UnixStream::connect(served.path()).await.unwrap();
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        bytes.extend(version_call(1, Some(authority)));
        bytes.extend(version_call(3, None));
        // Byte by byte, as the worst of networks would.
        for byte in bytes {
            socket.write_all(&[byte]).await.unwrap();
        }
        let received = read_until(&mut socket, 2, b"carpel").await;
        let answers = received
            .windows(6)
            .filter(|window| *window == b"carpel")
            .count();
        assert_eq!(answers, 2, "{authority}: {received:?}");
    }
}

#[tokio::test]
async fn an_authority_that_cannot_be_made_legal_is_refused_alone() {
    let served = Served::start().await;
    let mut socket = UnixStream::connect(served.path()).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(version_call(1, Some("a b\"c")));
    bytes.extend(version_call(3, Some("localhost")));
    socket.write_all(&bytes).await.unwrap();
    let received = read_until(&mut socket, 1, b"carpel").await;
    let reset = frame(3, 0, 1, &[0, 0, 0, 1]);
    assert!(
        received.windows(reset.len()).any(|window| window == reset),
        "{received:?}"
    );
    assert!(
        received.windows(6).any(|window| window == b"carpel"),
        "{received:?}"
    );
}

fn open_sockets() -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    descriptors
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

#[tokio::test]
async fn garbage_closes_the_connection_and_nothing_else() {
    let served = Served::start().await;
    let mut client = served.runtime().await;
    client.version(VersionRequest::default()).await.unwrap();
    let mut preface_then_garbage = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    preface_then_garbage.extend([0xa5; 4096]);
    let garbage: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0; 1000],
        &[0xff; 100_000],
        &preface_then_garbage,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x01\x04\0\0\0\x01",
    ];
    for round in 0..20 {
        for bytes in garbage {
            let mut socket = UnixStream::connect(served.path()).await.unwrap();
            // The server may close before it has read all.
            if socket.write_all(bytes).await.is_err() || socket.shutdown().await.is_err() {
                continue;
            }
            let mut answer = Vec::new();
            let read = socket.read_to_end(&mut answer);
            let outcome = tokio::time::timeout(Duration::from_secs(20), read).await;
            outcome
                .expect("the connection stays open")
                .unwrap_or_default();
        }
        client.version(VersionRequest::default()).await.unwrap();
        if round == 0 {
            assert!(served.script.asked.lock().unwrap().is_empty());
        }
    }
    // Other tests of this process have sockets too: a leak of ours would be at least 100.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while open_sockets() >= 100 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{} sockets",
            open_sockets()
        );
        tokio::task::yield_now().await;
    }
}
