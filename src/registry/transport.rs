//! HTTP to one host and to where it redirects: connections, deadlines, redirects. It knows no registry.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RANGE, RETRY_AFTER, USER_AGENT,
};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::hosts::Host;
use super::{RegistryError, tls};

/// As many redirects as Go's client follows.
const REDIRECTS_MAX: u32 = 10;

/// How long a connection may take, unless the deadline for progress is shorter.
const CONNECT_SECONDS_MAX: u64 = 30;

/// As much of an error's text as is read.
const ERROR_BYTES_MAX: u64 = 16 * 1024;

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) uri: Uri,
    pub(super) accept: &'static str,
    pub(super) authorization: Option<String>,
    /// The first byte that is wanted, if not 0.
    pub(super) offset: u64,
    /// A form to post; otherwise it is a GET.
    pub(super) form: Option<String>,
}

impl Ask {
    pub(super) fn get(uri: Uri, accept: &'static str) -> Self {
        Self {
            uri,
            accept,
            authorization: None,
            offset: 0,
            form: None,
        }
    }
}

/// Connections to one host. Both clients are made when they are first needed.
#[derive(Debug)]
pub(super) struct Transport {
    host: Host,
    no_progress: Duration,
    plain: OnceLock<Client<HttpConnector, Full<Bytes>>>,
    encrypted: OnceLock<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
}

impl Transport {
    pub(super) fn new(host: Host, no_progress: Duration) -> Self {
        Self {
            host,
            no_progress,
            plain: OnceLock::new(),
            encrypted: OnceLock::new(),
        }
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Asks, follows redirects, and returns an answer that is not one, with whom it came from. The authorization goes
    /// to the first host only: a redirect to storage elsewhere carries its own signature.
    pub(super) async fn ask(
        &self,
        mut ask: Ask,
    ) -> Result<(Uri, Response<Incoming>), RegistryError> {
        for _ in 0..=REDIRECTS_MAX {
            let response = self.ask_once(&ask).await?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED
            {
                return Ok((ask.uri, response));
            }
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|location| location.to_str().ok())
                .unwrap_or_default();
            let next = follow(&ask.uri, location).ok_or_else(|| RegistryError::Redirect {
                url: shown(&ask.uri),
                location: without_query(location).to_owned(),
            })?;
            if next.authority() != ask.uri.authority() || next.scheme() != ask.uri.scheme() {
                ask.authorization = None;
            }
            ask.uri = next;
        }
        Err(RegistryError::Redirect {
            url: shown(&ask.uri),
            location: String::new(),
        })
    }

    /// The next piece of a body; `None` at its end.
    pub(super) async fn chunk(
        &self,
        uri: &Uri,
        body: &mut Incoming,
    ) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let frame = tokio::time::timeout(self.no_progress, body.frame())
                .await
                .map_err(|_elapsed| self.stalled(uri))?;
            match frame {
                None => return Ok(None),
                Some(Err(source)) => {
                    return Err(RegistryError::Receive {
                        url: shown(uri),
                        source,
                    });
                }
                // Anything else is a trailer.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// A whole body, as long as it is not larger than `limit` bytes.
    pub(super) async fn whole(
        &self,
        uri: &Uri,
        mut body: Incoming,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let too_large = || RegistryError::TooLarge {
            url: shown(uri),
            limit,
        };
        if body.size_hint().lower() > limit {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(uri, &mut body).await? {
            if bytes.len() as u64 + chunk.len() as u64 > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// Turns an answer that is no success into an error with the server's own words.
    pub(super) async fn refusal(&self, uri: &Uri, response: Response<Incoming>) -> RegistryError {
        let status = response.status();
        let retry_after_seconds = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let text = self
            .whole(uri, response.into_body(), ERROR_BYTES_MAX)
            .await
            .unwrap_or_default();
        RegistryError::Status {
            url: shown(uri),
            status,
            detail: error_text(&text),
            retry_after_seconds,
        }
    }

    async fn ask_once(&self, ask: &Ask) -> Result<Response<Incoming>, RegistryError> {
        let request = request(ask)?;
        let answer = if ask.uri.scheme_str() == Some("https") {
            self.encrypted()?.request(request)
        } else {
            self.plain
                .get_or_init(|| client(connector(self.no_progress)))
                .request(request)
        };
        tokio::time::timeout(self.no_progress, answer)
            .await
            .map_err(|_elapsed| self.stalled(&ask.uri))?
            .map_err(|source| RegistryError::Connect {
                url: shown(&ask.uri),
                source,
            })
    }

    fn encrypted(
        &self,
    ) -> Result<&Client<HttpsConnector<HttpConnector>, Full<Bytes>>, RegistryError> {
        if let Some(client) = self.encrypted.get() {
            return Ok(client);
        }
        let mut http = connector(self.no_progress);
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::configuration(&self.host)?)
            .https_only()
            .enable_http1()
            .wrap_connector(http);
        Ok(self.encrypted.get_or_init(|| client(connector)))
    }

    fn stalled(&self, uri: &Uri) -> RegistryError {
        RegistryError::Stalled {
            url: shown(uri),
            seconds: self.no_progress.as_secs(),
        }
    }
}

fn client<C>(connector: C) -> Client<C, Full<Bytes>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Client::builder(TokioExecutor::new()).build(connector)
}

fn connector(no_progress: Duration) -> HttpConnector {
    let mut connector = HttpConnector::new();
    let longest = Duration::from_secs(CONNECT_SECONDS_MAX);
    connector.set_connect_timeout(Some(no_progress.min(longest)));
    connector.set_nodelay(true);
    connector
}

fn request(ask: &Ask) -> Result<Request<Full<Bytes>>, RegistryError> {
    let mut request = Request::builder()
        .uri(ask.uri.clone())
        .header(USER_AGENT, concat!("carpel/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, ask.accept);
    if let Some(authorization) = &ask.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    if ask.offset > 0 {
        request = request.header(RANGE, format!("bytes={}-", ask.offset));
    }
    let body = match &ask.form {
        Some(form) => {
            request = request
                .method("POST")
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            Bytes::copy_from_slice(form.as_bytes())
        }
        None => Bytes::new(),
    };
    request
        .body(Full::new(body))
        .map_err(|_not_a_header| RegistryError::BadUrl {
            url: shown(&ask.uri),
        })
}

/// Where a redirect or a link leads; `None` if that is nowhere, or from TLS to plain HTTP.
pub(super) fn follow(from: &Uri, location: &str) -> Option<Uri> {
    let absolute = match location.split_once("://") {
        Some(_) => location.to_owned(),
        None => {
            let base = format!("{}://{}", from.scheme_str()?, from.authority()?);
            match location.strip_prefix("//") {
                Some(rest) => format!("{}://{rest}", from.scheme_str()?),
                None if location.starts_with('/') => base + location,
                None if location.is_empty() => return None,
                None => {
                    let (folder, _) = from.path().rsplit_once('/')?;
                    format!("{base}{folder}/{location}")
                }
            }
        }
    };
    let next: Uri = absolute.parse().ok()?;
    match (from.scheme_str()?, next.scheme_str()?) {
        ("https", "https") | ("http", "http" | "https") => Some(next),
        _ => None,
    }
}

/// A URL without its query, for messages.
pub(super) fn shown(uri: &Uri) -> String {
    without_query(&uri.to_string()).to_owned()
}

fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// The messages of `{"errors":[{"code":…,"message":…}]}` (distribution spec, "Error codes").
fn error_text(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
        return String::new();
    };
    let errors = value["errors"].as_array().cloned().unwrap_or_default();
    let words = |error: &serde_json::Value| {
        let text = error["message"].as_str().or(error["code"].as_str())?;
        Some(text.chars().filter(|c| !c.is_control()).take(300).collect())
    };
    errors
        .iter()
        .filter_map(words)
        .collect::<Vec<String>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_the_same_or_a_better_scheme() {
        for (from, location, expected) in [
            ("http://a/v2/x/1", "http://b/y?z", Some("http://b/y?z")),
            ("http://a/v2/x/1", "https://b/y", Some("https://b/y")),
            ("https://a/v2/x/1", "https://b/y", Some("https://b/y")),
            ("https://a/v2/x/1", "http://b/y", None),
            ("https://a:1/v2/x/1", "/y", Some("https://a:1/y")),
            ("https://a/v2/x/1", "2", Some("https://a/v2/x/2")),
            ("https://a/v2/x/1", "//b/y", Some("https://b/y")),
            ("https://a/v2/x/1", "ftp://b/y", None),
            ("https://a/v2/x/1", "", None),
        ] {
            let next = follow(&from.parse().unwrap(), location);
            assert_eq!(
                next.map(|uri| uri.to_string()).as_deref(),
                expected,
                "{location}"
            );
        }
    }

    #[test]
    fn signed_queries_are_not_shown() {
        let uri: Uri = "https://a/b?signature=secret".parse().unwrap();
        assert_eq!(shown(&uri), "https://a/b");
    }
}
