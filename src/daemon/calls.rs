//! What is told of calls: to the figures, and as spans.

use std::sync::Arc;
use std::time::Duration;

use tracing::Span;

use crate::config::Config;
use crate::cri::CallObserver;
use crate::metrics::{CallResult, Recorder, end_call, span_of_call};

/// The figures, if somebody can ask for them.
#[derive(Debug)]
pub(super) struct NodeCalls(pub(super) Option<Arc<Recorder>>);

/// None if nobody would be told.
pub(super) fn observer(
    config: &Config,
    recorder: Option<&Arc<Recorder>>,
) -> Option<Arc<dyn CallObserver>> {
    let is_traced = config.traces.otlp_endpoint.is_some();
    if recorder.is_none() && !is_traced {
        return None;
    }
    Some(Arc::new(NodeCalls(recorder.cloned())))
}

impl CallObserver for NodeCalls {
    fn started(&self, method: &'static str, parent: Option<&str>) -> Span {
        if let Some(recorder) = &self.0 {
            recorder.call_started(method);
        }
        span_of_call(method, parent)
    }

    fn ended(&self, method: &'static str, code: &str, took: Duration) {
        end_call(code);
        if let Some(recorder) = &self.0 {
            recorder.call_ended(CallResult { method, code, took });
        }
    }
}
