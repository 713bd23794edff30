//! ImageStatus. An image that is not here is no error: the answer is empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::status;
use crate::cri::to_cri;
use crate::cri::wire::runtime::{ImageStatusRequest, ImageStatusResponse};
use crate::image::Images;

pub(in crate::cri) async fn status(
    images: &Images,
    request: ImageStatusRequest,
) -> Result<ImageStatusResponse, Status> {
    let reference = request.image.unwrap_or_default().image;
    let reference = from_cri::required_text(reference, "image.image")?;
    let Some(image) = images.find(&reference) else {
        return Ok(ImageStatusResponse::default());
    };
    let info = if request.verbose {
        let details = images.details(Arc::clone(&image)).await;
        let details = details.map_err(|error| status::of_image(&error))?;
        to_cri::image_info(&image, &details)
    } else {
        BTreeMap::new()
    };
    Ok(ImageStatusResponse {
        image: Some(to_cri::image(&image)),
        info,
    })
}
