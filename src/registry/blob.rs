//! A blob on its way from a registry: one stream of bytes, whatever happens to the connections.
//!
//! A connection that breaks is followed by another that asks for the rest (RFC 9110 §14.2); a host without ranges
//! sends everything again, and what we have is skipped. The digest is compared by whoever keeps the bytes.

use bytes::{Buf, Bytes};
use hyper::body::Incoming;
use hyper::{StatusCode, Uri};
use oci_spec::image::Digest;

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
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    uri: Uri,
    body: Incoming,
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
            connection: None,
        }
    }

    /// The next bytes; `None` after the last one.
    ///
    /// # Errors
    /// What the last host said after as many attempts without a new byte as the configuration allows.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            match self.chunk_once().await {
                Ok(Some(bytes)) => {
                    self.position += bytes.len() as u64;
                    self.failures = 0;
                    return Ok(Some(bytes));
                }
                Ok(None) => return Ok(None),
                Err(error) => self.recover(error).await?,
            }
        }
    }

    async fn chunk_once(&mut self) -> Result<Option<Bytes>, RegistryError> {
        if self.connection.is_none() {
            if self.size == Some(self.position) {
                return Ok(None);
            }
            self.connection = Some(self.connect().await?);
        }
        let session = self.session.clone();
        let endpoint = endpoint(&session, self.host)?;
        let Some(connection) = &mut self.connection else {
            return Ok(None);
        };
        loop {
            let chunk = endpoint
                .transport
                .chunk(&connection.uri, &mut connection.body)
                .await?;
            let Some(mut bytes) = chunk else {
                return match self.size {
                    Some(expected) if self.position < expected => Err(RegistryError::Truncated {
                        url: shown(&connection.uri),
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

    async fn connect(&self) -> Result<Connection, RegistryError> {
        let endpoint = endpoint(&self.session, self.host)?;
        let path = format!("blobs/{}", self.digest);
        let mut ask = Ask::get(self.session.uri(endpoint, &path)?, "*/*");
        ask.offset = self.position;
        let (uri, response) = self.session.get(endpoint, ask).await?;
        let skip = match response.status() {
            StatusCode::PARTIAL_CONTENT => 0,
            _ => self.position,
        };
        Ok(Connection {
            uri,
            body: response.into_body(),
            skip,
        })
    }

    /// Makes the next attempt possible, or gives up.
    async fn recover(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.connection = None;
        self.failures += 1;
        let has_next = self.session.endpoints("pull").count() > self.host + 1;
        if has_next {
            self.host += 1;
            self.failures = 0;
            return Ok(());
        }
        if !error.is_passing() || self.failures >= self.session.attempts() {
            return Err(error);
        }
        tracing::debug!(digest = %self.digest, position = self.position, %error, "a download goes on after a pause");
        tokio::time::sleep(self.session.pause(&error, self.failures)).await;
        Ok(())
    }
}

fn endpoint(session: &Session, host: usize) -> Result<&Endpoint, RegistryError> {
    session
        .endpoints("pull")
        .nth(host)
        .ok_or_else(|| session.no_host("pull"))
}
