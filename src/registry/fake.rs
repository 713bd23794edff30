//! A registry on 127.0.0.1 for tests: real HTTP, with faults on demand. Its blobs may be of any path.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Body = BoxBody<Bytes, std::io::Error>;

/// What happens to one request in place of the usual answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status, with `Retry-After: 0` and an error text.
    Status(u16),
    /// This status and this `Retry-After`.
    RetryAfter(u16, String),
    /// The right headers, and a byte now and then.
    Drip,
    /// A part that begins elsewhere than was asked for.
    WrongPart,
    /// The right headers, and the connection cut after so many bytes.
    Cut(usize),
    /// Other bytes of the same length.
    WrongBytes,
    /// Headers, and then nothing.
    Stall,
    /// A redirect.
    Redirect(String),
}

/// Who is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Door {
    /// Everyone.
    Open,
    /// Only with this `Authorization`, by password.
    Basic(String),
    /// Only with `Bearer good`, which `/token` gives to whoever sends this `Authorization` (if any), or the refresh
    /// token `refresh`.
    Bearer(Option<String>),
}

#[derive(Debug, Default)]
struct Shelf {
    /// Content type and bytes by path.
    items: HashMap<String, (String, Bytes)>,
    faults: HashMap<String, VecDeque<Fault>>,
    /// `<method> <path>?<query> <authorization>` of every request.
    log: Vec<String>,
    ranges: bool,
}

/// A running registry; it stops with the test's runtime.
#[derive(Debug, Clone)]
pub(crate) struct FakeRegistry {
    pub(crate) address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
}

/// The sha256 of some bytes, as a digest.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::from("sha256:"), |text, byte| {
            format!("{text}{byte:02x}")
        })
}

impl FakeRegistry {
    pub(crate) async fn start(door: Door) -> Self {
        Self::serve(door, None).await
    }

    /// A registry that speaks TLS.
    pub(crate) async fn start_encrypted(door: Door, tls: rustls::ServerConfig) -> Self {
        Self::serve(door, Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn serve(door: Door, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Self {
            address: listener.local_addr().unwrap(),
            shelf: Arc::new(Mutex::new(Shelf {
                ranges: true,
                ..Shelf::default()
            })),
        };
        let server = registry.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (server, door, tls) = (server.clone(), door.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => server.talk(door, stream).await,
                        Some(tls) => {
                            // Clients that do not trust us are refused handshakes here.
                            if let Ok(stream) = tls.accept(stream).await {
                                server.talk(door, stream).await;
                            }
                        }
                    }
                });
            }
        });
        registry
    }

    async fn talk(&self, door: Door, stream: impl AsyncRead + AsyncWrite + Unpin + Send) {
        let service = service_fn(|request| {
            let answer = self.answer(&door, request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        // Cut connections are errors here, on purpose.
        drop(
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await,
        );
    }

    /// `127.0.0.1:<port>/<repository>`.
    pub(crate) fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.address)
    }

    pub(crate) fn put(&self, path: &str, content_type: &str, bytes: &[u8]) {
        let item = (content_type.to_owned(), Bytes::copy_from_slice(bytes));
        self.shelf
            .lock()
            .unwrap()
            .items
            .insert(path.to_owned(), item);
    }

    /// Puts a blob into a repository and returns its digest.
    pub(crate) fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.put(
            &format!("/v2/{repository}/blobs/{digest}"),
            "application/octet-stream",
            bytes,
        );
        digest
    }

    /// Puts a manifest into a repository under a tag and its digest.
    pub(crate) fn put_manifest(&self, repository: &str, tag: &str, text: &str) -> String {
        let digest = digest(text.as_bytes());
        let parsed: serde_json::Value = serde_json::from_str(text).unwrap();
        let media_type = parsed["mediaType"].as_str().unwrap_or("application/json");
        for name in [tag, &digest] {
            let path = format!("/v2/{repository}/manifests/{name}");
            self.put(&path, media_type, text.as_bytes());
        }
        digest
    }

    /// The next request of `path` fails like this; several faults happen one after another.
    pub(crate) fn fail(&self, path: &str, fault: Fault) {
        let mut shelf = self.shelf.lock().unwrap();
        shelf
            .faults
            .entry(path.to_owned())
            .or_default()
            .push_back(fault);
    }

    pub(crate) fn without_ranges(&self) {
        self.shelf.lock().unwrap().ranges = false;
    }

    /// The requests so far, `<method> <path>[?<query>] <authorization> <range>`.
    pub(crate) fn log(&self) -> Vec<String> {
        self.shelf.lock().unwrap().log.clone()
    }

    /// How many requests so far had this in them.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }

    async fn answer(&self, door: &Door, request: Request<Incoming>) -> Response<Body> {
        let header = |name: &str| {
            let value = request.headers().get(name);
            value
                .map_or("-", |value| value.to_str().unwrap())
                .to_owned()
        };
        let (authorization, range) = (header("authorization"), header("range"));
        let target = request.uri().path_and_query().unwrap().to_string();
        let path = request.uri().path().to_owned();
        let line = format!("{} {target} {authorization} {range}", request.method());
        self.shelf.lock().unwrap().log.push(line);
        if path == "/token" {
            let form = request.into_body().collect().await.unwrap().to_bytes();
            return token(door, &authorization, &form);
        }
        if path.starts_with("/v2/")
            && let Some(challenge) = self.challenge(door, &authorization)
        {
            return challenge;
        }
        let (fault, item, ranges) = {
            let mut shelf = self.shelf.lock().unwrap();
            let fault = shelf.faults.get_mut(&path).and_then(VecDeque::pop_front);
            (fault, shelf.items.get(&path).cloned(), shelf.ranges)
        };
        let offset = range
            .strip_prefix("bytes=")
            .filter(|_| ranges)
            .map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
        respond(fault, item, offset)
    }

    fn challenge(&self, door: &Door, authorization: &str) -> Option<Response<Body>> {
        let (is_open, challenge) = match door {
            Door::Open => return None,
            Door::Basic(expected) => (
                authorization == expected,
                r#"Basic realm="fake""#.to_owned(),
            ),
            Door::Bearer(_) => (
                authorization == "Bearer good",
                format!(
                    r#"Bearer realm="http://{}/token",service="fake",scope="repository:x:pull""#,
                    self.address
                ),
            ),
        };
        let refused = Response::builder()
            .status(StatusCode::UNAUTHORIZED)
            .header("www-authenticate", challenge)
            .body(full(
                b"{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"who are you\"}]}",
            ));
        (!is_open).then(|| refused.unwrap())
    }
}

fn token(door: &Door, authorization: &str, form: &[u8]) -> Response<Body> {
    let form = String::from_utf8_lossy(form);
    let is_refresh =
        form.contains("grant_type=refresh_token") && form.contains("refresh_token=refresh");
    let is_good = match door {
        Door::Bearer(Some(expected)) => authorization == expected || is_refresh,
        _ => true,
    };
    match is_good {
        true => Response::new(full(br#"{"token":"good"}"#)),
        false => Response::builder().status(401).body(full(b"")).unwrap(),
    }
}

fn respond(fault: Option<Fault>, item: Option<(String, Bytes)>, offset: usize) -> Response<Body> {
    match &fault {
        Some(Fault::RetryAfter(status, when)) => {
            return Response::builder()
                .status(*status)
                .header("retry-after", when)
                .body(full(b""))
                .unwrap();
        }
        Some(Fault::Status(status)) => {
            return Response::builder()
                .status(*status)
                .header("retry-after", "0")
                .body(full(br#"{"errors":[{"code":"X","message":"a fault"}]}"#))
                .unwrap();
        }
        Some(Fault::Redirect(location)) => {
            return Response::builder()
                .status(307)
                .header("location", location)
                .body(full(b""))
                .unwrap();
        }
        _ => {}
    }
    let Some((content_type, bytes)) = item else {
        return Response::builder().status(404).body(full(b"")).unwrap();
    };
    let length = bytes.len();
    let bytes = bytes.slice(offset..);
    let status = if offset > 0 { 206 } else { 200 };
    let first = match fault {
        Some(Fault::WrongPart) => 0,
        _ => offset,
    };
    let mut response = Response::builder().status(status);
    if offset > 0 {
        let range = format!("bytes {first}-{}/{length}", length - 1);
        response = response.header("content-range", range);
    }
    let response = response
        .header("content-type", content_type)
        .header("content-length", bytes.len());
    let body = match fault {
        Some(Fault::Cut(length)) => cut(bytes.slice(..length.min(bytes.len()))),
        Some(Fault::WrongBytes) => full(&vec![b'?'; bytes.len()]),
        Some(Fault::Drip) => drip(bytes),
        Some(Fault::Stall) => {
            StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, _>>()).boxed()
        }
        _ => full(&bytes),
    };
    response.body(body).unwrap()
}

fn full(bytes: &[u8]) -> Body {
    Full::new(Bytes::copy_from_slice(bytes))
        .map_err(|never| match never {})
        .boxed()
}

fn cut(bytes: Bytes) -> Body {
    // In two pieces with a pause between them, so that the first is sent before the error closes the connection.
    let pieces = futures_util::stream::unfold(Some(bytes), |state| async move {
        match state {
            Some(bytes) if !bytes.is_empty() => Some((Ok(Frame::data(bytes)), Some(Bytes::new()))),
            Some(_) => {
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
                Some((Err(std::io::ErrorKind::ConnectionReset.into()), None))
            }
            None => None,
        }
    });
    BodyExt::boxed(StreamBody::new(Box::pin(pieces)).map_err(|error: std::io::Error| error))
}

/// A byte every ten milliseconds.
fn drip(bytes: Bytes) -> Body {
    let pieces = futures_util::stream::unfold(bytes, |mut bytes| async move {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        (!bytes.is_empty()).then(|| {
            (
                Ok::<_, std::io::Error>(Frame::data(bytes.split_to(1))),
                bytes,
            )
        })
    });
    BodyExt::boxed(StreamBody::new(Box::pin(pieces)))
}
