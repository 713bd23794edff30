//! The body of an answer, as long as it makes progress.
//!
//! A body is given up if fewer than [`PROGRESS_BYTES`] came while we waited for as long as the configuration allows
//! without progress. Only time that is spent waiting for the network counts: a slow disk of ours is not their fault.
//! So a peer that sends a byte now and then (a slow loris) is noticed like one that sends nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Uri;
use hyper::body::{Body as _, Incoming};

use super::RegistryError;
use super::transport::shown;

/// As many bytes are progress: with the default of 60 seconds about 1 KiB a second, less than any modem brings.
const PROGRESS_BYTES: u64 = 64 * 1024;

/// A body and whom it comes from.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) uri: Uri,
    incoming: Incoming,
    no_progress: Duration,
    /// How long was waited, and what came, since the last progress.
    waited: Duration,
    received: u64,
}

impl Body {
    pub(super) fn new(uri: Uri, incoming: Incoming, no_progress: Duration) -> Self {
        Self {
            uri,
            incoming,
            no_progress,
            waited: Duration::ZERO,
            received: 0,
        }
    }

    /// The next piece; `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let began = Instant::now();
            let left = self.no_progress.saturating_sub(self.waited);
            let frame = tokio::time::timeout(left, self.incoming.frame())
                .await
                .map_err(|_elapsed| RegistryError::Stalled {
                    url: shown(&self.uri),
                    seconds: self.no_progress.as_secs(),
                })?;
            self.waited += began.elapsed();
            match frame {
                None => return Ok(None),
                Some(Err(source)) => {
                    return Err(RegistryError::Receive {
                        url: shown(&self.uri),
                        source,
                    });
                }
                // Anything else is a trailer.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.count(data.len() as u64);
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// All of it, as long as it is not larger than `limit` bytes.
    pub(super) async fn whole(mut self, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let too_large = |uri: &Uri| RegistryError::TooLarge {
            url: shown(uri),
            limit,
        };
        if self.incoming.size_hint().lower() > limit {
            return Err(too_large(&self.uri));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() as u64 + chunk.len() as u64 > limit {
                return Err(too_large(&self.uri));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn count(&mut self, bytes: u64) {
        self.received += bytes;
        if self.received >= PROGRESS_BYTES {
            self.received = 0;
            self.waited = Duration::ZERO;
        }
    }
}
