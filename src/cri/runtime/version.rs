//! Version.

use crate::cri::wire::runtime::VersionResponse;

/// All four must be set, or the kubelet and crictl close the connection.
pub(in crate::cri) fn version() -> VersionResponse {
    VersionResponse {
        // The version of the kubelet's runtime API: the same constant in every runtime since 2016.
        version: "0.1.0".to_owned(),
        runtime_name: "carpel".to_owned(),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        runtime_api_version: "v1".to_owned(),
    }
}
