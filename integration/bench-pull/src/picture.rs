//! The synthetic images: made once, the same on every machine, and kept as a registry serves them.
//!
//! ```text
//! FOLDER/<name>/manifest.json      FOLDER/<name>/<digest>      one file per blob
//! ```

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::arguments::Kind;
use super::error::{self, BenchError};

/// An image that is there.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) kind: Kind,
    pub(crate) folder: PathBuf,
    pub(crate) manifest: Vec<u8>,
    pub(crate) layers: Vec<Layer>,
}

/// One layer.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) blob: PathBuf,
    /// `sha256:…` of the blob.
    pub(crate) digest: String,
    /// `sha256:…` of the archive in it.
    pub(crate) diff_id: String,
    pub(crate) compressed_bytes: u64,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Small => "small",
        }
    }

    fn layers(self) -> u64 {
        match self {
            Self::Large => 10,
            Self::Small => 60,
        }
    }
}

/// Makes an image, unless it is there already.
pub(crate) fn ensure(folder: &Path, kind: Kind) -> Result<Picture, BenchError> {
    let finished = folder.join(kind.name());
    if !finished.join("manifest.json").exists() {
        let unfinished = folder.join(format!("{}.new", kind.name()));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(error::file("remove", &unfinished))?;
        }
        fs::create_dir_all(&unfinished).map_err(error::file("make", &unfinished))?;
        make(&unfinished, kind)?;
        fs::rename(&unfinished, &finished).map_err(error::file("rename", &unfinished))?;
    }
    read(&finished, kind)
}

fn read(folder: &Path, kind: Kind) -> Result<Picture, BenchError> {
    let path = folder.join("manifest.json");
    let manifest = fs::read(&path).map_err(error::file("read", &path))?;
    let parsed: serde_json::Value = serde_json::from_slice(&manifest)?;
    let broken = || BenchError::Text { path: path.clone() };
    let config_digest = parsed["config"]["digest"].as_str().ok_or_else(broken)?;
    let config_path = folder.join(config_digest);
    let config = fs::read(&config_path).map_err(error::file("read", &config_path))?;
    let config: serde_json::Value = serde_json::from_slice(&config)?;
    let diff_ids = config["rootfs"]["diff_ids"].as_array().ok_or_else(broken)?;
    let descriptors = parsed["layers"].as_array().ok_or_else(broken)?;
    let layer = |(descriptor, diff_id): (&serde_json::Value, &serde_json::Value)| {
        let digest = descriptor["digest"].as_str()?.to_owned();
        Some(Layer {
            blob: folder.join(&digest),
            digest,
            diff_id: diff_id.as_str()?.to_owned(),
            compressed_bytes: descriptor["size"].as_u64()?,
        })
    };
    let layers = descriptors.iter().zip(diff_ids).map(layer);
    Ok(Picture {
        kind,
        folder: folder.to_owned(),
        layers: layers.collect::<Option<_>>().ok_or_else(broken)?,
        manifest,
    })
}

fn make(folder: &Path, kind: Kind) -> Result<(), BenchError> {
    let mut descriptors = Vec::new();
    let mut diff_ids = Vec::new();
    for number in 0..kind.layers() {
        let temporary = folder.join("layer");
        let (blob, diff_id) =
            make_layer(&temporary, kind, number).map_err(error::file("write", &temporary))?;
        let path = folder.join(&blob);
        fs::rename(&temporary, &path).map_err(error::file("rename", &temporary))?;
        let size = fs::metadata(&path)
            .map_err(error::file("read", &path))?
            .len();
        diff_ids.push(diff_id);
        descriptors.push(json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": blob, "size": size,
        }));
    }
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string();
    let config_digest = digest_of(Sha256::new_with_prefix(&config));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config_digest, "size": config.len(),
        },
        "layers": descriptors,
    });
    for (name, text) in [
        (config_digest.as_str(), config),
        ("manifest.json", manifest.to_string()),
    ] {
        let path = folder.join(name);
        let outcome = File::create(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        outcome.map_err(error::file("write", &path))?;
    }
    Ok(())
}

/// Returns the digests of the blob and of the archive in it.
pub(crate) fn make_layer(path: &Path, kind: Kind, number: u64) -> io::Result<(String, String)> {
    let file = Hashing::new(BufWriter::new(File::create(path)?));
    let encoder = GzEncoder::new(file, Compression::default());
    let mut archive = tar::Builder::new(Hashing::new(encoder));
    let mut random = Random(number + 1);
    match kind {
        Kind::Large => {
            for file in 0..20 {
                let content = match file % 2 {
                    0 => random.bytes(2_500_000),
                    _ => random.text(2_500_000),
                };
                add(&mut archive, &format!("opt/{number}/data/{file}"), &content)?;
            }
        }
        Kind::Small => {
            for file in 0..500 {
                let length = 1024 + usize::try_from(random.next() % 7168).unwrap_or_default();
                let content = random.text(length);
                let folder = file / 25;
                add(
                    &mut archive,
                    &format!("usr/lib/{number}/{folder}/{file}"),
                    &content,
                )?;
            }
        }
    }
    let (encoder, diff_id) = archive.into_inner()?.finish();
    let (mut file, blob) = encoder.finish()?.finish();
    file.flush()?;
    Ok((blob, diff_id))
}

fn add(archive: &mut tar::Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, name, content)
}

/// Hashes what is written.
struct Hashing<W> {
    writer: W,
    hasher: Sha256,
}

impl<W> Hashing<W> {
    fn new(writer: W) -> Self {
        Self {
            writer,
            hasher: Sha256::new(),
        }
    }

    fn finish(self) -> (W, String) {
        (self.writer, digest_of(self.hasher))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A hash as a digest.
pub(crate) fn digest_of(hasher: Sha256) -> String {
    let mut text = String::from("sha256:");
    for byte in hasher.finalize() {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

/// Numbers that look random and are always the same (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Compresses to a little more than a third, as programs and libraries do: words of a small language, and numbers.
    fn text(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 32);
        while bytes.len() < length {
            let drawn = self.next();
            if drawn.is_multiple_of(7) {
                bytes.extend_from_slice(&drawn.to_le_bytes()[4..]);
            } else {
                let word = Self((drawn >> 8) % 1500).next() | 1 << 40;
                bytes.extend(format!("{word:x}").bytes().take(8));
                bytes.push(b' ');
            }
        }
        bytes.truncate(length);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_compresses_to_a_little_more_than_a_third() {
        let text = Random(1).text(1 << 20);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&text).unwrap();
        let ratio = encoder.finish().unwrap().len() * 100 / text.len();
        assert!((34..41).contains(&ratio), "{ratio} %");
    }

    #[test]
    fn a_layer_is_what_its_digests_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layer");
        let (blob, diff_id) = make_layer(&path, Kind::Small, 3).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(digest_of(Sha256::new_with_prefix(&bytes)), blob);
        let mut archive = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(bytes.as_slice());
        io::Read::read_to_end(&mut decoder, &mut archive).unwrap();
        assert_eq!(digest_of(Sha256::new_with_prefix(&archive)), diff_id);
    }
}
