//! HTTP to one host and to where it redirects: connections, deadlines, redirects. It knows no registry.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION, PROXY_AUTHORIZATION, RANGE,
    USER_AGENT,
};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::body::Body;
use super::hosts::Host;
use super::proxy::{Connector, Proxies, ProxySettings};
use super::{RegistryError, refused_tls, retry, tls};

/// As many redirects as Go's client follows.
const REDIRECTS_MAX: u32 = 10;

/// How long a connection may take, unless the host's rule or the deadline for progress is shorter.
const CONNECT_SECONDS_MAX: u64 = 30;

/// As much of an error's text as is read.
const ERROR_BYTES_MAX: u64 = 16 * 1024;

/// How it is asked.
#[derive(Debug, Clone)]
pub(super) enum Verb {
    Get,
    Head,
    /// A form to post.
    Post(String),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) uri: Uri,
    pub(super) verb: Verb,
    pub(super) accept: &'static str,
    pub(super) authorization: Option<String>,
    /// Headers of the host's rule.
    pub(super) headers: HeaderMap,
    /// The first byte that is wanted, if not 0.
    pub(super) offset: u64,
}

impl Ask {
    pub(super) fn get(uri: Uri, accept: &'static str) -> Self {
        Self {
            uri,
            verb: Verb::Get,
            accept,
            authorization: None,
            headers: HeaderMap::new(),
            offset: 0,
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// It also knows whom it comes from, after all redirects.
    pub(super) body: Body,
}

impl Answer {
    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Turns an answer that is no success into an error with the server's own words.
    pub(super) async fn refusal(self) -> RegistryError {
        let url = shown(&self.body.uri);
        let text = self.body.whole(ERROR_BYTES_MAX).await.unwrap_or_default();
        RegistryError::Status {
            url,
            status: self.status,
            detail: error_text(&text),
            retry_after: retry::retry_after(&self.headers, SystemTime::now()),
        }
    }
}

/// Connections to one host. Both clients are made when they are first needed.
#[derive(Debug)]
pub(super) struct Transport {
    host: Host,
    proxies: Arc<Proxies>,
    no_progress: Duration,
    plain: OnceLock<Client<Connector, Full<Bytes>>>,
    encrypted: OnceLock<Client<HttpsConnector<Connector>, Full<Bytes>>>,
}

impl Transport {
    pub(super) fn new(host: Host, settings: &ProxySettings, no_progress: Duration) -> Self {
        let proxies = match &host.proxy {
            Some(proxy) => Proxies::of_rule(proxy),
            None => Proxies::of_environment(settings),
        };
        Self {
            host,
            proxies: Arc::new(proxies),
            no_progress,
            plain: OnceLock::new(),
            encrypted: OnceLock::new(),
        }
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    pub(super) fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// Asks, follows redirects, and returns an answer that is not one. The authorization and the headers of the rule
    /// go to the first host only: a redirect to storage elsewhere carries its own signature.
    pub(super) async fn ask(&self, mut ask: Ask) -> Result<Answer, RegistryError> {
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.ask_once(&ask).await?;
            if !answer.status.is_redirection() || answer.status == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let location = answer.header(LOCATION.as_str()).unwrap_or_default();
            let next = follow(&ask.uri, location).ok_or_else(|| RegistryError::Redirect {
                url: shown(&ask.uri),
                location: without_query(location).to_owned(),
            })?;
            if next.authority() != ask.uri.authority() || next.scheme() != ask.uri.scheme() {
                ask.authorization = None;
                ask.headers.clear();
            }
            ask.uri = next;
        }
        Err(RegistryError::Redirect {
            url: shown(&ask.uri),
            location: String::new(),
        })
    }

    async fn ask_once(&self, ask: &Ask) -> Result<Answer, RegistryError> {
        let mut request = request(ask)?;
        let answer = if ask.uri.scheme_str() == Some("https") {
            self.encrypted()?.request(request)
        } else {
            let connector = self.connector();
            if let Some(authorization) = connector.proxy_authorization(&ask.uri) {
                request
                    .headers_mut()
                    .insert(PROXY_AUTHORIZATION, authorization);
            }
            self.plain
                .get_or_init(|| client(connector))
                .request(request)
        };
        let response = tokio::time::timeout(self.no_progress, answer)
            .await
            .map_err(|_elapsed| RegistryError::NoAnswer {
                url: shown(&ask.uri),
                seconds: self.no_progress.as_secs(),
            })?
            .map_err(|source| match refused_tls::advice(&source) {
                Some(advice) => RegistryError::Handshake {
                    url: shown(&ask.uri),
                    advice,
                    source,
                },
                None => RegistryError::Connect {
                    url: shown(&ask.uri),
                    source,
                },
            })?;
        let (parts, incoming) = response.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: Body::new(ask.uri.clone(), incoming, self.no_progress),
        })
    }

    fn encrypted(&self) -> Result<&Client<HttpsConnector<Connector>, Full<Bytes>>, RegistryError> {
        if let Some(client) = self.encrypted.get() {
            return Ok(client);
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::configuration(&self.host)?)
            .https_only()
            .enable_http1()
            .wrap_connector(self.connector());
        Ok(self.encrypted.get_or_init(|| client(connector)))
    }

    fn connector(&self) -> Connector {
        let mut http = HttpConnector::new();
        let longest = self.host.connect_timeout;
        let longest = longest.unwrap_or(Duration::from_secs(CONNECT_SECONDS_MAX));
        http.set_connect_timeout(Some(self.no_progress.min(longest)));
        http.set_nodelay(true);
        http.enforce_http(false);
        Connector::new(http, Arc::clone(&self.proxies))
    }
}

fn client<C>(connector: C) -> Client<C, Full<Bytes>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Client::builder(TokioExecutor::new()).build(connector)
}

fn request(ask: &Ask) -> Result<Request<Full<Bytes>>, RegistryError> {
    let (method, form) = match &ask.verb {
        Verb::Get => (Method::GET, None),
        Verb::Head => (Method::HEAD, None),
        Verb::Post(form) => (Method::POST, Some(form)),
    };
    let mut request = Request::builder().method(method).uri(ask.uri.clone());
    if let Some(headers) = request.headers_mut() {
        headers.extend(ask.headers.clone());
        if ask.authorization.is_some() {
            headers.remove(AUTHORIZATION);
        }
    }
    request = request
        .header(USER_AGENT, concat!("carpel/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, ask.accept);
    if let Some(authorization) = &ask.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    if ask.offset > 0 {
        request = request.header(RANGE, format!("bytes={}-", ask.offset));
    }
    if form.is_some() {
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    let body = form.map_or_else(Bytes::new, |form| Bytes::copy_from_slice(form.as_bytes()));
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
