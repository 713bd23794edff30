//! Compiles the client of `proto/cri/api.proto` by a compiler written in Rust: no protoc is needed.
//!
//! Its own copy, not the daemon's library: the benches have to build and run without Carpel.
#![allow(
    clippy::panic,
    reason = "a build script says what went wrong by panicking"
)]

fn main() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/cri");
    println!("cargo::rerun-if-changed={folder}");
    let files = protox::compile(["api.proto"], [folder])
        .unwrap_or_else(|error| panic!("proto/cri/api.proto: {error}"));
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(files)
        .unwrap_or_else(|error| panic!("proto/cri/api.proto: {error}"));
}
