//! `carpel.v1.Admin`: what the command line needs and the CRI has no call for. One file per call.

mod import_image;

use std::path::PathBuf;

use tonic::{Request, Response, Status, Streaming};

use super::wire::carpel::admin_server::Admin;
use super::wire::carpel::{ImportImageRequest, ImportImageResponse};
use crate::image::Images;

/// The service.
#[derive(Debug)]
pub(super) struct AdminServer {
    pub(super) images: Images,
    /// Where archives are kept while they come in.
    pub(super) spool_directory: PathBuf,
}

#[tonic::async_trait]
impl Admin for AdminServer {
    async fn import_image(
        &self,
        request: Request<Streaming<ImportImageRequest>>,
    ) -> Result<Response<ImportImageResponse>, Status> {
        import_image::import_image(&self.images, &self.spool_directory, request.into_inner())
            .await
            .map(Response::new)
    }
}
