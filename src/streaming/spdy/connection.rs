//! One connection: a reader that hands what comes to the streams, and a writer of what they send.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::codec::{Decoder, Encoder, End, Frame, FrameError, Headers, ResetStatus, StreamId};
use super::streams::{MAXIMUM_STREAMS, StreamSender, Streams};
use crate::streaming::idle::Idle;
use crate::streaming::stream::{Connection, Feed, Inlet, Outlet, Sender};

/// Frames that wait to be written; then the streams wait.
const FRAME_QUEUE: usize = 16;

/// Streams that wait to be taken.
const NEW_STREAMS: usize = 16;

/// Frames are written together up to this size.
const WRITE_BYTES: usize = 64 << 10;

/// Read at a time.
const READ_BYTES: usize = 32 << 10;

/// While the reader waits for a stream to take its bytes, it cannot see the client go: so it asks the client for a sign of
/// life as often as this, which fails when there is nobody.
const PROBE: Duration = Duration::from_secs(10);

/// The last thing that Carpel asks is whether the client has read everything: it waits so long for the client to close.
const LINGER: Duration = Duration::from_secs(5);

/// A stream that the client has opened.
#[derive(Debug)]
pub(in crate::streaming) struct NewStream {
    /// What it is for.
    headers: Headers,
    /// What comes in.
    pub(in crate::streaming) inlet: Inlet,
    /// What goes out.
    pub(in crate::streaming) outlet: Outlet,
}

impl NewStream {
    /// The value of a header; the name in lower case.
    pub(in crate::streaming) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the client does not speak SPDY")]
    Frame(#[from] FrameError),
    #[error("the client has closed the connection")]
    Closed,
}

/// Speaks SPDY/3.1 over a pair of byte streams, in a task of its own that ends with the connection. Returned are the streams
/// that the client opens.
pub(in crate::streaming) fn serve<R, W>(
    halves: (R, W),
    connection: Connection,
    idle: Idle,
) -> mpsc::Receiver<NewStream>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (new_streams, receiver) = mpsc::channel(NEW_STREAMS);
    speak(halves, (connection, idle), Some(new_streams));
    receiver
}

/// The same as a client, which opens streams and refuses those of the server.
pub(in crate::streaming) fn connect<R, W>(
    halves: (R, W),
    connection: Connection,
    idle: Idle,
) -> Opener
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (frames, streams) = speak(halves, (connection, idle), None);
    Opener {
        frames,
        streams,
        next: tokio::sync::Mutex::new(1),
    }
}

/// Opens the streams of a connection of which this is the client.
#[derive(Debug)]
pub(in crate::streaming) struct Opener {
    frames: mpsc::Sender<Frame>,
    streams: Arc<Streams>,
    /// Held until the stream's first frame is queued: numbers must rise.
    next: tokio::sync::Mutex<StreamId>,
}

impl Opener {
    /// Opens a stream; none if the connection has ended, or has had two milliards of them.
    pub(in crate::streaming) async fn open(
        &self,
        headers: &[(&str, &str)],
    ) -> Option<(Inlet, Outlet)> {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut next = self.next.lock().await;
        let stream = *next;
        *next = stream.checked_add(2).filter(|next| *next < 1 << 31)?;
        let sender = StreamSender::new(stream, self.frames.clone(), Arc::clone(&self.streams));
        let (feed, inlet) = Inlet::new(Some(sender.clone()));
        self.streams.insert(stream, Some(feed), &sender);
        let frame = Frame::SynStream {
            stream,
            priority: 0,
            end: End::Open,
            headers: Headers(headers.collect()),
        };
        if self.frames.send(frame).await.is_err() {
            self.streams.reset(stream);
            return None;
        }
        Some((inlet, Outlet::new(Sender::Spdy(sender))))
    }
}

/// The task of one connection: with somewhere to put new streams a server's, without a client's.
fn speak<R, W>(
    (reader, writer): (R, W),
    (connection, idle): (Connection, Idle),
    new_streams: Option<mpsc::Sender<NewStream>>,
) -> (mpsc::Sender<Frame>, Arc<Streams>)
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (frames, queue) = mpsc::channel(FRAME_QUEUE);
    let streams = Arc::new(Streams::default());
    let given = (frames.clone(), Arc::clone(&streams));
    tokio::spawn(async move {
        let reading = Reader {
            decoder: Decoder::new(),
            frames,
            new_streams,
            streams: Arc::clone(&streams),
            connection: connection.clone(),
            idle: idle.clone(),
        };
        let both = async {
            tokio::join!(
                read(reading, reader),
                Writer {
                    queue,
                    streams: &streams,
                    connection: &connection,
                    idle: &idle,
                }
                .run(writer)
            )
        };
        tokio::select! {
            _both_ended = both => {}
            () = idle.expired() => tracing::debug!("an idle streaming connection is closed"),
            () = connection.gone() => {}
        }
        connection.lose();
        streams.clear();
    });
    given
}

struct Reader {
    decoder: Decoder,
    frames: mpsc::Sender<Frame>,
    /// Absent in a client.
    new_streams: Option<mpsc::Sender<NewStream>>,
    streams: Arc<Streams>,
    connection: Connection,
    idle: Idle,
}

/// Reads until the client closes, or for a while after Carpel has.
async fn read<R: AsyncRead + Unpin>(mut reading: Reader, mut reader: R) {
    let connection = reading.connection.clone();
    let error = tokio::select! {
        error = read_frames(&mut reading, &mut reader) => error,
        () = connection.ended() => {
            drop(reading);
            // What is not read when a socket is closed makes the kernel throw away what the client has not read.
            drain(&mut reader).await;
            return;
        }
    };
    tracing::debug!(%error, "a SPDY connection ended");
    if let ConnectionError::Frame(_) = error {
        // The writer says GOAWAY.
        connection.end();
        return;
    }
    connection.lose();
}

async fn drain<R: AsyncRead + Unpin>(reader: &mut R) {
    let all = async {
        let mut buffer = vec![0; READ_BYTES];
        while reader
            .read(&mut buffer)
            .await
            .is_ok_and(|length| length > 0)
        {}
    };
    // A client that does not close in time has read what it wanted.
    tokio::time::timeout(LINGER, all).await.ok();
}

async fn read_frames<R: AsyncRead + Unpin>(
    reading: &mut Reader,
    reader: &mut R,
) -> ConnectionError {
    loop {
        match reading.decoder.next() {
            Ok(Some(frame)) => reading.handle(frame).await,
            Ok(None) => {
                let buffer = reading.decoder.buffer();
                buffer.reserve(READ_BYTES);
                match reader.read_buf(buffer).await {
                    Ok(0) => return ConnectionError::Closed,
                    Ok(_) => reading.idle.touch(),
                    Err(error) => return error.into(),
                }
            }
            Err(error) => return error.into(),
        }
    }
}

impl Reader {
    async fn handle(&mut self, frame: Frame) {
        match frame {
            Frame::SynStream {
                stream,
                end,
                headers,
                ..
            } => self.open(stream, end, headers).await,
            Frame::Data { stream, end, bytes } => {
                if !bytes.is_empty()
                    && let Some(feed) = self.streams.feed(stream)
                {
                    self.deliver(&feed, bytes).await;
                }
                if end == End::Finished {
                    self.streams.client_finished(stream);
                }
            }
            Frame::Headers {
                stream,
                end: End::Finished,
                ..
            } => self.streams.client_finished(stream),
            Frame::Reset { stream, .. } => self.streams.reset(stream),
            // The other side's own is to be sent back, ours is the answer: a client's are odd, a server's even.
            Frame::Ping(number) if (number % 2 == 1) == self.new_streams.is_some() => {
                self.send(Frame::Ping(number)).await
            }
            // The client's windows are not kept, and it opens all streams: the rest is of no concern.
            Frame::Ping(_)
            | Frame::Headers { .. }
            | Frame::SynReply { .. }
            | Frame::Settings(_)
            | Frame::GoAway { .. }
            | Frame::WindowUpdate { .. }
            | Frame::Unknown(_) => {}
        }
    }

    async fn open(&mut self, stream: StreamId, end: End, headers: Headers) {
        let is_next = stream % 2 == 1 && stream > self.streams.last();
        let taker = self.new_streams.clone();
        let taker = taker.filter(|taker| !taker.is_closed());
        let refusal = if !is_next {
            Some(ResetStatus::Protocol)
        } else if self.streams.count() >= MAXIMUM_STREAMS || taker.is_none() {
            Some(ResetStatus::Refused)
        } else {
            None
        };
        if is_next {
            self.streams.set_last(stream);
        }
        if let Some(status) = refusal {
            let status = status.code();
            return self.send(Frame::Reset { stream, status }).await;
        }
        let sender = StreamSender::new(stream, self.frames.clone(), Arc::clone(&self.streams));
        let (feed, inlet) = Inlet::new(Some(sender.clone()));
        let feed = (end == End::Open).then_some(feed);
        self.streams.insert(stream, feed, &sender);
        let reply = Frame::SynReply {
            stream,
            end: End::Open,
            headers: Headers::default(),
        };
        self.send(reply).await;
        let outlet = Outlet::new(Sender::Spdy(sender));
        let new = NewStream {
            headers,
            inlet,
            outlet,
        };
        if let Some(taker) = taker
            && let Err(refused) = taker.send(new).await
        {
            refused.0.outlet.reset().await;
        }
    }

    /// Gives bytes to a stream, and looks after the client as long as that takes.
    async fn deliver(&self, feed: &Feed, bytes: Bytes) {
        let mut sending = std::pin::pin!(feed.send(bytes));
        loop {
            tokio::select! {
                // Nobody waits for it any more: it is thrown away.
                _taken_or_not = &mut sending => return,
                () = tokio::time::sleep(PROBE) => {
                    // A full queue is a sign of life awaited already.
                    let own = if self.new_streams.is_some() { 2 } else { 1 };
                    self.frames.try_send(Frame::Ping(own)).ok();
                }
            }
        }
    }

    async fn send(&self, frame: Frame) {
        // The writer ends with the connection, and then so does this reader.
        self.frames.send(frame).await.ok();
    }
}

struct Writer<'a> {
    queue: mpsc::Receiver<Frame>,
    streams: &'a Streams,
    connection: &'a Connection,
    idle: &'a Idle,
}

impl Writer<'_> {
    /// Writes until the connection ends; then what is queued, and GOAWAY.
    async fn run<W: AsyncWrite + Unpin>(mut self, mut writer: W) {
        if let Err(error) = self.write_all(&mut writer).await {
            tracing::debug!(%error, "a SPDY connection cannot be written");
            self.connection.lose();
        }
    }

    async fn write_all<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) -> io::Result<()> {
        let mut encoder = Encoder::new();
        let mut buffer = BytesMut::new();
        loop {
            let first = tokio::select! {
                biased;
                frame = self.queue.recv() => frame,
                () = self.connection.ended() => None,
            };
            let Some(first) = first else { break };
            encoder.encode(&first, &mut buffer);
            self.encode_queued(&mut encoder, &mut buffer);
            writer.write_all(&buffer).await?;
            writer.flush().await?;
            self.idle.touch();
            buffer.clear();
        }
        self.queue.close();
        while let Some(frame) = self.queue.recv().await {
            encoder.encode(&frame, &mut buffer);
        }
        let farewell = Frame::GoAway {
            last_stream: self.streams.last(),
            status: 0,
        };
        encoder.encode(&farewell, &mut buffer);
        writer.write_all(&buffer).await?;
        writer.shutdown().await
    }

    /// Takes what is queued too, so that it is written at once.
    fn encode_queued(&mut self, encoder: &mut Encoder, buffer: &mut BytesMut) {
        while buffer.len() < WRITE_BYTES {
            let Ok(frame) = self.queue.try_recv() else {
                return;
            };
            encoder.encode(&frame, buffer);
        }
    }
}
