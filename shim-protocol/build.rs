//! Compiles `proto/shim/shim.proto` by a compiler written in Rust: no protoc is needed.
#![allow(
    clippy::panic,
    reason = "a build script says what went wrong by panicking"
)]

fn main() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/shim");
    println!("cargo::rerun-if-changed={folder}");
    let files = protox::compile(["shim.proto"], [folder])
        .unwrap_or_else(|error| panic!("proto/shim/shim.proto: {error}"));
    prost_build::Config::new()
        .compile_fds(files)
        .unwrap_or_else(|error| panic!("proto/shim/shim.proto: {error}"));
}
