//! Execs, attachments and forwarded ports.

use tokio::net::TcpStream;

use super::Pods;
use crate::pod::attach::{self, Attachment};
use crate::pod::error::{PodError, PodErrorKind, Subject, no_sandbox};
use crate::pod::exec_stream::{self, RunningExec};
use crate::pod::process_streams::WantedStreams;
use crate::pod::view::{ExecCommand, ExecOutput};
use crate::pod::{exec, port_forward};

impl Pods {
    /// CRI ExecSync. It is carried out even if the caller leaves.
    ///
    /// # Errors
    /// `FailedPrecondition` unless the container runs, `DeadlineExceeded` if the command was killed at its deadline,
    /// `InvalidArgument` if it cannot be executed.
    pub async fn exec_sync(&self, id: &str, command: ExecCommand) -> Result<ExecOutput, PodError> {
        let (id, slot) = self.container(id)?;
        let context = self.context(slot);
        let subject = Subject::Container(id.clone());
        match tokio::spawn(exec::exec_sync(context, id, command)).await {
            Ok(result) => result,
            Err(error) => {
                Err(PodError::new(PodErrorKind::Internal, subject, "execute").caused_by(error))
            }
        }
    }

    /// CRI Exec: starts the command, for a client that takes its streams.
    ///
    /// # Errors
    /// As [`Pods::exec_sync`], but for the deadline.
    pub async fn exec(
        &self,
        id: &str,
        command: ExecCommand,
        wanted: WantedStreams,
    ) -> Result<RunningExec, PodError> {
        let (id, slot) = self.container(id)?;
        exec_stream::start(self.context(slot), id, command, wanted).await
    }

    /// CRI Attach: a client at the streams of the container's first process.
    ///
    /// # Errors
    /// `FailedPrecondition` unless the container runs.
    pub async fn attach(&self, id: &str, wanted: WantedStreams) -> Result<Attachment, PodError> {
        let (id, slot) = self.container(id)?;
        attach::attach(self.context(slot), id, wanted).await
    }

    /// CRI PortForward: a connection to a port in the sandbox's network.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` unless the sandbox is ready; `Unavailable` if nobody listens there.
    pub async fn connect_to_port(&self, id: &str, port: u16) -> Result<TcpStream, PodError> {
        let slot = self.index.sandbox(id).ok_or_else(|| no_sandbox(id))?;
        port_forward::connect(&self.context(slot), port).await
    }

    /// Refuses a sandbox whose ports cannot be forwarded; the whole id of one whose can.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` unless the sandbox is ready.
    pub fn check_port_forward(&self, id: &str) -> Result<String, PodError> {
        let slot = self.index.sandbox(id).ok_or_else(|| no_sandbox(id))?;
        port_forward::check(&slot.pod())?;
        Ok(slot.id.clone())
    }
}
