//! The layers of an image as its manifests name them.

use oci_spec::image::Digest;

use super::super::images::Inner;
use super::super::manifest::{self, Document, Layer};
use super::super::pull::DOCUMENT_BYTES_MAX;
use super::super::{Image, ImageError, ImageKind, artifact};

/// The layers of the image's own manifest, bottom first.
pub(super) fn of_image(inner: &Inner, image: &Image) -> Result<Vec<Layer>, ImageError> {
    of_manifest(inner, image, &image.manifest_digest)
}

fn of_manifest(inner: &Inner, image: &Image, digest: &Digest) -> Result<Vec<Layer>, ImageError> {
    use super::super::error::Failure;
    let unusable = |problem| Failure::Unusable {
        what: "manifest",
        digest: digest.clone(),
        problem,
    };
    let bytes = inner.content.read(digest, DOCUMENT_BYTES_MAX)?;
    let Document::Manifest(document) = manifest::parse(digest, &bytes)? else {
        return Err(unusable("it is an index").into());
    };
    if image.kind == ImageKind::Artifact {
        return match digest.as_ref() == image.id {
            true => artifact::layers(digest, &document),
            false => Err(unusable("it is that of another artifact").into()),
        };
    }
    let config = document.config().digest();
    if config.as_ref() != image.id {
        return Err(unusable("it is that of another image").into());
    }
    let bytes = inner.content.read(config, DOCUMENT_BYTES_MAX)?;
    let configuration = manifest::configuration(config, &bytes)?;
    manifest::layers(&document, &configuration)
}

/// The layers of every manifest of the image that is here: an image may have come under several, whose layers are the
/// same and compressed in other ways. Then only one blob of each layer was ever fetched.
pub(super) fn of_all_manifests(inner: &Inner, image: &Image, good: &[Digest]) -> Vec<Layer> {
    let is_small = |digest: &&Digest| {
        let size = inner.content.size(digest);
        size.is_some_and(|size| size <= DOCUMENT_BYTES_MAX)
    };
    good.iter()
        .filter(is_small)
        // What is no manifest of this image is a layer, a configuration or an index.
        .filter_map(|digest| of_manifest(inner, image, digest).ok())
        .flatten()
        .collect()
}
