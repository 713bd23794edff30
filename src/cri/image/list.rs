//! ListImages and StreamImages.

use crate::cri::stream::{self, Answers};
use crate::cri::to_cri;
use crate::cri::wire::runtime::{
    Image, ImageFilter, ListImagesRequest, ListImagesResponse, StreamImagesRequest,
    StreamImagesResponse,
};
use crate::image::Images;

pub(in crate::cri) fn list(images: &Images, request: ListImagesRequest) -> ListImagesResponse {
    let images = find(images, request.filter);
    ListImagesResponse { images }
}

pub(in crate::cri) fn stream(
    images: &Images,
    request: StreamImagesRequest,
) -> Answers<StreamImagesResponse> {
    stream::answers(find(images, request.filter), |images| {
        StreamImagesResponse { images }
    })
}

/// A filter names one image, by id, tag or digest; an empty one takes all.
fn find(images: &Images, filter: Option<ImageFilter>) -> Vec<Image> {
    let reference = filter
        .and_then(|filter| filter.image)
        .unwrap_or_default()
        .image;
    if reference.is_empty() {
        let all = images.list();
        return all.iter().map(|image| to_cri::image(image)).collect();
    }
    let found = images.find(&reference);
    found.iter().map(|image| to_cri::image(image)).collect()
}
