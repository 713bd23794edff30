//! WebSocket: `channels` are the protocols of Kubernetes that put streams into messages, `tunnel` is SPDY in messages.

mod channels;
mod message;
mod tunnel;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

pub(super) use channels::{Channel, ChannelSender, serve};
pub(super) use message::{HalfClose, Layout};
pub(super) use tunnel::tunnel;

/// The longest message of a client. Those of client-go have 32 KiB.
const MAXIMUM_MESSAGE: usize = 4 << 20;

/// A WebSocket on a connection whose upgrade has been answered.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Takes a connection whose upgrade has been answered.
pub(super) async fn open(upgraded: Upgraded) -> Socket {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAXIMUM_MESSAGE))
        .max_frame_size(Some(MAXIMUM_MESSAGE));
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await
}
