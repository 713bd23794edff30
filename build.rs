//! Builds what the daemon is made of beside Rust: the gRPC services, by a compiler written in Rust (no protoc), and the
//! static shim that it carries inside.
#![allow(
    clippy::panic,
    reason = "a build script says what went wrong by panicking"
)]

use std::env;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    compile_protos();
    build_shim();
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
            .bytes(".carpel.v1.ExportImageResponse")
            .bytes(".runtime.v1.ExecSyncResponse")
            // Credentials must not be printed by a `{:?}`: `cri/wire.rs` has its own Debug.
            .skip_debug(["runtime.v1.AuthConfig", "carpel.v1.PullImageRequest"])
            .compile_fds(descriptors)
            .unwrap_or_else(|error| panic!("{folder}/{file}: {error}"));
    }
}

/// Builds `carpel-shim` for the host of the target, static, and names the file in `CARPEL_SHIM_PATH`.
///
/// A cargo inside cargo: the program must exist before the daemon is compiled, with flags (`+crt-static`) and a profile
/// (`shim`) of its own. `--locked` alone needs no network once the crates of Cargo.lock have been fetched; whoever forbids the
/// network by CARGO_NET_OFFLINE forbids it here too.
fn build_shim() {
    let root = PathBuf::from(required("CARGO_MANIFEST_DIR"));
    for input in [
        "shim",
        "shim-protocol",
        "linux",
        "proto/shim",
        "Cargo.lock",
        "Cargo.toml",
        "build.rs",
    ] {
        println!("cargo::rerun-if-changed={input}");
    }
    let target = required("TARGET");
    let target_directory = shim_target_directory(Path::new(&required("OUT_DIR")));
    let mut command = Command::new(required("CARGO"));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(confuses_nested_cargo) {
            command.env_remove(&name);
        }
    }
    command
        .current_dir(&root)
        .args(["build", "--package", "carpel-shim", "--locked", "--quiet"])
        .args(["--profile", "shim", "--target", &target])
        .arg("--target-dir")
        .arg(&target_directory)
        // A static program at a fixed address: nothing of it is relocated, and so dirty, in each shim (decision 0066).
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            "-Ctarget-feature=+crt-static\x1f-Crelocation-model=static",
        );
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("run cargo for carpel-shim: {error}"));
    assert!(status.success(), "build carpel-shim: {status}");
    let program = target_directory.join(target).join("shim/carpel-shim");
    assert!(program.is_file(), "{} was not built", program.display());
    println!("cargo::rustc-env=CARPEL_SHIM_PATH={}", program.display());
}

/// A folder beside those of the profiles: the shim has a profile of its own, so what is built for a debug build of the daemon serves
/// a release build too. `OUT_DIR` is `…/PROFILE/build/PACKAGE-HASH/out`; in another layout each build has its own.
fn shim_target_directory(out: &Path) -> PathBuf {
    let profiles = out
        .ancestors()
        .find(|folder| folder.ends_with("build"))
        .and_then(|build| build.parent()?.parent());
    profiles.unwrap_or(out).join("shim-target")
}

/// Variables that describe the outer build. Those that say where cargo finds its crates, linker and jobserver stay.
fn confuses_nested_cargo(name: &str) -> bool {
    const KEPT: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
        "CARGO_TARGET_",
    ];
    const DROPPED: [&str; 11] = [
        "DEBUG",
        "HOST",
        "LD_LIBRARY_PATH",
        "NUM_JOBS",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOC",
        "RUSTFLAGS",
        "TARGET",
    ];
    let about_package = ["CARGO", "CLIPPY_", "DEP_"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    DROPPED.contains(&name) || about_package && !KEPT.iter().any(|prefix| name.starts_with(prefix))
}

fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}
