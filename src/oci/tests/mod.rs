//! Tests of the calculation: golden files, and a small test for each field.

mod golden;
mod mounts;
mod process;
mod request;
mod security;
