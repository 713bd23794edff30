//! Fits `cgroup` to what the domain asks for.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use super::readings::{self, HeldCgroups};
use super::unit_limits;
use crate::cgroup::{
    Cgroup, CgroupError, CgroupErrorKind, Cgroups, DeviceAccess, PodCgroup, Write, device_access,
};
use crate::config::ShimCgroup;
use crate::oci::{LinuxResources, OciError, OciErrorKind, linux_resources};
use crate::pod::{
    CgroupDetails, CgroupReading, PodCgroups, PodError, PodErrorKind, SandboxCgroups, Subject,
};
use crate::systemd::{self, Scope};

/// The name of the shim's leaf when it is in the pod's cgroup.
const SHIM_LEAF: &str = "shim";

/// The cgroups of this node.
#[derive(Debug)]
pub(super) struct NodeCgroups {
    cgroups: Cgroups,
    /// Asked with systemd as the driver alone.
    systemd: systemd::Manager,
    shim_cgroup: ShimCgroup,
    held: HeldCgroups,
}

impl NodeCgroups {
    /// In that hierarchy.
    pub(super) fn new(cgroups: Cgroups, shim_cgroup: ShimCgroup) -> Self {
        Self {
            cgroups,
            systemd: systemd::Manager::default(),
            shim_cgroup,
            held: HeldCgroups::default(),
        }
    }

    fn pod(&self, parent: &str, sandbox_id: &str) -> Result<PodCgroup, PodError> {
        self.cgroups
            .pod(parent, sandbox_id)
            .map_err(|error| told(sandbox(sandbox_id), "name its cgroup", error))
    }

    fn read_held<T>(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: Option<&str>,
        read: impl Fn(&Cgroup) -> Result<T, CgroupError>,
    ) -> Result<T, PodError> {
        let pod = self.pod(parent, sandbox_id)?;
        let open = || match container_id {
            Some(id) => pod.open_leaf(id),
            None => pod.open(),
        };
        self.held
            .read(sandbox_id, container_id, open, read)
            .map_err(|error| told(sandbox(sandbox_id), "read its cgroup", error))
    }

    /// The shim's group; `None` if it is not there.
    fn shim(&self, parent: &str, sandbox_id: &str) -> Result<Option<Cgroup>, PodError> {
        let opened = match self.shim_cgroup {
            ShimCgroup::Own => self.cgroups.open_shim(sandbox_id),
            ShimCgroup::Pod => self.pod(parent, sandbox_id)?.open_leaf(SHIM_LEAF),
        };
        existing(opened)
            .map_err(|error| told(sandbox(sandbox_id), "open the cgroup of its shim", error))
    }
}

#[async_trait]
impl PodCgroups for NodeCgroups {
    fn check_parent(&self, parent: &str) -> Result<(), PodError> {
        self.pod(parent, "check").map(drop)
    }

    fn create_sandbox(&self, parent: &str, sandbox_id: &str) -> Result<SandboxCgroups, PodError> {
        let step = "make its cgroups";
        let failed = |error| told(sandbox(sandbox_id), step, error);
        let pod = self.pod(parent, sandbox_id)?;
        if pod.unit().is_some() {
            // Its scope is made of the infra process, which is born beside the shim.
            let shim = self.cgroups.create_shim(sandbox_id).map_err(failed)?;
            return Ok(SandboxCgroups {
                infra: shim.host_path(),
                shim: shim.host_path(),
            });
        }
        let created = pod.create().map_err(failed)?;
        let shim = match self.shim_cgroup {
            ShimCgroup::Own => self.cgroups.create_shim(sandbox_id).map_err(failed)?,
            ShimCgroup::Pod => {
                pod.create_leaf(SHIM_LEAF, &[], &DeviceAccess::All)
                    .map_err(failed)?
                    .cgroup
            }
        };
        warn(sandbox_id, &created.warnings);
        Ok(SandboxCgroups {
            infra: created.cgroup.host_path(),
            shim: shim.host_path(),
        })
    }

    async fn settle_sandbox(
        &self,
        parent: &str,
        sandbox_id: &str,
        infra_pid: i32,
    ) -> Result<(), PodError> {
        let pod = self.pod(parent, sandbox_id)?;
        let Some(unit) = pod.unit() else {
            return Ok(());
        };
        let scope = Scope {
            name: unit.scope.clone(),
            slice: unit.slice.clone(),
            description: format!("Carpel pod {sandbox_id}"),
            pid: u32::try_from(infra_pid).unwrap_or_default(),
        };
        let systemd_failed = |error| {
            let step = "have systemd make its scope";
            PodError::new(PodErrorKind::Internal, sandbox(sandbox_id), step).caused_by(error)
        };
        self.systemd
            .start_scope(&scope)
            .await
            .map_err(systemd_failed)?;
        let taken = tokio::task::spawn_blocking(move || pod.take_over(infra_pid)).await;
        let step = "take its scope over";
        let failed = |error| told(sandbox(sandbox_id), step, error);
        let lost = |error| {
            PodError::new(PodErrorKind::Internal, sandbox(sandbox_id), step).caused_by(error)
        };
        let warnings = taken.map_err(lost)?.map_err(failed)?;
        warn(sandbox_id, &warnings);
        Ok(())
    }

    fn create_container(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: &str,
        resources: &oci_spec::runtime::LinuxResources,
    ) -> Result<PathBuf, PodError> {
        let step = "calculate its limits";
        let limits = crate::cgroup::writes(resources)
            .map_err(|error| told(container(container_id), step, error))?;
        let devices =
            device_access(resources).map_err(|error| told(container(container_id), step, error))?;
        let created = self
            .pod(parent, sandbox_id)?
            .create_leaf(container_id, &limits, &devices)
            .map_err(|error| told(container(container_id), "make its cgroup", error))?;
        warn(container_id, &created.warnings);
        Ok(created.cgroup.host_path())
    }

    fn keep_device_rules(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: &str,
        resources: &oci_spec::runtime::LinuxResources,
    ) -> Result<(), PodError> {
        let step = "keep its device rules";
        let devices =
            device_access(resources).map_err(|error| told(container(container_id), step, error))?;
        self.pod(parent, sandbox_id)?
            .keep_devices(container_id, &devices)
            .map_err(|error| told(container(container_id), step, error))
    }

    async fn update_container(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: &str,
        resources: &LinuxResources,
    ) -> Result<(), PodError> {
        let subject = container(container_id);
        let limits = limits(&subject, resources)?;
        let pod = self.pod(parent, sandbox_id)?;
        let id = container_id.to_owned();
        let warnings = change(subject, move || pod.update_leaf(&id, &limits)).await?;
        warn(container_id, &warnings);
        Ok(())
    }

    async fn limit_sandbox(
        &self,
        parent: &str,
        sandbox_id: &str,
        resources: &LinuxResources,
    ) -> Result<(), PodError> {
        let subject = sandbox(sandbox_id);
        let limits = limits(&subject, resources)?;
        let pod = self.pod(parent, sandbox_id)?;
        let limits = match pod.unit() {
            Some(unit) => {
                let (properties, files) = unit_limits::split(&limits);
                let step = "have systemd limit it";
                let told = self.systemd.set_properties(&unit.scope, &properties).await;
                told.map_err(|error| {
                    PodError::new(PodErrorKind::Internal, subject.clone(), step).caused_by(error)
                })?;
                files
            }
            None => limits,
        };
        let warnings = change(subject, move || pod.limit(&limits)).await?;
        warn(sandbox_id, &warnings);
        Ok(())
    }

    async fn kill_container(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: &str,
        deadline: Duration,
    ) -> Result<(), PodError> {
        let leaf = self.pod(parent, sandbox_id)?.open_leaf(container_id);
        kill(leaf, deadline)
            .await
            .map_err(|error| told(container(container_id), "kill its processes", error))
    }

    async fn kill_sandbox(
        &self,
        parent: &str,
        sandbox_id: &str,
        deadline: Duration,
    ) -> Result<(), PodError> {
        let pod = self.pod(parent, sandbox_id)?.open();
        kill(pod, deadline)
            .await
            .map_err(|error| told(sandbox(sandbox_id), "kill its processes", error))
    }

    async fn kill_shim(
        &self,
        parent: &str,
        sandbox_id: &str,
        deadline: Duration,
    ) -> Result<(), PodError> {
        match self.shim(parent, sandbox_id)? {
            Some(shim) => shim
                .kill_and_wait(deadline)
                .await
                .map_err(|error| told(sandbox(sandbox_id), "kill its shim", error)),
            None => Ok(()),
        }
    }

    async fn remove_container(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: &str,
    ) -> Result<(), PodError> {
        self.held.forget_container(sandbox_id, container_id);
        let leaf = self.pod(parent, sandbox_id)?.open_leaf(container_id);
        remove(leaf)
            .await
            .map_err(|error| told(container(container_id), "remove its cgroup", error))
    }

    async fn remove_shim(&self, parent: &str, sandbox_id: &str) -> Result<(), PodError> {
        match self.shim(parent, sandbox_id)? {
            Some(shim) => remove(Ok(shim))
                .await
                .map_err(|error| told(sandbox(sandbox_id), "remove its shim's cgroup", error)),
            None => Ok(()),
        }
    }

    async fn remove_sandbox(&self, parent: &str, sandbox_id: &str) -> Result<(), PodError> {
        self.held.forget_sandbox(sandbox_id);
        let pod = self.pod(parent, sandbox_id)?;
        let unit = pod.unit().cloned();
        let removed = tokio::task::spawn_blocking(move || pod.remove()).await;
        let step = "remove its cgroups";
        if let Some(unit) = unit
            && let Err(error) = self.systemd.stop_scope(&unit.scope).await
        {
            return Err(
                PodError::new(PodErrorKind::Internal, sandbox(sandbox_id), step).caused_by(error),
            );
        }
        match removed {
            Ok(result) => result.map_err(|error| told(sandbox(sandbox_id), step, error)),
            Err(error) => Err(
                PodError::new(PodErrorKind::Internal, sandbox(sandbox_id), step).caused_by(error),
            ),
        }
    }

    fn read(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: Option<&str>,
    ) -> Result<CgroupReading, PodError> {
        self.read_held(parent, sandbox_id, container_id, readings::reading)
    }

    fn details(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: Option<&str>,
    ) -> Result<CgroupDetails, PodError> {
        self.read_held(parent, sandbox_id, container_id, readings::details)
    }

    fn container_path(&self, parent: &str, sandbox_id: &str, container_id: &str) -> String {
        self.pod(parent, sandbox_id)
            .ok()
            .and_then(|pod| pod.leaf_path(container_id).ok())
            .unwrap_or_default()
    }
}

fn limits(subject: &Subject, resources: &LinuxResources) -> Result<Vec<Write>, PodError> {
    let specified = linux_resources(resources).map_err(|error| refused(subject.clone(), error))?;
    crate::cgroup::writes(&specified)
        .map_err(|error| told(subject.clone(), "calculate its limits", error))
}

/// Changes limits on a thread that may wait: lowering memory.max makes the kernel reclaim, which may take its time.
async fn change(
    subject: Subject,
    write: impl FnOnce() -> Result<Vec<String>, CgroupError> + Send + 'static,
) -> Result<Vec<String>, PodError> {
    let step = "change its limits";
    match tokio::task::spawn_blocking(write).await {
        Ok(written) => written.map_err(|error| told(subject, step, error)),
        Err(error) => Err(PodError::new(PodErrorKind::Internal, subject, step).caused_by(error)),
    }
}

/// One that is not there is `None`.
fn existing(opened: Result<Cgroup, CgroupError>) -> Result<Option<Cgroup>, CgroupError> {
    match opened {
        Ok(cgroup) => Ok(Some(cgroup)),
        Err(error) if error.kind() == CgroupErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn kill(opened: Result<Cgroup, CgroupError>, deadline: Duration) -> Result<(), CgroupError> {
    match existing(opened)? {
        Some(cgroup) => cgroup.kill_and_wait(deadline).await,
        None => Ok(()),
    }
}

async fn remove(opened: Result<Cgroup, CgroupError>) -> Result<(), CgroupError> {
    let Some(cgroup) = existing(opened)? else {
        return Ok(());
    };
    match tokio::task::spawn_blocking(move || cgroup.remove()).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "remove a cgroup");
            Ok(())
        }
    }
}

fn sandbox(id: &str) -> Subject {
    Subject::Sandbox(id.to_owned())
}

fn container(id: &str) -> Subject {
    Subject::Container(id.to_owned())
}

fn warn(id: &str, warnings: &[String]) {
    for warning in warnings {
        tracing::warn!(id, "{warning}");
    }
}

fn refused(subject: Subject, error: OciError) -> PodError {
    let kind = match error.kind() {
        OciErrorKind::Invalid => PodErrorKind::InvalidArgument,
        OciErrorKind::Unimplemented => PodErrorKind::Unimplemented,
        OciErrorKind::ImageVolume => PodErrorKind::ImageVolume,
    };
    PodError::new(kind, subject, "the requested limits").caused_by(error)
}

fn told(subject: Subject, step: &str, error: CgroupError) -> PodError {
    let kind = match error.kind() {
        CgroupErrorKind::Invalid => PodErrorKind::InvalidArgument,
        CgroupErrorKind::MissingController => PodErrorKind::FailedPrecondition,
        CgroupErrorKind::NotFound => PodErrorKind::NotFound,
        CgroupErrorKind::Busy | CgroupErrorKind::System => PodErrorKind::Internal,
    };
    PodError::new(kind, subject, step).caused_by(error)
}
