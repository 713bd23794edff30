//! The streaming server, as the CRI needs it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::cri::StreamUrls;
use crate::pod::{PodError, StreamRequest};
use crate::streaming::{Settings, TlsFiles, Tokens};

/// Its URLs.
#[derive(Debug)]
pub(super) struct NodeStreams(pub(super) Arc<Tokens>);

impl StreamUrls for NodeStreams {
    fn url_of(&self, request: StreamRequest) -> Result<String, PodError> {
        self.0.admit(request)
    }
}

/// What the configuration says of it.
pub(super) fn settings(config: &Config) -> Settings {
    let section = &config.streaming;
    let tls = match (&section.tls_certificate_file, &section.tls_key_file) {
        (Some(certificate), Some(key)) => Some(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        // The configuration has both or none.
        _ => None,
    };
    Settings {
        address: section.address,
        tls,
        idle_timeout: Duration::from_secs(section.idle_timeout_seconds.get()),
        kill_on_disconnect: section.kill_on_disconnect,
    }
}
