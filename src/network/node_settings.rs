//! Sysctls of the node that were changed, and what they were before: so that a reset can give them back.
//!
//! The file `network/.sysctls` has one JSON object a line, written before the sysctl. Lines of another boot mean nothing:
//! the kernel and the host's own configuration have set all anew since.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::NetworkError;
use super::sysctl;

/// A sysctl that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Changed {
    boot_id: String,
    /// With slashes, as below /proc/sys.
    name: String,
    before: String,
    after: String,
}

/// The node's sysctls.
#[derive(Debug, Clone)]
pub(super) struct NodeSettings {
    file: PathBuf,
}

impl NodeSettings {
    /// Those that are recorded below a state directory.
    pub(super) fn below(state_directory: &Path) -> Self {
        Self {
            file: state_directory.join("network/.sysctls"),
        }
    }

    /// Sets a sysctl, and notes what it was; says whether that changed it.
    pub(super) fn set(&self, name: &str, value: &str) -> Result<bool, NetworkError> {
        let failed = |source| NetworkError::Sysctl {
            name: name.to_owned(),
            value: value.to_owned(),
            source,
        };
        let path = Path::new("/proc/sys").join(name);
        let before = fs::read_to_string(&path).map_err(failed)?;
        if before.trim() == value {
            return Ok(false);
        }
        self.note(&Changed {
            boot_id: boot_id().map_err(failed)?,
            name: name.to_owned(),
            before: before.trim().to_owned(),
            after: value.to_owned(),
        })?;
        sysctl::write(&path, value).map_err(failed)?;
        Ok(true)
    }

    /// Gives back what nobody has changed since; a sentence each.
    pub(super) fn restore(&self) -> Result<Vec<String>, NetworkError> {
        let failed = |source| self.failed("read", source);
        let text = match fs::read_to_string(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.map_err(failed)?,
        };
        let boot_id = boot_id().map_err(failed)?;
        let mut restored = Vec::new();
        let changes = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Changed>(line).ok())
            .filter(|changed| changed.boot_id == boot_id);
        for changed in changes.collect::<Vec<_>>().into_iter().rev() {
            let path = Path::new("/proc/sys").join(&changed.name);
            // The interface may be gone.
            let now = fs::read_to_string(&path).unwrap_or_default();
            if now.trim() != changed.after {
                continue;
            }
            sysctl::write(&path, &changed.before).map_err(|source| NetworkError::Sysctl {
                name: changed.name.clone(),
                value: changed.before.clone(),
                source,
            })?;
            restored.push(format!("set {} back to {}", changed.name, changed.before));
        }
        fs::remove_file(&self.file).map_err(|source| self.failed("remove", source))?;
        Ok(restored)
    }

    fn note(&self, changed: &Changed) -> Result<(), NetworkError> {
        let failed = |source| self.failed("write", source);
        let mut line = serde_json::to_vec(changed)
            .map_err(io::Error::from)
            .map_err(failed)?;
        line.push(b'\n');
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.file)
            .and_then(|mut file| file.write_all(&line))
            .map_err(failed)
    }

    fn failed(&self, step: &'static str, source: io::Error) -> NetworkError {
        NetworkError::Record {
            step,
            path: self.file.clone(),
            source,
        }
    }
}

fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}
