//! Typed system calls for Carpel: the only package with unsafe code, one file a subject.

pub mod memory;
pub mod probe;
