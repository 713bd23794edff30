//! Fakes of what the domain is built on. Each keeps its part of one ledger, so that a test can ask what is held.

pub(crate) mod disk;
pub(crate) mod ledger;
pub(crate) mod node;
pub(crate) mod shim;
