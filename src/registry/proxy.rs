//! Proxies: which one a request goes through, and the connections that they make.
//!
//! ```text
//! https URL, http(s) proxy   CONNECT host:port, then TLS inside of the tunnel
//! http URL, http(s) proxy    the whole URL is asked of the proxy
//! either, socks5(h) proxy    a tunnel by SOCKS
//! ```
//!
//! Which proxy is what curl and Go agree on: `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` with the exceptions of
//! `NO_PROXY`, and never one for this machine itself; or the `proxy` of a host's rule, which has no exceptions.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use super::{RegistryError, tls};

/// The proxies of the environment. They may have passwords: `Debug` shows none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// For URLs with `http`: `HTTP_PROXY`, or `ALL_PROXY`.
    pub http: String,
    /// For URLs with `https`: `HTTPS_PROXY`, or `ALL_PROXY`.
    pub https: String,
    /// Hosts that are asked without one: `NO_PROXY`, names with their subdomains, addresses and networks, separated by
    /// commas, each with or without a port; `*` for all.
    pub exceptions: String,
}

impl fmt::Debug for ProxySettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ProxySettings")
            .field("exceptions", &self.exceptions)
            .finish_non_exhaustive()
    }
}

impl ProxySettings {
    /// What the variables of this process say, in upper case or lower case.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let find = |name: &str| {
            let found = variable(name).filter(|value| !value.is_empty());
            found.or_else(|| variable(&name.to_ascii_lowercase()).filter(|value| !value.is_empty()))
        };
        let with_scheme = |name: &str| find(name).or_else(|| find("ALL_PROXY")).unwrap_or_default();
        Self {
            http: with_scheme("HTTP_PROXY"),
            https: with_scheme("HTTPS_PROXY"),
            exceptions: find("NO_PROXY").unwrap_or_default(),
        }
    }
}

/// Stands for a proxy that is set and cannot be used: to ask without it could be what somebody wanted to forbid.
const UNUSABLE: &str = "http://unusable.invalid";

/// What stands for a proxy's URL in the environment.
fn usable(text: &str) -> &str {
    let uri = text.parse::<Uri>();
    let is_usable = uri.is_ok_and(|uri| {
        let schemes = [
            None,
            Some("http"),
            Some("https"),
            Some("socks5"),
            Some("socks5h"),
        ];
        schemes.contains(&uri.scheme_str()) && uri.host().is_some_and(|host| !host.is_empty())
    });
    match is_usable || text.is_empty() {
        true => text,
        false => UNUSABLE,
    }
}

fn is_usable(proxy: &Intercept) -> bool {
    proxy.uri().host() != Some("unusable.invalid")
}

/// Says which proxy a URL is asked through.
#[derive(Debug)]
pub(super) struct Proxies {
    matcher: Matcher,
    /// Exceptions for one port.
    with_port: Vec<(u16, Matcher)>,
    /// A rule of the host: neither exceptions nor this machine matter.
    is_forced: bool,
}

impl Proxies {
    pub(super) fn of_environment(settings: &ProxySettings) -> Self {
        let mut exceptions = Vec::new();
        let mut with_port = Vec::new();
        for exception in settings.exceptions.split(',').map(str::trim) {
            // `*.example.com` is what others write for `.example.com`.
            let exception = match exception.strip_prefix("*.") {
                Some(_) => exception.trim_start_matches('*'),
                None => exception,
            };
            match exception_of_port(exception) {
                Some((name, port)) => {
                    let matcher = Matcher::builder().all("http://unused.invalid").no(name);
                    with_port.push((port, matcher.build()));
                }
                None => exceptions.push(exception),
            }
        }
        let matcher = Matcher::builder()
            .http(usable(&settings.http))
            .https(usable(&settings.https))
            .no(exceptions.join(","));
        Self {
            matcher: matcher.build(),
            with_port,
            is_forced: false,
        }
    }

    pub(super) fn of_rule(proxy: &Uri) -> Self {
        Self {
            matcher: Matcher::builder().all(proxy.to_string()).build(),
            with_port: Vec::new(),
            is_forced: true,
        }
    }

    /// The proxy for a URL, if there is one.
    pub(super) fn intercept(&self, uri: &Uri) -> Option<Intercept> {
        if !self.is_forced && (is_this_machine(uri) || self.is_exception_of_port(uri)) {
            return None;
        }
        self.matcher.intercept(uri)
    }

    fn is_exception_of_port(&self, uri: &Uri) -> bool {
        let default = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let asked = uri.port_u16().unwrap_or(default);
        self.with_port
            .iter()
            .any(|(port, matcher)| *port == asked && matcher.intercept(uri).is_none())
    }
}

fn exception_of_port(exception: &str) -> Option<(&str, u16)> {
    let (name, port) = exception.rsplit_once(':')?;
    let name = match name.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?,
        None if name.contains(':') => return None,
        None => name,
    };
    Some((name, port.parse().ok()?))
}

fn is_this_machine(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// A proxy as it may be shown: without its user and password, which `Intercept` keeps apart.
pub(super) fn shown(proxy: &Intercept) -> String {
    match is_usable(proxy) {
        true => proxy.uri().to_string().trim_end_matches('/').to_owned(),
        false => "one that cannot be used".to_owned(),
    }
}

/// The environment names no proxy that we could use.
#[derive(Debug, thiserror::Error)]
#[error(
    "the environment's proxy is no URL of a host with one of the schemes http, https, socks5 and socks5h"
)]
struct UnusableProxy;

/// The proxy that refused or could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("through the proxy {proxy}")]
struct ProxyError {
    proxy: String,
    #[source]
    source: BoxError,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes connections, through a proxy where there is one.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    http: HttpConnector,
    proxies: Arc<Proxies>,
}

impl Connector {
    pub(super) fn new(http: HttpConnector, proxies: Arc<Proxies>) -> Self {
        Self { http, proxies }
    }

    /// What a request for `uri` has to tell the proxy itself, when there is no tunnel.
    pub(super) fn proxy_authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        match uri.scheme_str() {
            Some("http") => self.proxies.intercept(uri)?.basic_auth().cloned(),
            _ => None,
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Link;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let http = self.http.clone();
        let Some(proxy) = self.proxies.intercept(&uri) else {
            return Box::pin(async move { Ok(Link::direct(dial(http, uri).await?)) });
        };
        if !is_usable(&proxy) {
            return Box::pin(std::future::ready(Err(UnusableProxy.into())));
        }
        Box::pin(async move {
            let outcome = through(&proxy, http, uri).await;
            Ok(outcome.map_err(|source| ProxyError {
                proxy: shown(&proxy),
                source,
            })?)
        })
    }
}

async fn dial(
    mut http: HttpConnector,
    uri: Uri,
) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, BoxError> {
    Ok(MaybeHttpsStream::Http(http.call(uri).await?))
}

async fn through(proxy: &Intercept, http: HttpConnector, uri: Uri) -> Result<Link, BoxError> {
    let address = proxy.uri().clone();
    if matches!(proxy.uri().scheme_str(), Some("socks5" | "socks5h")) {
        let mut socks = SocksV5::new(with_port_of_socks(address), http);
        if let Some((user, password)) = proxy.raw_auth() {
            socks = socks.with_auth(user.to_owned(), password.to_owned());
        }
        let stream = socks.call(with_port_of_http(uri)).await?;
        return Ok(Link::direct(MaybeHttpsStream::Http(stream)));
    }
    let to_proxy = to_proxy(http)?;
    if uri.scheme_str() == Some("https") {
        let mut tunnel = Tunnel::new(address, to_proxy);
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        return Ok(Link::direct(tunnel.call(uri).await?));
    }
    let mut to_proxy = to_proxy;
    Ok(Link {
        stream: to_proxy.call(address).await?,
        asks_proxy: true,
    })
}

/// The port of SOCKS, where the URL names none (RFC 1928 §3).
fn with_port_of_socks(address: Uri) -> Uri {
    let host = address.host().unwrap_or_default();
    match address.port() {
        Some(_) => address,
        None => format!("socks5://{host}:1080").parse().unwrap_or(address),
    }
}

/// The SOCKS client takes 443 for the port of any URL without one.
fn with_port_of_http(uri: Uri) -> Uri {
    let host = uri.host().unwrap_or_default();
    match (uri.scheme_str(), uri.port()) {
        (Some("http"), None) => format!("http://{host}:80/").parse().unwrap_or(uri),
        _ => uri,
    }
}

/// A proxy may itself want TLS, which is checked by the system's authorities.
fn to_proxy(http: HttpConnector) -> Result<HttpsConnector<HttpConnector>, RegistryError> {
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(tls::of_system()?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http))
}

/// A connection to a host, to a proxy, or through one.
#[derive(Debug)]
pub(super) struct Link {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    /// The proxy answers our requests itself, so that it wants whole URLs.
    asks_proxy: bool,
}

impl Link {
    fn direct(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> Self {
        Self {
            stream,
            asks_proxy: false,
        }
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.asks_proxy)
    }
}

impl Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy_for(settings: &ProxySettings, url: &str) -> Option<String> {
        let proxies = Proxies::of_environment(settings);
        proxies.intercept(&url.parse().unwrap()).as_ref().map(shown)
    }

    #[test]
    fn the_variables_are_read_in_both_cases_and_the_special_one_wins() {
        let read = |set: &'static [(&str, &str)]| {
            ProxySettings::from_variables(|name| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let settings = read(&[
            ("https_proxy", "http://s"),
            ("ALL_PROXY", "http://a"),
            ("no_proxy", "x"),
        ]);
        assert_eq!(settings.https, "http://s");
        assert_eq!(settings.http, "http://a");
        assert_eq!(settings.exceptions, "x");
        let settings = read(&[("HTTPS_PROXY", ""), ("https_proxy", "http://s")]);
        assert_eq!(settings.https, "http://s");
        assert_eq!(settings.http, "");
    }

    #[test]
    fn exceptions_are_names_networks_and_ports() {
        let settings = ProxySettings {
            http: "http://user:secret@plain:1".to_owned(),
            https: "http://user:secret@proxy:2".to_owned(),
            exceptions: "a.example, .b.example,*.c.example,10.0.0.0/8,d.example:5000,[fd00::1]:5000,192.168.1.1"
                .to_owned(),
        };
        for (url, expected) in [
            ("https://r.example/v2", Some("http://proxy:2")),
            ("http://r.example/v2", Some("http://plain:1")),
            ("https://a.example/", None),
            ("https://x.a.example/", None),
            ("https://xa.example/", Some("http://proxy:2")),
            ("https://x.b.example/", None),
            ("https://x.c.example/", None),
            ("https://10.1.2.3:5000/", None),
            ("https://11.1.2.3:5000/", Some("http://proxy:2")),
            ("https://d.example:5000/", None),
            ("https://x.d.example:5000/", None),
            ("https://d.example/", Some("http://proxy:2")),
            ("https://[fd00::1]:5000/", None),
            ("https://[fd00::1]/", Some("http://proxy:2")),
            ("https://192.168.1.1/", None),
            ("https://localhost:5000/", None),
            ("https://127.0.0.5/", None),
            ("http://[::1]:5000/", None),
        ] {
            assert_eq!(proxy_for(&settings, url).as_deref(), expected, "{url}");
        }
        assert!(!format!("{settings:?}").contains("secret"));
        let all = ProxySettings {
            exceptions: "*".to_owned(),
            ..settings
        };
        assert_eq!(proxy_for(&all, "https://r.example/"), None);
        assert_eq!(
            proxy_for(&ProxySettings::default(), "https://r.example/"),
            None
        );
    }

    #[test]
    fn socks_has_a_port_of_its_own() {
        for (url, expected) in [
            ("socks5h://p.example", "socks5://p.example:1080"),
            ("socks5://p.example:9", "socks5://p.example:9"),
            ("socks5://[fd00::1]", "socks5://[fd00::1]:1080"),
        ] {
            let found = with_port_of_socks(url.parse().unwrap()).to_string();
            assert_eq!(found.trim_end_matches('/'), expected);
        }
    }

    #[test]
    fn a_rule_s_proxy_has_no_exceptions() {
        let proxies = Proxies::of_rule(&"socks5://p:1080".parse().unwrap());
        for url in ["https://127.0.0.1/", "http://r.example/"] {
            let proxy = proxies.intercept(&url.parse().unwrap()).unwrap();
            assert_eq!(shown(&proxy), "socks5://p:1080");
        }
    }
}
