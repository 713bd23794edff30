//! The messages, servers and clients that `build.rs` makes of `proto/`. Nothing is written by hand here but the
//! `Debug` of what must not be printed.

use std::fmt;

/// `proto/cri/api.proto`: the Container Runtime Interface.
#[allow(
    missing_docs,
    rustdoc::invalid_html_tags,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "made by a generator"
)]
pub mod runtime {
    tonic::include_proto!("runtime.v1");
}

/// `proto/carpel/carpel.proto`: Carpel's own calls.
#[allow(
    missing_docs,
    rustdoc::invalid_html_tags,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "made by a generator"
)]
pub mod carpel {
    tonic::include_proto!("carpel.v1");
}

impl fmt::Debug for runtime::AuthConfig {
    /// Shows for which server the credentials are, and nothing else of them.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AuthConfig")
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for carpel::PullImageRequest {
    /// Shows what is pulled, and nothing of the credentials.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PullImageRequest")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::runtime::{AuthConfig, PullImageRequest};

    #[test]
    fn credentials_are_not_printed() {
        let request = PullImageRequest {
            auth: Some(AuthConfig {
                username: "hidden-name".to_owned(),
                password: "hidden-word".to_owned(),
                auth: "hidden-pair".to_owned(),
                server_address: "registry.example".to_owned(),
                identity_token: "hidden-identity".to_owned(),
                registry_token: "hidden-token".to_owned(),
            }),
            ..PullImageRequest::default()
        };
        let printed = format!("{request:?}");
        assert!(printed.contains("registry.example"), "{printed}");
        assert!(!printed.contains("hidden"), "{printed}");
    }
}
