//! The two services of the CRI: each call is passed to its file, and nothing is decided here.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::CgroupDriver;
use super::container;
use super::image;
use super::metrics;
use super::pod_sandbox;
use super::pods::PodService;
use super::runtime;
use super::stream::Answers;
use super::streams::StreamUrls;
use super::unbuilt;
use super::wire::runtime as wire;
use super::wire::runtime::image_service_server::ImageService;
use super::wire::runtime::runtime_service_server::RuntimeService;
use crate::image::Images;

/// Sandboxes and containers.
#[derive(Debug)]
pub(super) struct RuntimeServer<P> {
    pub(super) pods: P,
    pub(super) cgroup_driver: CgroupDriver,
    pub(super) urls: Arc<dyn StreamUrls>,
    /// Ends the calls that would never end.
    pub(super) stopping: CancellationToken,
}

/// Images.
#[derive(Debug)]
pub(super) struct ImageServer {
    pub(super) images: Images,
}

#[tonic::async_trait]
impl<P: PodService> RuntimeService for RuntimeServer<P> {
    async fn version(
        &self,
        _request: Request<wire::VersionRequest>,
    ) -> Result<Response<wire::VersionResponse>, Status> {
        Ok(Response::new(runtime::version::version()))
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<wire::RunPodSandboxRequest>,
    ) -> Result<Response<wire::RunPodSandboxResponse>, Status> {
        pod_sandbox::run::run(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<wire::StopPodSandboxRequest>,
    ) -> Result<Response<wire::StopPodSandboxResponse>, Status> {
        pod_sandbox::stop::stop(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<wire::RemovePodSandboxRequest>,
    ) -> Result<Response<wire::RemovePodSandboxResponse>, Status> {
        pod_sandbox::remove::remove(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<wire::PodSandboxStatusRequest>,
    ) -> Result<Response<wire::PodSandboxStatusResponse>, Status> {
        pod_sandbox::status::status(&self.pods, request.into_inner()).map(Response::new)
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<wire::ListPodSandboxRequest>,
    ) -> Result<Response<wire::ListPodSandboxResponse>, Status> {
        pod_sandbox::list::list(&self.pods, request.into_inner()).map(Response::new)
    }

    type StreamPodSandboxesStream = Answers<wire::StreamPodSandboxesResponse>;

    async fn stream_pod_sandboxes(
        &self,
        request: Request<wire::StreamPodSandboxesRequest>,
    ) -> Result<Response<Self::StreamPodSandboxesStream>, Status> {
        pod_sandbox::list::stream(&self.pods, request.into_inner()).map(Response::new)
    }

    async fn create_container(
        &self,
        request: Request<wire::CreateContainerRequest>,
    ) -> Result<Response<wire::CreateContainerResponse>, Status> {
        container::create::create(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn start_container(
        &self,
        request: Request<wire::StartContainerRequest>,
    ) -> Result<Response<wire::StartContainerResponse>, Status> {
        container::start::start(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn stop_container(
        &self,
        request: Request<wire::StopContainerRequest>,
    ) -> Result<Response<wire::StopContainerResponse>, Status> {
        container::stop::stop(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn remove_container(
        &self,
        request: Request<wire::RemoveContainerRequest>,
    ) -> Result<Response<wire::RemoveContainerResponse>, Status> {
        container::remove::remove(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn list_containers(
        &self,
        request: Request<wire::ListContainersRequest>,
    ) -> Result<Response<wire::ListContainersResponse>, Status> {
        container::list::list(&self.pods, request.into_inner()).map(Response::new)
    }

    type StreamContainersStream = Answers<wire::StreamContainersResponse>;

    async fn stream_containers(
        &self,
        request: Request<wire::StreamContainersRequest>,
    ) -> Result<Response<Self::StreamContainersStream>, Status> {
        container::list::stream(&self.pods, request.into_inner()).map(Response::new)
    }

    async fn container_status(
        &self,
        request: Request<wire::ContainerStatusRequest>,
    ) -> Result<Response<wire::ContainerStatusResponse>, Status> {
        container::status::status(&self.pods, request.into_inner()).map(Response::new)
    }

    async fn update_container_resources(
        &self,
        request: Request<wire::UpdateContainerResourcesRequest>,
    ) -> Result<Response<wire::UpdateContainerResourcesResponse>, Status> {
        container::update_resources::update_resources(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn reopen_container_log(
        &self,
        request: Request<wire::ReopenContainerLogRequest>,
    ) -> Result<Response<wire::ReopenContainerLogResponse>, Status> {
        container::reopen_log::reopen_log(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn exec_sync(
        &self,
        request: Request<wire::ExecSyncRequest>,
    ) -> Result<Response<wire::ExecSyncResponse>, Status> {
        container::exec_sync::exec_sync(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn exec(
        &self,
        request: Request<wire::ExecRequest>,
    ) -> Result<Response<wire::ExecResponse>, Status> {
        container::exec::exec(&self.pods, &*self.urls, request.into_inner()).map(Response::new)
    }

    async fn attach(
        &self,
        request: Request<wire::AttachRequest>,
    ) -> Result<Response<wire::AttachResponse>, Status> {
        container::attach::attach(&self.pods, &*self.urls, request.into_inner()).map(Response::new)
    }

    async fn port_forward(
        &self,
        request: Request<wire::PortForwardRequest>,
    ) -> Result<Response<wire::PortForwardResponse>, Status> {
        pod_sandbox::port_forward::port_forward(&self.pods, &*self.urls, request.into_inner())
            .map(Response::new)
    }

    async fn container_stats(
        &self,
        request: Request<wire::ContainerStatsRequest>,
    ) -> Result<Response<wire::ContainerStatsResponse>, Status> {
        container::statistics::one(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn list_container_stats(
        &self,
        request: Request<wire::ListContainerStatsRequest>,
    ) -> Result<Response<wire::ListContainerStatsResponse>, Status> {
        Ok(Response::new(
            container::statistics::list(&self.pods, request.into_inner()).await,
        ))
    }

    type StreamContainerStatsStream = Answers<wire::StreamContainerStatsResponse>;

    async fn stream_container_stats(
        &self,
        request: Request<wire::StreamContainerStatsRequest>,
    ) -> Result<Response<Self::StreamContainerStatsStream>, Status> {
        Ok(Response::new(
            container::statistics::stream(&self.pods, request.into_inner()).await,
        ))
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<wire::PodSandboxStatsRequest>,
    ) -> Result<Response<wire::PodSandboxStatsResponse>, Status> {
        pod_sandbox::statistics::one(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<wire::ListPodSandboxStatsRequest>,
    ) -> Result<Response<wire::ListPodSandboxStatsResponse>, Status> {
        Ok(Response::new(
            pod_sandbox::statistics::list(&self.pods, request.into_inner()).await,
        ))
    }

    type StreamPodSandboxStatsStream = Answers<wire::StreamPodSandboxStatsResponse>;

    async fn stream_pod_sandbox_stats(
        &self,
        request: Request<wire::StreamPodSandboxStatsRequest>,
    ) -> Result<Response<Self::StreamPodSandboxStatsStream>, Status> {
        Ok(Response::new(
            pod_sandbox::statistics::stream(&self.pods, request.into_inner()).await,
        ))
    }

    async fn update_runtime_config(
        &self,
        request: Request<wire::UpdateRuntimeConfigRequest>,
    ) -> Result<Response<wire::UpdateRuntimeConfigResponse>, Status> {
        runtime::config::update(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn status(
        &self,
        request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        let status = runtime::status::status(&self.pods, request.into_inner()).await;
        Ok(Response::new(status))
    }

    async fn checkpoint_container(
        &self,
        _request: Request<wire::CheckpointContainerRequest>,
    ) -> Result<Response<wire::CheckpointContainerResponse>, Status> {
        Err(unbuilt::refuse("CheckpointContainer"))
    }

    async fn checkpoint_pod(
        &self,
        _request: Request<wire::CheckpointPodRequest>,
    ) -> Result<Response<wire::CheckpointPodResponse>, Status> {
        Err(unbuilt::refuse("CheckpointPod"))
    }

    async fn restore_pod(
        &self,
        _request: Request<wire::RestorePodRequest>,
    ) -> Result<Response<wire::RestorePodResponse>, Status> {
        Err(unbuilt::refuse("RestorePod"))
    }

    type GetContainerEventsStream = Answers<wire::ContainerEventResponse>;

    async fn get_container_events(
        &self,
        _request: Request<wire::GetEventsRequest>,
    ) -> Result<Response<Self::GetContainerEventsStream>, Status> {
        container::events::events(&self.pods, self.stopping.clone()).map(Response::new)
    }

    async fn list_metric_descriptors(
        &self,
        _request: Request<wire::ListMetricDescriptorsRequest>,
    ) -> Result<Response<wire::ListMetricDescriptorsResponse>, Status> {
        Ok(Response::new(metrics::descriptors()))
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _request: Request<wire::ListPodSandboxMetricsRequest>,
    ) -> Result<Response<wire::ListPodSandboxMetricsResponse>, Status> {
        Ok(Response::new(metrics::list(&self.pods).await))
    }

    type StreamPodSandboxMetricsStream = Answers<wire::StreamPodSandboxMetricsResponse>;

    async fn stream_pod_sandbox_metrics(
        &self,
        _request: Request<wire::StreamPodSandboxMetricsRequest>,
    ) -> Result<Response<Self::StreamPodSandboxMetricsStream>, Status> {
        Ok(Response::new(metrics::stream(&self.pods).await))
    }

    async fn runtime_config(
        &self,
        _request: Request<wire::RuntimeConfigRequest>,
    ) -> Result<Response<wire::RuntimeConfigResponse>, Status> {
        Ok(Response::new(runtime::config::get(self.cgroup_driver)))
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<wire::UpdatePodSandboxResourcesRequest>,
    ) -> Result<Response<wire::UpdatePodSandboxResourcesResponse>, Status> {
        pod_sandbox::update_resources::update_resources(&self.pods, request.into_inner())
            .await
            .map(Response::new)
    }
}

#[tonic::async_trait]
impl ImageService for ImageServer {
    async fn list_images(
        &self,
        request: Request<wire::ListImagesRequest>,
    ) -> Result<Response<wire::ListImagesResponse>, Status> {
        Ok(Response::new(image::list::list(
            &self.images,
            request.into_inner(),
        )))
    }

    type StreamImagesStream = Answers<wire::StreamImagesResponse>;

    async fn stream_images(
        &self,
        request: Request<wire::StreamImagesRequest>,
    ) -> Result<Response<Self::StreamImagesStream>, Status> {
        Ok(Response::new(image::list::stream(
            &self.images,
            request.into_inner(),
        )))
    }

    async fn image_status(
        &self,
        request: Request<wire::ImageStatusRequest>,
    ) -> Result<Response<wire::ImageStatusResponse>, Status> {
        image::status::status(&self.images, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn pull_image(
        &self,
        request: Request<wire::PullImageRequest>,
    ) -> Result<Response<wire::PullImageResponse>, Status> {
        image::pull::pull(&self.images, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn remove_image(
        &self,
        request: Request<wire::RemoveImageRequest>,
    ) -> Result<Response<wire::RemoveImageResponse>, Status> {
        image::remove::remove(&self.images, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn image_fs_info(
        &self,
        _request: Request<wire::ImageFsInfoRequest>,
    ) -> Result<Response<wire::ImageFsInfoResponse>, Status> {
        image::filesystem::filesystem(&self.images)
            .await
            .map(Response::new)
    }
}
