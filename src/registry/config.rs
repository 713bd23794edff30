//! How registries are asked: what the daemon's configuration says.

use std::path::PathBuf;
use std::time::Duration;

use super::ProxySettings;
use super::helper::search_path;

/// How to talk to registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// The folders of `<host>/hosts.toml`, in their order.
    pub certs_directories: Vec<PathBuf>,
    /// Registries (`host` or `host:port`) that are asked by plain HTTP; those on this machine are anyway.
    pub plain_http: Vec<String>,
    /// Files with credentials, as Docker's `config.json`; missing ones are fine.
    pub auth_files: Vec<PathBuf>,
    /// Where `docker-credential-<name>` is looked for.
    pub helper_directories: Vec<PathBuf>,
    /// The proxies of the environment.
    pub proxies: ProxySettings,
    /// How long nothing may come from a registry before it is given up.
    pub no_progress: Duration,
    /// How often a request that failed for a passing reason is made in all.
    pub attempts: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub pause: Duration,
    /// The longest pause, also where the registry asks for a longer one.
    pub pause_max: Duration,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            certs_directories: Vec::new(),
            plain_http: Vec::new(),
            auth_files: Vec::new(),
            helper_directories: search_path(),
            proxies: ProxySettings::default(),
            no_progress: Duration::from_secs(60),
            attempts: 5,
            pause: Duration::from_millis(200),
            pause_max: Duration::from_secs(30),
        }
    }
}
