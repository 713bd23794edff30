//! The door of the domain: what `cri/` calls. Each request is handed to its pod's driver, or answered from memory.
//!
//! What looks into containers is in `streams`, what they use in `statistics`.

mod statistics;
mod streams;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::activity::Activity;
use super::admission::Request;
use super::driver::Driver;
use super::error::{PodError, PodErrorKind, Subject, no_container, no_sandbox};
use super::events::{Events, PodEvents};
use super::index::{Index, Reservation};
use super::log_state::LogState;
use super::parts::Parts;
use super::procedure::{Context, SHIM_PATIENCE, shim_error};
use super::record::PodDirectories;
use super::sandbox_state::{Container, Pod, SandboxPhase};
use super::slot::{PodSlot, Reply};
use super::statistics::Rates;
use super::view::{
    ContainerFilter, ContainerState, ContainerView, PodSnapshot, RuntimeReport, SandboxFilter,
    SandboxView, UserView,
};
use super::{clock, identifier, recovery, run_sandbox};
use crate::oci::{ContainerConfig, LinuxResources, PodResources, SandboxConfig};

/// All sandboxes and containers of the node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pods {
    parts: Parts,
    index: Arc<Index>,
    rates: Arc<Rates>,
    events: Arc<Events>,
}

impl Pods {
    /// Finds the pods of the daemon before, and takes them up.
    pub async fn open(parts: Parts) -> Self {
        let index = Arc::new(Index::default());
        let events = Arc::new(Events::default());
        for found in recovery::recover(&parts, &index).await {
            let driver = Driver::new(
                parts.clone(),
                Arc::clone(&index),
                Arc::clone(&events),
                found.slot,
                found.commands,
            );
            tokio::spawn(driver.resume(found.told, found.events));
        }
        Self {
            parts,
            index,
            rates: Arc::new(Rates::default()),
            events,
        }
    }

    // === sandboxes ===

    /// CRI RunPodSandbox; the id of the ready sandbox. The same request again joins the running one.
    ///
    /// # Errors
    /// `AlreadyExists` if the key is taken by another configuration; the failing step's otherwise, all undone.
    pub async fn run_sandbox(
        &self,
        config: SandboxConfig,
        runtime_handler: &str,
    ) -> Result<String, PodError> {
        run_sandbox::check(&config, runtime_handler, &self.parts.settings.handlers)?;
        self.parts.cgroups.check_parent(&config.cgroup_parent)?;
        let pod = new_pod(config, runtime_handler);
        let config = Arc::clone(&pod.config);
        let settings = &self.parts.settings;
        let directories = PodDirectories::new(&settings.root, &settings.run_directory, &pod.id);
        let (slot, commands) = PodSlot::new(pod, directories);
        let slot = Arc::new(slot);
        match self.index.reserve(&slot, &config, runtime_handler)? {
            Reservation::Same(existing) => {
                existing.ask(Request::Run, Duration::ZERO).await?;
                Ok(existing.id.clone())
            }
            Reservation::New => {
                let driver = Driver::new(
                    self.parts.clone(),
                    Arc::clone(&self.index),
                    Arc::clone(&self.events),
                    Arc::clone(&slot),
                    commands,
                );
                let (answer, result) = oneshot::channel();
                // A task of its own: a client that leaves does not cancel it.
                tokio::spawn(driver.run(tracing::Span::current(), answer));
                match result.await {
                    Ok(result) => result.map(|_reply| slot.id.clone()),
                    Err(_closed) => Err(PodError::new(
                        PodErrorKind::Internal,
                        Subject::Sandbox(slot.id.clone()),
                        "its driver was lost",
                    )),
                }
            }
        }
    }

    /// CRI StopPodSandbox. An unknown id is fine.
    ///
    /// # Errors
    /// The first step that failed; asking again tries again.
    pub async fn stop_sandbox(&self, id: &str) -> Result<(), PodError> {
        match self.index.sandbox(id) {
            Some(slot) => gone_is_done(slot.ask(Request::Stop, Duration::ZERO).await),
            None => Ok(()),
        }
    }

    /// CRI RemovePodSandbox. An unknown id is fine.
    ///
    /// # Errors
    /// The first step that failed; asking again tries again.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), PodError> {
        let Some(slot) = self.index.sandbox(id) else {
            return Ok(());
        };
        let result = gone_is_done(slot.ask(Request::Remove, Duration::ZERO).await);
        self.forget_rates();
        result
    }

    /// CRI PodSandboxStatus; the id may be an unambiguous prefix.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn sandbox_status(&self, id: &str) -> Result<SandboxView, PodError> {
        self.index
            .sandbox(id)
            .map(|slot| slot.pod())
            .filter(|pod| pod.phase != SandboxPhase::Creating)
            .map(|pod| pod.view())
            .ok_or_else(|| no_sandbox(id))
    }

    /// CRI PodSandboxStatus with the containers; the id may be an unambiguous prefix.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn pod_snapshot(&self, id: &str) -> Result<PodSnapshot, PodError> {
        // Before the state is read: an event that comes meanwhile must count as newer.
        let timestamp = clock::now();
        let slot = self.index.sandbox(id).ok_or_else(|| no_sandbox(id))?;
        let pod = slot.pod();
        if pod.phase == SandboxPhase::Creating {
            return Err(no_sandbox(id));
        }
        let (sandbox, containers) = whole_view(&pod);
        Ok(PodSnapshot {
            timestamp,
            sandbox,
            containers,
        })
    }

    /// CRI GetContainerEvents: everything from now on, and the exits that this daemon has found when it started.
    ///
    /// # Errors
    /// `ResourceExhausted` while too many listen.
    pub fn events(&self) -> Result<PodEvents, PodError> {
        self.events.listen()
    }

    /// CRI ListPodSandbox.
    pub fn list_sandboxes(&self, filter: &SandboxFilter) -> Vec<SandboxView> {
        self.index
            .all()
            .iter()
            .map(|slot| slot.pod())
            .filter(|pod| pod.phase != SandboxPhase::Creating && pod.id.starts_with(&filter.id))
            .map(|pod| pod.view())
            .filter(|view| filter.state.is_none_or(|state| view.state == state))
            .filter(|view| has_labels(&view.config.labels, &filter.labels))
            .collect()
    }

    // === containers ===

    /// CRI CreateContainer; the container's id. The same request again gives the same container.
    ///
    /// # Errors
    /// `NotFound` without sandbox or image, `FailedPrecondition` if the sandbox is not ready, `AlreadyExists` if the name is
    /// taken by another configuration; the failing step's otherwise, all undone.
    pub async fn create_container(
        &self,
        sandbox_id: &str,
        config: ContainerConfig,
    ) -> Result<String, PodError> {
        let slot = self
            .index
            .sandbox(sandbox_id)
            .ok_or_else(|| no_sandbox(sandbox_id))?;
        match slot
            .ask(Request::Create(Box::new(config)), Duration::ZERO)
            .await?
        {
            Reply::Container(id) => Ok(id),
            Reply::Done => Err(PodError::new(
                PodErrorKind::Internal,
                Subject::Sandbox(slot.id.clone()),
                "a container was made without an id",
            )),
        }
    }

    /// CRI StartContainer.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` unless it is created and not started; `InvalidArgument` if its program cannot be
    /// executed.
    pub async fn start_container(&self, id: &str) -> Result<(), PodError> {
        let (id, slot) = self.container(id)?;
        slot.ask(Request::Start(id), Duration::ZERO)
            .await
            .map(|_reply| ())
    }

    /// CRI StopContainer; a zero timeout means SIGKILL at once. An unknown id is fine.
    ///
    /// # Errors
    /// If a process cannot be killed.
    pub async fn stop_container(&self, id: &str, timeout: Duration) -> Result<(), PodError> {
        match self.index.container(id) {
            Some((id, slot)) => gone_is_done(slot.ask(Request::StopContainer(id), timeout).await),
            None => Ok(()),
        }
    }

    /// CRI RemoveContainer. An unknown id is fine.
    ///
    /// # Errors
    /// The first step that failed; asking again tries again.
    pub async fn remove_container(&self, id: &str) -> Result<(), PodError> {
        let Some((id, slot)) = self.index.container(id) else {
            return Ok(());
        };
        let result = gone_is_done(slot.ask(Request::RemoveContainer(id), Duration::ZERO).await);
        self.forget_rates();
        result
    }

    /// CRI ContainerStatus; the id may be an unambiguous prefix.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn container_status(&self, id: &str) -> Result<ContainerView, PodError> {
        let (id, slot) = self.container(id)?;
        let pod = slot.pod();
        let container = visible(&pod, &id).ok_or_else(|| no_container(&id))?;
        let mut view = view(&pod, container);
        let path = slot.directories.specification(&id);
        view.log = slot.logs.of(&id);
        view.runtime_specification = std::fs::read_to_string(path).unwrap_or_default().into();
        Ok(view)
    }

    /// CRI ListContainers.
    pub fn list_containers(&self, filter: &ContainerFilter) -> Vec<ContainerView> {
        let mut views = Vec::new();
        for slot in self.index.all() {
            let pod = slot.pod();
            views.extend(matching(&pod, filter).map(|container| view(&pod, container)));
        }
        views
    }

    /// CRI ReopenContainerLog.
    ///
    /// # Errors
    /// `FailedPrecondition` unless the container runs.
    pub async fn reopen_log(&self, id: &str) -> Result<(), PodError> {
        let (id, slot) = self.container(id)?;
        let subject = Subject::Container(id.clone());
        let running = visible(&slot.pod(), &id)
            .is_some_and(|container| container.phase.state() == ContainerState::Running);
        if !running {
            return Err(PodError::new(
                PodErrorKind::FailedPrecondition,
                subject,
                "the container is not running",
            ));
        }
        slot.shim()?
            .reopen_log(id, SHIM_PATIENCE)
            .await
            .map_err(|error| shim_error(subject, "open its log again", error))
    }

    /// CRI UpdateContainerResources.
    ///
    /// # Errors
    /// `NotFound`, `FailedPrecondition` after its exit; nothing is changed if one limit cannot be.
    pub async fn update_resources(
        &self,
        id: &str,
        resources: LinuxResources,
    ) -> Result<(), PodError> {
        let (id, slot) = self.container(id)?;
        slot.ask(Request::Update(id, Box::new(resources)), Duration::ZERO)
            .await
            .map(|_reply| ())
    }

    /// CRI UpdatePodSandboxResources.
    ///
    /// # Errors
    /// `NotFound`, `FailedPrecondition` unless the sandbox is ready; nothing is changed if one limit cannot be.
    pub async fn update_sandbox_resources(
        &self,
        id: &str,
        resources: PodResources,
    ) -> Result<(), PodError> {
        let slot = self.index.sandbox(id).ok_or_else(|| no_sandbox(id))?;
        slot.ask(Request::UpdateSandbox(Box::new(resources)), Duration::ZERO)
            .await
            .map(|_reply| ())
    }

    // === statistics and status ===

    /// CRI UpdateRuntimeConfig.
    ///
    /// # Errors
    /// `InvalidArgument` if these are no networks.
    pub async fn set_pod_networks(&self, networks: &str) -> Result<(), PodError> {
        self.parts.networks.set_pod_networks(networks).await
    }

    /// CRI Status.
    pub async fn report(&self) -> RuntimeReport {
        let network = self.parts.networks.report().await;
        let mut facts = self.parts.settings.facts.clone();
        facts.extend(network.facts);
        RuntimeReport {
            network_trouble: network.trouble,
            runtime_trouble: None,
            handlers: {
                let settings = &self.parts.settings;
                settings.handlers.report(settings.user_namespaces)
            },
            config_json: self.parts.settings.config_json.clone(),
            facts,
        }
    }

    /// What is there and what runs, for the daemon's own figures.
    pub fn activity(&self) -> Activity {
        let mut activity = Activity {
            lost_log_lines: self.index.lost_log_lines(),
            event_clients: self.events.clients(),
            ..Activity::default()
        };
        for slot in self.index.all() {
            activity.add(&slot);
        }
        activity
    }

    fn context(&self, slot: Arc<PodSlot>) -> Context {
        Context {
            parts: self.parts.clone(),
            slot,
        }
    }

    fn container(&self, id: &str) -> Result<(String, Arc<PodSlot>), PodError> {
        self.index.container(id).ok_or_else(|| no_container(id))
    }

    fn forget_rates(&self) {
        self.rates
            .retain(|id| self.index.container(id).is_some() || self.index.sandbox(id).is_some());
    }
}

pub(super) fn new_pod(config: SandboxConfig, runtime_handler: &str) -> Pod {
    Pod {
        id: identifier::new(),
        resources: PodResources::of(&config),
        config: Arc::new(config),
        runtime_handler: runtime_handler.to_owned(),
        created_at: clock::now(),
        phase: SandboxPhase::Creating,
        addresses: Vec::new(),
        network_namespace: PathBuf::new(),
        infra_pid: 0,
        containers: BTreeMap::new(),
    }
}

/// Stopping or removing what has just been removed is done.
fn gone_is_done(result: Result<Reply, PodError>) -> Result<(), PodError> {
    match result {
        Err(error) if error.kind() == PodErrorKind::NotFound => Ok(()),
        result => result.map(|_reply| ()),
    }
}

/// A container that is being made is not to be seen yet.
fn visible<'pod>(pod: &'pod Pod, id: &str) -> Option<&'pod Container> {
    pod.containers
        .get(id)
        .filter(|container| container.is_visible())
}

fn matching<'pod>(
    pod: &'pod Pod,
    filter: &'pod ContainerFilter,
) -> impl Iterator<Item = &'pod Container> {
    let sandbox_fits = pod.id.starts_with(&filter.sandbox_id);
    pod.containers.values().filter(move |container| {
        sandbox_fits
            && container.is_visible()
            && container.id.starts_with(&filter.id)
            && filter
                .state
                .is_none_or(|state| container.phase.state() == state)
            && has_labels(&container.config.labels, &filter.labels)
    })
}

fn has_labels(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted
        .iter()
        .all(|(name, value)| labels.get(name) == Some(value))
}

/// The sandbox and its containers that are to be seen.
pub(super) fn whole_view(pod: &Pod) -> (SandboxView, Vec<ContainerView>) {
    let containers = pod.containers.values();
    let seen = containers.filter(|container| container.is_visible());
    (
        pod.view(),
        seen.map(|container| view(pod, container)).collect(),
    )
}

/// As ContainerStatus shows it, without the specification.
pub(super) fn view(pod: &Pod, container: &Container) -> ContainerView {
    let exit = container.phase.exit();
    ContainerView {
        id: container.id.clone(),
        sandbox_id: pod.id.clone(),
        config: Arc::clone(&container.config),
        state: container.phase.state(),
        created_at: container.created_at,
        started_at: container.phase.started_at(),
        finished_at: exit.map_or(0, |exit| exit.finished_at),
        exit_code: exit.map_or(0, |exit| exit.code),
        reason: exit.map_or_else(String::new, |exit| exit.reason.clone()),
        message: exit.map_or_else(String::new, |exit| exit.message.clone()),
        image_id: container.image.id.clone(),
        image_name: container.image.name.clone(),
        image_reference: container.image.reference.clone(),
        image_volumes: container.image.volumes.clone(),
        log_path: container.log_path.display().to_string(),
        resources: container.resources.clone(),
        user: container.user.as_ref().map(UserView::from),
        stop_signal: container.stop_signal,
        pid: container.phase.pid().unwrap_or(0),
        log: LogState::default(),
        runtime_specification: Arc::from(""),
    }
}
