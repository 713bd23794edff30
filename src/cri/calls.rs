//! Tells an observer of every call: its method, how it ended and how long it took. What is done with that is not known here.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument, Span};

/// Is told of calls.
pub trait CallObserver: Debug + Send + Sync {
    /// A call has come; `parent` is the W3C `traceparent` of its client. The call runs in the span that is given back.
    fn started(&self, method: &'static str, parent: Option<&str>) -> Span;
    /// It has been answered with this gRPC code, or its client has gone (`Cancelled`).
    fn ended(&self, method: &'static str, code: &str, took: Duration);
}

/// All methods of the three services: what a client may ask for beside them is one word in figures.
const METHODS: &[&str] = &[
    "Attach",
    "CheckpointContainer",
    "CheckpointPod",
    "ContainerStats",
    "ContainerStatus",
    "CreateContainer",
    "Exec",
    "ExecSync",
    "ExplainImage",
    "ExportImage",
    "GetContainerEvents",
    "ImageFsInfo",
    "ImageStatus",
    "ImportImage",
    "ListContainerStats",
    "ListContainers",
    "ListImages",
    "ListMetricDescriptors",
    "ListPodSandbox",
    "ListPodSandboxMetrics",
    "ListPodSandboxStats",
    "PodSandboxStats",
    "PodSandboxStatus",
    "PortForward",
    "PruneImages",
    "PullImage",
    "RemoveContainer",
    "RemoveImage",
    "RemovePodSandbox",
    "ReopenContainerLog",
    "RestorePod",
    "RunPodSandbox",
    "RuntimeConfig",
    "StartContainer",
    "Status",
    "StopContainer",
    "StopPodSandbox",
    "StreamContainerStats",
    "StreamContainers",
    "StreamImages",
    "StreamPodSandboxMetrics",
    "StreamPodSandboxStats",
    "StreamPodSandboxes",
    "UpdateContainerResources",
    "UpdatePodSandboxResources",
    "UpdateRuntimeConfig",
    "VerifyImages",
    "Version",
];

const OTHER: &str = "other";

/// Puts [`Observed`] around a service.
#[derive(Debug, Clone)]
pub(super) struct CallsLayer(pub(super) Option<Arc<dyn CallObserver>>);

/// A service whose calls are told of.
#[derive(Debug, Clone)]
pub(super) struct Observed<S> {
    inner: S,
    observer: Option<Arc<dyn CallObserver>>,
}

impl<S> Layer<S> for CallsLayer {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed {
            inner,
            observer: self.0.clone(),
        }
    }
}

impl<S> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(observer) = self.observer.clone() else {
            return Box::pin(self.inner.call(request));
        };
        let method = method(request.uri().path());
        let parent = request.headers().get("traceparent");
        let parent = parent.and_then(|parent| parent.to_str().ok());
        let span = observer.started(method, parent);
        let call = Call {
            observer,
            method,
            begun: Instant::now(),
            code: Code::Cancelled,
        };
        let answered = self.inner.call(request);
        let told = async move {
            // The whole of it, so that it is dropped when this is.
            let mut call = call;
            let response = answered.await?;
            call.code = code(response.headers());
            Ok(response)
        };
        Box::pin(told.instrument(span))
    }
}

/// A call that runs; dropped when it is over, or when nobody waits for it any more.
struct Call {
    observer: Arc<dyn CallObserver>,
    method: &'static str,
    begun: Instant,
    code: Code,
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = match self.code {
            Code::Ok => "OK".to_owned(),
            other => format!("{other:?}"),
        };
        self.observer
            .ended(self.method, &code, self.begun.elapsed());
    }
}

/// `/runtime.v1.RuntimeService/Version` is `Version`.
fn method(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    METHODS
        .binary_search(&name)
        .ok()
        .and_then(|position| METHODS.get(position))
        .unwrap_or(&OTHER)
}

/// An answer that is an error alone has its code in the headers; one that comes after a message is not waited for.
fn code(headers: &HeaderMap) -> Code {
    Status::from_header_map(headers).map_or(Code::Ok, |status| status.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct Told(Mutex<Vec<String>>);

    impl CallObserver for Told {
        fn started(&self, method: &'static str, parent: Option<&str>) -> Span {
            let line = format!("{method} below {parent:?}");
            self.0.lock().unwrap().push(line);
            Span::none()
        }

        fn ended(&self, method: &'static str, code: &str, _took: Duration) {
            let line = format!("{method} is {code}");
            self.0.lock().unwrap().push(line);
        }
    }

    /// A service that answers at once, with or without an error.
    #[derive(Clone)]
    struct Answering(Option<Status>);

    impl Service<Request<Body>> for Answering {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

        fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _request: Request<Body>) -> Self::Future {
            let answer = match self.0.clone() {
                Some(status) => status.into_http(),
                None => Response::new(Body::empty()),
            };
            Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(answer)
            })
        }
    }

    fn request() -> Request<Body> {
        Request::builder()
            .uri("/runtime.v1.RuntimeService/Version")
            .header("traceparent", "00-1-2-01")
            .body(Body::empty())
            .unwrap()
    }

    #[tokio::test]
    async fn a_call_is_told_with_its_parent_and_its_code_also_if_its_client_leaves() {
        let told = Arc::new(Told::default());
        let layer = CallsLayer(Some(Arc::clone(&told) as Arc<dyn CallObserver>));
        let error = Status::not_found("no such container");
        for answer in [None, Some(error)] {
            layer
                .layer(Answering(answer))
                .call(request())
                .await
                .unwrap();
        }
        let left = layer.layer(Answering(None)).call(request());
        assert!(left.now_or_never().is_none());
        assert_eq!(
            *told.0.lock().unwrap(),
            [
                "Version below Some(\"00-1-2-01\")",
                "Version is OK",
                "Version below Some(\"00-1-2-01\")",
                "Version is NotFound",
                "Version below Some(\"00-1-2-01\")",
                "Version is Cancelled",
            ]
        );
    }

    #[test]
    fn all_methods_of_the_services_are_known_and_sorted() {
        let files = [
            include_str!("../../proto/cri/api.proto"),
            include_str!("../../proto/carpel/carpel.proto"),
        ];
        let mut methods: Vec<&str> = files
            .iter()
            .flat_map(|file| file.lines())
            .filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next())
            .map(str::trim)
            .collect();
        methods.sort_unstable();
        methods.dedup();
        assert_eq!(METHODS, methods);
    }

    #[test]
    fn a_method_that_nobody_has_is_one_word() {
        assert_eq!(method("/runtime.v1.RuntimeService/Version"), "Version");
        assert_eq!(method("/runtime.v1.RuntimeService/Nonsense"), OTHER);
        assert_eq!(method(""), OTHER);
    }
}
