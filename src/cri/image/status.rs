//! ImageStatus. An image that is not here is no error: the answer is empty.

use std::collections::BTreeMap;

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::to_cri;
use crate::cri::wire::runtime::{ImageStatusRequest, ImageStatusResponse};
use crate::image::Images;

pub(in crate::cri) fn status(
    images: &Images,
    request: ImageStatusRequest,
) -> Result<ImageStatusResponse, Status> {
    let reference = request.image.unwrap_or_default().image;
    let reference = from_cri::required_text(reference, "image.image")?;
    let Some(image) = images.find(&reference) else {
        return Ok(ImageStatusResponse::default());
    };
    Ok(ImageStatusResponse {
        image: Some(to_cri::image(&image)),
        info: match request.verbose {
            true => to_cri::image_info(&image),
            false => BTreeMap::new(),
        },
    })
}
