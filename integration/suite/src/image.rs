//! An image made by a test, served inside a node by busybox's httpd from files: a registry that only answers pulls,
//! which is all that a runtime needs.

use std::io::Write as _;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::node::Node;
use crate::request::write_new;
use crate::wait::wait_for;

/// Where the image is served, inside the node.
const ADDRESS: &str = "127.0.0.1:5999";

/// A served image. The node's end takes the server too, but calls it a leak: see [`Served::stop`].
#[derive(Debug)]
pub struct Served {
    /// What to pull.
    pub name: String,
    server: Child,
}

/// Leaves its pid, as the node sees it, in a file.
const SERVE: &str = r#"echo $$ >"$0/pid"; exec busybox httpd -f -p "$1" -h "$0""#;

impl Served {
    /// Serves an image of so many layers: the first has busybox, each of the others 20 files and a megabyte that does
    /// not compress, and each removes a file of the one below.
    ///
    /// # Panics
    ///
    /// When busybox is missing or its httpd does not answer.
    #[must_use]
    pub fn start(node: &Node, layers: usize) -> Self {
        let folder = node.work.join("served");
        let archives: Vec<_> = (0..layers).map(layer).collect();
        publish(&folder.join("v2/crash/app"), &archives);
        let server = node
            .command("bash")
            .args(["-c", SERVE])
            .arg(&folder)
            .arg(ADDRESS)
            .spawn()
            .unwrap();
        wait_for("busybox httpd", Duration::from_secs(10), || {
            let url = format!("http://{ADDRESS}/v2/crash/app/manifests/1");
            let answer = node
                .command("busybox")
                .args(["wget", "-q", "-O-", &url])
                .output()
                .unwrap();
            answer.status.success().then_some(())
        });
        Self {
            name: format!("{ADDRESS}/crash/app:1"),
            server,
        }
    }

    /// Ends the server.
    ///
    /// # Panics
    ///
    /// When it is gone already.
    pub fn stop(mut self, node: &Node) {
        let pid = std::fs::read_to_string(node.work.join("served/pid")).unwrap();
        node.signal("TERM", pid.trim().parse().unwrap());
        self.server.wait().unwrap();
    }
}

fn layer(number: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        header.set_mtime(1_000_000);
        builder.append_data(&mut header, path, bytes).unwrap();
    };
    if number == 0 {
        let busybox = std::fs::read("/bin/busybox").unwrap();
        add("bin/busybox", 0o755, &busybox);
    } else {
        add(&format!("data/.wh.{}-0", number - 1), 0o644, b"");
        add(&format!("data/{number}-noise"), 0o644, &noise(number));
    }
    for file in 0..20 {
        let text = format!("file {file} of layer {number}\n").repeat(100);
        add(&format!("data/{number}-{file}"), 0o644, text.as_bytes());
    }
    builder.into_inner().unwrap()
}

/// A megabyte that looks random and is always the same (xorshift, Marsaglia 2003).
fn noise(seed: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut bytes = Vec::with_capacity(1 << 20);
    while bytes.len() < 1 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn publish(folder: &Path, archives: &[Vec<u8>]) {
    for kind in ["blobs", "manifests"] {
        std::fs::create_dir_all(folder.join(kind)).unwrap();
    }
    let blob = |bytes: &[u8]| {
        let digest = digest(bytes);
        write_new(&folder.join("blobs").join(&digest), bytes);
        digest
    };
    let mut layers = Vec::new();
    for archive in archives {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(archive).unwrap();
        let bytes = encoder.finish().unwrap();
        layers.push(json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": blob(&bytes),
            "size": bytes.len(),
        }));
    }
    let diff_ids: Vec<_> = archives.iter().map(|archive| digest(archive)).collect();
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/bin/busybox", "true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": blob(config.as_bytes()),
            "size": config.len(),
        },
        "layers": layers,
    })
    .to_string();
    for name in ["1", &digest(manifest.as_bytes())] {
        write_new(&folder.join("manifests").join(name), manifest.as_bytes());
    }
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold(String::from("sha256:"), |text, byte| {
        format!("{text}{byte:02x}")
    })
}
