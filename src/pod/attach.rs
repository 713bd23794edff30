//! Attach: a client at the streams of a container's first process.
//!
//! Output is what the log writer beside the shim copies into pipes of the client after it has logged it. Input goes
//! straight into the container's own pipe, or terminal, of which the shim hands out a descriptor to each client.

use std::os::fd::OwnedFd;

use carpel_shim_protocol::message;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::error::{PodError, PodErrorKind, Subject};
use super::exec_stream::failed;
use super::procedure::{Context, SHIM_PATIENCE, shim_error};
use super::process_streams::{ProcessInput, ProcessOutput, ProcessStreams, WantedStreams};
use super::view::ContainerState;

/// How far behind a client may be: the log writer drops one whose pipe is full.
const CLIENT_BUFFER: usize = 1 << 20;

/// A client's end of a container's streams.
#[derive(Debug)]
pub struct Attachment {
    /// The streams; those that the container does not have are not there.
    pub streams: ProcessStreams,
    /// The container's end; nothing is sent if it is not known.
    pub exited: oneshot::Receiver<()>,
    /// What the end of the client's input means.
    pub at_stdin_end: AtStdinEnd,
    /// Cancelled when the container's input has been closed, maybe by another client.
    pub stdin_closed: CancellationToken,
}

/// What the end of a client's input means for the container.
#[derive(Debug)]
pub enum AtStdinEnd {
    /// Nothing: another client may write. The client is detached.
    Detach,
    /// CRI stdin_once: the container reads the end of its input; something sent here closes it. The output goes on.
    Close(oneshot::Sender<()>),
}

/// Attaches a client.
///
/// # Errors
/// `NotFound`; `FailedPrecondition` if the container does not run.
pub(super) async fn attach(
    context: Context,
    id: String,
    mut wanted: WantedStreams,
) -> Result<Attachment, PodError> {
    let subject = Subject::Container(id.clone());
    let pod = context.slot.pod();
    let container = pod.containers.get(&id).ok_or_else(|| {
        PodError::new(PodErrorKind::NotFound, subject.clone(), "no such container")
    })?;
    if container.phase.state() != ContainerState::Running {
        let text = "the container is not running";
        let kind = PodErrorKind::FailedPrecondition;
        return Err(PodError::new(kind, subject, text));
    }
    let config = std::sync::Arc::clone(&container.config);
    wanted.stdin &= config.stdin || config.tty;
    // A terminal has one output.
    wanted.stderr &= !config.tty;
    let (mut streams, descriptors) =
        outputs(wanted).map_err(failed(&subject, "make the client's pipes"))?;
    let request = message::Attach {
        container_id: id.clone(),
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
        terminal: config.tty,
    };
    let stdin_closed = context.slot.stdin_closed(&id);
    let given = context
        .slot
        .shim()?
        .attach(request, descriptors, SHIM_PATIENCE)
        .await
        .map_err(|error| shim_error(subject.clone(), "attach", error))?;
    take(&mut streams, given, wanted, config.tty)
        .map_err(failed(&subject, "take the container's input"))?;
    let (ended, exited) = oneshot::channel();
    tokio::spawn(watch_exit(context.clone(), id.clone(), ended));
    let at_stdin_end = if config.stdin_once && !config.tty && streams.stdin.is_some() {
        let (close, closed) = oneshot::channel();
        tokio::spawn(close_stdin(context, id, closed));
        AtStdinEnd::Close(close)
    } else {
        AtStdinEnd::Detach
    };
    Ok(Attachment {
        streams,
        exited,
        at_stdin_end,
        stdin_closed,
    })
}

/// The daemon's ends of the client's pipes, and those for the log writer.
fn outputs(wanted: WantedStreams) -> std::io::Result<(ProcessStreams, Vec<OwnedFd>)> {
    let mut streams = ProcessStreams::default();
    let mut descriptors = Vec::new();
    for (wanted, output) in [
        (wanted.stdout, &mut streams.stdout),
        (wanted.stderr, &mut streams.stderr),
    ] {
        if wanted {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            // Above pipe-max-size the default has to do.
            fcntl_setpipe_size(&writer, CLIENT_BUFFER).ok();
            *output = Some(ProcessOutput::new(reader)?);
            descriptors.push(writer);
        }
    }
    Ok((streams, descriptors))
}

/// Takes what the shim has given: the writing end of the container's input, or the master of its terminal.
fn take(
    streams: &mut ProcessStreams,
    given: Option<OwnedFd>,
    wanted: WantedStreams,
    is_terminal: bool,
) -> std::io::Result<()> {
    let Some(descriptor) = given else {
        return Ok(());
    };
    if is_terminal {
        let own = ProcessStreams::of_terminal(descriptor, wanted)?;
        // Its output is read by the log writer alone.
        streams.stdin = own.stdin;
        streams.terminal = own.terminal;
    } else {
        streams.stdin = Some(ProcessInput::new(descriptor)?);
    }
    Ok(())
}

async fn watch_exit(context: Context, id: String, mut ended: oneshot::Sender<()>) {
    let mut pods = context.slot.watch();
    let exited = pods.wait_for(|pod| {
        pod.containers
            .get(&id)
            .is_none_or(|container| container.phase.is_exited())
    });
    let is_over = tokio::select! {
        over = exited => over.is_ok(),
        // The client has left.
        () = ended.closed() => return,
    };
    if is_over {
        ended.send(()).ok();
    }
}

/// Waits for the word to close the container's input; that the client has left without it is none.
async fn close_stdin(context: Context, id: String, closed: oneshot::Receiver<()>) {
    if closed.await.is_err() {
        return;
    }
    context.slot.close_stdin(&id);
    let result = match context.slot.shim() {
        Ok(shim) => shim.close_stdin(id.clone(), SHIM_PATIENCE).await,
        Err(_gone) => return,
    };
    if let Err(error) = result {
        tracing::warn!(container = %id, %error, "its input could not be closed");
    }
}
