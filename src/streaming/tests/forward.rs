//! Port-forward over SPDY, over SPDY in a WebSocket, and over channels.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use super::client::{AtDisconnect, Served, spdy, wait_until, websocket};
use crate::streaming::spdy::test_client::TestClient;
use crate::streaming::websocket::tunnel;

/// Opens a pair; data and error.
async fn open(client: &mut TestClient, port: u16, request: u32) -> (u32, u32) {
    let (port, request) = (port.to_string(), request.to_string());
    let headers = |kind| {
        [
            ("streamtype", kind),
            ("port", port.as_str()),
            ("requestid", request.as_str()),
        ]
    };
    let error = client.open(&headers("error")).await;
    let data = client.open(&headers("data")).await;
    (data, error)
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Reads to the end, then answers with what it has read, and closes.
async fn answer_after_end(mut socket: TcpStream) {
    let mut all = Vec::new();
    socket.read_to_end(&mut all).await.unwrap();
    socket.write_all(b"you said: ").await.unwrap();
    socket.write_all(&all).await.unwrap();
}

#[tokio::test]
async fn half_closes_go_both_ways() {
    let served = Served::start(AtDisconnect::Leave).await;
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(answer_after_end(socket));
        }
    });
    let mut client = spdy(&served.forward_url(&[]), "portforward.k8s.io").await;
    for request in 0..3 {
        let (data, error) = open(&mut client, port, request).await;
        client.data(data, b"hello").await;
        client.finish(data).await;
        client
            .until(|client| client.came(data).is_finished && client.came(error).is_finished)
            .await;
        assert_eq!(client.came(data).text(), "you said: hello");
        assert_eq!(client.came(error).text(), "");
    }
}

#[tokio::test]
async fn what_happens_to_one_connection_leaves_the_others() {
    let served = Served::start(AtDisconnect::Leave).await;
    let (listener, port) = listen().await;
    let mut client = spdy(&served.forward_url(&[]), "portforward.k8s.io").await;
    let mut sockets = Vec::new();
    let mut streams = Vec::new();
    for request in 0..4 {
        streams.push(open(&mut client, port, request).await);
        sockets.push(listener.accept().await.unwrap().0);
    }
    // The first is reset by the client, the second by the pod.
    client.reset(streams[0].0).await;
    assert_eq!(sockets[0].read(&mut [0; 1]).await.unwrap(), 0);
    rustix::net::sockopt::set_socket_linger(&sockets[1], Some(std::time::Duration::ZERO)).unwrap();
    drop(sockets.remove(1));
    let second = streams[1];
    client
        .until(|client| client.came(second.0).reset.is_some() && client.came(second.1).is_finished)
        .await;
    // Nobody listens there.
    let (unused, closed) = listen().await;
    drop(unused);
    let (data, error) = open(&mut client, closed, 9).await;
    client
        .until(|client| client.came(data).is_finished && client.came(error).is_finished)
        .await;
    let text = client.came(error).text().to_owned();
    let expected = format!("error forwarding port {closed} to pod 4f, uid : ");
    assert!(
        text.starts_with(&expected) && text.contains("refused"),
        "{text}"
    );
    // The others are as before.
    for (socket, (data, _)) in sockets[1..].iter_mut().zip(&streams[2..]) {
        socket.write_all(b"down").await.unwrap();
        client
            .until(|client| client.came(*data).text() == "down")
            .await;
        client.data(*data, b"up").await;
        let mut got = [0; 2];
        socket.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"up");
    }
    drop(client);
    for socket in &mut sockets[1..] {
        assert!(matches!(socket.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn a_stream_that_is_none_is_refused() {
    let served = Served::start(AtDisconnect::Leave).await;
    let mut client = spdy(&served.forward_url(&[]), "portforward.k8s.io").await;
    for headers in [
        [("streamtype", "data"), ("port", "0"), ("requestid", "1")],
        [
            ("streamtype", "data"),
            ("port", "99999"),
            ("requestid", "1"),
        ],
        [
            ("streamtype", "nonsense"),
            ("port", "80"),
            ("requestid", "1"),
        ],
    ] {
        let stream = client.open(&headers).await;
        client
            .until(|client| client.came(stream).reset.is_some())
            .await;
    }
}

#[tokio::test]
async fn spdy_goes_through_a_websocket() {
    let served = Served::start(AtDisconnect::Leave).await;
    let (listener, port) = listen().await;
    let url = served.forward_url(&[]);
    let socket = websocket(&url, "SPDY/3.1+portforward.k8s.io").await;
    let (reader, writer) = tunnel(socket);
    let mut client = TestClient::new(reader, writer);
    let (data, _) = open(&mut client, port, 1).await;
    let (pod, _) = listener.accept().await.unwrap();
    tokio::spawn(answer_after_end(pod));
    let large = "0123456789abcdef".repeat(20_000);
    client.data(data, large.as_bytes()).await;
    client.finish(data).await;
    client.until(|client| client.came(data).is_finished).await;
    assert_eq!(client.came(data).text(), format!("you said: {large}"));
}

#[tokio::test]
async fn channels_begin_with_their_port() {
    let served = Served::start(AtDisconnect::Leave).await;
    let (listener, port) = listen().await;
    let (unused, closed) = listen().await;
    drop(unused);
    let url = served.forward_url(&[]) + &format!("?port={port}&port={closed}");
    let mut socket = websocket(&url, "v4.channel.k8s.io").await;
    let (mut pod, _) = listener.accept().await.unwrap();
    socket
        .send(Message::Binary(b"\0up".to_vec().into()))
        .await
        .unwrap();
    let mut got = [0; 2];
    pod.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"up");
    pod.write_all(b"down").await.unwrap();
    let mut channels = vec![Vec::new(); 4];
    while !(channels[0].len() >= 6 && channels[3].len() > 2) {
        let message = socket.next().await.unwrap().unwrap().into_data();
        channels[usize::from(message[0])].extend_from_slice(&message[1..]);
    }
    let head = |port: u16| port.to_le_bytes().to_vec();
    assert_eq!(channels[0], [head(port), b"down".to_vec()].concat());
    assert_eq!(channels[1], head(port));
    assert_eq!(channels[2], head(closed));
    assert!(String::from_utf8_lossy(&channels[3]).contains("error forwarding port"));
    drop(socket);
    wait_until("the end of the forward", || {
        matches!(pod.try_read(&mut [0; 1]), Ok(0))
    })
    .await;
}
