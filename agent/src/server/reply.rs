//! Answers: JSON, streams of JSON lines, and errors as `Status` objects of the Kubernetes API.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::store::{self, StoreError};

/// An answer.
pub(super) type Reply = Response<BoxBody<Bytes, Infallible>>;

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    code: StatusCode,
    reason: &'static str,
    message: String,
}

impl Refusal {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
        }
    }

    /// There is no such object: `pods "web" not found`.
    pub(super) fn not_found(plural: &str, name: &str) -> Self {
        let message = format!("{plural} {name:?} not found");
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// There is no such path.
    pub(super) fn no_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// The request makes no sense.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// The object is not right.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    /// The path is not for this method.
    pub(super) fn method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// There is one already.
    pub(super) fn exists(plural: &str, name: &str) -> Self {
        let message = format!("{plural} {name:?} already exists");
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message)
    }

    /// Nothing of the request is wrong.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// What the store said.
    pub(super) fn of_store(error: &StoreError) -> Self {
        let message = chain(error);
        match error.kind() {
            store::ErrorKind::Invalid => Self::invalid(message),
            store::ErrorKind::Conflict => Self::new(StatusCode::CONFLICT, "Conflict", message),
            store::ErrorKind::Internal => Self::internal(message),
        }
    }

    /// As a `Status`.
    pub(super) fn reply(&self) -> Reply {
        let status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
        });
        value(self.code, &status)
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

/// A value.
pub(super) fn value(code: StatusCode, value: &Value) -> Reply {
    text(code, "application/json", value.to_string())
}

/// Text.
pub(super) fn text(code: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(text.into()).boxed());
    *reply.status_mut() = code;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// Lines of JSON, as they come.
pub(super) fn stream(lines: impl Stream<Item = Bytes> + Send + Sync + 'static) -> Reply {
    use futures_util::StreamExt;
    let frames = lines.map(|line| Ok::<_, Infallible>(Frame::data(line)));
    let mut reply = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}
