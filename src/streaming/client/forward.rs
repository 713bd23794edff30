//! Port-forward: SPDY in the messages of a WebSocket, two streams for each connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{StreamClientError, TrustedServer};
use crate::streaming::idle::Idle;
use crate::streaming::spdy::{self, Opener};
use crate::streaming::stream::{Connection, Inlet, Outlet};
use crate::streaming::websocket;

const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";

/// Read from a connection at a time.
const PIECE: usize = 32 << 10;

/// The server says when a connection is idle for too long.
const FOREVER: Duration = Duration::from_secs(365 * 86400);

/// How one forwarded connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardEnd {
    /// In order.
    Closed,
    /// The pod's side could not be reached: what the server says.
    Refused(String),
}

/// A connection to the streaming server on which any number of connections into one pod are made.
#[derive(Debug)]
pub struct Forwarder {
    opener: Opener,
    connection: Connection,
    last_request: AtomicU64,
}

impl Forwarder {
    /// Opens it at a URL that PortForward gave.
    ///
    /// # Errors
    /// `StreamClientError` if the server is not there, not trusted, or refuses.
    pub async fn open(url: &str, trusted: &TrustedServer) -> Result<Self, StreamClientError> {
        let (socket, _protocol) = super::open(url, trusted, PROTOCOL).await?;
        let connection = Connection::new();
        let halves = websocket::tunnel(socket);
        let opener = spdy::connect(halves, connection.clone(), Idle::new(FOREVER));
        Ok(Self {
            opener,
            connection,
            last_request: AtomicU64::new(0),
        })
    }

    /// Done when the server has gone: nothing more can be forwarded.
    pub async fn gone(&self) {
        self.connection.gone().await;
    }

    /// Passes a connection on to a port of the pod, until both sides have ended.
    pub async fn forward(&self, socket: TcpStream, port: u16) -> ForwardEnd {
        let request = self.last_request.fetch_add(1, Ordering::Relaxed);
        let (port, request) = (port.to_string(), request.to_string());
        let of = |kind| {
            [
                ("streamtype", kind),
                ("port", &*port),
                ("requestid", &*request),
            ]
        };
        let (error, data) = (of("error"), of("data"));
        let gone = || ForwardEnd::Refused("the streaming server has gone".to_owned());
        let Some((mut complaint, silent)) = self.opener.open(&error).await else {
            return gone();
        };
        // Nothing is ever said on it from here.
        silent.finish().await;
        let Some((inlet, outlet)) = self.opener.open(&data).await else {
            return gone();
        };
        let (reader, writer) = socket.into_split();
        let mut text = BytesMut::new();
        {
            let told = async {
                while let Some(piece) = complaint.next().await {
                    text.extend_from_slice(&piece);
                }
                !text.is_empty()
            };
            let both = async { tokio::join!(carry_out(reader, &outlet), carry_in(inlet, writer)) };
            let (mut told, mut both) = (std::pin::pin!(told), std::pin::pin!(both));
            // A complaint ends the connection at once; without one it goes on to its own end.
            tokio::select! {
                complained = &mut told => if !complained { both.await; },
                _ended = &mut both => { told.await; }
            }
        }
        if text.is_empty() {
            return ForwardEnd::Closed;
        }
        outlet.reset().await;
        ForwardEnd::Refused(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.connection.end();
    }
}

/// From the client of the forwarded connection into the pod.
async fn carry_out(mut reader: OwnedReadHalf, outlet: &Outlet) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        let read = tokio::select! {
            read = reader.read_buf(&mut buffer) => read,
            () = outlet.closed() => return,
        };
        match read {
            Ok(0) => return outlet.finish().await,
            Err(_cut) => return outlet.reset().await,
            Ok(_) => {
                if outlet.send(buffer.split().freeze()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// From the pod to the client of the forwarded connection.
async fn carry_in(mut inlet: Inlet, mut writer: OwnedWriteHalf) {
    while let Some(piece) = inlet.next().await {
        if writer.write_all(&piece).await.is_err() {
            return;
        }
    }
    // The client may have gone.
    writer.shutdown().await.ok();
}
