//! The other side, for the command line: a client of the URLs that Exec, Attach and PortForward give, of this runtime or
//! another.
//!
//! `command` is exec and attach by v5 and v4 of the channel protocol, `forward` is port-forward: SPDY in a WebSocket, which
//! has half-closes. `tls` says which certificates are trusted.

mod command;
mod forward;
mod tls;

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

pub use command::{Command, CommandEnd, CommandEvent, CommandInput, CommandOutput};
pub use forward::{ForwardEnd, Forwarder};
pub use tls::TrustedServer;

/// The longest message that is taken.
const MAXIMUM_MESSAGE: usize = 64 << 20;

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum StreamClientError {
    /// It is no http:// or https:// URL.
    #[error("{url:?} is not the URL of a streaming server")]
    Url {
        /// What it is.
        url: String,
    },
    /// Nobody answers there.
    #[error("connect to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server is not the one that is trusted, or TLS failed otherwise.
    #[error("TLS with {host}")]
    Tls {
        /// Host and port.
        host: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Certificates that are to be trusted are none.
    #[error("trust the streaming server")]
    Trust(#[source] rustls::Error),
    /// The server refused the upgrade.
    #[error("ask {host} for a WebSocket")]
    Upgrade {
        /// Host and port.
        host: String,
        /// What it answered.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// The connection broke.
    #[error("the stream broke off")]
    Broken(#[source] Box<tungstenite::Error>),
    /// The connection ended without a word about the command.
    #[error("the stream ended before the command did")]
    Ended,
}

/// A connection, encrypted or not.
trait Transport: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin> Transport for T {}

type Socket = WebSocketStream<Box<dyn Transport>>;

/// Opens a WebSocket and says which of the protocols the server has chosen.
async fn open(
    url: &str,
    trusted: &TrustedServer,
    protocols: &'static str,
) -> Result<(Socket, String), StreamClientError> {
    let wrong = || StreamClientError::Url {
        url: url.to_owned(),
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let host = rest.split('/').next().unwrap_or_default().to_owned();
    let is_encrypted = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(wrong()),
    };
    let mut request = format!("ws://{rest}")
        .into_client_request()
        .map_err(|_malformed| wrong())?;
    let protocols = HeaderValue::from_static(protocols);
    request
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, protocols);
    let socket = TcpStream::connect(&host).await;
    let socket = socket.map_err(|source| StreamClientError::Connect {
        host: host.clone(),
        source,
    })?;
    // A key that is pressed is sent at once.
    socket.set_nodelay(true).ok();
    let transport: Box<dyn Transport> = match is_encrypted {
        false => Box::new(socket),
        true => Box::new(trusted.connect(&host, socket).await?),
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAXIMUM_MESSAGE))
        .max_frame_size(Some(MAXIMUM_MESSAGE));
    let opened =
        tokio_tungstenite::client_async_with_config(request, transport, Some(config)).await;
    let (socket, answer) = opened.map_err(|source| StreamClientError::Upgrade {
        host,
        source: Box::new(source),
    })?;
    let chosen = answer.headers().get(SEC_WEBSOCKET_PROTOCOL);
    let chosen = chosen.and_then(|name| name.to_str().ok());
    Ok((socket, chosen.unwrap_or_default().to_owned()))
}
