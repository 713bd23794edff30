//! What the image side can be told.

use std::path::PathBuf;
use std::time::Duration;

use crate::layer;
use crate::registry::RegistryConfig;

/// Settings of the image side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagesConfig {
    /// The folder of images, blobs, layers and writable layers.
    pub root: PathBuf,
    /// containerd's `certs.d`: rules for registries, read anew at each pull.
    pub certs_directory: Option<PathBuf>,
    /// Registries (`host` or `host:port`) that are asked by plain HTTP; those on this machine are anyway.
    pub plain_http: Vec<String>,
    /// Images whose tag matches one of these are reported as pinned; `*` stands for any text.
    pub pinned: Vec<String>,
    /// How many layers are downloaded and unpacked at once, over all pulls.
    pub max_concurrent_downloads: usize,
    /// How long nothing may come from a registry before a pull is given up.
    pub no_progress: Duration,
    /// How often a request that failed for a passing reason is made in all.
    pub attempts: u32,
    /// How large an unpacked layer may be.
    pub limits: layer::Limits,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        let registry = RegistryConfig::default();
        Self {
            root: PathBuf::from("/var/lib/carpel"),
            certs_directory: Some(PathBuf::from("/etc/carpel/certs.d")),
            plain_http: Vec::new(),
            pinned: Vec::new(),
            max_concurrent_downloads: 4,
            no_progress: registry.no_progress,
            attempts: registry.attempts,
            limits: layer::Limits::default(),
        }
    }
}

impl ImagesConfig {
    pub(super) fn registry(&self) -> RegistryConfig {
        RegistryConfig {
            certs_directory: self.certs_directory.clone(),
            plain_http: self.plain_http.clone(),
            no_progress: self.no_progress,
            attempts: self.attempts,
            ..RegistryConfig::default()
        }
    }
}
