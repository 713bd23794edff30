//! `carpel.v1.Admin`: what the command line needs and the CRI has no call for. One file per call.

mod explain_image;
mod export_image;
mod import_image;
mod prune_images;
mod pull_image;
mod verify_images;

use std::path::PathBuf;

use tonic::{Request, Response, Status, Streaming};

use super::stream::Answers;
use super::wire::carpel::admin_server::Admin;
use super::wire::carpel::{
    ExplainImageRequest, ExplainImageResponse, ExportImageRequest, ExportImageResponse,
    ImportImageRequest, ImportImageResponse, PruneImagesRequest, PruneImagesResponse,
    PullImageEvent, PullImageRequest, VerifyImagesRequest,
};
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
    type ExportImageStream = Answers<ExportImageResponse>;

    async fn export_image(
        &self,
        request: Request<ExportImageRequest>,
    ) -> Result<Response<Self::ExportImageStream>, Status> {
        export_image::export_image(&self.images, request.into_inner())
            .await
            .map(Response::new)
    }

    type PullImageStream = Answers<PullImageEvent>;

    async fn pull_image(
        &self,
        request: Request<PullImageRequest>,
    ) -> Result<Response<Self::PullImageStream>, Status> {
        pull_image::pull_image(&self.images, request.into_inner()).map(Response::new)
    }

    type VerifyImagesStream = verify_images::Events;

    async fn import_image(
        &self,
        request: Request<Streaming<ImportImageRequest>>,
    ) -> Result<Response<ImportImageResponse>, Status> {
        import_image::import_image(&self.images, &self.spool_directory, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn explain_image(
        &self,
        request: Request<ExplainImageRequest>,
    ) -> Result<Response<ExplainImageResponse>, Status> {
        explain_image::explain_image(&self.images, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn prune_images(
        &self,
        request: Request<PruneImagesRequest>,
    ) -> Result<Response<PruneImagesResponse>, Status> {
        prune_images::prune_images(&self.images, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn verify_images(
        &self,
        request: Request<VerifyImagesRequest>,
    ) -> Result<Response<Self::VerifyImagesStream>, Status> {
        let events = verify_images::verify_images(&self.images, request.into_inner());
        Ok(Response::new(events))
    }
}
