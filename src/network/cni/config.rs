//! What CNI is told by the configuration file.

use std::path::PathBuf;
use std::time::Duration;

/// Where CNI's files and programs are, and how patient the daemon is with them.
#[derive(Debug, Clone)]
pub struct CniConfig {
    /// Network configurations; the file with the lowest name of all directories is used. Default `/etc/cni/net.d`.
    pub configuration_directories: Vec<PathBuf>,
    /// Plugins, the first directory that has one wins. Default `/opt/cni/bin`, `/usr/lib/cni`.
    pub plugin_directories: Vec<PathBuf>,
    /// What a configuration is made of once the pods' networks are known. Default none.
    pub template: Option<PathBuf>,
    /// How long all plugins of a chain together may take for one verb.
    pub timeout: Duration,
}

impl Default for CniConfig {
    fn default() -> Self {
        Self {
            configuration_directories: vec!["/etc/cni/net.d".into()],
            plugin_directories: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()],
            template: None,
            timeout: Duration::from_secs(60),
        }
    }
}
