//! `SPDY/3.1+portforward.k8s.io`: the bytes of a SPDY connection as binary messages, cut anywhere.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::channels::normal_close;

/// Between the messages and the SPDY connection, in each direction.
const BUFFER: usize = 64 << 10;

/// Bytes of one message; client-go reads with a buffer of this size.
const MESSAGE: usize = 32 << 10;

/// How long the client has to answer the close.
const LINGER: Duration = Duration::from_secs(5);

/// The byte streams in the messages. A task carries them, which ends with the connection.
pub(in crate::streaming) fn tunnel<S>(
    socket: S,
) -> (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>)
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move {
        let (sink, stream) = socket.split();
        let (reader, writer) = tokio::io::split(far);
        let mut incoming = std::pin::pin!(carry_in(stream, writer));
        tokio::select! {
            () = &mut incoming => {}
            sent = carry_out(reader, sink) => {
                if sent.is_ok() {
                    // A client that does not answer in time has read what it wanted.
                    tokio::time::timeout(LINGER, incoming).await.ok();
                }
            }
        }
    });
    tokio::io::split(near)
}

async fn carry_in<S>(mut stream: S, mut writer: WriteHalf<DuplexStream>)
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    while let Some(Ok(message)) = stream.next().await {
        let taken = match message {
            Message::Binary(bytes) => writer.write_all(&bytes).await,
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Text(_) | Message::Close(_) | Message::Frame(_) => return,
        };
        if taken.is_err() {
            return;
        }
    }
}

async fn carry_out<S>(mut reader: ReadHalf<DuplexStream>, mut sink: S) -> Result<(), Error>
where
    S: Sink<Message, Error = Error> + Unpin,
{
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(MESSAGE);
        if reader.read_buf(&mut buffer).await? == 0 {
            return sink.send(Message::Close(Some(normal_close()))).await;
        }
        while !buffer.is_empty() {
            let piece = buffer.split_to(buffer.len().min(MESSAGE)).freeze();
            sink.send(Message::Binary(piece)).await?;
        }
    }
}
