//! ExecSync: a command in a running container, its output collected.
//!
//! The output comes straight from the command's pipes; the shim only starts it, ends it at its deadline, and reports its
//! exit. A grandchild that keeps a pipe open is not waited for.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use carpel_shim_protocol::message::{self, Process};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::oneshot;

use super::error::{PodError, PodErrorKind, Subject};
use super::oci_runtime::process_of_exec;
use super::procedure::{Context, shim_error};
use super::process_streams::ProcessOutput;
use super::sandbox_state::Container;
use super::view::{ContainerState, ExecCommand, ExecOutput};

/// CRI ExecSyncResponse: each stream is cut after this, and read on, so that the command does not block.
const MAXIMUM_OUTPUT_BYTES: usize = 16 << 20;

/// execve of a program on a network file system may take its time.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(30);

/// How much later than its deadline an exec may be reported: after that its shim is taken for hung.
const REPORT_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the command to its end.
///
/// # Errors
/// `FailedPrecondition` if the container does not run, `DeadlineExceeded` if the command was killed at its deadline,
/// `InvalidArgument` if it could not be executed.
pub(super) async fn exec_sync(
    context: Context,
    id: String,
    command: ExecCommand,
) -> Result<ExecOutput, PodError> {
    let subject = Subject::Container(id.clone());
    let exec = Exec::prepare(&context, &subject, &id, &command)?;
    let exec_id = super::identifier::new();
    let exited = context.slot.expect_exec(&exec_id);
    let result = exec.run(&context, &exec_id, exited).await;
    context.slot.forget_exec(&exec_id);
    result
}

struct Exec {
    subject: Subject,
    container_id: String,
    process: Process,
    timeout: Option<Duration>,
}

impl Exec {
    fn prepare(
        context: &Context,
        subject: &Subject,
        id: &str,
        command: &ExecCommand,
    ) -> Result<Self, PodError> {
        Ok(Self {
            subject: subject.clone(),
            container_id: id.to_owned(),
            process: prepare(context, subject, id, command)?,
            timeout: command.timeout,
        })
    }

    async fn run(
        self,
        context: &Context,
        exec_id: &str,
        exited: oneshot::Receiver<message::ExecExited>,
    ) -> Result<ExecOutput, PodError> {
        let failed = |step: &'static str| {
            let subject = self.subject.clone();
            move |error: io::Error| {
                PodError::new(PodErrorKind::ResourceExhausted, subject, step).caused_by(error)
            }
        };
        let (descriptors, stdout, stderr) =
            stdio().map_err(failed("make the pipes of the command"))?;
        let shim = context.slot.shim()?;
        let request = message::Exec {
            container_id: self.container_id.clone(),
            exec_id: exec_id.to_owned(),
            oci_process: process_of_exec(context, &self.container_id, &self.process)?,
            process: Some(self.process),
            timeout_nanoseconds: self.timeout.map_or(0, |timeout| {
                u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)
            }),
        };
        shim.exec(request, descriptors, START_PATIENCE)
            .await
            .map_err(|error| shim_error(self.subject.clone(), "execute the command", error))?;
        let collect = collect(stdout, stderr, exited);
        let ended = match self.timeout {
            Some(timeout) => tokio::time::timeout(timeout + REPORT_PATIENCE, collect)
                .await
                .unwrap_or(Ok(Collected::TimedOut)),
            None => collect.await,
        };
        match ended.map_err(failed("read the output of the command"))? {
            Collected::Exited(output) => Ok(output),
            Collected::TimedOut => Err(PodError::new(
                PodErrorKind::DeadlineExceeded,
                self.subject,
                format!(
                    "the command did not end in {:?} and was killed",
                    self.timeout.unwrap_or_default()
                ),
            )),
            Collected::ShimLost => Err(PodError::new(
                PodErrorKind::Unavailable,
                self.subject,
                "the shim was lost while the command ran",
            )),
        }
    }
}

/// The command as a process of a container that runs.
///
/// # Errors
/// `InvalidArgument` without a command, `NotFound`, `FailedPrecondition` if the container does not run.
pub(super) fn prepare(
    context: &Context,
    subject: &Subject,
    id: &str,
    command: &ExecCommand,
) -> Result<Process, PodError> {
    if command.arguments.is_empty() {
        return Err(PodError::new(
            PodErrorKind::InvalidArgument,
            subject.clone(),
            "the command is empty",
        ));
    }
    let pod = context.slot.pod();
    let container = pod.containers.get(id).ok_or_else(|| {
        PodError::new(PodErrorKind::NotFound, subject.clone(), "no such container")
    })?;
    if container.phase.state() != ContainerState::Running {
        return Err(PodError::new(
            PodErrorKind::FailedPrecondition,
            subject.clone(),
            "the container is not running",
        ));
    }
    process_of(context, container, command)
}

/// The command in the container's environment, as its user.
fn process_of(
    context: &Context,
    container: &Container,
    command: &ExecCommand,
) -> Result<Process, PodError> {
    let subject = Subject::Container(container.id.clone());
    let mut process =
        super::process_file::read(&context.slot.directories, &container.id).map_err(|error| {
            PodError::new(
                PodErrorKind::Internal,
                subject,
                "read how its first process was started",
            )
            .caused_by(error)
        })?;
    process.arguments = command
        .arguments
        .iter()
        .map(|argument| argument.clone().into_bytes())
        .collect();
    process.terminal = false;
    if let Some(user) = &container.user {
        process.user = Some(message::User {
            uid: user.uid,
            gid: user.gid,
            additional_gids: user.supplemental_groups.clone(),
            ..message::User::default()
        });
        if !process
            .environment
            .iter()
            .any(|variable| variable.starts_with(b"HOME="))
        {
            process
                .environment
                .push(format!("HOME={}", user.home).into_bytes());
        }
    }
    Ok(process)
}

/// /dev/null and the ends of two pipes for the command, and the other two ends.
fn stdio() -> io::Result<(Vec<OwnedFd>, ProcessOutput, ProcessOutput)> {
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (stdout, stdout_writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, stderr_writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let descriptors = vec![null, stdout_writer, stderr_writer];
    Ok((
        descriptors,
        ProcessOutput::new(stdout)?,
        ProcessOutput::new(stderr)?,
    ))
}

enum Collected {
    Exited(ExecOutput),
    TimedOut,
    ShimLost,
}

async fn collect(
    stdout: ProcessOutput,
    stderr: ProcessOutput,
    exited: oneshot::Receiver<message::ExecExited>,
) -> io::Result<Collected> {
    let mut stdout = Stream::new(stdout);
    let mut stderr = Stream::new(stderr);
    tokio::pin!(exited);
    let exited = loop {
        tokio::select! {
            result = &mut exited => break result,
            result = stdout.read() => result?,
            result = stderr.read() => result?,
        }
    };
    let Ok(exited) = exited else {
        return Ok(Collected::ShimLost);
    };
    if exited.timed_out {
        return Ok(Collected::TimedOut);
    }
    // What the command wrote before its exit is in the pipes now.
    stdout.read_rest()?;
    stderr.read_rest()?;
    Ok(Collected::Exited(ExecOutput {
        stdout: stdout.kept,
        stderr: stderr.kept,
        exit_code: exited.exit_code,
    }))
}

struct Stream {
    pipe: ProcessOutput,
    kept: Vec<u8>,
    ended: bool,
}

impl Stream {
    fn new(pipe: ProcessOutput) -> Self {
        Self {
            pipe,
            kept: Vec::new(),
            ended: false,
        }
    }

    /// Waits for output and takes it; never returns after the end of the stream.
    async fn read(&mut self) -> io::Result<()> {
        if self.ended {
            std::future::pending::<()>().await;
        }
        let mut buffer = [0_u8; 16 << 10];
        let length = self.pipe.read(&mut buffer).await?;
        self.keep(&buffer, length);
        Ok(())
    }

    /// Takes what is there now, and not what a grandchild goes on writing: that may have no end.
    fn read_rest(&mut self) -> io::Result<()> {
        let mut buffer = [0_u8; 16 << 10];
        let mut left = self.pipe.waiting()?;
        while !self.ended && left > 0 {
            match self.pipe.read_now(&mut buffer)? {
                Some(length) => {
                    self.keep(&buffer, length);
                    left = left.saturating_sub(length);
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Keeps what was read, up to the limit; nothing is the end of the stream.
    fn keep(&mut self, buffer: &[u8], length: usize) {
        self.ended = length == 0;
        let room = MAXIMUM_OUTPUT_BYTES.saturating_sub(self.kept.len());
        self.kept
            .extend(buffer.iter().take(length.min(room)).copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn exited(code: i32) -> message::ExecExited {
        message::ExecExited {
            exit_code: code,
            ..message::ExecExited::default()
        }
    }

    #[tokio::test]
    async fn a_grandchild_that_keeps_the_pipe_open_is_not_waited_for() {
        let (descriptors, stdout, stderr) = stdio().unwrap();
        let mut ends = descriptors.into_iter().skip(1);
        let mut writer = std::fs::File::from(ends.next().unwrap());
        writer.write_all(b"hello\n").unwrap();
        let (sender, receiver) = oneshot::channel();
        sender.send(exited(3)).unwrap();
        let Collected::Exited(output) = collect(stdout, stderr, receiver).await.unwrap() else {
            panic!("it has exited");
        };
        assert_eq!(
            (output.stdout.as_slice(), output.exit_code),
            (&b"hello\n"[..], 3)
        );
    }

    /// Writes until nobody reads any more.
    fn flood(descriptors: Vec<OwnedFd>) -> std::thread::JoinHandle<()> {
        let mut ends = descriptors.into_iter().skip(1);
        let mut writer = std::fs::File::from(ends.next().unwrap());
        std::thread::spawn(move || while writer.write_all(&[b'y'; 64 << 10]).is_ok() {})
    }

    #[tokio::test]
    async fn an_endless_output_is_kept_up_to_its_bound() {
        let (descriptors, stdout, _stderr) = stdio().unwrap();
        let writer = flood(descriptors);
        let mut stream = Stream::new(stdout);
        let mut read = 0;
        while read < MAXIMUM_OUTPUT_BYTES + (1 << 20) {
            stream.read().await.unwrap();
            read += 16 << 10;
        }
        assert_eq!(stream.kept.len(), MAXIMUM_OUTPUT_BYTES);
        drop(stream);
        writer.join().unwrap();
    }

    /// Every read finds as much as the one before: without a bound this has no end.
    #[tokio::test]
    async fn a_grandchild_that_goes_on_writing_is_not_listened_to() {
        let (descriptors, stdout, _stderr) = stdio().unwrap();
        let mut ends = descriptors.into_iter().skip(1);
        let mut writer = std::fs::File::from(ends.next().unwrap());
        writer.write_all(&[b'y'; 20_000]).unwrap();
        let mut stream = Stream::new(stdout);
        let waiting = stream.pipe.waiting().unwrap();
        assert_eq!(waiting, 20_000);
        let flood =
            std::thread::spawn(move || while writer.write_all(&[b'y'; 64 << 10]).is_ok() {});
        stream.read_rest().unwrap();
        assert!(
            stream.kept.len() <= (1 << 20) + (16 << 10),
            "{}",
            stream.kept.len()
        );
        drop(stream);
        flood.join().unwrap();
    }

    #[tokio::test]
    async fn a_lost_shim_is_told() {
        let (_descriptors, stdout, stderr) = stdio().unwrap();
        let (sender, receiver) = oneshot::channel();
        drop(sender);
        let collected = collect(stdout, stderr, receiver).await.unwrap();
        assert!(matches!(collected, Collected::ShimLost));
    }
}
