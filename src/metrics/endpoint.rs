//! `GET /metrics` over HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::recorder::Recorder;
use crate::pod::Pods;

/// The text format of OpenMetrics, which Prometheus asks for first.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// So many connections at a time: a scraper has one.
const CONNECTIONS_MAX: usize = 16;

/// How long a client may take to send its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing is accepted after an error, which is a lack of descriptors or memory and does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("listen for metrics on {address}")]
pub struct EndpointError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// A listening socket.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
}

impl Endpoint {
    /// Listens there; port 0: any.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub async fn bind(address: SocketAddr) -> Result<Self, EndpointError> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Self { listener }),
            Err(source) => Err(EndpointError { address, source }),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until it is dropped.
    pub async fn serve(self, recorder: Arc<Recorder>, pods: Pods) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((socket, _address)) => {
                    let (recorder, pods) = (Arc::clone(&recorder), pods.clone());
                    tokio::spawn(async move {
                        converse(socket, &recorder, &pods).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accept a client of the metrics");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn converse(socket: TcpStream, recorder: &Recorder, pods: &Pods) {
    let answer = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request, recorder, pods);
        async move { Ok::<_, Infallible>(answer) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(socket), answer);
    if let Err(error) = conversation.await {
        tracing::debug!(%error, "a client of the metrics has gone");
    }
}

fn answer(request: &Request<Incoming>, recorder: &Recorder, pods: &Pods) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, recorder.page(&pods.activity())),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "only /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    if status == StatusCode::OK {
        let format = HeaderValue::from_static(FORMAT);
        response.headers_mut().insert(CONTENT_TYPE, format);
    }
    response
}
