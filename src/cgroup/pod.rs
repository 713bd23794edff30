//! The cgroup of a pod and its leaves.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::devices::DeviceAccess;
use super::directory::Cgroup;
use super::error::{CgroupError, CgroupErrorKind};
use super::hierarchy::{Cgroups, USUAL, child_path};
use super::resources::Write;

/// The leaf of the infra process.
const INFRA: &str = "infra";

/// `<cgroup_parent>/<sandbox id>`: holds no process itself, one leaf for the infra process, one for each container.
/// A name: nothing exists before [`PodCgroup::create`].
#[derive(Debug, Clone)]
pub struct PodCgroup {
    cgroups: Cgroups,
    path: String,
    unit: Option<Unit>,
}

/// The unit of systemd that a pod's cgroup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The slice it is in.
    pub slice: String,
    /// Its name.
    pub scope: String,
}

impl PodCgroup {
    pub(super) fn new(cgroups: Cgroups, path: String, unit: Option<Unit>) -> Self {
        Self {
            cgroups,
            path,
            unit,
        }
    }

    /// The unit of systemd that makes and removes the pod's cgroup; `None`: Carpel does.
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// Path below the mount point.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Path of a container's leaf below the mount point: `linux.cgroupsPath`.
    ///
    /// # Errors
    ///
    /// An id that is not a name.
    pub fn leaf_path(&self, container_id: &str) -> Result<String, CgroupError> {
        child_path(&self.path, container_id)
    }

    /// The host's path of a container's leaf.
    ///
    /// # Errors
    ///
    /// An id that is not a name.
    pub fn leaf_host_path(&self, container_id: &str) -> Result<PathBuf, CgroupError> {
        Ok(self.cgroups.inner.host_path(&self.leaf_path(container_id)?))
    }

    /// Makes the pod's cgroup (and missing parents), hands the usual controllers down to it, and makes the leaf of the
    /// infra process. What exists is taken over.
    ///
    /// # Errors
    ///
    /// A parent that holds processes, or a failed system call; the pod's cgroup is removed again.
    pub fn create(&self) -> Result<Created, CgroupError> {
        self.cgroups.create_all(&self.path)?;
        let usual = BTreeSet::from(USUAL);
        let made = self
            .cgroups
            .hand_down(&self.path, &usual)
            .and_then(|warnings| {
                let path = child_path(&self.path, INFRA)?;
                self.cgroups.create_one(&path)?;
                let cgroup = self.cgroups.open_path(path)?;
                Ok(Created { cgroup, warnings })
            });
        self.undone_on_error(made, &self.path)
    }

    /// Takes over the pod's cgroup that systemd has made of one process: that goes to the leaf of the infra process, and the
    /// usual controllers are handed down.
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn take_over(&self, infra: i32) -> Result<Vec<String>, CgroupError> {
        let path = child_path(&self.path, INFRA)?;
        self.cgroups.create_one(&path)?;
        // Before the controllers: a cgroup that has them for its children may hold no process.
        self.cgroups.open_path(path)?.attach(infra)?;
        self.cgroups.hand_down(&self.path, &BTreeSet::from(USUAL))
    }

    /// Makes a container's leaf with its limits and device rules, which hold before any process is in it. The rules
    /// stay as they are for the leaf's life. Where [`Cgroups::device_rules`] says that they are unavailable, they are not
    /// in force.
    ///
    /// # Errors
    ///
    /// A limit or rules that cannot be applied, or a failed system call; the leaf is removed again.
    pub fn create_leaf(
        &self,
        container_id: &str,
        limits: &[Write],
        devices: &DeviceAccess,
    ) -> Result<Created, CgroupError> {
        let path = self.leaf_path(container_id)?;
        let leaf = || {
            self.cgroups.create_one(&path)?;
            self.cgroups.open_path(path.clone())
        };
        let cgroup = match leaf() {
            // Somebody removed the pod's cgroup: make it anew.
            Err(error) if error.kind() == CgroupErrorKind::NotFound => {
                self.create()?;
                leaf()?
            }
            made => made?,
        };
        let applied = self
            .cgroups
            .limit_devices(&cgroup, devices)
            .and_then(|()| self.cgroups.apply_first(&cgroup, limits));
        let warnings = self.undone_on_error(applied, &path)?;
        Ok(Created { cgroup, warnings })
    }

    /// Sees to it that the rules hold which a container's leaf was made with, whatever another runtime has attached there.
    ///
    /// # Errors
    ///
    /// `NotFound`, or a failed system call.
    pub fn keep_devices(
        &self,
        container_id: &str,
        devices: &DeviceAccess,
    ) -> Result<(), CgroupError> {
        let cgroup = self.open_leaf(container_id)?;
        self.cgroups.keep_devices(&cgroup, devices)
    }

    /// Changes the limits of a container: all of them, or none.
    ///
    /// # Errors
    ///
    /// A limit that cannot be applied, or a failed system call; what had been written is written back.
    pub fn update_leaf(
        &self,
        container_id: &str,
        limits: &[Write],
    ) -> Result<Vec<String>, CgroupError> {
        let cgroup = self.open_leaf(container_id)?;
        self.cgroups.update(&cgroup, limits)
    }

    /// Sets the limits of the pod as a whole: all of them, or none.
    ///
    /// # Errors
    ///
    /// A limit that cannot be applied, or a failed system call; what had been written is written back.
    pub fn limit(&self, limits: &[Write]) -> Result<Vec<String>, CgroupError> {
        self.cgroups.update(&self.open()?, limits)
    }

    /// The pod's own cgroup, for figures, kill and freeze of the whole pod.
    ///
    /// # Errors
    ///
    /// `NotFound`, or a failed system call.
    pub fn open(&self) -> Result<Cgroup, CgroupError> {
        self.cgroups.open_path(self.path.clone())
    }

    /// The leaf of the infra process.
    ///
    /// # Errors
    ///
    /// `NotFound`, or a failed system call.
    pub fn open_infra(&self) -> Result<Cgroup, CgroupError> {
        self.open_leaf(INFRA)
    }

    /// The leaf of a container.
    ///
    /// # Errors
    ///
    /// `NotFound`, or a failed system call.
    pub fn open_leaf(&self, container_id: &str) -> Result<Cgroup, CgroupError> {
        self.cgroups.open_path(self.leaf_path(container_id)?)
    }

    /// Removes the pod's cgroup and all its leaves; one that is gone is fine. Parents stay.
    ///
    /// # Errors
    ///
    /// `Busy` with the pids that are left, or a failed system call.
    pub fn remove(&self) -> Result<(), CgroupError> {
        match self.open() {
            Ok(cgroup) => cgroup.remove(),
            Err(error) if error.kind() == CgroupErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes `path` if `made` is an error. The error that is returned is the first one.
    fn undone_on_error<T>(
        &self,
        made: Result<T, CgroupError>,
        path: &str,
    ) -> Result<T, CgroupError> {
        made.inspect_err(|_| {
            let removed = self
                .cgroups
                .open_path(path.to_owned())
                .and_then(|cgroup| cgroup.remove());
            match removed {
                Err(second) if second.kind() != CgroupErrorKind::NotFound => {
                    tracing::warn!(
                        cgroup = path,
                        error = super::prepare::described(&second),
                        "a cgroup that was made for nothing stays"
                    );
                }
                _ => {}
            }
        })
    }
}

/// A cgroup that was made.
#[derive(Debug)]
pub struct Created {
    /// The cgroup, held open.
    pub cgroup: Cgroup,
    /// Limits that are not in force, with `missing_controllers = "warn"`.
    pub warnings: Vec<String>,
}
