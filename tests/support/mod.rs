//! Fakes of what the domain is built on. Each keeps its part of one ledger, so that a test can ask what is held.

pub mod ledger;
pub mod node;
pub mod shim;
