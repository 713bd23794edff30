//! A client of the agent's API, for the command line.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// What applying did.
const APPLIED: &str = "carpel-applied";

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody serves the socket.
    #[error("connect to the agent at {path}: is it on, and is this root?")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("talk to the agent")]
    Connection(#[from] hyper::Error),
    /// The request cannot be made.
    #[error("make a request to the agent")]
    Request(#[from] hyper::http::Error),
    /// The answer is not JSON.
    #[error("read the agent's answer")]
    Answer(#[from] serde_json::Error),
    /// The agent refuses.
    #[error("{message}")]
    Refused {
        /// `NotFound`, `Invalid` and so on.
        reason: String,
        /// Why.
        message: String,
    },
}

impl ApiError {
    /// There is no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { reason, .. } if reason == "NotFound")
    }
}

/// An agent.
#[derive(Debug, Clone)]
pub struct ApiClient {
    socket: PathBuf,
}

/// Lines that come as things change.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    rest: BytesMut,
}

impl ApiClient {
    /// The agent that serves a socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Asks.
    ///
    /// # Errors
    /// When nobody answers, or the agent refuses.
    pub async fn get(&self, path: &str) -> Result<Value, ApiError> {
        let response = self.send(Method::GET, path, None).await?;
        Ok(read(response).await?.0)
    }

    /// Makes an object be so; the object as it is then, and `created`, `configured` or `unchanged`.
    ///
    /// # Errors
    /// When nobody answers, or the agent refuses.
    pub async fn apply(&self, path: &str, object: &Value) -> Result<(Value, String), ApiError> {
        let response = self.send(Method::PATCH, path, Some(object)).await?;
        read(response).await
    }

    /// Makes what is posted.
    ///
    /// # Errors
    /// When nobody answers, or the agent refuses.
    pub async fn post(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        let response = self.send(Method::POST, path, Some(object)).await?;
        Ok(read(response).await?.0)
    }

    /// Deletes.
    ///
    /// # Errors
    /// When nobody answers, or the agent refuses.
    pub async fn delete(&self, path: &str) -> Result<Value, ApiError> {
        let response = self.send(Method::DELETE, path, None).await?;
        Ok(read(response).await?.0)
    }

    /// Watches: the path has `watch=true`.
    ///
    /// # Errors
    /// When nobody answers, or the agent refuses.
    pub async fn watch(&self, path: &str) -> Result<Lines, ApiError> {
        let response = self.send(Method::GET, path, None).await?;
        if response.status().is_success() {
            return Ok(Lines {
                body: response.into_body(),
                rest: BytesMut::new(),
            });
        }
        match read(response).await {
            Err(error) => Err(error),
            Ok((value, _)) => Err(ApiError::Refused {
                reason: String::new(),
                message: value.to_string(),
            }),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, ApiError> {
        let stream =
            UnixStream::connect(&self.socket)
                .await
                .map_err(|source| ApiError::Connect {
                    path: self.socket.clone(),
                    source,
                })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends when the answer has been read, or nobody wants it.
        tokio::spawn(connection);
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, HeaderValue::from_static("agent"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(Bytes::from(text)))?;
        Ok(sender.send_request(request).await?)
    }
}

async fn read(response: Response<Incoming>) -> Result<(Value, String), ApiError> {
    let is_success = response.status().is_success();
    let applied = response.headers().get(APPLIED);
    let applied = applied.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let applied = applied.to_owned();
    let bytes = response.into_body().collect().await?.to_bytes();
    let value: Value = serde_json::from_slice(&bytes)?;
    if is_success {
        return Ok((value, applied));
    }
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Err(ApiError::Refused {
        reason: text("reason"),
        message: text("message"),
    })
}

impl Lines {
    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Value>, ApiError> {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.rest.extend_from_slice(&data);
                    }
                }
                None => return Ok(None),
            }
        }
    }
}
