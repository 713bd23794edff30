//! Tests of the calculation: golden files, and a small test for each field.

mod golden;
mod mounts;
mod other_runtime;
mod process;
mod request;
mod security;
