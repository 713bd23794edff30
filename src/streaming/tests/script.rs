//! A domain for tests: commands are processes of this machine, ports are its own, and attached streams are the test's.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rustix::fs::{Mode, OFlags};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};

use crate::pod::{
    Attachment, ExecCommand, PodError, PodErrorKind, ProcessInput, ProcessOutput, ProcessStreams,
    RunningExec, Subject, Terminal, WantedStreams,
};
use crate::streaming::StreamSource;

/// What a test gives and sees.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// What the next Attach gets.
    pub(super) attachment: Mutex<Option<Attachment>>,
    /// The other side of the next terminal.
    pub(super) terminals: Mutex<Option<mpsc::UnboundedSender<OwnedFd>>>,
    /// Pids of the commands.
    pub(super) pids: Mutex<Vec<u32>>,
    /// Exit codes of the commands, in the order of their ends.
    pub(super) exits: Mutex<Vec<i32>>,
}

fn fail(error: impl std::error::Error + Send + Sync + 'static) -> PodError {
    let subject = Subject::Container("c".to_owned());
    PodError::new(PodErrorKind::InvalidArgument, subject, "execute").caused_by(error)
}

/// A terminal: its master and its other side.
pub(super) fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/ptmx", flags, Mode::empty()).unwrap();
    let slave = carpel_linux::terminal::open_peer(std::os::fd::AsFd::as_fd(&master)).unwrap();
    (master, slave)
}

pub(super) fn streams_of_terminal(master: OwnedFd) -> ProcessStreams {
    ProcessStreams {
        stdin: Some(ProcessInput::new(master.try_clone().unwrap()).unwrap()),
        stdout: Some(ProcessOutput::new(master.try_clone().unwrap()).unwrap()),
        stderr: None,
        terminal: Some(Terminal::new(master)),
    }
}

#[async_trait]
impl StreamSource for Arc<Script> {
    async fn exec(
        &self,
        _container_id: &str,
        command: ExecCommand,
        wanted: WantedStreams,
    ) -> Result<RunningExec, PodError> {
        if wanted.terminal {
            let (master, slave) = terminal();
            let sender = self.terminals.lock().unwrap().take().unwrap();
            sender.send(slave).unwrap();
            let (exit, exited) = oneshot::channel();
            let (kill, killed) = oneshot::channel();
            tokio::spawn(async move {
                // Ends when it is killed, or its client has gone.
                let code = if killed.await.is_ok() { 137 } else { 0 };
                exit.send(code)
            });
            return Ok(RunningExec {
                streams: streams_of_terminal(master),
                exited,
                kill,
            });
        }
        let pipe = |is_wanted| {
            if is_wanted {
                Stdio::piped()
            } else {
                Stdio::null()
            }
        };
        let mut child = Command::new(&command.arguments[0])
            .args(&command.arguments[1..])
            .stdin(pipe(wanted.stdin))
            .stdout(pipe(wanted.stdout))
            .stderr(pipe(wanted.stderr))
            .spawn()
            .map_err(fail)?;
        self.pids.lock().unwrap().push(child.id().unwrap());
        let input = child.stdin.take().map(|pipe| pipe.into_owned_fd().unwrap());
        let output = child
            .stdout
            .take()
            .map(|pipe| pipe.into_owned_fd().unwrap());
        let error = child
            .stderr
            .take()
            .map(|pipe| pipe.into_owned_fd().unwrap());
        let (exit, exited) = oneshot::channel();
        let (kill, killed) = oneshot::channel();
        let script = Arc::clone(self);
        tokio::spawn(async move {
            let status = tokio::select! {
                status = child.wait() => status,
                Ok(()) = killed => {
                    child.start_kill().unwrap();
                    child.wait().await
                }
            };
            let code = status.unwrap().code().unwrap_or(137);
            script.exits.lock().unwrap().push(code);
            exit.send(code).ok();
        });
        Ok(RunningExec {
            streams: ProcessStreams {
                stdin: input.map(|end| ProcessInput::new(end).unwrap()),
                stdout: output.map(|end| ProcessOutput::new(end).unwrap()),
                stderr: error.map(|end| ProcessOutput::new(end).unwrap()),
                terminal: None,
            },
            exited,
            kill,
        })
    }

    async fn attach(
        &self,
        _container_id: &str,
        _wanted: WantedStreams,
    ) -> Result<Attachment, PodError> {
        let attachment = self.attachment.lock().unwrap().take();
        attachment.ok_or_else(|| fail(io::Error::other("the container is not running")))
    }

    async fn connect(&self, _sandbox_id: &str, port: u16) -> Result<TcpStream, PodError> {
        let connected = TcpStream::connect(("127.0.0.1", port)).await;
        connected.map_err(|error| {
            let subject = Subject::Sandbox("4f".to_owned());
            let step = format!("connect to 127.0.0.1:{port}");
            PodError::new(PodErrorKind::Unavailable, subject, step).caused_by(error)
        })
    }
}

/// The size of a terminal as its processes see it.
pub(super) fn size_of(slave: &OwnedFd) -> (u16, u16) {
    assert!(slave.as_raw_fd() >= 0);
    let size = rustix::termios::tcgetwinsize(slave).unwrap();
    (size.ws_col, size.ws_row)
}
