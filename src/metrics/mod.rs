//! What the daemon tells of itself: figures for Prometheus, over HTTP, and traces for OpenTelemetry.
//!
//! `recorder` counts calls as they come; everything else is read from the domain when somebody asks. `endpoint` serves
//! the page.

mod endpoint;
mod recorder;
#[cfg(test)]
mod tests;
mod traces;

pub use endpoint::{Endpoint, EndpointError};
pub use recorder::{CallResult, Recorder};
pub use traces::{Traces, TracesError, end_call, span_of_call};
