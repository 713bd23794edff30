//! A trace from a call over its procedure and the steps to the requests to the shim, as an OTLP collector gets it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking"
)]

#[allow(dead_code, reason = "tests/pod_procedures.rs uses the rest")]
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use carpel::config::LogSection;
use carpel::logging;
use carpel::metrics::{Traces, span_of_call};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use support::node::{Node, container, sandbox};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use tracing::Instrument;

/// A trace that a client has begun, as it tells it: W3C Trace Context.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        let spans = scopes.flat_map(|scope| scope.spans);
        self.0.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names from the root to a span.
fn path(spans: &BTreeMap<String, Span>, span: &Span) -> String {
    match spans.get(&hexadecimal(&span.parent_span_id)) {
        Some(parent) => format!("{} / {}", path(spans, parent), span.name),
        None => span.name.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_traced_to_the_shim() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let collector = Collector::default();
    let service = TraceServiceServer::new(collector.clone());
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let traces = Traces::start(&endpoint, 1_000_000).unwrap();
    logging::start(&LogSection::default(), Some(&traces)).unwrap();

    let node = Node::new();
    let pods = node.daemon().await;
    let parent = format!("00-{TRACE}-{CLIENT}-01");
    let span = span_of_call("RunPodSandbox", Some(&parent));
    let run = pods.run_sandbox(sandbox("web"), "").instrument(span);
    let pod = run.await.unwrap();
    let span = span_of_call("CreateContainer", Some(&parent));
    let create = pods.create_container(&pod, container("one"));
    create.instrument(span).await.unwrap();
    let span = span_of_call("RemovePodSandbox", None);
    let remove = pods.remove_sandbox(&pod).instrument(span);
    remove.await.unwrap();

    tokio::task::spawn_blocking(move || traces.finish())
        .await
        .unwrap();
    let spans: BTreeMap<String, Span> = collector
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|span| (hexadecimal(&span.span_id), span.clone()))
        .collect();
    let paths: BTreeMap<String, &Span> = spans
        .values()
        .map(|span| (path(&spans, span), span))
        .collect();
    for (wanted, is_of_the_client) in [
        ("RunPodSandbox / RunPodSandbox / attach the network", true),
        (
            "RunPodSandbox / RunPodSandbox / start its processes / shim CreateSandbox",
            true,
        ),
        (
            "CreateContainer / CreateContainer / shim CreateContainer",
            true,
        ),
        (
            "RemovePodSandbox / RemovePodSandbox / release the network",
            false,
        ),
        (
            "RemovePodSandbox / RemovePodSandbox / end its processes",
            false,
        ),
    ] {
        let Some(span) = paths.get(wanted) else {
            panic!("{wanted} is not in {:#?}", paths.keys());
        };
        assert_eq!(
            hexadecimal(&span.trace_id) == TRACE,
            is_of_the_client,
            "{wanted}"
        );
    }
    let root = paths["RunPodSandbox"];
    assert_eq!(hexadecimal(&root.parent_span_id), CLIENT);
}
