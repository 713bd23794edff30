//! RuntimeConfig and UpdateRuntimeConfig.

use tonic::Status;

use crate::cri::CgroupDriver;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime as wire;

/// From 1.38 on the kubelet does not start without this answer.
pub(in crate::cri) fn get(driver: CgroupDriver) -> wire::RuntimeConfigResponse {
    let driver = match driver {
        CgroupDriver::Cgroupfs => wire::CgroupDriver::Cgroupfs,
        CgroupDriver::Systemd => wire::CgroupDriver::Systemd,
    };
    wire::RuntimeConfigResponse {
        linux: Some(wire::LinuxRuntimeConfiguration {
            cgroup_driver: driver as i32,
        }),
    }
}

/// The pods' networks are for runtimes that write a CNI configuration from a template. An empty value says nothing.
pub(in crate::cri) async fn update<P: PodService>(
    pods: &P,
    request: wire::UpdateRuntimeConfigRequest,
) -> Result<wire::UpdateRuntimeConfigResponse, Status> {
    let network = request
        .runtime_config
        .and_then(|config| config.network_config);
    if let Some(network) = network.filter(|network| !network.pod_cidr.is_empty()) {
        tracing::info!(pod_cidr = network.pod_cidr, "the client tells its pod CIDR");
        pods.set_pod_networks(&network.pod_cidr)
            .await
            .map_err(|error| status::of_pod(&error))?;
    }
    Ok(wire::UpdateRuntimeConfigResponse {})
}
