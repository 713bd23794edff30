//! One function a request: the message in, the message that answers it out. What a request means is in shim.proto.

use std::os::fd::OwnedFd;
use std::time::Duration;

use carpel_shim_protocol::VERSION;
use carpel_shim_protocol::message::Attach;
use carpel_shim_protocol::message::CloseStdin;
use carpel_shim_protocol::message::ContainerCreated;
use carpel_shim_protocol::message::ContainerStarted;
use carpel_shim_protocol::message::CreateContainer;
use carpel_shim_protocol::message::CreateSandbox;
use carpel_shim_protocol::message::Exec;
use carpel_shim_protocol::message::ExecStarted;
use carpel_shim_protocol::message::Hello;
use carpel_shim_protocol::message::KillExec;
use carpel_shim_protocol::message::PodState;
use carpel_shim_protocol::message::RemoveContainer;
use carpel_shim_protocol::message::ReopenLog;
use carpel_shim_protocol::message::SandboxCreated;
use carpel_shim_protocol::message::Shutdown;
use carpel_shim_protocol::message::SignalContainer;
use carpel_shim_protocol::message::SignalScope;
use carpel_shim_protocol::message::StartContainer;
use carpel_shim_protocol::message::request::Operation;
use carpel_shim_protocol::message::response::Result as Answer;

use super::connection::ShimClient;
use super::error::ShimError;

/// The message in an answer of the given kind; any other answer is an error.
macro_rules! expect_answer {
    ($operation:literal, $answer:expr, $kind:ident) => {
        match $answer {
            Answer::$kind(message) => Ok(message),
            _ => Err(ShimError::UnexpectedResponse {
                operation: $operation,
            }),
        }
    };
}

impl ShimClient {
    /// Asks for a snapshot of the pod. Events after `last_event_sequence` come again.
    ///
    /// # Errors
    ///
    /// As [`ShimClient::call`].
    pub async fn hello(
        &self,
        last_event_sequence: u64,
        within: Duration,
    ) -> Result<PodState, ShimError> {
        let hello = Operation::Hello(Hello {
            version: VERSION,
            last_event_sequence,
        });
        let (answer, _) = self.call(hello, Vec::new(), within).await?;
        expect_answer!("Hello", answer, Hello)
    }

    /// Makes the sandbox. `network` is the pod's network namespace, unless the pod is on the host's.
    ///
    /// # Errors
    ///
    /// As [`ShimClient::call`].
    pub async fn create_sandbox(
        &self,
        message: CreateSandbox,
        network: Option<OwnedFd>,
        within: Duration,
    ) -> Result<SandboxCreated, ShimError> {
        let descriptors = network.into_iter().collect();
        let operation = Operation::CreateSandbox(message);
        let (answer, _) = self.call(operation, descriptors, within).await?;
        expect_answer!("CreateSandbox", answer, CreateSandbox)
    }

    /// Makes a container up to the point where only execve is missing.
    ///
    /// # Errors
    ///
    /// As [`ShimClient::call`].
    pub async fn create_container(
        &self,
        message: CreateContainer,
        within: Duration,
    ) -> Result<ContainerCreated, ShimError> {
        let operation = Operation::CreateContainer(message);
        let (answer, _) = self.call(operation, Vec::new(), within).await?;
        expect_answer!("CreateContainer", answer, CreateContainer)
    }

    /// Lets the container's program run.
    ///
    /// # Errors
    ///
    /// As [`ShimClient::call`]; [`ShimErrorKind::Execute`](super::ShimErrorKind::Execute) if the program cannot be executed.
    pub async fn start_container(
        &self,
        container_id: String,
        within: Duration,
    ) -> Result<ContainerStarted, ShimError> {
        let operation = Operation::StartContainer(StartContainer { container_id });
        let (answer, _) = self.call(operation, Vec::new(), within).await?;
        expect_answer!("StartContainer", answer, StartContainer)
    }

    /// Sends a signal, by number, to the container's first process or to all of them.
    ///
    /// # Errors
    ///
    /// As [`ShimClient::call`].
    pub async fn signal_container(
        &self,
        container_id: String,
        signal: i32,
        scope: SignalScope,
        within: Duration,
    ) -> Result<(), ShimError> {
        let operation = Operation::SignalContainer(SignalContainer {
            container_id,
            signal,
            scope: scope.into(),
        });
        let (answer, _) = self.call(operation, Vec::new(), within).await?;
        expect_answer!("SignalContainer", answer, SignalContainer).map(drop)
    }

    /// Makes the shim forget a container that does not run.
    ///
    /// # Errors
    ///
    /// As [`ShimClient::call`].
    pub async fn remove_container(
        &self,
        container_id: String,
        within: Duration,
    ) -> Result<(), ShimError> {
        let operation = Operation::RemoveContainer(RemoveContainer { container_id });
        let (answer, _) = self.call(operation, Vec::new(), within).await?;
        expect_answer!("RemoveContainer", answer, RemoveContainer).map(drop)
    }

    /// Starts a process in a running container. `streams` are stdin, stdout and stderr; none with a terminal, whose master is
    /// returned instead.
    ///
    /// # Errors
    ///
    /// As [`ShimClient::call`]; [`ShimErrorKind::Execute`](super::ShimErrorKind::Execute) if the program cannot be executed.
    pub async fn exec(
        &self,
        message: Exec,
        streams: Vec<OwnedFd>,
        within: Duration,
    ) -> Result<(ExecStarted, Option<OwnedFd>), ShimError> {
        let operation = Operation::Exec(message);
        let (answer, descriptors) = self.call(operation, streams, within).await?;
        let started = expect_answer!("Exec", answer, Exec)?;
        Ok((started, descriptors.into_iter().next()))
    }

    /// Kills an exec with its process group.
    ///
    /// # Errors
    ///
    /// As [`ShimClient::call`]; [`ShimErrorKind::NotFound`](super::ShimErrorKind::NotFound) if it has ended.
    pub async fn kill_exec(&self, exec_id: String, within: Duration) -> Result<(), ShimError> {
        let operation = Operation::KillExec(KillExec { exec_id });
        let (answer, _) = self.call(operation, Vec::new(), within).await?;
        expect_answer!("KillExec", answer, KillExec).map(drop)
    }

    /// Attaches a client to a container: `outputs` are the writing ends of its pipes. Returned is the writing end of the
    /// container's stdin, or its terminal's master, if that was asked for and is there.
    ///
    /// # Errors
    ///
    /// As [`ShimClient::call`].
    pub async fn attach(
        &self,
        message: Attach,
        outputs: Vec<OwnedFd>,
        within: Duration,
    ) -> Result<Option<OwnedFd>, ShimError> {
        let operation = Operation::Attach(message);
        let (answer, descriptors) = self.call(operation, outputs, within).await?;
        expect_answer!("Attach", answer, Attach)?;
        Ok(descriptors.into_iter().next())
    }

    /// Makes the shim close its end of a container's stdin.
    ///
    /// # Errors
    ///
    /// As [`ShimClient::call`].
    pub async fn close_stdin(
        &self,
        container_id: String,
        within: Duration,
    ) -> Result<(), ShimError> {
        let operation = Operation::CloseStdin(CloseStdin { container_id });
        let (answer, _) = self.call(operation, Vec::new(), within).await?;
        expect_answer!("CloseStdin", answer, CloseStdin).map(drop)
    }

    /// Opens the container's log file anew: after the answer no byte goes to the old one.
    ///
    /// # Errors
    ///
    /// As [`ShimClient::call`].
    pub async fn reopen_log(
        &self,
        container_id: String,
        within: Duration,
    ) -> Result<(), ShimError> {
        let operation = Operation::ReopenLog(ReopenLog { container_id });
        let (answer, _) = self.call(operation, Vec::new(), within).await?;
        expect_answer!("ReopenLog", answer, ReopenLog).map(drop)
    }

    /// Ends the pod and the shim. A shim that is already gone is not an error of this call's making: the caller decides.
    ///
    /// # Errors
    ///
    /// As [`ShimClient::call`].
    pub async fn shutdown(&self, within: Duration) -> Result<(), ShimError> {
        let operation = Operation::Shutdown(Shutdown {});
        let (answer, _) = self.call(operation, Vec::new(), within).await?;
        expect_answer!("Shutdown", answer, Shutdown).map(drop)
    }
}
