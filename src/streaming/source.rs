//! What the streaming server needs of the domain, as a trait: the daemon hands in `Pods`, the tests a script.

use std::fmt::Debug;

use async_trait::async_trait;
use tokio::net::TcpStream;

use crate::pod::{Attachment, ExecCommand, PodError, Pods, RunningExec, WantedStreams};

/// Processes and ports. Dropping what is returned closes it.
#[async_trait]
pub trait StreamSource: Debug + Send + Sync {
    /// Starts a command in a container.
    async fn exec(
        &self,
        container_id: &str,
        command: ExecCommand,
        wanted: WantedStreams,
    ) -> Result<RunningExec, PodError>;
    /// Attaches to the first process of a container.
    async fn attach(
        &self,
        container_id: &str,
        wanted: WantedStreams,
    ) -> Result<Attachment, PodError>;
    /// Connects to a port in the network of a sandbox.
    async fn connect(&self, sandbox_id: &str, port: u16) -> Result<TcpStream, PodError>;
}

#[async_trait]
impl StreamSource for Pods {
    async fn exec(
        &self,
        container_id: &str,
        command: ExecCommand,
        wanted: WantedStreams,
    ) -> Result<RunningExec, PodError> {
        self.exec(container_id, command, wanted).await
    }

    async fn attach(
        &self,
        container_id: &str,
        wanted: WantedStreams,
    ) -> Result<Attachment, PodError> {
        self.attach(container_id, wanted).await
    }

    async fn connect(&self, sandbox_id: &str, port: u16) -> Result<TcpStream, PodError> {
        self.connect_to_port(sandbox_id, port).await
    }
}
