//! The channel protocols: the first byte of a message is the number of its stream. v5 can close a channel with 255 and its
//! number; base64 protocols send text, with the number as a digit.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::streaming::idle::Idle;
use crate::streaming::stream::{Connection, Feed, Gone, Inlet, Outlet, Sender};

/// Messages that wait to be written; then the channels wait.
const MESSAGE_QUEUE: usize = 16;

/// The number of the channel that closes others.
const CLOSE_CHANNEL: u8 = 255;

/// As in `spdy/connection.rs`.
const PROBE: Duration = Duration::from_secs(10);

/// How long the client has to answer the close.
const LINGER: Duration = Duration::from_secs(5);

/// How a message holds its channel and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::streaming) enum Layout {
    /// A binary message: the number as a byte, then the bytes.
    Binary,
    /// A text message: the number as a digit, then base64.
    Base64,
}

/// Whether a client can close one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::streaming) enum HalfClose {
    /// v5.
    Signal,
    /// All before.
    None,
}

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
        let message = encode(self.layout, self.channel, &bytes);
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

/// Not a message of the protocol.
#[derive(Debug, PartialEq, Eq)]
struct Malformed;

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Data(u8, Bytes),
    Close(u8),
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

fn encode(layout: Layout, channel: u8, bytes: &[u8]) -> Message {
    match layout {
        Layout::Binary => {
            let mut message = BytesMut::with_capacity(bytes.len() + 1);
            message.put_u8(channel);
            message.extend_from_slice(bytes);
            Message::Binary(message.freeze())
        }
        Layout::Base64 => {
            let mut text = String::from(char::from(b'0'.saturating_add(channel)));
            STANDARD.encode_string(bytes, &mut text);
            Message::Text(text.into())
        }
    }
}

fn decode(layout: Layout, half_close: HalfClose, mut bytes: Bytes) -> Result<Said, Malformed> {
    let Some(first) = bytes.first().copied() else {
        return Ok(Said::Nothing);
    };
    let rest = bytes.split_off(1);
    if half_close == HalfClose::Signal && first == CLOSE_CHANNEL {
        return match *rest {
            [channel] => Ok(Said::Close(channel)),
            _ => Err(Malformed),
        };
    }
    let (channel, bytes) = match layout {
        Layout::Binary => (first, rest),
        Layout::Base64 => {
            let bytes = STANDARD.decode(rest).map_err(|_not_base64| Malformed)?;
            let channel = first.checked_sub(b'0').ok_or(Malformed)?;
            (channel, bytes.into())
        }
    };
    // JavaScript clients open a channel with an empty message.
    if bytes.is_empty() {
        return Ok(Said::Nothing);
    }
    Ok(Said::Data(channel, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            channel in 0..10_u8,
            bytes in proptest::collection::vec(any::<u8>(), 1..100),
        ) {
            for layout in [Layout::Binary, Layout::Base64] {
                let message = encode(layout, channel, &bytes);
                prop_assert_eq!(message.is_text(), layout == Layout::Base64);
                let said = decode(layout, HalfClose::None, message.into_data());
                prop_assert_eq!(said, Ok(Said::Data(channel, Bytes::from(bytes.clone()))));
            }
        }

        #[test]
        fn bytes_of_no_sense_are_refused_and_nothing_else(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            for layout in [Layout::Binary, Layout::Base64] {
                for half_close in [HalfClose::Signal, HalfClose::None] {
                    let said = decode(layout, half_close, Bytes::from(bytes.clone()));
                    prop_assert!(said.is_ok() || layout == Layout::Base64 || bytes[0] == 255);
                }
            }
        }
    }

    #[test]
    fn messages_are_those_of_kubernetes() {
        let hello = encode(Layout::Base64, 1, b"foo\n");
        assert_eq!(hello, Message::Text("1Zm9vCg==".into()));
        let said = |half_close, bytes: &'static [u8]| {
            decode(Layout::Binary, half_close, Bytes::from_static(bytes))
        };
        assert_eq!(said(HalfClose::Signal, &[255, 0]), Ok(Said::Close(0)));
        assert_eq!(said(HalfClose::Signal, &[255]), Err(Malformed));
        assert_eq!(said(HalfClose::Signal, &[255, 0, 0]), Err(Malformed));
        let data = Said::Data(255, Bytes::from_static(&[0]));
        assert_eq!(said(HalfClose::None, &[255, 0]), Ok(data));
        assert_eq!(said(HalfClose::None, &[]), Ok(Said::Nothing));
        assert_eq!(said(HalfClose::None, &[0]), Ok(Said::Nothing));
    }
}
