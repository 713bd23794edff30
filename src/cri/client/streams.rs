//! Running commands in containers, and the URLs of their streams.

use std::time::Duration;

use bytes::Bytes;

use super::{Client, ClientError, call};
use crate::cri::wire::runtime as wire;

/// Which streams are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSelection {
    /// The client sends input.
    pub stdin: bool,
    /// On a terminal, where both outputs are one.
    pub tty: bool,
}

/// A command's end, with its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutput {
    /// At most 16 MiB.
    pub stdout: Bytes,
    /// At most 16 MiB.
    pub stderr: Bytes,
    /// 128 and the signal for one that was killed.
    pub exit_code: i32,
}

impl Client {
    /// Runs a command to its end; `timeout` is rounded up to seconds.
    ///
    /// # Errors
    /// `Call` if the daemon refuses, or the time was over.
    pub async fn exec_sync(
        &self,
        container_id: &str,
        command: &[String],
        timeout: Option<Duration>,
    ) -> Result<CommandOutput, ClientError> {
        let seconds = timeout.map_or(0, |timeout| timeout.as_nanos().div_ceil(1_000_000_000));
        let request = wire::ExecSyncRequest {
            container_id: container_id.to_owned(),
            cmd: command.to_vec(),
            timeout: i64::try_from(seconds).unwrap_or(i64::MAX),
        };
        let answer = self.runtime().exec_sync(request).await;
        let answer = answer.map_err(call("ExecSync"))?.into_inner();
        Ok(CommandOutput {
            stdout: answer.stdout,
            stderr: answer.stderr,
            exit_code: answer.exit_code,
        })
    }

    /// Where the streams of a new command are.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn exec_url(
        &self,
        container_id: &str,
        command: &[String],
        streams: StreamSelection,
    ) -> Result<String, ClientError> {
        let request = wire::ExecRequest {
            container_id: container_id.to_owned(),
            cmd: command.to_vec(),
            tty: streams.tty,
            stdin: streams.stdin,
            stdout: true,
            stderr: !streams.tty,
        };
        let answer = self.runtime().exec(request).await;
        Ok(answer.map_err(call("Exec"))?.into_inner().url)
    }

    /// Where the streams of a container are.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn attach_url(
        &self,
        container_id: &str,
        streams: StreamSelection,
    ) -> Result<String, ClientError> {
        let request = wire::AttachRequest {
            container_id: container_id.to_owned(),
            stdin: streams.stdin,
            tty: streams.tty,
            stdout: true,
            stderr: !streams.tty,
        };
        let answer = self.runtime().attach(request).await;
        Ok(answer.map_err(call("Attach"))?.into_inner().url)
    }

    /// Where connections into a pod are made.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn port_forward_url(&self, pod_id: &str) -> Result<String, ClientError> {
        let request = wire::PortForwardRequest {
            pod_sandbox_id: pod_id.to_owned(),
            port: Vec::new(),
        };
        let answer = self.runtime().port_forward(request).await;
        Ok(answer.map_err(call("PortForward"))?.into_inner().url)
    }
}
