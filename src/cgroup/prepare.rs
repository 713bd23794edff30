//! Making directories, and handing controllers down to them.
//!
//! A controller reaches a cgroup only if every ancestor has it in its cgroup.subtree_control. What was enabled is
//! remembered, so that only the first pod below a parent pays for the way down.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::config::MissingControllers;
use super::directory::{Cgroup, parse_pids, relative};
use super::error::CgroupError;
use super::hierarchy::{Cgroups, Inner};

/// Permissions of the directories.
const MODE: Mode = Mode::from_raw_mode(0o755);

impl Cgroups {
    /// Makes the cgroup at `path` with its ancestors; existing ones are fine.
    pub(super) fn create_all(&self, path: &str) -> Result<(), CgroupError> {
        match self.create_one(path) {
            Err(CgroupError::System { source, .. })
                if source.raw_os_error() == Some(libc::ENOENT) => {}
            made => return made,
        }
        for ancestor in ancestors(path) {
            // Somebody removed what is remembered.
            self.inner.forget(ancestor);
            if ancestor != "/" {
                self.create_one(ancestor)?;
            }
        }
        Ok(())
    }

    /// Makes the cgroup at `path` in its existing parent; an existing one is fine.
    pub(super) fn create_one(&self, path: &str) -> Result<(), CgroupError> {
        match rustix::fs::mkdirat(&self.inner.root, relative(path), MODE) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(CgroupError::system(
                "create",
                self.inner.host_path(path),
                errno,
            )),
        }
    }

    /// Enables `wanted` (those of them that the host has) in `path` and all its ancestors, top down.
    ///
    /// With `missing_controllers = "warn"`, what cannot be enabled is returned.
    pub(super) fn hand_down(
        &self,
        path: &str,
        wanted: &BTreeSet<&str>,
    ) -> Result<Vec<String>, CgroupError> {
        let wanted: BTreeSet<&str> = wanted
            .iter()
            .copied()
            .filter(|controller| self.has(controller))
            .collect();
        let mut warnings = Vec::new();
        if wanted.is_empty() {
            return Ok(warnings);
        }
        for ancestor in ancestors(path) {
            if self.inner.is_prepared(ancestor, &wanted) {
                continue;
            }
            match self.enable(ancestor, &wanted) {
                Ok(()) => {}
                Err(error) if self.inner.missing_controllers == MissingControllers::Warn => {
                    warnings.push(described(&error));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(warnings)
    }

    fn enable(&self, path: &str, wanted: &BTreeSet<&str>) -> Result<(), CgroupError> {
        let cgroup = Cgroup::open(Arc::clone(&self.inner), path.to_owned())?;
        let mut enabled: BTreeSet<String> = cgroup
            .read("cgroup.subtree_control")?
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let missing: Vec<_> = wanted
            .iter()
            .filter(|controller| !enabled.contains(**controller))
            .map(|controller| format!("+{controller}"))
            .collect();
        if !missing.is_empty() {
            let line = missing.join(" ");
            cgroup
                .write("cgroup.subtree_control", &line)
                .map_err(|error| explained(error, &cgroup, line))?;
            enabled.extend(wanted.iter().map(|controller| (*controller).to_owned()));
        }
        self.inner.prepared().insert(path.to_owned(), enabled);
        Ok(())
    }
}

impl Inner {
    /// Forgets what is known of a cgroup that was removed.
    pub(super) fn forget(&self, path: &str) {
        self.prepared().remove(path);
    }

    fn is_prepared(&self, path: &str, wanted: &BTreeSet<&str>) -> bool {
        self.prepared().get(path).is_some_and(|enabled| {
            wanted
                .iter()
                .all(|controller| enabled.contains(*controller))
        })
    }

    fn prepared(
        &self,
    ) -> std::sync::MutexGuard<'_, std::collections::HashMap<String, BTreeSet<String>>> {
        // A cache of facts: what another thread left half-way is still true.
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/`, `/a`, `/a/b` for `/a/b`.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let inner = path
        .char_indices()
        .skip(1)
        .filter(|(_, c)| *c == '/')
        .map(|(at, _)| &path[..at]);
    std::iter::once("/")
        .chain(inner)
        .chain((path != "/").then_some(path))
}

/// EBUSY means "no internal processes", which nobody would guess.
fn explained(error: CgroupError, cgroup: &Cgroup, controllers: String) -> CgroupError {
    match error {
        CgroupError::System { source, .. } if source.raw_os_error() == Some(libc::EBUSY) => {
            CgroupError::InternalProcesses {
                controllers,
                path: cgroup.host_path(),
                pids: cgroup
                    .read("cgroup.procs")
                    .map(|text| parse_pids(&text))
                    .unwrap_or_default(),
                source,
            }
        }
        error => error,
    }
}

/// An error with its causes, as a warning.
pub(super) fn described(error: &CgroupError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::ancestors;

    #[test]
    fn ancestors_come_top_down() {
        assert_eq!(ancestors("/").collect::<Vec<_>>(), ["/"]);
        assert_eq!(ancestors("/a").collect::<Vec<_>>(), ["/", "/a"]);
        assert_eq!(
            ancestors("/a/b/c").collect::<Vec<_>>(),
            ["/", "/a", "/a/b", "/a/b/c"]
        );
    }
}
