//! The HTTP server: a connection is one request, which becomes a session.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::idle::Idle;
use super::port_forward;
use super::remote_command::{self, ClientStreams};
use super::source::StreamSource;
use super::spdy;
use super::stream::Connection;
use super::tls::{self, TlsFiles};
use super::tokens::Tokens;
use super::upgrade::{Answer, Spoken, negotiate, refusal};
use super::websocket;
use crate::pod::{StreamRequest, WantedStreams};

/// So many connections may be without a session yet. More wait in the kernel.
const MAXIMUM_GREETINGS: usize = 256;

/// How long a connection may take to say what it wants, TLS included.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing is accepted after an error, which is a lack of descriptors or memory and does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most ports of a client that forwards by channels: the number of a channel is a byte, and a port has two.
const MAXIMUM_PORTS: usize = 100;

/// Channels of exec and attach: stdin, stdout, stderr, error, sizes.
const COMMAND_CHANNELS: u8 = 5;

/// What the streaming server is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens; port 0: any.
    pub address: SocketAddr,
    /// None: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// A connection on which nothing comes or goes for so long is closed.
    pub idle_timeout: Duration,
    /// Whether a command whose client has gone is killed.
    pub kill_on_disconnect: bool,
}

/// Why the streaming server was not started.
#[derive(Debug, thiserror::Error)]
pub enum StreamingError {
    /// The address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no certificate or key.
    #[error("read {path}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key are of no use.
    #[error("use certificate and key")]
    Tls(#[source] rustls::Error),
}

/// A server that listens.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    tokens: Arc<Tokens>,
    settings: Settings,
}

impl Bound {
    /// Listens; connections wait until [`Bound::serve`].
    ///
    /// # Errors
    /// `StreamingError`.
    pub async fn bind(settings: Settings) -> Result<Self, StreamingError> {
        let failed = |source| StreamingError::Listen {
            address: settings.address,
            source,
        };
        let tls = settings.tls.as_ref().map(tls::configuration).transpose()?;
        let listener = TcpListener::bind(settings.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        Ok(Self {
            listener,
            tls,
            tokens: Arc::new(Tokens::new(format!("{scheme}://{address}"))),
            settings,
        })
    }

    /// What gives URLs of this server.
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.tokens)
    }

    /// Serves until it is dropped; sessions are tasks of their own and go on.
    pub async fn serve(self, source: Arc<dyn StreamSource>) {
        let greetings = Arc::new(Semaphore::new(MAXIMUM_GREETINGS));
        let door = Arc::new(Door {
            tokens: self.tokens,
            source,
            settings: self.settings,
        });
        loop {
            // It is never closed.
            let permit = Arc::clone(&greetings).acquire_owned().await.ok();
            let socket = match self.listener.accept().await {
                Ok((socket, _address)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "a streaming connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (door, tls) = (Arc::clone(&door), self.tls.clone().map(TlsAcceptor::from));
            tokio::spawn(async move {
                if let Err(error) = greet(door, tls, socket).await {
                    tracing::debug!(%error, "a streaming connection came to nothing");
                }
                drop(permit);
            });
        }
    }
}

/// Why a connection came to nothing.
#[derive(Debug, thiserror::Error)]
enum GreetingError {
    #[error("it said nothing in time")]
    TimedOut,
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("HTTP: {0}")]
    Http(#[source] hyper::Error),
}

/// Takes what connections ask for.
#[derive(Debug)]
struct Door {
    tokens: Arc<Tokens>,
    source: Arc<dyn StreamSource>,
    settings: Settings,
}

/// Until the upgrade.
async fn greet(
    door: Arc<Door>,
    tls: Option<TlsAcceptor>,
    socket: TcpStream,
) -> Result<(), GreetingError> {
    // A key that is pressed is sent at once.
    socket.set_nodelay(true).ok();
    keep_alive(&socket);
    match tls {
        None => speak_http(door, socket).await,
        Some(tls) => {
            let accepted = tokio::time::timeout(GREETING_PATIENCE, tls.accept(socket)).await;
            let accepted = accepted.map_err(|_elapsed| GreetingError::TimedOut)?;
            speak_http(door, accepted.map_err(GreetingError::Tls)?).await
        }
    }
}

/// A client whose machine has vanished is noticed in minutes, not at the next byte.
fn keep_alive(socket: &TcpStream) {
    use rustix::net::sockopt;
    let set = sockopt::set_socket_keepalive(socket, true)
        .and_then(|()| sockopt::set_tcp_keepidle(socket, Duration::from_secs(60)))
        .and_then(|()| sockopt::set_tcp_keepintvl(socket, Duration::from_secs(15)));
    if let Err(errno) = set {
        tracing::debug!(%errno, "a streaming connection is not kept alive");
    }
}

async fn speak_http<S>(door: Arc<Door>, socket: S) -> Result<(), GreetingError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let answer = door.answer(request);
        async move { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(GREETING_PATIENCE)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades()
        .await
        .map_err(GreetingError::Http)
}

impl Door {
    fn answer(&self, request: Request<Incoming>) -> Answer {
        self.accept(request).unwrap_or_else(|refusal| *refusal)
    }

    fn accept(&self, mut request: Request<Incoming>) -> Result<Answer, Box<Answer>> {
        if !matches!(*request.method(), Method::GET | Method::POST) {
            let text = "only GET and POST".to_owned();
            return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, text));
        }
        let found = self.tokens.take(request.uri().path());
        let mut stream_request =
            found.ok_or_else(|| refusal(StatusCode::NOT_FOUND, "404 page not found".to_owned()))?;
        if let StreamRequest::PortForward { ports, .. } = &mut stream_request
            && ports.is_empty()
        {
            *ports = ports_of(request.uri().query().unwrap_or_default());
        }
        let (spoken, answer) = negotiate(&stream_request, request.headers())?;
        check(&stream_request, spoken)
            .map_err(|text| refusal(StatusCode::BAD_REQUEST, text.to_owned()))?;
        let upgrade = hyper::upgrade::on(&mut request);
        let session = Session {
            source: Arc::clone(&self.source),
            connection: Connection::new(),
            kill_on_disconnect: self.settings.kill_on_disconnect,
        };
        let idle = Idle::new(self.settings.idle_timeout);
        tokio::spawn(async move {
            match upgrade.await {
                Ok(upgraded) => session.run(stream_request, (spoken, upgraded), idle).await,
                Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
            }
        });
        Ok(answer)
    }
}

fn check(request: &StreamRequest, spoken: Spoken) -> Result<(), &'static str> {
    let StreamRequest::PortForward { ports, .. } = request else {
        return Ok(());
    };
    match spoken {
        Spoken::ForwardChannels(_) if ports.is_empty() => {
            Err("query parameter \"port\" is required")
        }
        Spoken::ForwardChannels(_) if ports.len() > MAXIMUM_PORTS => Err("too many ports"),
        _ => Ok(()),
    }
}

/// The ports of a query: `port=80&port=443,8080`. What is no port is left out.
fn ports_of(query: &str) -> Vec<u16> {
    let values = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("port="));
    let ports = values.flat_map(|value| value.split(','));
    ports
        .filter_map(|port| port.parse().ok())
        .filter(|port| *port > 0)
        .collect()
}

/// A client and what it has come for.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) source: Arc<dyn StreamSource>,
    pub(super) connection: Connection,
    pub(super) kill_on_disconnect: bool,
}

impl Session {
    async fn run(self, request: StreamRequest, protocol: (Spoken, Upgraded), idle: Idle) {
        match request {
            StreamRequest::Exec {
                container_id,
                arguments,
                wanted,
            } => {
                if let Some(streams) = self.command_streams(wanted, protocol, idle).await {
                    let what = (container_id.as_str(), arguments);
                    remote_command::exec(&self, streams, what, wanted).await;
                }
            }
            StreamRequest::Attach {
                container_id,
                wanted,
            } => {
                if let Some(streams) = self.command_streams(wanted, protocol, idle).await {
                    remote_command::attach(&self, streams, &container_id, wanted).await;
                }
            }
            StreamRequest::PortForward { sandbox_id, ports } => {
                self.forward(&sandbox_id, ports, protocol, idle).await;
            }
        }
        // Whatever came to nothing above ends here.
        self.connection.end();
    }

    async fn command_streams(
        &self,
        wanted: WantedStreams,
        (spoken, upgraded): (Spoken, Upgraded),
        idle: Idle,
    ) -> Option<ClientStreams> {
        match spoken {
            Spoken::SpdyCommand(sizing, format) => {
                let halves = tokio::io::split(TokioIo::new(upgraded));
                let streams = spdy::serve(halves, self.connection.clone(), idle);
                ClientStreams::gather(streams, wanted, (sizing, format)).await
            }
            Spoken::Channels(layout, half_close, format) => {
                let socket = websocket::open(upgraded).await;
                let connection = self.connection.clone();
                let how = (layout, half_close);
                let channels = websocket::serve(socket, how, COMMAND_CHANNELS, connection, idle);
                ClientStreams::of_channels(channels, wanted, format).await
            }
            // Those are chosen for port-forward alone.
            Spoken::SpdyForward | Spoken::ForwardChannels(_) | Spoken::Tunnel => None,
        }
    }

    async fn forward(
        &self,
        sandbox_id: &str,
        ports: Vec<u16>,
        (spoken, upgraded): (Spoken, Upgraded),
        idle: Idle,
    ) {
        let connection = self.connection.clone();
        match spoken {
            Spoken::SpdyForward => {
                let halves = tokio::io::split(TokioIo::new(upgraded));
                let streams = spdy::serve(halves, connection, idle);
                port_forward::forward_streams(self, sandbox_id, streams).await;
            }
            Spoken::Tunnel => {
                let halves = websocket::tunnel(websocket::open(upgraded).await);
                let streams = spdy::serve(halves, connection, idle);
                port_forward::forward_streams(self, sandbox_id, streams).await;
            }
            Spoken::ForwardChannels(layout) => {
                let socket = websocket::open(upgraded).await;
                let how = (layout, websocket::HalfClose::None);
                let count = u8::try_from(2 * ports.len()).unwrap_or(u8::MAX);
                let channels = websocket::serve(socket, how, count, connection, idle);
                port_forward::forward_channels(self, sandbox_id, (ports, channels)).await;
            }
            // Those are chosen for exec and attach alone.
            Spoken::SpdyCommand(..) | Spoken::Channels(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_the_query() {
        assert_eq!(ports_of("port=80&port=443,8080&x=1"), [80, 443, 8080]);
        assert!(ports_of("port=0&port=70000&port=x&ports=1").is_empty());
    }
}
