//! Port-forward: pairs of a data and an error stream, each joined with a TCP connection in the pod's network. What happens to
//! one leaves the others alone.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::server::Session;
use super::spdy::NewStream;
use super::status::chain;
use super::stream::{Inlet, Outlet};
use super::websocket::Channel;

/// How long the second stream of a pair may take.
const PAIR_PATIENCE: Duration = Duration::from_secs(30);

/// Read at a time.
const READ_BYTES: usize = 32 << 10;

/// So many streams may wait for their second one.
const MAXIMUM_HALVES: usize = 1000;

/// One forwarded connection.
#[derive(Debug)]
struct Forward {
    port: u16,
    inlet: Inlet,
    outlet: Outlet,
    error: Outlet,
}

/// One stream of a pair.
#[derive(Debug)]
enum Half {
    Data(Inlet, Outlet),
    Error(Outlet),
}

impl Half {
    async fn reset(self) {
        match self {
            Self::Data(_, outlet) | Self::Error(outlet) => outlet.reset().await,
        }
    }
}

/// Forwards for a client of SPDY until it leaves.
pub(super) async fn forward_streams(
    session: &Session,
    sandbox_id: &str,
    mut streams: mpsc::Receiver<NewStream>,
) {
    let mut forwards = JoinSet::new();
    let mut halves: HashMap<(String, u16), (Instant, Half)> = HashMap::new();
    loop {
        let stream = tokio::select! {
            stream = streams.recv() => stream,
            Some(_ended) = forwards.join_next() => continue,
            () = tokio::time::sleep(PAIR_PATIENCE), if !halves.is_empty() => {
                let late = |(since, _): &(Instant, Half)| since.elapsed() >= PAIR_PATIENCE;
                let keys: Vec<_> = halves
                    .iter()
                    .filter(|(_, half)| late(half))
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in keys {
                    if let Some((_, half)) = halves.remove(&key) {
                        half.reset().await;
                    }
                }
                continue;
            }
        };
        let Some(stream) = stream else { break };
        let Some((key, half)) = read_headers(stream).await else {
            continue;
        };
        let other = halves.remove(&key).map(|(_, other)| other);
        match (other, half) {
            (Some(Half::Data(inlet, outlet)), Half::Error(error))
            | (Some(Half::Error(error)), Half::Data(inlet, outlet)) => {
                let forward = Forward {
                    port: key.1,
                    inlet,
                    outlet,
                    error,
                };
                let (source, sandbox) = (session.source.clone(), sandbox_id.to_owned());
                forwards.spawn(async move {
                    let connected = source.connect(&sandbox, forward.port).await;
                    forward
                        .run(&sandbox, connected.map_err(|error| chain(&error)))
                        .await;
                });
            }
            (None, half) if halves.len() < MAXIMUM_HALVES => {
                halves.insert(key, (Instant::now(), half));
            }
            (other, half) => {
                half.reset().await;
                if let Some(other) = other {
                    other.reset().await;
                }
            }
        }
    }
    // The client has left: what is being connected is given up, what is forwarded ends by itself.
    forwards.shutdown().await;
    session.connection.end();
}

/// Which pair a stream belongs to, and which half it is; one that is neither is refused.
async fn read_headers(stream: NewStream) -> Option<((String, u16), Half)> {
    let port = stream.header("port").and_then(|port| port.parse().ok());
    let id = stream.header("requestid").unwrap_or_default().to_owned();
    let kind = stream.header("streamtype").unwrap_or_default().to_owned();
    match (port.filter(|port| *port > 0), kind.as_str()) {
        (Some(port), "data") => Some(((id, port), Half::Data(stream.inlet, stream.outlet))),
        (Some(port), "error") => Some(((id, port), Half::Error(stream.outlet))),
        _ => {
            stream.outlet.reset().await;
            None
        }
    }
}

/// Forwards for a client of WebSocket: two channels a port, each of which begins with the number of its port.
pub(super) async fn forward_channels(
    session: &Session,
    sandbox_id: &str,
    (ports, channels): (Vec<u16>, Vec<Channel>),
) {
    let mut forwards = JoinSet::new();
    let mut channels = channels.into_iter();
    for port in ports {
        let (Some(data), Some(error)) = (channels.next(), channels.next()) else {
            break;
        };
        let head = Bytes::copy_from_slice(&port.to_le_bytes());
        for outlet in [&data.outlet, &error.outlet] {
            if outlet.send(head.clone()).await.is_err() {
                return;
            }
        }
        let forward = Forward {
            port,
            inlet: data.inlet,
            outlet: data.outlet,
            error: error.outlet,
        };
        let (source, sandbox) = (session.source.clone(), sandbox_id.to_owned());
        forwards.spawn(async move {
            let connected = source.connect(&sandbox, forward.port).await;
            forward
                .run(&sandbox, connected.map_err(|error| chain(&error)))
                .await;
        });
    }
    tokio::select! {
        () = async { while forwards.join_next().await.is_some() {} } => {}
        () = session.connection.gone() => forwards.shutdown().await,
    }
    session.connection.end();
}

impl Forward {
    async fn run(self, sandbox_id: &str, connected: Result<TcpStream, String>) {
        let Self {
            port,
            mut inlet,
            outlet,
            error,
        } = self;
        let tcp = match connected {
            Ok(tcp) => tcp,
            Err(why) => {
                let text = format!("error forwarding port {port} to pod {sandbox_id}, uid : {why}");
                error.send(Bytes::from(text)).await.ok();
                outlet.finish().await;
                error.finish().await;
                return;
            }
        };
        // A client waits for each of its small packets.
        tcp.set_nodelay(true).ok();
        let (reader, writer) = tcp.into_split();
        let both = async {
            tokio::join!(send_up(&mut inlet, writer), send_down(reader, &outlet));
        };
        tokio::select! {
            () = both => {}
            // Given up by the client, or by `send_down`.
            () = outlet.closed() => {}
        }
        error.finish().await;
    }
}

/// From the client to the pod, until one of them ends: its half-close goes on.
async fn send_up(inlet: &mut Inlet, mut writer: OwnedWriteHalf) {
    while let Some(piece) = inlet.next().await {
        if writer.write_all(&piece).await.is_err() {
            // The other direction knows more.
            break;
        }
    }
    // What the other end has closed already is closed.
    writer.shutdown().await.ok();
}

/// From the pod to the client: its half-close goes on too. A connection that is cut takes its stream with it.
async fn send_down(mut reader: OwnedReadHalf, outlet: &Outlet) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return outlet.finish().await,
            Ok(_) => {
                if outlet.send(buffer.split().freeze()).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a forwarded connection was cut");
                return outlet.reset().await;
            }
        }
    }
}
