//! A connection whose messages are those of `message.rs`: a reader that hands them to the channels, and a writer of theirs.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::message::{Encoded, HalfClose, Layout, Malformed, Said, decode, encode};
use crate::streaming::idle::Idle;
use crate::streaming::stream::{Connection, Feed, Gone, Inlet, Outlet, Sender};

/// Messages that wait to be written; then the channels wait.
const MESSAGE_QUEUE: usize = 16;

/// As in `spdy/connection.rs`.
const PROBE: Duration = Duration::from_secs(10);

/// How long the client has to answer the close.
const LINGER: Duration = Duration::from_secs(5);

/// One channel.
#[derive(Debug)]
pub(in crate::streaming) struct Channel {
    /// What comes in.
    pub(in crate::streaming) inlet: Inlet,
    /// What goes out.
    pub(in crate::streaming) outlet: Outlet,
}

/// The way out for one channel.
#[derive(Debug, Clone)]
pub(in crate::streaming) struct ChannelSender {
    channel: u8,
    layout: Layout,
    messages: mpsc::Sender<Message>,
    connection: Connection,
}

impl ChannelSender {
    /// Sends bytes; waits while the client is slow.
    ///
    /// # Errors
    /// `Gone` if the client has.
    pub(in crate::streaming) async fn data(&self, bytes: Bytes) -> Result<(), Gone> {
        let message = match encode(self.layout, self.channel, &bytes) {
            Encoded::Binary(bytes) => Message::Binary(bytes),
            Encoded::Text(text) => Message::Text(text.into()),
        };
        tokio::select! {
            sent = self.messages.send(message) => sent.map_err(|_closed| Gone),
            () = self.connection.gone() => Err(Gone),
        }
    }

    /// Done when the client has gone.
    pub(in crate::streaming) async fn closed(&self) {
        self.connection.gone().await;
    }
}

/// Serves channels 0 to `count` - 1 in a task of its own, which ends with the connection.
pub(in crate::streaming) fn serve<S>(
    socket: S,
    (layout, half_close): (Layout, HalfClose),
    count: u8,
    connection: Connection,
    idle: Idle,
) -> Vec<Channel>
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Send + 'static,
{
    let (messages, queue) = mpsc::channel(MESSAGE_QUEUE);
    let mut feeds = Vec::new();
    let mut channels = Vec::new();
    for channel in 0..count {
        let (feed, inlet) = Inlet::new(None);
        feeds.push(Some(feed));
        let sender = ChannelSender {
            channel,
            layout,
            messages: messages.clone(),
            connection: connection.clone(),
        };
        let outlet = Outlet::new(Sender::WebSocket(sender));
        channels.push(Channel { inlet, outlet });
    }
    let reader = Reader {
        layout,
        half_close,
        feeds,
        messages,
    };
    tokio::spawn(async move {
        let (sink, stream) = socket.split();
        let both = async {
            tokio::join!(
                read(reader, stream, &connection, &idle),
                write(sink, queue, &connection, &idle)
            )
        };
        tokio::select! {
            _both_ended = both => {}
            () = idle.expired() => tracing::debug!("an idle streaming connection is closed"),
            () = connection.gone() => {}
        }
        connection.lose();
    });
    channels
}

struct Reader {
    layout: Layout,
    half_close: HalfClose,
    feeds: Vec<Option<Feed>>,
    messages: mpsc::Sender<Message>,
}

/// Reads until the client closes, or for a while after Carpel has.
async fn read<S>(mut reader: Reader, mut stream: S, connection: &Connection, idle: &Idle)
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    tokio::select! {
        () = read_messages(&mut reader, &mut stream, idle) => connection.lose(),
        () = connection.ended() => {
            drop(reader);
            let rest = async { while let Some(Ok(_)) = stream.next().await {} };
            // A client that does not answer in time has read what it wanted.
            tokio::time::timeout(LINGER, rest).await.ok();
        }
    }
}

async fn read_messages<S>(reader: &mut Reader, stream: &mut S, idle: &Idle)
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    while let Some(message) = stream.next().await {
        idle.touch();
        let bytes = match message {
            Ok(Message::Binary(bytes)) => bytes,
            Ok(Message::Text(text)) => Bytes::from(text),
            Ok(Message::Close(_)) => return,
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
            Err(error) => {
                tracing::debug!(%error, "a WebSocket failed");
                return;
            }
        };
        if reader.take(bytes).await.is_err() {
            tracing::debug!("a client does not speak the channel protocol");
            return;
        }
    }
}

impl Reader {
    async fn take(&mut self, bytes: Bytes) -> Result<(), Malformed> {
        match decode(self.layout, self.half_close, bytes)? {
            Said::Nothing => Ok(()),
            // What is for no channel is thrown away, as the peers do.
            Said::Data(channel, bytes) => {
                if let Some(Some(feed)) = self.feeds.get(usize::from(channel)) {
                    self.deliver(feed, bytes).await;
                }
                Ok(())
            }
            Said::Close(channel) => {
                let feed = self.feeds.get_mut(usize::from(channel)).ok_or(Malformed)?;
                *feed = None;
                Ok(())
            }
        }
    }

    /// As the reader of SPDY does.
    async fn deliver(&self, feed: &Feed, bytes: Bytes) {
        let mut sending = std::pin::pin!(feed.send(bytes));
        loop {
            tokio::select! {
                _taken_or_not = &mut sending => return,
                () = tokio::time::sleep(PROBE) => {
                    self.messages.try_send(Message::Ping(Bytes::new())).ok();
                }
            }
        }
    }
}

/// Writes until the connection ends; then what is queued, and the close.
async fn write<S>(
    mut sink: S,
    mut queue: mpsc::Receiver<Message>,
    connection: &Connection,
    idle: &Idle,
) where
    S: Sink<Message, Error = Error> + Unpin,
{
    let writing = async {
        loop {
            let message = tokio::select! {
                biased;
                message = queue.recv() => message,
                () = connection.ended() => None,
            };
            let Some(message) = message else { break };
            sink.send(message).await?;
            idle.touch();
        }
        queue.close();
        while let Some(message) = queue.recv().await {
            sink.feed(message).await?;
        }
        sink.send(Message::Close(Some(normal_close()))).await
    };
    if let Err(error) = writing.await {
        tracing::debug!(%error, "a WebSocket cannot be written");
        connection.lose();
    }
}

/// What every client takes for an end in order.
pub(super) fn normal_close() -> CloseFrame {
    CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    }
}
