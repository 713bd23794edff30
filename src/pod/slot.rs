//! A pod as the rest of the domain holds it: what its driver publishes, and the way to the driver.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carpel_shim_protocol::message;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::admission::Request;
use super::error::{PodError, PodErrorKind, Subject};
use super::log_state::LogStates;
use super::record::PodDirectories;
use super::sandbox_state::Pod;
use super::stage::Stages;
use crate::shim_client::ShimClient;

/// How many requests may wait for a driver; a client beyond that waits in `send`.
pub(super) const COMMAND_QUEUE: usize = 64;

/// A request on its way to the driver.
#[derive(Debug)]
pub(super) struct Command {
    /// What is asked for.
    pub request: Request,
    /// Of StopContainer: how long the container has before SIGKILL.
    pub grace: Duration,
    /// The span of the call that asks.
    pub cause: tracing::Span,
    /// Takes the answer; the client may have left.
    pub reply: Answer,
}

/// Takes the answer to a request.
pub(super) type Answer = oneshot::Sender<Result<Reply, PodError>>;

/// Gives the answer; the client may have left.
pub(super) fn answer(reply: Answer, result: Result<Reply, PodError>) {
    if reply.send(result).is_err() {
        tracing::debug!("the client had left before its answer");
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// It is done.
    Done,
    /// It is done; the container has this id.
    Container(String),
}

/// A pod in the index.
#[derive(Debug)]
pub(super) struct PodSlot {
    /// Sandbox id.
    pub id: String,
    /// Its folders.
    pub directories: PodDirectories,
    /// The state, replaced whole at every transition. Readers never wait for the driver.
    published: watch::Sender<Arc<Pod>>,
    /// The shim, while there is one.
    shim: Mutex<Option<ShimClient>>,
    /// Who waits for the end of an exec.
    execs: Mutex<HashMap<String, oneshot::Sender<message::ExecExited>>>,
    /// Who writes to the input of a container, by its id: cancelled when that is closed.
    inputs: Mutex<HashMap<String, CancellationToken>>,
    /// Logs that are not as they should be.
    pub logs: LogStates,
    /// The steps that run for it.
    pub stages: Stages,
    /// The way to the driver; full: the sender waits.
    commands: mpsc::Sender<Command>,
}

impl PodSlot {
    /// A slot and the driver's end of its queue.
    pub(super) fn new(pod: Pod, directories: PodDirectories) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
        let slot = Self {
            id: pod.id.clone(),
            directories,
            published: watch::Sender::new(Arc::new(pod)),
            shim: Mutex::new(None),
            execs: Mutex::new(HashMap::new()),
            inputs: Mutex::new(HashMap::new()),
            logs: LogStates::default(),
            stages: Stages::default(),
            commands,
        };
        (slot, receiver)
    }

    /// The state now.
    pub(super) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.published.borrow())
    }

    /// The state now and all that follow.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Pod>> {
        self.published.subscribe()
    }

    /// For the driver alone: the new state.
    pub(super) fn publish(&self, pod: Arc<Pod>) {
        self.published.send_replace(pod);
    }

    /// The shim.
    ///
    /// # Errors
    /// `Unavailable` if there is none (any more).
    pub(super) fn shim(&self) -> Result<ShimClient, PodError> {
        self.locked_shim().clone().ok_or_else(|| {
            PodError::new(
                PodErrorKind::Unavailable,
                Subject::Sandbox(self.id.clone()),
                "its shim is not there",
            )
        })
    }

    /// Sets or takes away the shim.
    pub(super) fn set_shim(&self, shim: Option<ShimClient>) {
        *self.locked_shim() = shim;
    }

    /// Waits for the end of an exec from before it is started.
    pub(super) fn expect_exec(&self, exec_id: &str) -> oneshot::Receiver<message::ExecExited> {
        let (sender, receiver) = oneshot::channel();
        self.locked_execs().insert(exec_id.to_owned(), sender);
        receiver
    }

    /// Nobody waits for this exec any more.
    pub(super) fn forget_exec(&self, exec_id: &str) {
        self.locked_execs().remove(exec_id);
    }

    /// An exec has ended.
    pub(super) fn exec_exited(&self, exited: message::ExecExited) {
        if let Some(waiting) = self.locked_execs().remove(&exited.exec_id)
            && waiting.send(exited).is_err()
        {
            tracing::debug!(sandbox = %self.id, "an exec ended after its client had left");
        }
    }

    /// The shim is gone: nobody will hear of the execs.
    pub(super) fn drop_execs(&self) {
        self.locked_execs().clear();
    }

    /// Tells when the input of a container has been closed.
    pub(super) fn stdin_closed(&self, container_id: &str) -> CancellationToken {
        let mut inputs = self.locked_inputs();
        // Those of containers that are gone need not be kept.
        let pod = self.pod();
        inputs.retain(|id, _| pod.containers.contains_key(id));
        inputs.entry(container_id.to_owned()).or_default().clone()
    }

    /// The input of a container is closed: whoever writes to it stops.
    pub(super) fn close_stdin(&self, container_id: &str) {
        if let Some(input) = self.locked_inputs().get(container_id) {
            input.cancel();
        }
    }

    /// Hands a request to the driver and waits for its answer. The driver carries it out whether or not the caller
    /// still waits.
    ///
    /// # Errors
    /// The request's own, and `NotFound` if the pod is gone.
    pub(super) async fn ask(&self, request: Request, grace: Duration) -> Result<Reply, PodError> {
        let gone = || {
            PodError::new(
                PodErrorKind::NotFound,
                Subject::Sandbox(self.id.clone()),
                "it has been removed",
            )
        };
        let (reply, answer) = oneshot::channel();
        let command = Command {
            request,
            grace,
            cause: tracing::Span::current(),
            reply,
        };
        if self.commands.send(command).await.is_err() {
            return Err(gone());
        }
        match answer.await {
            Ok(result) => result,
            Err(_closed) => Err(gone()),
        }
    }

    fn locked_shim(&self) -> MutexGuard<'_, Option<ShimClient>> {
        self.shim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked_inputs(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked_execs(
        &self,
    ) -> MutexGuard<'_, HashMap<String, oneshot::Sender<message::ExecExited>>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
