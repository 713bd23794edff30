//! Exec and attach: a client's streams and a process's, joined until one of them ends.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::resize::Sizes;
use super::server::Session;
use super::spdy::NewStream;
use super::status::{Status, StatusFormat, chain};
use super::stream::{Inlet, Outlet};
use super::websocket::Channel;
use crate::pod::{
    AtStdinEnd, Attachment, ExecCommand, ProcessInput, ProcessOutput, RunningExec, Terminal,
    WantedStreams,
};

/// How long the client has to open its streams.
const OPEN_PATIENCE: Duration = Duration::from_secs(30);

/// Read at a time.
const READ_BYTES: usize = 32 << 10;

/// After the end of its process, a terminal hands on what the kernel has not passed through yet: it is waited for so long.
const TERMINAL_PATIENCE: Duration = Duration::from_millis(250);

/// And so much of it, as those that are left behind may write for ever.
const TERMINAL_REST: usize = 1 << 20;

/// How long after its output the end of a container is told.
const EXIT_PATIENCE: Duration = Duration::from_secs(2);

/// The streams of a client. With the outlets of stdin and of sizes, which nothing is sent on.
#[derive(Debug)]
pub(super) struct ClientStreams {
    stdin: Option<Inlet>,
    stdout: Option<Outlet>,
    stderr: Option<Outlet>,
    error: Outlet,
    sizes: Option<Sizes>,
    silent: Vec<Outlet>,
    format: StatusFormat,
}

/// Which streams a client opens, beside those that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sizing {
    /// From v3 on: one for the sizes of a terminal.
    Stream,
    /// Before.
    None,
}

impl ClientStreams {
    /// Waits for the streams that a client of SPDY opens.
    ///
    /// None if it does not open them in time.
    pub(super) async fn gather(
        mut streams: mpsc::Receiver<NewStream>,
        wanted: WantedStreams,
        (sizing, format): (Sizing, StatusFormat),
    ) -> Option<Self> {
        let (mut stdin, mut stdout, mut stderr) = (None, None, None);
        let (mut error, mut sizes) = (None, None);
        let mut missing = 1 + usize::from(wanted.stdin) + usize::from(wanted.stdout);
        missing += usize::from(wanted.stderr);
        missing += usize::from(wanted.terminal && sizing == Sizing::Stream);
        let all = async {
            while missing > 0 {
                let stream = streams.recv().await?;
                let (place, is_wanted) = match stream.header("streamtype") {
                    Some("error") => (&mut error, true),
                    Some("stdin") => (&mut stdin, wanted.stdin),
                    Some("stdout") => (&mut stdout, wanted.stdout),
                    Some("stderr") => (&mut stderr, wanted.stderr),
                    Some("resize") => (&mut sizes, wanted.terminal),
                    _ => {
                        stream.outlet.reset().await;
                        continue;
                    }
                };
                if !is_wanted || place.is_some() {
                    stream.outlet.reset().await;
                    continue;
                }
                *place = Some((stream.inlet, stream.outlet));
                missing -= 1;
            }
            Some(())
        };
        tokio::time::timeout(OPEN_PATIENCE, all).await.ok()??;
        let mut silent = Vec::new();
        let mut inlet_of = |stream: Option<(Inlet, Outlet)>| {
            let (inlet, outlet) = stream?;
            silent.push(outlet);
            Some(inlet)
        };
        let (stdin, sizes) = (inlet_of(stdin), inlet_of(sizes).map(Sizes::new));
        let outlet_of = |stream: Option<(Inlet, Outlet)>| stream.map(|(_, outlet)| outlet);
        Some(Self {
            stdin,
            stdout: outlet_of(stdout),
            stderr: outlet_of(stderr),
            error: outlet_of(error)?,
            sizes,
            silent,
            format,
        })
    }

    /// The channels of a WebSocket: stdin, stdout, stderr, error, sizes.
    ///
    /// None if there are fewer.
    pub(super) async fn of_channels(
        channels: Vec<Channel>,
        wanted: WantedStreams,
        format: StatusFormat,
    ) -> Option<Self> {
        let mut channels = channels.into_iter();
        let stdin = channels.next()?;
        let stdout = channels.next()?.outlet;
        let stderr = channels.next()?.outlet;
        let error = channels.next()?.outlet;
        let sizes = channels.next()?;
        // An empty message on the lowest channel that is written tells the client that it is connected.
        let lowest = match (wanted.stdout, wanted.stderr) {
            (true, _) => &stdout,
            (false, true) => &stderr,
            (false, false) => &error,
        };
        lowest.send(Bytes::new()).await.ok()?;
        Some(Self {
            stdin: wanted.stdin.then_some(stdin.inlet),
            stdout: wanted.stdout.then_some(stdout),
            stderr: wanted.stderr.then_some(stderr),
            error,
            sizes: wanted.terminal.then(|| Sizes::new(sizes.inlet)),
            silent: Vec::new(),
            format,
        })
    }
}

/// Runs a command for a client.
pub(super) async fn exec(
    session: &Session,
    mut streams: ClientStreams,
    (container_id, arguments): (&str, Vec<String>),
    wanted: WantedStreams,
) {
    let command = ExecCommand {
        arguments,
        timeout: None,
    };
    let status = match session.source.exec(container_id, command, wanted).await {
        Ok(running) => run(session, &mut streams, running).await,
        Err(error) => {
            let why = format!("error executing command in container: {}", chain(&error));
            Some(Status::Failed(why))
        }
    };
    streams.tell(session, status).await;
}

/// Attaches a client to a container.
pub(super) async fn attach(
    session: &Session,
    mut streams: ClientStreams,
    container_id: &str,
    wanted: WantedStreams,
) {
    let status = match session.source.attach(container_id, wanted).await {
        Ok(attachment) => stay(session, &mut streams, attachment).await,
        Err(error) => {
            let why = format!("error attaching to container: {}", chain(&error));
            Some(Status::Failed(why))
        }
    };
    streams.tell(session, status).await;
}

impl ClientStreams {
    /// The last words: how it ended, and the end of all streams. A client that has gone is told nothing.
    async fn tell(self, session: &Session, status: Option<Status>) {
        if let Some(bytes) = status.and_then(|status| status.encode(self.format)) {
            self.error.send(bytes).await.ok();
        }
        self.error.finish().await;
        let rest = [self.stdout, self.stderr].into_iter().flatten();
        for outlet in rest.chain(self.silent) {
            outlet.finish().await;
        }
        session.connection.end();
    }
}

/// A process that is joined with its client: what is copied by the way ends with this value.
struct Joined {
    /// Copies to the process: input and sizes.
    inward: tokio::task::JoinSet<()>,
    /// Cancelled when nothing more will be written; what has been is still read.
    over: CancellationToken,
}

impl Joined {
    fn new() -> Self {
        Self {
            inward: tokio::task::JoinSet::new(),
            over: CancellationToken::new(),
        }
    }

    fn follow_sizes(&mut self, sizes: Option<Sizes>, terminal: Option<Terminal>) {
        let (Some(mut sizes), Some(terminal)) = (sizes, terminal) else {
            return;
        };
        self.inward.spawn(async move {
            while let Some(size) = sizes.next().await {
                if let Err(error) = terminal.resize(size) {
                    tracing::debug!(%error, "a terminal keeps its size");
                }
            }
        });
    }
}

/// Runs until the command has ended; nothing if that is not to be told.
async fn run(
    session: &Session,
    streams: &mut ClientStreams,
    running: RunningExec,
) -> Option<Status> {
    let RunningExec {
        streams: process,
        exited,
        kill,
    } = running;
    let mut joined = Joined::new();
    let rest = Rest::of(process.terminal.as_ref());
    joined.follow_sizes(streams.sizes.take(), process.terminal);
    if let (Some(inlet), Some(input)) = (streams.stdin.take(), process.stdin) {
        joined.inward.spawn(copy_input(inlet, input));
    }
    let over = joined.over.clone();
    let end = async {
        let status = tokio::select! {
            code = exited => Some(match code {
                Ok(code) => Status::of_exit(code),
                Err(_lost) => Status::Failed("the shim was lost while the command ran".to_owned()),
            }),
            () = session.connection.gone() => {
                if session.kill_on_disconnect {
                    // One that has ended meanwhile need not be killed.
                    kill.send(()).ok();
                }
                None
            }
        };
        over.cancel();
        status
    };
    let outputs = outputs(
        (process.stdout, streams.stdout.take()),
        (process.stderr, streams.stderr.take()),
        (&over, rest),
    );
    let (status, ()) = tokio::join!(end, outputs);
    status
}

/// Stays attached until the container ends, or the client leaves; nothing if that is not to be told.
async fn stay(
    session: &Session,
    streams: &mut ClientStreams,
    attachment: Attachment,
) -> Option<Status> {
    let Attachment {
        streams: process,
        mut exited,
        at_stdin_end,
        stdin_closed,
    } = attachment;
    let mut joined = Joined::new();
    // The log writer hands on all that there is, then closes.
    let rest = Rest::Waiting;
    joined.follow_sizes(streams.sizes.take(), process.terminal);
    let (detach, detached) = oneshot::channel();
    if let (Some(inlet), Some(input)) = (streams.stdin.take(), process.stdin) {
        joined.inward.spawn(async move {
            tokio::select! {
                () = copy_input(inlet, input) => {}
                () = stdin_closed.cancelled() => return,
            }
            match at_stdin_end {
                AtStdinEnd::Close(close) => close.send(()).ok(),
                AtStdinEnd::Detach => detach.send(()).ok(),
            };
        });
    }
    let has_output = process.stdout.is_some() || process.stderr.is_some();
    let outputs = outputs(
        (process.stdout, streams.stdout.take()),
        (process.stderr, streams.stderr.take()),
        (&joined.over, rest),
    );
    let mut outputs = std::pin::pin!(outputs);
    tokio::select! {
        () = &mut outputs, if has_output => {
            let told = tokio::time::timeout(EXIT_PATIENCE, exited).await;
            return Some(match told {
                Ok(_exited_or_removed) => Status::Success,
                Err(_runs) => Status::Failed(
                    "the output was cut off: the client was too slow for it, or it has ended".to_owned(),
                ),
            });
        }
        _exited_or_removed = &mut exited, if !has_output => return Some(Status::Success),
        Ok(()) = detached => {}
        () = session.connection.gone() => return None,
    }
    joined.over.cancel();
    outputs.await;
    Some(Status::Success)
}

/// Copies what the client sends to the process, until one of them ends.
async fn copy_input(mut inlet: Inlet, mut input: ProcessInput) {
    while let Some(piece) = inlet.next().await {
        if let Err(error) = input.write(&piece).await {
            tracing::debug!(%error, "a process reads no more input");
            return;
        }
    }
}

/// Copies both outputs.
async fn outputs(
    (stdout, to_stdout): (Option<ProcessOutput>, Option<Outlet>),
    (stderr, to_stderr): (Option<ProcessOutput>, Option<Outlet>),
    (over, rest): (&CancellationToken, Rest),
) {
    tokio::join!(
        copy_output(stdout, to_stdout, over, rest),
        copy_output(stderr, to_stderr, over, rest)
    );
}

/// What is still read of an output when its process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// What is in the pipe: a grandchild that keeps it open is not waited for.
    Waiting,
    /// What comes until it is quiet: the kernel passes on what is written to a terminal in its own time.
    Quiet,
}

impl Rest {
    fn of(terminal: Option<&Terminal>) -> Self {
        match terminal {
            Some(_) => Self::Quiet,
            None => Self::Waiting,
        }
    }
}

async fn copy_output(
    output: Option<ProcessOutput>,
    outlet: Option<Outlet>,
    over: &CancellationToken,
    rest: Rest,
) {
    if let Some(output) = output
        && let Err(error) = copy_to(output, outlet.as_ref(), over, rest).await
    {
        tracing::debug!(%error, "an output cannot be copied to its client");
    }
    if let Some(outlet) = outlet {
        outlet.finish().await;
    }
}

/// Without an outlet, what a terminal says is thrown away.
async fn copy_to(
    mut output: ProcessOutput,
    outlet: Option<&Outlet>,
    over: &CancellationToken,
    rest: Rest,
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let length = tokio::select! {
            biased;
            length = output.read(&mut buffer) => length?,
            () = over.cancelled() => break,
        };
        if length == 0 {
            return Ok(());
        }
        send(outlet, &buffer, length).await?;
    }
    let mut left = match rest {
        Rest::Waiting => output.waiting()?,
        Rest::Quiet => TERMINAL_REST,
    };
    while left > 0 {
        let read = match output.read_now(&mut buffer)? {
            Some(length) => Some(length),
            None if rest == Rest::Waiting => None,
            None => tokio::time::timeout(TERMINAL_PATIENCE, output.read(&mut buffer))
                .await
                .ok()
                .transpose()?,
        };
        let Some(length) = read.filter(|length| *length > 0) else {
            break;
        };
        send(outlet, &buffer, length).await?;
        left = left.saturating_sub(length);
    }
    Ok(())
}

async fn send(outlet: Option<&Outlet>, buffer: &[u8], length: usize) -> io::Result<()> {
    let Some(outlet) = outlet else { return Ok(()) };
    let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
    outlet.send(bytes).await.map_err(io::Error::other)
}
