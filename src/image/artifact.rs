//! OCI artifacts: manifests whose configuration is not that of an image (OCI image-spec, manifest.md, "Guidelines for
//! Artifact Usage"). They cannot be run, but mounted: each of their blobs is a file, or an archive of files. Their layers
//! are layers like those of images, one for each blob, so that they share all that is known about these.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use oci_spec::image::{Descriptor, Digest, ImageManifest};

use super::ImageError;
use super::error::Failure;
use super::manifest::{self, Form, Layer};
use crate::snapshot::ChainId;

/// What configurations of images are called.
const IMAGE_CONFIGURATIONS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// The media type of anything.
const UNTYPED: &str = "application/octet-stream";

/// The media type of a blob that stands for nothing: `{}`.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The annotation with the name of a blob's file (OCI image-spec, annotations.md).
const TITLE: &str = "org.opencontainers.image.title";

/// ORAS's annotation of a blob that is an archive of the directory of its title.
const UNPACK: &str = "io.deis.oras.content.unpack";

/// How the media types of archives end.
const ARCHIVES: [&str; 4] = [".tar", "tar+gzip", "tar.gzip", "tar+zstd"];

/// Is this not an image? Old registries have images whose configuration is of no particular type: those that read like
/// one are taken as such.
pub(super) fn is_artifact(manifest: &ImageManifest, configuration: &[u8]) -> bool {
    let media_type = manifest.config().media_type().to_string();
    if media_type != UNTYPED {
        return !IMAGE_CONFIGURATIONS.contains(&media_type.as_str());
    }
    let config = manifest::configuration(manifest.config().digest(), configuration);
    let count = manifest.layers().len();
    !config.is_ok_and(|config| count > 0 && config.rootfs().diff_ids().len() == count)
}

/// The layers of an artifact.
///
/// # Errors
/// `Corrupt` if a title leads out of the artifact.
pub(super) fn layers(digest: &Digest, manifest: &ImageManifest) -> Result<Vec<Layer>, ImageError> {
    let unusable = |problem| Failure::Unusable {
        what: "artifact",
        digest: digest.clone(),
        problem,
    };
    let mut layers: Vec<Layer> = Vec::new();
    let is_content = |descriptor: &&Descriptor| descriptor.media_type().to_string() != EMPTY;
    for descriptor in manifest.layers().iter().filter(is_content) {
        let form = form_of(descriptor).ok_or_else(|| unusable("a title is no path in it"))?;
        let below = layers.last().map(|layer| &layer.chain_id);
        layers.push(Layer {
            blob: descriptor.digest().clone(),
            size: descriptor.size(),
            diff_id: None,
            chain_id: chain_id(below, descriptor, &form).ok_or_else(|| unusable("no chain id"))?,
            form,
        });
    }
    Ok(layers)
}

/// ORAS gives plain files the type of an archive unless it is told another one, so a title says that it is a file.
fn form_of(descriptor: &Descriptor) -> Option<Form> {
    let annotation = |name: &str| descriptor.annotations().as_ref()?.get(name);
    let media_type = descriptor.media_type().to_string();
    let is_archive = ARCHIVES.iter().any(|ending| media_type.ends_with(ending));
    let unpack = annotation(UNPACK).is_some_and(|value| value == "true");
    match annotation(TITLE) {
        _ if is_archive && unpack => Some(Form::Archive),
        Some(title) => path_of(title).map(Form::File),
        None if is_archive => Some(Form::Archive),
        None => Some(Form::File(descriptor.digest().digest().into())),
    }
}

/// A title as a path below the artifact; none if it is empty or leads out.
fn path_of(title: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(title).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    let is_name = !path.as_os_str().is_empty() && !title.contains('\0');
    is_name.then_some(path)
}

/// An id that differs where the unpacked layer does. It cannot be one of an image, whose text has no line breaks.
fn chain_id(below: Option<&ChainId>, descriptor: &Descriptor, form: &Form) -> Option<ChainId> {
    let below = below.map(ToString::to_string).unwrap_or_default();
    let name = match form {
        Form::Archive => String::new(),
        Form::File(path) => path.to_string_lossy().into_owned(),
    };
    let text = format!("artifact\n{below}\n{}\n{name}\n", descriptor.digest());
    manifest::digest_of(text.as_bytes())
}

/// Writes a blob as the file `name` below the empty directory `target`.
///
/// # Errors
/// What the file system said, or the reader.
pub(super) fn write_file(mut source: impl Read, target: &Path, name: &Path) -> io::Result<()> {
    let path = target.join(name);
    if let Some(parent) = path.parent() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o755).create(parent)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    io::copy(&mut source, &mut file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_paths_below_the_artifact() {
        let cases = [
            ("model.bin", Some("model.bin")),
            ("./config/a.json", Some("config/a.json")),
            ("/etc/passwd", Some("etc/passwd")),
            ("a//b/./c", Some("a/b/c")),
            ("..", None),
            ("../x", None),
            ("a/../../x", None),
            ("a/..", None),
            ("", None),
            ("/", None),
            ("a\0b", None),
        ];
        for (title, path) in cases {
            assert_eq!(path_of(title), path.map(PathBuf::from), "{title:?}");
        }
    }

    #[test]
    fn blobs_are_files_unless_they_are_archives_without_a_title() {
        let form = |media_type: &str, annotations: serde_json::Value| {
            let descriptor = serde_json::json!({
                "mediaType": media_type,
                "digest": format!("sha256:{}", "a".repeat(64)),
                "size": 1,
                "annotations": annotations,
            });
            form_of(&serde_json::from_value(descriptor).unwrap()).unwrap()
        };
        let tar = "application/vnd.oci.image.layer.v1.tar";
        let none = serde_json::json!({});
        let title = serde_json::json!({ TITLE: "a.txt" });
        let folder = serde_json::json!({ TITLE: "folder", UNPACK: "true" });
        let file = |name: &str| Form::File(name.into());
        assert_eq!(form(tar, title.clone()), file("a.txt"));
        assert_eq!(form("text/plain", title), file("a.txt"));
        assert_eq!(form("text/plain", none.clone()), file(&"a".repeat(64)));
        assert_eq!(form(tar, none.clone()), Form::Archive);
        assert_eq!(
            form("application/vnd.cncf.helm.chart.content.v1.tar+gzip", none),
            Form::Archive
        );
        assert_eq!(form(&format!("{tar}+gzip"), folder), Form::Archive);
    }
}
