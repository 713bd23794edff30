//! Traces for OpenTelemetry: spans of calls, procedures, their steps and requests to shims, sent by OTLP over gRPC.
//!
//! All of them have one target, so that nothing else is sent, and a level that the log does not show. Without an
//! endpoint nobody wants them, and they cost a comparison.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Span, Subscriber, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

/// The target of spans that are sent.
const TARGET: &str = "carpel::trace";

/// How long a collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("send traces to {endpoint}")]
pub struct TracesError {
    endpoint: String,
    #[source]
    source: ExporterBuildError,
}

/// Where traces are sent.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Begins to send to that OTLP endpoint (gRPC), in batches; call it within tokio. Of traces that begin here, so many
    /// of a million are sent; of those that a client has begun, the ones that it wants.
    ///
    /// # Errors
    /// If the endpoint is no URL. That nobody listens there is no error: spans are lost until somebody does.
    pub fn start(endpoint: &str, samples_per_million: u32) -> Result<Self, TracesError> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(PATIENCE)
            .build()
            .map_err(|source| TracesError {
                endpoint: endpoint.to_owned(),
                source,
            })?;
        let ratio = f64::from(samples_per_million) / 1e6;
        let attributes = [
            KeyValue::new("service.name", "carpel"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                ratio,
            ))))
            .with_resource(
                Resource::builder_empty()
                    .with_attributes(attributes)
                    .build(),
            )
            .build();
        Ok(Self { provider })
    }

    /// What takes the spans from the program.
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("carpel"))
            .with_location(false)
            .with_threads(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::TRACE))
    }

    /// Sends what is left; waits for the collector, at most five seconds. Not from a thread of tokio that others need.
    pub fn finish(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// The span of a call, below that of its client if it has told one (W3C `traceparent`).
#[must_use]
pub fn span_of_call(method: &'static str, parent: Option<&str>) -> Span {
    let span = tracing::trace_span!(
        target: TARGET,
        "rpc",
        otel.name = method,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.method = method,
        rpc.grpc.status_code = field::Empty,
    );
    if let Some(parent) = parent.filter(|_| !span.is_disabled()) {
        let told = HashMap::from([("traceparent".to_owned(), parent.to_owned())]);
        let context = TraceContextPropagator::new().extract(&told);
        if let Err(error) = span.set_parent(context) {
            tracing::debug!(%error, "a call is not below its client's span");
        }
    }
    span
}

/// Tells the call's own span how it has ended.
pub fn end_call(code: &str) {
    Span::current().record("rpc.grpc.status_code", code);
}
