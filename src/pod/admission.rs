//! What is to be done with a request, decided from the state of the pod alone. Pure: no locks, no I/O, no clock.
//!
//! Idempotence is decided here: stopping what is stopped and removing what is gone is done already, and the same
//! request again joins the one that runs.

use super::container_state::ContainerPhase;
use super::error::{PodErrorKind, Subject};
use super::sandbox_state::{Container, Pod, SandboxPhase};
use crate::oci::{ContainerConfig, LinuxResources, PodResources};

/// A procedure on a pod. At most one of each runs at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    /// RunPodSandbox.
    Run,
    /// StopPodSandbox, and what follows when the shim dies.
    Stop,
    /// RemovePodSandbox.
    Remove,
    /// The connection with the shim is made again, or its death is found.
    Reconnect,
    /// CreateContainer, by the id that was chosen.
    Create(String),
    /// StartContainer.
    Start(String),
    /// StopContainer.
    StopContainer(String),
    /// RemoveContainer.
    RemoveContainer(String),
    /// UpdateContainerResources.
    Update(String),
    /// UpdatePodSandboxResources.
    UpdateSandbox,
}

impl Job {
    /// The call of the CRI that it answers.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Run => "RunPodSandbox",
            Self::Stop => "StopPodSandbox",
            Self::Remove => "RemovePodSandbox",
            Self::Reconnect => "find the shim again",
            Self::Create(_) => "CreateContainer",
            Self::Start(_) => "StartContainer",
            Self::StopContainer(_) => "StopContainer",
            Self::RemoveContainer(_) => "RemoveContainer",
            Self::Update(_) => "UpdateContainerResources",
            Self::UpdateSandbox => "UpdatePodSandboxResources",
        }
    }
}

/// A request on a pod that exists.
#[derive(Debug, Clone)]
pub(super) enum Request {
    /// RunPodSandbox of the sandbox that is here or being made.
    Run,
    /// StopPodSandbox.
    Stop,
    /// RemovePodSandbox.
    Remove,
    /// CreateContainer.
    Create(Box<ContainerConfig>),
    /// StartContainer.
    Start(String),
    /// StopContainer.
    StopContainer(String),
    /// RemoveContainer.
    RemoveContainer(String),
    /// UpdateContainerResources.
    Update(String, Box<LinuxResources>),
    /// UpdatePodSandboxResources.
    UpdateSandbox(Box<PodResources>),
}

impl Request {
    /// Whom an error is about.
    pub(super) fn subject(&self, sandbox_id: &str) -> Subject {
        match self {
            Self::Run | Self::Stop | Self::Remove | Self::Create(_) | Self::UpdateSandbox(_) => {
                Subject::Sandbox(sandbox_id.to_owned())
            }
            Self::Start(id)
            | Self::StopContainer(id)
            | Self::RemoveContainer(id)
            | Self::Update(id, _) => Subject::Container(id.clone()),
        }
    }
}

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It is so already.
    Done,
    /// It is so already: the container has this id.
    DoneAs(String),
    /// This job does it: wait for its result.
    Join(Job),
    /// Begin the job. `Create` is begun under an id that the driver chooses.
    Begin(Job),
    /// Begin CreateContainer.
    BeginCreate,
    /// Look again when this job has ended.
    After(Job),
    /// It cannot be done.
    Denied(PodErrorKind, String),
}

/// Decides on a request. `jobs` are those that run, `closing` says that a stop or removal of the sandbox waits already.
pub(super) fn admit(pod: &Pod, jobs: &[Job], closing: Closing, request: &Request) -> Verdict {
    match request {
        Request::Run => admit_run(pod, jobs),
        Request::Stop => admit_stop(pod, jobs),
        Request::Remove => admit_remove(pod, jobs),
        Request::Create(config) => admit_create(pod, jobs, closing, config),
        Request::Start(id) => with(pod, id, |container| {
            admit_start(pod, jobs, closing, container)
        }),
        Request::StopContainer(id) => match pod.containers.get(id) {
            None => Verdict::Done,
            Some(container) => admit_stop_container(jobs, container),
        },
        Request::RemoveContainer(id) => match pod.containers.get(id) {
            None => Verdict::Done,
            Some(container) => admit_remove_container(pod, jobs, container),
        },
        Request::Update(id, _) => with(pod, id, |container| admit_update(jobs, container)),
        Request::UpdateSandbox(_) => admit_update_sandbox(pod, jobs, closing),
    }
}

/// Does a stop or removal of the sandbox wait for its turn?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// Yes: nothing new is begun in this pod.
    Yes,
    /// No.
    No,
}

fn with(pod: &Pod, id: &str, decide: impl FnOnce(&Container) -> Verdict) -> Verdict {
    match pod.containers.get(id) {
        Some(container) => decide(container),
        None => Verdict::Denied(PodErrorKind::NotFound, "no such container".to_owned()),
    }
}

fn admit_run(pod: &Pod, jobs: &[Job]) -> Verdict {
    if jobs.contains(&Job::Run) {
        return Verdict::Join(Job::Run);
    }
    match pod.phase {
        SandboxPhase::Ready => Verdict::Done,
        SandboxPhase::Creating
        | SandboxPhase::InfraLost
        | SandboxPhase::Stopping
        | SandboxPhase::Stopped { .. }
        | SandboxPhase::Removing => wrong_state("the sandbox is not ready any more"),
    }
}

fn admit_stop(pod: &Pod, jobs: &[Job]) -> Verdict {
    if jobs.contains(&Job::Remove) {
        return Verdict::Join(Job::Remove);
    }
    if jobs.contains(&Job::Stop) {
        return Verdict::Join(Job::Stop);
    }
    if let Some(job) = blocking_job(jobs) {
        return Verdict::After(job);
    }
    match pod.phase {
        SandboxPhase::Stopped { leftovers: false } => Verdict::Done,
        SandboxPhase::Creating
        | SandboxPhase::Ready
        | SandboxPhase::InfraLost
        | SandboxPhase::Stopping
        | SandboxPhase::Stopped { leftovers: true }
        | SandboxPhase::Removing => Verdict::Begin(Job::Stop),
    }
}

fn admit_remove(_pod: &Pod, jobs: &[Job]) -> Verdict {
    if jobs.contains(&Job::Remove) {
        return Verdict::Join(Job::Remove);
    }
    if jobs.contains(&Job::Stop) {
        return Verdict::After(Job::Stop);
    }
    match blocking_job(jobs) {
        Some(job) => Verdict::After(job),
        None => Verdict::Begin(Job::Remove),
    }
}

/// A job that a stop of the sandbox lets end first. The stop of a container is not one: its grace period may be long,
/// and it ends when the container is killed.
fn blocking_job(jobs: &[Job]) -> Option<Job> {
    jobs.iter()
        .find(|job| match job {
            Job::Run
            | Job::Reconnect
            | Job::Create(_)
            | Job::Start(_)
            | Job::RemoveContainer(_)
            | Job::Update(_)
            | Job::UpdateSandbox => true,
            Job::Stop | Job::Remove | Job::StopContainer(_) => false,
        })
        .cloned()
}

fn admit_create(pod: &Pod, jobs: &[Job], closing: Closing, config: &ContainerConfig) -> Verdict {
    if let Some(denied) = not_open(pod, closing) {
        return denied;
    }
    let Some(container) = pod.container_of(config) else {
        return Verdict::BeginCreate;
    };
    let removal = Job::RemoveContainer(container.id.clone());
    if jobs.contains(&removal) {
        return Verdict::After(removal);
    }
    if *container.config != *config {
        return Verdict::Denied(
            PodErrorKind::AlreadyExists,
            format!(
                "the name {:?}, attempt {}, is taken by container {} with another configuration",
                config.metadata.name, config.metadata.attempt, container.id
            ),
        );
    }
    let creation = Job::Create(container.id.clone());
    if jobs.contains(&creation) {
        return Verdict::Join(creation);
    }
    Verdict::DoneAs(container.id.clone())
}

fn admit_start(pod: &Pod, jobs: &[Job], closing: Closing, container: &Container) -> Verdict {
    let start = Job::Start(container.id.clone());
    if jobs.contains(&start) {
        return Verdict::Join(start);
    }
    if let Some(denied) = not_open(pod, closing) {
        return denied;
    }
    if container.removing {
        return wrong_state("the container is being removed");
    }
    match &container.phase {
        ContainerPhase::Created { .. } => Verdict::Begin(start),
        ContainerPhase::Creating => {
            Verdict::Denied(PodErrorKind::NotFound, "no such container".to_owned())
        }
        ContainerPhase::Starting { .. } => wrong_state("the container is being started"),
        ContainerPhase::Running { .. } => wrong_state("the container is running already"),
        ContainerPhase::Exited(_) => wrong_state("the container has exited"),
    }
}

fn admit_stop_container(jobs: &[Job], container: &Container) -> Verdict {
    let stop = Job::StopContainer(container.id.clone());
    if jobs.contains(&stop) {
        return Verdict::Join(stop);
    }
    match &container.phase {
        ContainerPhase::Exited(_) | ContainerPhase::Creating | ContainerPhase::Created { .. } => {
            Verdict::Done
        }
        ContainerPhase::Starting { .. } => {
            let start = Job::Start(container.id.clone());
            if jobs.contains(&start) {
                Verdict::After(start)
            } else {
                Verdict::Begin(stop)
            }
        }
        ContainerPhase::Running { .. } => Verdict::Begin(stop),
    }
}

fn admit_remove_container(pod: &Pod, jobs: &[Job], container: &Container) -> Verdict {
    let removal = Job::RemoveContainer(container.id.clone());
    if jobs.contains(&removal) {
        return Verdict::Join(removal);
    }
    if jobs.contains(&Job::Start(container.id.clone())) {
        return wrong_state("the container is being started");
    }
    for job in [
        Job::Create(container.id.clone()),
        Job::Update(container.id.clone()),
        Job::Stop,
        Job::Remove,
    ] {
        if jobs.contains(&job) {
            return Verdict::After(job);
        }
    }
    debug_assert!(pod.containers.contains_key(&container.id));
    Verdict::Begin(removal)
}

fn admit_update(jobs: &[Job], container: &Container) -> Verdict {
    let update = Job::Update(container.id.clone());
    if jobs.contains(&update) {
        return Verdict::After(update);
    }
    if container.removing {
        return wrong_state("the container is being removed");
    }
    match &container.phase {
        ContainerPhase::Created { .. }
        | ContainerPhase::Starting { .. }
        | ContainerPhase::Running { .. } => Verdict::Begin(update),
        ContainerPhase::Creating => {
            Verdict::Denied(PodErrorKind::NotFound, "no such container".to_owned())
        }
        ContainerPhase::Exited(_) => wrong_state("the container has exited"),
    }
}

fn admit_update_sandbox(pod: &Pod, jobs: &[Job], closing: Closing) -> Verdict {
    if jobs.contains(&Job::UpdateSandbox) {
        return Verdict::After(Job::UpdateSandbox);
    }
    not_open(pod, closing).unwrap_or(Verdict::Begin(Job::UpdateSandbox))
}

/// Nothing new is begun in a sandbox that is not ready.
fn not_open(pod: &Pod, closing: Closing) -> Option<Verdict> {
    if closing == Closing::Yes {
        return Some(wrong_state("the sandbox is being stopped"));
    }
    match pod.phase {
        SandboxPhase::Ready => None,
        SandboxPhase::Creating => Some(wrong_state("the sandbox is being made")),
        SandboxPhase::InfraLost => Some(wrong_state(
            "the sandbox is not ready: its infra process has died",
        )),
        SandboxPhase::Stopping => Some(wrong_state("the sandbox is being stopped")),
        SandboxPhase::Stopped { .. } => {
            Some(wrong_state("the sandbox is not ready: it is stopped"))
        }
        SandboxPhase::Removing => Some(wrong_state("the sandbox is being removed")),
    }
}

fn wrong_state(why: &str) -> Verdict {
    Verdict::Denied(PodErrorKind::FailedPrecondition, why.to_owned())
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
