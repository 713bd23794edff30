//! Makes the client of the Container Runtime Interface from `proto/cri`, by a compiler written in Rust (no protoc).
#![allow(
    clippy::panic,
    reason = "a build script says what went wrong by panicking"
)]

fn main() {
    let folder = "../proto/cri";
    let file = "api.proto";
    println!("cargo::rerun-if-changed={folder}/{file}");
    let descriptors =
        protox::compile([file], [folder]).unwrap_or_else(|error| panic!("{file}: {error}"));
    tonic_prost_build::configure()
        .build_server(false)
        .btree_map(".")
        // Credentials must not be printed by a `{:?}`: `runtime/wire.rs` has its own Debug.
        .skip_debug(["runtime.v1.AuthConfig"])
        .compile_fds(descriptors)
        .unwrap_or_else(|error| panic!("{file}: {error}"));
}
