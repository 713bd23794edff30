//! Writing limits: all or nothing.

use std::collections::BTreeSet;

use super::config::MissingControllers;
use super::directory::Cgroup;
use super::error::CgroupError;
use super::hierarchy::Cgroups;
use super::prepare::described;
use super::resources::{Necessity, Write};

impl Cgroups {
    /// Writes the limits of a new cgroup, which the caller removes on error. Returns warnings.
    pub(super) fn apply_first(
        &self,
        cgroup: &Cgroup,
        limits: &[Write],
    ) -> Result<Vec<String>, CgroupError> {
        let (writes, mut warnings) = self.possible(limits)?;
        warnings.extend(self.hand_down_for(cgroup, &writes)?);
        for write in writes {
            self.write_limit(cgroup, write, &mut warnings)?;
        }
        Ok(warnings)
    }

    /// Changes the limits of a cgroup; on error, what had been written is written back. Returns warnings.
    ///
    /// Of `io.max` and its like only the devices that had a limit before get their old value back.
    pub(super) fn update(
        &self,
        cgroup: &Cgroup,
        limits: &[Write],
    ) -> Result<Vec<String>, CgroupError> {
        let (writes, mut warnings) = self.possible(limits)?;
        warnings.extend(self.hand_down_for(cgroup, &writes)?);
        for write in &writes {
            refuse_below_usage(cgroup, write)?;
        }
        let mut previous: Vec<(&str, String)> = Vec::new();
        for write in writes {
            let written = cgroup.read_if_present(&write.file).and_then(|old| {
                if let Some(old) = old {
                    previous.push((&write.file, old));
                }
                self.write_limit(cgroup, write, &mut warnings)
            });
            if let Err(error) = written {
                put_back(cgroup, &previous);
                return Err(error);
            }
        }
        Ok(warnings)
    }

    /// The limits whose controllers this host has.
    fn possible<'a>(
        &self,
        limits: &'a [Write],
    ) -> Result<(Vec<&'a Write>, Vec<String>), CgroupError> {
        let mut writes = Vec::with_capacity(limits.len());
        let mut warnings = Vec::new();
        for write in limits {
            if self.has(write.controller()) {
                writes.push(write);
            } else if write.necessity == Necessity::Limit {
                self.judge(self.missing_controller(write), &mut warnings)?;
            }
        }
        Ok((writes, warnings))
    }

    fn missing_controller(&self, write: &Write) -> CgroupError {
        CgroupError::MissingController {
            field: write.field.clone(),
            value: write.value.clone(),
            controller: write.controller().to_owned(),
            mountpoint: self.mountpoint().to_owned(),
        }
    }

    /// An error, or a warning by configuration.
    fn judge(&self, error: CgroupError, warnings: &mut Vec<String>) -> Result<(), CgroupError> {
        match self.inner.missing_controllers {
            MissingControllers::Error => Err(error),
            MissingControllers::Warn => {
                warnings.push(described(&error));
                Ok(())
            }
        }
    }

    /// Hands down what the limits need beyond the usual controllers.
    fn hand_down_for(
        &self,
        cgroup: &Cgroup,
        writes: &[&Write],
    ) -> Result<Vec<String>, CgroupError> {
        let wanted: BTreeSet<&str> = writes.iter().map(|write| write.controller()).collect();
        let parent = match cgroup.path().rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((parent, _)) => parent,
        };
        self.hand_down(parent, &wanted)
    }

    fn write_limit(
        &self,
        cgroup: &Cgroup,
        write: &Write,
        warnings: &mut Vec<String>,
    ) -> Result<(), CgroupError> {
        match cgroup.write(&write.file, &write.value) {
            Err(CgroupError::System { source, .. })
                if source.raw_os_error() == Some(libc::ENOENT)
                    && write.necessity == Necessity::Default =>
            {
                Ok(())
            }
            // The controller is there, but could not be handed down: hand_down has warned.
            Err(error @ CgroupError::System { .. })
                if self.inner.missing_controllers == MissingControllers::Warn
                    && error.kind() == super::CgroupErrorKind::NotFound =>
            {
                self.judge(error, warnings)
            }
            written => written,
        }
    }
}

/// Writes old values back, the last one first.
fn put_back(cgroup: &Cgroup, previous: &[(&str, String)]) {
    for (file, old) in previous.iter().rev() {
        // A line feed alone empties a cpuset; no bytes at all would not reach the kernel.
        let lines = old
            .split_inclusive('\n')
            .chain(old.is_empty().then_some("\n"));
        for line in lines {
            if let Err(error) = cgroup.write(file, line) {
                tracing::error!(
                    cgroup = cgroup.path(),
                    file,
                    error = described(&error),
                    "a limit could not be put back"
                );
            }
        }
    }
}

/// A memory limit below what cannot be reclaimed would kill the container: refused, as CRI-O does.
fn refuse_below_usage(cgroup: &Cgroup, write: &Write) -> Result<(), CgroupError> {
    if write.file != "memory.max" {
        return Ok(());
    }
    let Ok(limit) = write.value.parse::<u64>() else {
        return Ok(());
    };
    let Some(memory) = cgroup.memory()? else {
        return Ok(());
    };
    let reclaimable = memory.file.saturating_sub(memory.shmem);
    let used = memory.current.saturating_sub(reclaimable);
    if used <= limit {
        return Ok(());
    }
    Err(CgroupError::BelowUsage {
        path: cgroup.host_path(),
        limit,
        used,
    })
}
