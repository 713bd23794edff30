//! Sandboxes and their containers: state machines, procedures, records, recovery.

mod error;
mod pods;
mod view;

pub use error::{PodError, PodErrorKind, Subject};
pub use pods::Pods;
pub use view::*;
