//! The messages and clients that `build.rs` makes of `proto/cri`. Nothing is written by hand here but the `Debug` of
//! what must not be printed.
#![allow(
    missing_docs,
    rustdoc::invalid_html_tags,
    unreachable_pub,
    dead_code,
    clippy::all,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "made by a generator"
)]

tonic::include_proto!("runtime.v1");

impl std::fmt::Debug for AuthConfig {
    /// Shows for which server the credentials are, and nothing else of them.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AuthConfig")
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}
