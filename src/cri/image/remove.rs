//! RemoveImage.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::status;
use crate::cri::wire::runtime::{RemoveImageRequest, RemoveImageResponse};
use crate::image::Images;

pub(in crate::cri) async fn remove(
    images: &Images,
    request: RemoveImageRequest,
) -> Result<RemoveImageResponse, Status> {
    let reference = request.image.unwrap_or_default().image;
    let reference = from_cri::required_text(reference, "image.image")?;
    match images.remove(&reference).await {
        Ok(()) => Ok(RemoveImageResponse {}),
        Err(error) => Err(status::of_image(&error)),
    }
}
