//! A server with a scripted domain, and how clients come to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::script::Script;
use crate::pod::{StreamRequest, WantedStreams};
use crate::streaming::spdy::test_client::TestClient;
use crate::streaming::{Bound, Settings, Tokens};

pub(super) const ALL: WantedStreams = WantedStreams {
    stdin: true,
    stdout: true,
    stderr: true,
    terminal: false,
};

/// What becomes of a command whose client has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtDisconnect {
    Kill,
    Leave,
}

pub(super) struct Served {
    pub(super) script: Arc<Script>,
    tokens: Arc<Tokens>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Served {
    pub(super) async fn start(at_disconnect: AtDisconnect) -> Self {
        let settings = Settings {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            idle_timeout: Duration::from_secs(3600),
            kill_on_disconnect: at_disconnect == AtDisconnect::Kill,
        };
        Self::with(settings).await
    }

    pub(super) async fn with(settings: Settings) -> Self {
        let bound = Bound::bind(settings).await.unwrap();
        let script = Arc::new(Script::default());
        let tokens = bound.tokens();
        let server = tokio::spawn(bound.serve(Arc::new(Arc::clone(&script))));
        Self {
            script,
            tokens,
            server,
        }
    }

    pub(super) fn exec_url(&self, arguments: &[&str], wanted: WantedStreams) -> String {
        let request = StreamRequest::Exec {
            container_id: "c".to_owned(),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            wanted,
        };
        self.tokens.admit(request).unwrap()
    }

    pub(super) fn attach_url(&self, wanted: WantedStreams) -> String {
        let request = StreamRequest::Attach {
            container_id: "c".to_owned(),
            wanted,
        };
        self.tokens.admit(request).unwrap()
    }

    pub(super) fn forward_url(&self, ports: &[u16]) -> String {
        let request = StreamRequest::PortForward {
            sandbox_id: "4f".to_owned(),
            ports: ports.to_vec(),
        };
        self.tokens.admit(request).unwrap()
    }
}

/// Sends a request by hand; its answer's head, and the connection after it.
pub(super) async fn request(url: &str, headers: &[(&str, &str)]) -> (String, TcpStream) {
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut socket = TcpStream::connect(host).await.unwrap();
    let mut text = format!("POST /{path} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    (String::from_utf8(head).unwrap(), socket)
}

pub(super) async fn spdy(url: &str, protocol: &str) -> TestClient {
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "SPDY/3.1"),
        ("X-Stream-Protocol-Version", protocol),
    ];
    let (head, socket) = request(url, &headers).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let (reader, writer) = socket.into_split();
    TestClient::new(reader, writer)
}

pub(super) async fn websocket(url: &str, protocol: &str) -> WebSocketStream<TcpStream> {
    let url = url.replacen("http", "ws", 1);
    let mut request = url.as_str().into_client_request().unwrap();
    let name = HeaderValue::from_str(protocol).unwrap();
    request.headers_mut().insert("sec-websocket-protocol", name);
    let host = request.uri().authority().unwrap().to_string();
    let socket = TcpStream::connect(host).await.unwrap();
    let (socket, answer) = tokio_tungstenite::client_async(request, socket)
        .await
        .unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], protocol);
    socket
}

/// Waits until the condition holds.
pub(super) async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let happened = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(happened.is_ok(), "{what} did not happen");
}
