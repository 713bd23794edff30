//! A blob on its way from a registry: one stream of bytes, whatever happens to the connections.
//!
//! A connection that breaks is followed by another that asks for the rest (RFC 9110 §14.2), of the same host or of the
//! next one: the digest names the bytes, so that it does not matter whose they are, and no `If-Range` is needed. A
//! host without ranges sends everything again, and what we have is skipped. The digest is compared by whoever keeps
//! the bytes, who calls [`BlobStream::distrust`] if it is wrong.

use bytes::{Buf, Bytes};
use hyper::StatusCode;
use hyper::header::CONTENT_RANGE;
use oci_spec::image::Digest;

use super::body::Body;
use super::session::Endpoint;
use super::transport::{Ask, shown};
use super::{RegistryError, Session};

/// A blob that is being downloaded.
#[derive(Debug)]
pub struct BlobStream {
    session: Session,
    digest: Digest,
    size: Option<u64>,
    /// Bytes that were handed out.
    position: u64,
    /// Failures since the last byte came.
    failures: u32,
    /// Which host is asked.
    host: usize,
    /// The hosts that have sent bytes.
    senders: Vec<usize>,
    /// What the hosts before said.
    earlier: Vec<RegistryError>,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    body: Body,
    /// Bytes that we have already and that come again.
    skip: u64,
}

impl BlobStream {
    pub(super) fn new(session: Session, digest: Digest, size: Option<u64>) -> Self {
        Self {
            session,
            digest,
            size,
            position: 0,
            failures: 0,
            host: 0,
            senders: Vec::new(),
            earlier: Vec::new(),
            connection: None,
        }
    }

    /// The next bytes; `None` after the last one.
    ///
    /// # Errors
    /// What the hosts said after as many attempts without a new byte as the configuration allows.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            match self.chunk_once().await {
                Ok(Some(bytes)) => {
                    self.position += bytes.len() as u64;
                    self.failures = 0;
                    if self.senders.last() != Some(&self.host) {
                        self.senders.push(self.host);
                    }
                    return Ok(Some(bytes));
                }
                Ok(None) => return Ok(None),
                Err(error) => self.recover(error).await?,
            }
        }
    }

    /// Says that the bytes were not those of the digest. The session does not ask the hosts that sent them any more,
    /// as long as there are others: see [`Session::has_turned_away`].
    pub fn distrust(&self) {
        self.session.distrust(&self.senders);
    }

    async fn chunk_once(&mut self) -> Result<Option<Bytes>, RegistryError> {
        if self.connection.is_none() {
            if self.size == Some(self.position) {
                return Ok(None);
            }
            self.connection = Some(self.connect().await?);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(None);
        };
        loop {
            let Some(mut bytes) = connection.body.chunk().await? else {
                return match self.size {
                    Some(expected) if self.position < expected => Err(RegistryError::Truncated {
                        url: shown(&connection.body.uri),
                        expected,
                        found: self.position,
                    }),
                    _ => Ok(None),
                };
            };
            let skipped = usize::try_from(connection.skip)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            connection.skip -= skipped as u64;
            bytes.advance(skipped);
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    async fn connect(&mut self) -> Result<Connection, RegistryError> {
        let (host, endpoint) = self.endpoint()?;
        let path = format!("blobs/{}", self.digest);
        let mut ask = Ask::get(self.session.uri(endpoint, &path)?, "*/*");
        ask.offset = self.position;
        let answer = self.session.get(endpoint, ask).await?;
        self.host = host;
        let range = answer.header(CONTENT_RANGE.as_str());
        let skip = match answer.status {
            StatusCode::PARTIAL_CONTENT if first_byte(range) == Some(self.position) => 0,
            StatusCode::PARTIAL_CONTENT => {
                return Err(RegistryError::WrongRange {
                    url: shown(&answer.body.uri),
                    offset: self.position,
                    range: range.unwrap_or_default().to_owned(),
                });
            }
            _ => self.position,
        };
        Ok(Connection {
            body: answer.body,
            skip,
        })
    }

    fn endpoint(&self) -> Result<(usize, &Endpoint), RegistryError> {
        let found = self.session.puller(self.host);
        found.ok_or_else(|| self.session.no_host("pull"))
    }

    /// Makes the next attempt possible, or gives up. A host that brings nothing is left at once if there is another
    /// one; one that brought bytes is asked once more for the rest.
    async fn recover(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.connection = None;
        self.failures += 1;
        let next = self.session.puller(self.host + 1).map(|(place, _)| place);
        let attempts = match next {
            None => self.session.attempts(),
            Some(_) if self.senders.last() == Some(&self.host) => 2,
            Some(_) => 1,
        };
        if error.is_passing() && self.failures < attempts {
            tracing::debug!(digest = %self.digest, position = self.position, %error, "a download goes on after a pause");
            tokio::time::sleep(self.session.pause(&error, self.failures)).await;
            return Ok(());
        }
        let Some(next) = next else {
            let earlier = std::mem::take(&mut self.earlier);
            return Err(RegistryError::of_hosts(earlier, error));
        };
        self.earlier.push(error);
        self.host = next;
        self.failures = 0;
        Ok(())
    }
}

/// Where a part begins: `bytes <first>-<last>/<length>` (RFC 9110 §14.4).
fn first_byte(range: Option<&str>) -> Option<u64> {
    let (first, _) = range?.trim().strip_prefix("bytes ")?.split_once('-')?;
    first.trim().parse().ok()
}
