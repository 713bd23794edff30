//! A client of SPDY for tests, over any pair of byte streams.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::codec::{Decoder, Encoder, End, Frame, Headers, ResetStatus, StreamId};

/// How long anything may take that should happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What has come of a stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::streaming) struct Came {
    pub(in crate::streaming) bytes: Vec<u8>,
    pub(in crate::streaming) is_accepted: bool,
    pub(in crate::streaming) is_finished: bool,
    pub(in crate::streaming) reset: Option<u32>,
}

impl Came {
    pub(in crate::streaming) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }
}

pub(in crate::streaming) struct TestClient {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    encoder: Encoder,
    decoder: Decoder,
    next_stream: StreamId,
    pub(in crate::streaming) streams: BTreeMap<StreamId, Came>,
    pub(in crate::streaming) pings: Vec<u32>,
    pub(in crate::streaming) updates: BTreeMap<StreamId, u32>,
    pub(in crate::streaming) is_gone_away: bool,
}

impl TestClient {
    pub(in crate::streaming) fn new<R, W>(reader: R, writer: W) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        Self {
            reader: Box::new(reader),
            writer: Box::new(writer),
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            next_stream: 1,
            streams: BTreeMap::new(),
            pings: Vec::new(),
            updates: BTreeMap::new(),
            is_gone_away: false,
        }
    }

    pub(in crate::streaming) async fn send(&mut self, frame: &Frame) {
        let mut bytes = BytesMut::new();
        self.encoder.encode(frame, &mut bytes);
        self.writer.write_all(&bytes).await.unwrap();
        self.writer.flush().await.unwrap();
    }

    /// Opens a stream.
    pub(in crate::streaming) async fn open(&mut self, headers: &[(&str, &str)]) -> StreamId {
        let stream = self.next_stream;
        self.next_stream += 2;
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let frame = Frame::SynStream {
            stream,
            priority: 0,
            end: End::Open,
            headers: Headers(headers.collect()),
        };
        self.send(&frame).await;
        stream
    }

    pub(in crate::streaming) async fn data(&mut self, stream: StreamId, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let end = End::Open;
        self.send(&Frame::Data { stream, end, bytes }).await;
    }

    pub(in crate::streaming) async fn finish(&mut self, stream: StreamId) {
        let (end, bytes) = (End::Finished, Bytes::new());
        self.send(&Frame::Data { stream, end, bytes }).await;
    }

    pub(in crate::streaming) async fn reset(&mut self, stream: StreamId) {
        let status = ResetStatus::Cancel.code();
        self.send(&Frame::Reset { stream, status }).await;
    }

    pub(in crate::streaming) async fn ping(&mut self, number: u32) {
        self.send(&Frame::Ping(number)).await;
    }

    /// Takes what comes until the condition holds; fails at the end of the connection.
    pub(in crate::streaming) async fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !condition(self) {
                assert!(
                    self.take().await,
                    "the connection has ended: {:?}",
                    self.streams
                );
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("it did not happen: {:?}", self.streams);
        }
    }

    /// Takes what comes until the end of the connection.
    pub(in crate::streaming) async fn until_end(&mut self) {
        let waiting = async { while self.take().await {} };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("the connection did not end: {:?}", self.streams);
        }
    }

    pub(in crate::streaming) fn came(&self, stream: StreamId) -> Came {
        self.streams.get(&stream).cloned().unwrap_or_default()
    }

    /// Takes one frame. False at the end of the connection.
    async fn take(&mut self) -> bool {
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                self.note(frame);
                return true;
            }
            match self.reader.read_buf(self.decoder.buffer()).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
    }

    fn note(&mut self, frame: Frame) {
        match frame {
            Frame::SynReply { stream, .. } => {
                self.streams.entry(stream).or_default().is_accepted = true;
            }
            Frame::Data { stream, end, bytes } => {
                let came = self.streams.entry(stream).or_default();
                assert!(came.is_accepted, "data before the reply");
                assert!(!came.is_finished, "data after the end");
                came.bytes.extend_from_slice(&bytes);
                came.is_finished = end == End::Finished;
            }
            Frame::Reset { stream, status } => {
                self.streams.entry(stream).or_default().reset = Some(status);
            }
            Frame::Ping(number) => self.pings.push(number),
            Frame::WindowUpdate { stream, delta } => {
                *self.updates.entry(stream).or_default() += delta;
            }
            Frame::GoAway { .. } => self.is_gone_away = true,
            other => panic!("the server sent {other:?}"),
        }
    }
}
