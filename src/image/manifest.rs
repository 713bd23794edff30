//! Reading manifests, indexes and configurations, and choosing what is for this host. Pure.

use std::fmt::Write as _;
use std::path::PathBuf;

use oci_spec::image::{
    Arch, Descriptor, Digest, DigestAlgorithm, ImageConfiguration, ImageIndex, ImageManifest, Os,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::ImageError;
use super::error::Failure;
use crate::snapshot::ChainId;

/// What a digest turned out to name.
#[derive(Debug)]
pub(super) enum Document {
    /// Images for several platforms.
    Index(Box<ImageIndex>),
    /// One image.
    Manifest(Box<ImageManifest>),
}

/// One layer of an image.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// The blob, compressed or not.
    pub(super) blob: Digest,
    /// Its bytes.
    pub(super) size: u64,
    /// The digest of the uncompressed archive, which an image says and an artifact does not.
    pub(super) diff_id: Option<Digest>,
    /// The digest of this layer and all below.
    pub(super) chain_id: ChainId,
    /// What becomes of the blob.
    pub(super) form: Form,
}

/// What a blob becomes on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// It is an archive, and unpacked.
    Archive,
    /// It is a file of that name in the layer.
    File(PathBuf),
}

/// What tells an index from a manifest when nobody said a media type.
#[derive(Deserialize)]
struct Shape {
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default, rename = "schemaVersion")]
    schema_version: u32,
    #[serde(default, rename = "mediaType")]
    media_type: String,
}

/// Parses an index or a manifest, OCI's or Docker's. What it contains decides, not what a server calls it: the two
/// ways of reading one document have been used to smuggle another image past a check (CVE-2021-41190), so a document
/// whose own media type contradicts its content is refused.
pub(super) fn parse(digest: &Digest, bytes: &[u8]) -> Result<Document, ImageError> {
    let parse = |source| Failure::Parse {
        what: "manifest",
        digest: digest.clone(),
        source,
    };
    let unusable = |problem| Failure::Unusable {
        what: "manifest",
        digest: digest.clone(),
        problem,
    };
    let shape: Shape = serde_json::from_slice(bytes).map_err(parse)?;
    if shape.schema_version != 2 {
        return Err(unusable("only schema version 2 is supported").into());
    }
    let says_index =
        shape.media_type.contains("index") || shape.media_type.contains("manifest.list");
    let is_index = shape.manifests.is_some();
    if !shape.media_type.is_empty() && says_index != is_index {
        return Err(unusable("the media type contradicts the content").into());
    }
    Ok(match is_index {
        true => Document::Index(Box::new(serde_json::from_slice(bytes).map_err(parse)?)),
        false => Document::Manifest(Box::new(serde_json::from_slice(bytes).map_err(parse)?)),
    })
}

/// The manifest of an index that is for this host; one without a platform is taken if there is no other.
pub(super) fn select<'a>(
    digest: &Digest,
    manifests: &'a [Descriptor],
) -> Result<&'a Descriptor, ImageError> {
    let architecture = host_architecture();
    let is_for_host = |descriptor: &&Descriptor| {
        descriptor.platform().as_ref().is_some_and(|platform| {
            *platform.os() == Os::Linux && *platform.architecture() == architecture
        })
    };
    let without_platform = || {
        manifests
            .iter()
            .find(|descriptor| descriptor.platform().is_none())
    };
    let chosen = manifests.iter().find(is_for_host).or_else(without_platform);
    chosen.ok_or_else(|| {
        Failure::NoPlatform {
            digest: digest.clone(),
            architecture: std::env::consts::ARCH,
        }
        .into()
    })
}

/// Parses a configuration; its history, which nobody needs to run an image, is left out.
pub(super) fn configuration(
    digest: &Digest,
    bytes: &[u8],
) -> Result<ImageConfiguration, ImageError> {
    let mut configuration: ImageConfiguration =
        serde_json::from_slice(bytes).map_err(|source| Failure::Parse {
            what: "configuration",
            digest: digest.clone(),
            source,
        })?;
    configuration.set_history(None);
    Ok(configuration)
}

/// The layers of an image, bottom first.
pub(super) fn layers(
    manifest: &ImageManifest,
    configuration: &ImageConfiguration,
) -> Result<Vec<Layer>, ImageError> {
    let config = manifest.config().digest();
    let unusable = |problem| Failure::Unusable {
        what: "image",
        digest: config.clone(),
        problem,
    };
    if *configuration.os() != Os::Linux {
        return Err(unusable("it is not for linux").into());
    }
    let diff_ids = configuration.rootfs().diff_ids();
    if diff_ids.len() != manifest.layers().len() {
        return Err(unusable("configuration and manifest have another number of layers").into());
    }
    let mut layers: Vec<Layer> = Vec::new();
    for (descriptor, diff_id) in manifest.layers().iter().zip(diff_ids) {
        let diff_id: Digest = diff_id
            .parse()
            .map_err(|_broken| unusable("a diff id is no digest"))?;
        // Nobody could tell whether the layer is the right one.
        if *diff_id.algorithm() != DigestAlgorithm::Sha256 {
            return Err(unusable("a diff id is no sha256 digest").into());
        }
        let below = layers.last().map(|layer| &layer.chain_id);
        let chain_id = chain_id(below, &diff_id).ok_or_else(|| unusable("no chain id"))?;
        layers.push(Layer {
            blob: descriptor.digest().clone(),
            size: descriptor.size(),
            diff_id: Some(diff_id),
            chain_id,
            form: Form::Archive,
        });
    }
    Ok(layers)
}

/// The sha256 of some bytes; `None` never happens, but a digest has no constructor that cannot fail.
pub(super) fn digest_of(bytes: &[u8]) -> Option<Digest> {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text.parse().ok()
}

/// OCI image-spec, config.md §Layer ChainID.
fn chain_id(below: Option<&ChainId>, diff_id: &Digest) -> Option<ChainId> {
    match below {
        None => Some(diff_id.clone()),
        Some(below) => digest_of(format!("{below} {diff_id}").as_bytes()),
    }
}

fn host_architecture() -> Arch {
    match std::env::consts::ARCH {
        "x86_64" => Arch::Amd64,
        "aarch64" => Arch::ARM64,
        other => Arch::Other(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> Digest {
        format!("sha256:{}", digit.to_string().repeat(64))
            .parse()
            .unwrap()
    }

    #[test]
    fn documents_are_told_by_content_and_contradictions_refused() {
        let manifest = |media_type: &str| {
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":1,"digest":"{}"}},"layers":[]}}"#,
                digest('a')
            )
        };
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        let list = "application/vnd.docker.distribution.manifest.list.v2+json";
        let parsed = |text: &str| parse(&digest('f'), text.as_bytes());
        assert!(matches!(
            parsed(&manifest(docker)),
            Ok(Document::Manifest(_))
        ));
        assert!(parsed(&manifest(list)).is_err());
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{list}","manifests":[]}}"#);
        assert!(matches!(parsed(&index), Ok(Document::Index(_))));
        assert!(parsed(r#"{"schemaVersion":1,"manifests":[]}"#).is_err());
        assert!(parsed("[]").is_err());
    }

    #[test]
    fn the_host_s_platform_is_selected() {
        let other = match host_architecture() {
            Arch::Amd64 => "arm64",
            _ => "amd64",
        };
        let entry = |digit: char, platform: &str| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"{}"{platform}}}"#,
                digest(digit)
            )
        };
        let platform = |os: &str, architecture: &str| {
            format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}"#)
        };
        let own = host_architecture().to_string();
        let list = |entries: &[String]| -> Vec<Descriptor> {
            serde_json::from_str(&format!("[{}]", entries.join(","))).unwrap()
        };
        let all = list(&[
            entry('a', &platform("windows", &own)),
            entry('b', &platform("linux", other)),
            entry('c', ""),
            entry('d', &platform("linux", &own)),
        ]);
        assert_eq!(select(&digest('f'), &all).unwrap().digest(), &digest('d'));
        assert_eq!(
            select(&digest('f'), &all[..3]).unwrap().digest(),
            &digest('c')
        );
        assert!(select(&digest('f'), &all[..2]).is_err());
    }

    /// Found by fuzzing: the parser of digests knows every algorithm by its grammar alone.
    #[test]
    fn diff_ids_are_digests_that_can_be_checked() {
        let diff_ids = |text: &str| {
            let manifest = format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{0}","size":1}},
                "layers":[{{"mediaType":"l","digest":"{0}","size":1}}]}}"#,
                digest('a')
            );
            let configuration = format!(
                r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{text}"]}}}}"#
            );
            let manifest = serde_json::from_str(&manifest).unwrap();
            layers(&manifest, &serde_json::from_str(&configuration).unwrap())
        };
        assert_eq!(diff_ids(digest('b').as_ref()).unwrap().len(), 1);
        let long = format!("sha512:{}", "b".repeat(128));
        for text in ["sha128:b", "b", "", &long] {
            let error = diff_ids(text).unwrap_err();
            assert_eq!(error.kind(), super::super::ErrorKind::Corrupt, "{text}");
        }
    }

    #[test]
    fn chains_are_those_of_the_specification() {
        let first = chain_id(None, &digest('a')).unwrap();
        assert_eq!(first, digest('a'));
        // printf 'sha256:aa… sha256:bb…' | sha256sum
        let second = chain_id(Some(&first), &digest('b')).unwrap();
        let text = format!("{} {}", digest('a'), digest('b'));
        assert_eq!(second, digest_of(text.as_bytes()).unwrap());
    }
}
