//! The streams of one connection, as its reader, its writer and their users share them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::codec::{End, Frame, ResetStatus, StreamId};
use crate::streaming::stream::{Feed, Gone};

/// So many streams may be open on one connection. A forwarded TCP connection is two.
pub(super) const MAXIMUM_STREAMS: usize = 4096;

/// An open stream.
#[derive(Debug)]
struct Entry {
    /// None after the client's half-close.
    feed: Option<Feed>,
    /// Whether Carpel may still send.
    local: End,
    closed: CancellationToken,
}

/// The open streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Mutex<HashMap<StreamId, Entry>>,
    last: AtomicU32,
}

impl Streams {
    fn locked(&self) -> MutexGuard<'_, HashMap<StreamId, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last stream that the client has opened; 0 before the first.
    pub(super) fn last(&self) -> StreamId {
        self.last.load(Ordering::Relaxed)
    }

    /// The client opens this stream.
    pub(super) fn set_last(&self, stream: StreamId) {
        self.last.store(stream, Ordering::Relaxed);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.locked().len()
    }

    /// A new stream that the client has opened; without a feed it has closed its half at once.
    pub(super) fn insert(
        self: &Arc<Self>,
        stream: StreamId,
        feed: Option<Feed>,
        sender: &StreamSender,
    ) {
        let entry = Entry {
            feed,
            local: End::Open,
            closed: sender.closed.clone(),
        };
        self.locked().insert(stream, entry);
    }

    /// Where data of a stream goes; none if nobody waits for it.
    pub(super) fn feed(&self, stream: StreamId) -> Option<Feed> {
        self.locked().get(&stream)?.feed.clone()
    }

    /// The client has closed its half.
    pub(super) fn client_finished(&self, stream: StreamId) {
        let mut open = self.locked();
        if let Some(entry) = open.get_mut(&stream) {
            entry.feed = None;
            if entry.local == End::Finished {
                open.remove(&stream);
            }
        }
    }

    /// The client, or Carpel, has given the stream up.
    pub(super) fn reset(&self, stream: StreamId) {
        if let Some(entry) = self.locked().remove(&stream) {
            entry.closed.cancel();
        }
    }

    /// Carpel has closed its half.
    fn finished(&self, stream: StreamId) {
        let mut open = self.locked();
        if let Some(entry) = open.get_mut(&stream) {
            entry.local = End::Finished;
            if entry.feed.is_none() {
                open.remove(&stream);
            }
        }
    }

    /// The connection has ended: nothing more comes, nothing more can be sent.
    pub(super) fn clear(&self) {
        for (_, entry) in self.locked().drain() {
            entry.closed.cancel();
        }
    }
}

/// The way out for one stream.
#[derive(Debug, Clone)]
pub(in crate::streaming) struct StreamSender {
    stream: StreamId,
    frames: mpsc::Sender<Frame>,
    streams: Arc<Streams>,
    closed: CancellationToken,
}

impl StreamSender {
    pub(super) fn new(
        stream: StreamId,
        frames: mpsc::Sender<Frame>,
        streams: Arc<Streams>,
    ) -> Self {
        Self {
            stream,
            frames,
            streams,
            closed: CancellationToken::new(),
        }
    }

    /// Sends bytes; waits while the client is slow.
    ///
    /// # Errors
    /// `Gone` if the client has, or has reset the stream.
    pub(in crate::streaming) async fn data(&self, bytes: Bytes) -> Result<(), Gone> {
        self.send(Frame::Data {
            stream: self.stream,
            end: End::Open,
            bytes,
        })
        .await
    }

    /// Closes Carpel's half.
    pub(in crate::streaming) async fn finish(&self) {
        let last = Frame::Data {
            stream: self.stream,
            end: End::Finished,
            bytes: Bytes::new(),
        };
        // A client that has gone is told nothing.
        self.send(last).await.ok();
        self.streams.finished(self.stream);
    }

    /// Gives the stream up.
    pub(in crate::streaming) async fn reset(&self, status: ResetStatus) {
        let reset = Frame::Reset {
            stream: self.stream,
            status: status.code(),
        };
        self.send(reset).await.ok();
        self.streams.reset(self.stream);
    }

    /// Done when the stream has been reset, or the client has gone.
    pub(in crate::streaming) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Tells the client that bytes of this stream have been taken. False while there is no room for that: it is not urgent.
    pub(in crate::streaming) fn update_window(&self, delta: u32) -> bool {
        let Ok(places) = self.frames.try_reserve_many(2) else {
            return false;
        };
        for (place, stream) in places.zip([self.stream, 0]) {
            place.send(Frame::WindowUpdate { stream, delta });
        }
        true
    }

    async fn send(&self, frame: Frame) -> Result<(), Gone> {
        tokio::select! {
            sent = self.frames.send(frame) => sent.map_err(|_closed| Gone),
            () = self.closed.cancelled() => Err(Gone),
        }
    }
}
