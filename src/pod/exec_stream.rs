//! Exec: a command in a running container, its streams in the hands of a client.

use std::io;
use std::os::fd::OwnedFd;

use carpel_shim_protocol::message;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::oneshot;

use super::error::{PodError, PodErrorKind, Subject};
use super::exec::{self, START_PATIENCE};
use super::oci_runtime::process_of_exec;
use super::procedure::{Context, SHIM_PATIENCE, shim_error};
use super::process_streams::{ProcessInput, ProcessOutput, ProcessStreams, WantedStreams};
use super::view::ExecCommand;

/// A command that runs. Dropped, it runs on, with its streams closed.
#[derive(Debug)]
pub struct RunningExec {
    /// Its streams.
    pub streams: ProcessStreams,
    /// Its exit code, 128 + signal if it was killed; nothing if the shim was lost.
    pub exited: oneshot::Receiver<i32>,
    /// Something sent here kills it, with its process group.
    pub kill: oneshot::Sender<()>,
}

/// Starts the command.
///
/// # Errors
/// `NotFound`; `FailedPrecondition` if the container does not run; `InvalidArgument` if the command cannot be executed.
pub(super) async fn start(
    context: Context,
    id: String,
    command: ExecCommand,
    wanted: WantedStreams,
) -> Result<RunningExec, PodError> {
    let subject = Subject::Container(id.clone());
    let mut process = exec::prepare(&context, &subject, &id, &command)?;
    process.terminal = wanted.terminal;
    if wanted.terminal && !has_term(&process) {
        process.environment.push(b"TERM=xterm".to_vec());
    }
    let (mut streams, descriptors) = stdio(wanted).map_err(failed(&subject, "make its pipes"))?;
    let exec_id = super::identifier::new();
    let exited = context.slot.expect_exec(&exec_id);
    let request = message::Exec {
        oci_process: process_of_exec(&context, &id, &process)?,
        container_id: id,
        exec_id: exec_id.clone(),
        process: Some(process),
        timeout_nanoseconds: 0,
    };
    let started = match context.slot.shim() {
        Ok(shim) => shim
            .exec(request, descriptors, START_PATIENCE)
            .await
            .map_err(|error| shim_error(subject.clone(), "execute the command", error)),
        Err(error) => Err(error),
    };
    let master = match started {
        Ok((_pid, master)) => master,
        Err(error) => {
            context.slot.forget_exec(&exec_id);
            return Err(error);
        }
    };
    let (kill, killed) = oneshot::channel();
    let (code, exit) = oneshot::channel();
    tokio::spawn(watch(context, exec_id, exited, killed, code));
    if let Some(master) = master {
        streams = ProcessStreams::of_terminal(master, wanted)
            .map_err(failed(&subject, "take its terminal"))?;
    }
    Ok(RunningExec {
        streams,
        exited: exit,
        kill,
    })
}

/// Waits for the end of the command, and kills it when asked to.
async fn watch(
    context: Context,
    exec_id: String,
    mut exited: oneshot::Receiver<message::ExecExited>,
    killed: oneshot::Receiver<()>,
    code: oneshot::Sender<i32>,
) {
    let ended = tokio::select! {
        ended = &mut exited => ended,
        Ok(()) = killed => {
            if let Err(error) = kill(&context, &exec_id).await {
                tracing::warn!(exec = %exec_id, %error, "the command of a client that has gone runs on");
            }
            exited.await
        }
    };
    context.slot.forget_exec(&exec_id);
    if let Ok(ended) = ended {
        // The client may have gone.
        code.send(ended.exit_code).ok();
    }
}

async fn kill(context: &Context, exec_id: &str) -> Result<(), PodError> {
    let shim = context.slot.shim()?;
    shim.kill_exec(exec_id.to_owned(), SHIM_PATIENCE)
        .await
        .map_err(|error| shim_error(context.subject(), "kill a command", error))
}

fn has_term(process: &message::Process) -> bool {
    let mut environment = process.environment.iter();
    environment.any(|variable| variable.starts_with(b"TERM="))
}

/// The daemon's ends of the pipes, and the command's; what nobody asked for is /dev/null.
fn stdio(wanted: WantedStreams) -> io::Result<(ProcessStreams, Vec<OwnedFd>)> {
    let mut streams = ProcessStreams::default();
    if wanted.terminal {
        return Ok((streams, Vec::new()));
    }
    let null = || rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let mut descriptors = Vec::with_capacity(3);
    if wanted.stdin {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        streams.stdin = Some(ProcessInput::new(writer)?);
        descriptors.push(reader);
    } else {
        descriptors.push(null()?);
    }
    for (wanted, output) in [
        (wanted.stdout, &mut streams.stdout),
        (wanted.stderr, &mut streams.stderr),
    ] {
        if wanted {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            *output = Some(ProcessOutput::new(reader)?);
            descriptors.push(writer);
        } else {
            descriptors.push(null()?);
        }
    }
    Ok((streams, descriptors))
}

/// An error of the daemon's own descriptors.
pub(super) fn failed<'a>(
    subject: &'a Subject,
    step: &'static str,
) -> impl Fn(io::Error) -> PodError + 'a {
    move |error| {
        PodError::new(PodErrorKind::ResourceExhausted, subject.clone(), step).caused_by(error)
    }
}
