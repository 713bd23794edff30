//! PullImage. A client that gives up leaves the pull running; its next request joins it.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::status;
use crate::cri::wire::runtime::{AuthConfig, PullImageRequest, PullImageResponse};
use crate::image::{Images, RegistryAuth};

/// The answer is the image's id, which the kubelet gives back in CreateContainer (CRI 1.36). The sandbox's
/// configuration is for runtimes that pull inside a sandbox: it is not read.
pub(in crate::cri) async fn pull(
    images: &Images,
    request: PullImageRequest,
) -> Result<PullImageResponse, Status> {
    let reference = request.image.unwrap_or_default().image;
    let reference = from_cri::required_text(reference, "image.image")?;
    match images
        .pull(&reference, request.auth.map(registry_auth))
        .await
    {
        Ok(image) => Ok(PullImageResponse {
            image_ref: image.id.clone(),
        }),
        Err(error) => Err(status::of_image(&error)),
    }
}

fn registry_auth(auth: AuthConfig) -> RegistryAuth {
    RegistryAuth {
        username: auth.username,
        password: auth.password,
        auth: auth.auth,
        server_address: auth.server_address,
        identity_token: auth.identity_token,
        registry_token: auth.registry_token,
    }
}
