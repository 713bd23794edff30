//! Compiles what the daemon is made of beside Rust: the gRPC services, by a compiler written in Rust (no protoc).
#![allow(
    clippy::panic,
    reason = "a build script says what went wrong by panicking"
)]

use std::env;

fn main() {
    compile_protos();
}

/// Makes the messages, servers and clients of `proto/cri` and `proto/carpel`; `cri/wire.rs` includes them.
fn compile_protos() {
    for (folder, file) in [("proto/cri", "api.proto"), ("proto/carpel", "carpel.proto")] {
        println!("cargo::rerun-if-changed={folder}/{file}");
        let root = required("CARGO_MANIFEST_DIR");
        let descriptors = protox::compile([file], [format!("{root}/{folder}")])
            .unwrap_or_else(|error| panic!("{folder}/{file}: {error}"));
        tonic_prost_build::configure()
            // Labels and annotations are kept in order, so that what is stored and compared is stable.
            .btree_map(".")
            .bytes(".carpel.v1.ImportImageRequest")
            .bytes(".runtime.v1.ExecSyncResponse")
            // Credentials must not be printed by a `{:?}`: `cri/wire.rs` has its own Debug.
            .skip_debug(["runtime.v1.AuthConfig"])
            .compile_fds(descriptors)
            .unwrap_or_else(|error| panic!("{folder}/{file}: {error}"));
    }
}

fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}
