//! RuntimeConfig and UpdateRuntimeConfig.

use crate::cri::CgroupDriver;
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

/// The pod CIDR is meant for runtimes that write a network configuration from a template. Carpel's built-in network has
/// its own subnet, and CNI configurations are written by whoever installs the plug-in: it is only told in the log.
pub(in crate::cri) fn update(
    request: wire::UpdateRuntimeConfigRequest,
) -> wire::UpdateRuntimeConfigResponse {
    let network = request
        .runtime_config
        .and_then(|config| config.network_config);
    if let Some(network) = network {
        tracing::info!(pod_cidr = network.pod_cidr, "the client tells its pod CIDR");
    }
    wire::UpdateRuntimeConfigResponse {}
}
