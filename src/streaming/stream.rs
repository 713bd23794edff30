//! A stream of a client, whichever protocol it speaks: what comes in, and what goes out.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::spdy;
use super::websocket;

/// So many pieces of a stream wait for their reader; then nothing more is read from the connection until there is room.
const PIECES: usize = 8;

/// After so many bytes taken, a client that counts them is told.
const UPDATE_BYTES: u32 = 32 << 10;

/// The client has gone, or takes no more of this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone")]
pub(super) struct Gone;

/// A piece of a stream on its way in.
pub(super) type Piece = Bytes;

/// The connection's end of what comes in: dropped at the half-close.
pub(super) type Feed = mpsc::Sender<Piece>;

/// What comes in on a stream.
#[derive(Debug)]
pub(super) struct Inlet {
    pieces: mpsc::Receiver<Piece>,
    /// SPDY alone counts.
    credit: Option<spdy::StreamSender>,
    taken: u32,
}

impl Inlet {
    /// An inlet and its feed.
    pub(super) fn new(credit: Option<spdy::StreamSender>) -> (Feed, Self) {
        let (feed, pieces) = mpsc::channel(PIECES);
        let inlet = Self {
            pieces,
            credit,
            taken: 0,
        };
        (feed, inlet)
    }

    /// The next piece; none after the client's half-close, a reset, or the end of the connection.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        let piece = self.pieces.recv().await?;
        if let Some(credit) = &self.credit {
            let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            self.taken = self.taken.saturating_add(length);
            if self.taken >= UPDATE_BYTES && credit.update_window(self.taken) {
                self.taken = 0;
            }
        }
        Some(piece)
    }
}

/// How a stream's bytes get to the client.
#[derive(Debug, Clone)]
pub(super) enum Sender {
    /// As SPDY frames.
    Spdy(spdy::StreamSender),
    /// As messages of a WebSocket.
    WebSocket(websocket::ChannelSender),
}

/// What goes out on a stream. It ends with `finish` or `reset`, at the latest with its connection.
#[derive(Debug)]
pub(super) struct Outlet {
    sender: Sender,
}

impl Outlet {
    pub(super) fn new(sender: Sender) -> Self {
        Self { sender }
    }

    /// Sends bytes; waits while the client is slow.
    ///
    /// # Errors
    /// `Gone`, after which nothing can be sent.
    pub(super) async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        match &self.sender {
            Sender::Spdy(sender) => sender.data(bytes).await,
            Sender::WebSocket(sender) => sender.data(bytes).await,
        }
    }

    /// Says that nothing more comes: the half-close.
    pub(super) async fn finish(&self) {
        match &self.sender {
            Sender::Spdy(sender) => sender.finish().await,
            // The channel protocols have no word for it: the client knows by the end of the connection.
            Sender::WebSocket(_) => {}
        }
    }

    /// Gives the stream up in both directions.
    pub(super) async fn reset(&self) {
        match &self.sender {
            Sender::Spdy(sender) => sender.reset(spdy::ResetStatus::Cancel).await,
            Sender::WebSocket(_) => {}
        }
    }

    /// Done when the client has reset this stream, or has gone.
    pub(super) async fn closed(&self) {
        match &self.sender {
            Sender::Spdy(sender) => sender.closed().await,
            Sender::WebSocket(sender) => sender.closed().await,
        }
    }
}

/// The connection that streams belong to.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// Cancelled when the client has gone.
    gone: CancellationToken,
    /// Cancelled when Carpel has nothing more to say.
    done: CancellationToken,
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            gone: CancellationToken::new(),
            done: CancellationToken::new(),
        }
    }

    /// The client has gone: for the tasks that read and write.
    pub(super) fn lose(&self) {
        self.gone.cancel();
    }

    /// Done when the client has gone.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Ends the connection in order: what has been sent before still arrives.
    pub(super) fn end(&self) {
        self.done.cancel();
    }

    /// Done when Carpel has nothing more to say.
    pub(super) async fn ended(&self) {
        self.done.cancelled().await;
    }
}
