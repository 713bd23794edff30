//! The CRI boundary: the only code that names tonic and prost.

pub mod wire;
