//! An image made on the spot: one layer with busybox and its names, packed as `docker save` packs.

use std::fs::{self, File};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::busybox;
use super::error::DemoError;

/// What the image is called: what the manifests name.
pub(crate) const REFERENCE: &str = "docker.io/library/busybox:1.36";

/// Writes the archive to `archive`.
pub(crate) fn build(program: &[u8], archive: &Path) -> Result<(), DemoError> {
    let failed = || DemoError::file("write", archive);
    let executable = archive.with_file_name("busybox");
    write_program(&executable, program).map_err(DemoError::file("write", &executable))?;
    let applets = busybox::applets(&executable)?;
    let layer = layer(program, &applets).map_err(failed())?;
    let diff_id = hex(&Sha256::digest(&layer));
    let config = serde_json::json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Env": ["PATH=/bin"],
            "Cmd": ["sh"],
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{diff_id}")] },
    })
    .to_string();
    let manifest = serde_json::json!([{
        "Config": "config.json",
        "RepoTags": [REFERENCE],
        "Layers": ["layer.tar"],
    }])
    .to_string();
    let mut tar = tar::Builder::new(File::create(archive).map_err(failed())?);
    for (name, content) in [
        ("manifest.json", manifest.as_bytes()),
        ("config.json", config.as_bytes()),
        ("layer.tar", layer.as_slice()),
    ] {
        append(&mut tar, name, content, 0o644).map_err(failed())?;
    }
    tar.finish().map_err(failed())
}

fn write_program(path: &Path, program: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o755)
        .open(path)?
        .write_all(program)
}

fn layer(program: &[u8], applets: &[String]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for folder in ["bin/", "etc/", "srv/", "tmp/"] {
        let mut header = header(tar::EntryType::Directory, 0, 0o755);
        tar.append_data(&mut header, folder, std::io::empty())?;
    }
    append(
        &mut tar,
        "etc/passwd",
        b"root:x:0:0:root:/:/bin/sh\n",
        0o644,
    )?;
    append(&mut tar, "etc/group", b"root:x:0:\n", 0o644)?;
    append(&mut tar, "bin/busybox", program, 0o755)?;
    for applet in applets.iter().filter(|applet| *applet != "busybox") {
        let mut header = header(tar::EntryType::Symlink, 0, 0o777);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    tar.into_inner()
}

fn append<W: std::io::Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    content: &[u8],
    mode: u32,
) -> std::io::Result<()> {
    let mut header = header(tar::EntryType::Regular, content.len() as u64, mode);
    tar.append_data(&mut header, name, content)
}

fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header
}

/// Go's name of this machine's architecture, as image configurations have it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
