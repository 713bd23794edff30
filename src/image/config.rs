//! What the image side can be told.

use std::path::PathBuf;
use std::time::Duration;

use crate::layer;
use crate::registry::{ProxySettings, RegistryConfig};

/// Settings of the image side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagesConfig {
    /// The folder of images, blobs, layers and writable layers.
    pub root: PathBuf,
    /// containerd's `certs.d`: rules for registries, read anew at each pull.
    pub certs_directories: Vec<PathBuf>,
    /// Files with credentials, in the form of Docker's `config.json`.
    pub auth_files: Vec<PathBuf>,
    /// The proxies of the environment.
    pub proxies: ProxySettings,
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
    /// What images have to be signed, read anew at each pull; a file that is not there accepts everything.
    pub signature_policy: Option<PathBuf>,
    /// How large an unpacked layer may be.
    pub limits: layer::Limits,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        let registry = RegistryConfig::default();
        Self {
            root: PathBuf::from("/var/lib/carpel"),
            certs_directories: Vec::new(),
            auth_files: Vec::new(),
            proxies: ProxySettings::default(),
            plain_http: Vec::new(),
            pinned: Vec::new(),
            max_concurrent_downloads: 4,
            no_progress: registry.no_progress,
            attempts: registry.attempts,
            signature_policy: None,
            limits: layer::Limits::default(),
        }
    }
}

impl ImagesConfig {
    pub(super) fn registry(&self) -> RegistryConfig {
        RegistryConfig {
            certs_directories: self.certs_directories.clone(),
            auth_files: self.auth_files.clone(),
            proxies: self.proxies.clone(),
            plain_http: self.plain_http.clone(),
            no_progress: self.no_progress,
            attempts: self.attempts,
            ..RegistryConfig::default()
        }
    }
}
