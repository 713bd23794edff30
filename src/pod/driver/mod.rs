//! One task per pod: the only writer of its state.
//!
//! Requests, the shim's events and the ends of procedures come in; for each the driver decides (`admission`), begins a
//! procedure as a task of its own, or takes a result. It never waits for a process, a plugin or a grace period itself.
//! Every transition has the same order, here and nowhere else: record the intent → act → record the outcome → reply.

mod outcomes;
mod shim_events;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carpel_shim_protocol::message;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Span;

use super::admission::{Closing, Job, Request, Verdict, admit};
use super::container_state::ContainerPhase;
use super::ends::new_container;
use super::error::{PodError, Subject, chain};
use super::events::{Events, Origin};
use super::index::Index;
use super::parts::Parts;
use super::procedure::{Context, Outcome, ShimEvents};
use super::record;
use super::sandbox_state::{Container, Pod, SandboxPhase};
use super::slot::{Answer, Command, PodSlot, Reply, answer};
use super::told::Told;
use super::{
    create_container, remove_container, remove_sandbox, run_sandbox, start_container,
    stop_container, stop_sandbox, update_container, update_sandbox,
};

/// The writer of one pod's state.
#[derive(Debug)]
pub(super) struct Driver {
    index: Arc<Index>,
    context: Context,
    pod: Arc<Pod>,
    commands: mpsc::Receiver<Command>,
    events: Option<ShimEvents>,
    procedures: JoinSet<(Job, Outcome)>,
    waiting: BTreeMap<Job, Vec<Answer>>,
    deferred: Vec<Command>,
    deadlines: BTreeMap<String, watch::Sender<Instant>>,
    listeners: Arc<Events>,
    told: Told,
    /// The span of the call that is begun.
    cause: Span,
    /// What happens is told also to clients that come later: nobody could listen yet.
    origin: Origin,
    /// The newest live record could not be written: try again at the next transition.
    unsaved: bool,
    gone: bool,
}

impl Driver {
    /// A driver of the pod in `slot`; nothing runs before [`Driver::drive`].
    pub(super) fn new(
        parts: Parts,
        index: Arc<Index>,
        listeners: Arc<Events>,
        slot: Arc<PodSlot>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        Self {
            index,
            pod: slot.pod(),
            context: Context { parts, slot },
            commands,
            events: None,
            procedures: JoinSet::new(),
            waiting: BTreeMap::new(),
            deferred: Vec::new(),
            deadlines: BTreeMap::new(),
            listeners,
            told: Told::default(),
            cause: Span::none(),
            origin: Origin::Live,
            unsaved: false,
            gone: false,
        }
    }

    /// Makes the sandbox, then serves it until it is removed.
    pub(super) async fn run(mut self, cause: Span, answer: Answer) {
        self.waiting.insert(Job::Run, vec![answer]);
        self.cause = cause;
        self.spawn(Job::Run, run_sandbox::run(self.context.clone()));
        self.drive().await;
    }

    /// Takes up a pod that recovery has found, and carries on what was unfinished.
    pub(super) async fn resume(mut self, told: Told, events: Option<ShimEvents>) {
        self.events = events;
        self.told = told;
        self.origin = Origin::Recovery;
        self.save();
        self.tell();
        self.carry_on();
        self.end_recovery();
        self.drive().await;
    }

    async fn drive(&mut self) {
        while !self.gone {
            tokio::select! {
                Some(command) = self.commands.recv() => self.take(command),
                Some(joined) = self.procedures.join_next() => match joined {
                    Ok((job, outcome)) => self.finish(&job, outcome),
                    Err(error) => tracing::error!(sandbox = %self.pod.id, %error, "a procedure was lost"),
                },
                event = next_event(self.events.as_mut()) => match event {
                    Some(event) => self.on_event(event),
                    None => self.on_shim_closed(),
                },
            }
        }
    }

    /// After recovery: what was begun and not finished.
    fn carry_on(&mut self) {
        match self.pod.phase {
            SandboxPhase::Stopping => self.begin(Job::Stop, None),
            SandboxPhase::Removing => self.begin(Job::Remove, None),
            SandboxPhase::Creating
            | SandboxPhase::Ready
            | SandboxPhase::InfraLost
            | SandboxPhase::Stopped { .. } => {
                let unfinished: Vec<String> = self
                    .pod
                    .containers
                    .values()
                    .filter(|container| {
                        container.removing || container.phase == ContainerPhase::Creating
                    })
                    .map(|container| container.id.clone())
                    .collect();
                for id in unfinished {
                    self.begin(Job::RemoveContainer(id), None);
                }
            }
        }
    }

    // === requests ===

    fn take(&mut self, command: Command) {
        self.cause = command.cause.clone();
        self.decide(command);
        self.cause = Span::none();
    }

    fn decide(&mut self, command: Command) {
        let jobs: Vec<Job> = self.running_jobs();
        let closing = if self
            .deferred
            .iter()
            .any(|waiting| matches!(waiting.request, Request::Stop | Request::Remove))
        {
            Closing::Yes
        } else {
            Closing::No
        };
        match admit(&self.pod, &jobs, closing, &command.request) {
            Verdict::Done => answer(command.reply, Ok(Reply::Done)),
            Verdict::DoneAs(id) => answer(command.reply, Ok(Reply::Container(id))),
            Verdict::Denied(kind, why) => {
                let error = PodError::new(kind, command.request.subject(&self.pod.id), why);
                answer(command.reply, Err(error));
            }
            Verdict::After(_) => self.deferred.push(command),
            Verdict::Join(job) => {
                if let Job::StopContainer(id) = &job {
                    self.shorten(id, command.grace);
                }
                self.waiting.entry(job).or_default().push(command.reply);
            }
            Verdict::BeginCreate => self.begin_create(command),
            Verdict::Begin(job) => self.begin_request(job, command),
        }
    }

    fn running_jobs(&self) -> Vec<Job> {
        self.waiting.keys().cloned().collect()
    }

    fn begin_request(&mut self, job: Job, command: Command) {
        match (&job, command.request) {
            (Job::StopContainer(id), _) => {
                let deadline = Instant::now() + command.grace;
                self.deadlines
                    .insert(id.clone(), watch::Sender::new(deadline));
                self.begin(job, Some(command.reply));
            }
            (Job::Update(id), Request::Update(_, resources)) => {
                let task = update_container::run(self.context.clone(), id.clone(), *resources);
                self.waiting.insert(job.clone(), vec![command.reply]);
                self.spawn(job, task);
            }
            (Job::UpdateSandbox, Request::UpdateSandbox(resources)) => {
                let task = update_sandbox::run(self.context.clone(), *resources);
                self.waiting.insert(job.clone(), vec![command.reply]);
                self.spawn(job, task);
            }
            _ => self.begin(job, Some(command.reply)),
        }
    }

    /// Records the intent and begins the job.
    fn begin(&mut self, job: Job, reply: Option<Answer>) {
        let intent = match &job {
            Job::Stop => self.intend(|pod| {
                if pod.phase != SandboxPhase::Removing {
                    pod.phase = SandboxPhase::Stopping;
                }
            }),
            Job::Remove => self.intend(|pod| pod.phase = SandboxPhase::Removing),
            Job::Start(id) => self.intend_container(id, |container| {
                if let ContainerPhase::Created { pid } = container.phase {
                    container.phase = ContainerPhase::Starting { pid };
                }
            }),
            Job::RemoveContainer(id) => {
                self.intend_container(id, |container| container.removing = true)
            }
            Job::Run
            | Job::Reconnect
            | Job::Create(_)
            | Job::StopContainer(_)
            | Job::Update(_)
            | Job::UpdateSandbox => Ok(()),
        };
        if let Err(error) = intent {
            match reply {
                Some(reply) => answer(reply, Err(error)),
                None => {
                    tracing::error!(sandbox = %self.pod.id, error = %chain(&error), ?job, "not carried on")
                }
            }
            return;
        }
        self.waiting
            .insert(job.clone(), reply.into_iter().collect());
        let context = self.context.clone();
        match job.clone() {
            Job::Stop => self.spawn(job, stop_sandbox::run(context)),
            Job::Remove => self.spawn(job, remove_sandbox::run(context)),
            Job::Start(id) => self.spawn(job, start_container::run(context, id)),
            Job::StopContainer(id) => {
                let deadline = self
                    .deadlines
                    .entry(id.clone())
                    .or_insert_with(|| watch::Sender::new(Instant::now()))
                    .subscribe();
                self.spawn(job, stop_container::run(context, id, deadline));
            }
            Job::RemoveContainer(id) => self.spawn(job, remove_container::run(context, id)),
            Job::Run | Job::Reconnect | Job::Create(_) | Job::Update(_) | Job::UpdateSandbox => {}
        }
    }

    fn begin_create(&mut self, command: Command) {
        let Request::Create(config) = command.request else {
            return;
        };
        let id = super::identifier::new();
        let container = new_container(&id, *config);
        let intent = self.intend(|pod| {
            pod.containers.insert(id.clone(), container);
        });
        if let Err(error) = intent {
            answer(command.reply, Err(error));
            return;
        }
        self.index.add_container(&id, &self.context.slot);
        let job = Job::Create(id.clone());
        self.waiting.insert(job.clone(), vec![command.reply]);
        self.spawn(job, create_container::run(self.context.clone(), id));
    }

    fn shorten(&self, id: &str, grace: Duration) {
        let wanted = Instant::now() + grace;
        if let Some(deadline) = self.deadlines.get(id) {
            deadline.send_if_modified(|current| {
                let sooner = wanted < *current;
                if sooner {
                    *current = wanted;
                }
                sooner
            });
        }
    }

    fn spawn(&mut self, job: Job, task: impl Future<Output = Outcome> + Send + 'static) {
        let slot = Arc::clone(&self.context.slot);
        let cause = std::mem::replace(&mut self.cause, Span::none());
        self.procedures.spawn(async move {
            let outcome = slot.stages.run_below(&cause, job.name(), task).await;
            (job, outcome)
        });
    }

    // === transitions ===

    /// An outcome: published even if it cannot be written, since it is true.
    fn record(&mut self, change: impl FnOnce(&mut Pod)) {
        change(Arc::make_mut(&mut self.pod));
        self.save();
        self.context.slot.publish(Arc::clone(&self.pod));
        self.tell();
    }

    /// Tells the listeners what they have not been told yet.
    fn tell(&mut self) {
        if self.gone {
            return;
        }
        let waiting = &self.waiting;
        let is_starting = |id: &str| waiting.contains_key(&Job::Start(id.to_owned()));
        let news = self.told.news(&self.pod, is_starting);
        self.listeners.publish(&self.pod, news, self.origin);
    }

    /// What was unfinished at the start of the daemon has been carried on.
    fn end_recovery(&mut self) {
        if self.waiting.is_empty() {
            self.origin = Origin::Live;
        }
    }

    fn record_container(&mut self, id: &str, change: impl FnOnce(&mut Container)) {
        self.record(|pod| {
            if let Some(container) = pod.containers.get_mut(id) {
                change(container);
            }
        });
    }

    /// An intent: if it cannot be written, nothing is begun.
    fn intend(&mut self, change: impl FnOnce(&mut Pod)) -> Result<(), PodError> {
        let mut intended = Arc::clone(&self.pod);
        change(Arc::make_mut(&mut intended));
        record::write_live(&self.context.slot.directories, &intended).map_err(|error| {
            super::procedure::persist_error(
                Subject::Sandbox(self.pod.id.clone()),
                "record the intent",
                error,
            )
        })?;
        self.pod = intended;
        self.unsaved = false;
        self.context.slot.publish(Arc::clone(&self.pod));
        Ok(())
    }

    fn intend_container(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut Container),
    ) -> Result<(), PodError> {
        self.intend(|pod| {
            if let Some(container) = pod.containers.get_mut(id) {
                change(container);
            }
        })
    }

    fn save(&mut self) {
        match record::write_live(&self.context.slot.directories, &self.pod) {
            Ok(()) => self.unsaved = false,
            Err(error) if !self.unsaved => {
                self.unsaved = true;
                tracing::error!(sandbox = %self.pod.id, error = %chain(&error), "the state cannot be recorded; it is kept in memory");
            }
            Err(_still) => {}
        }
    }
}

async fn next_event(events: Option<&mut ShimEvents>) -> Option<message::Event> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}
