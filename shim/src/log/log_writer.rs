//! The shim's handle of its log writer: starts it, gives it the pipes, asks it, hears of it, and replaces it when it has died.
//!
//! Nothing here waits: what the socket does not take now is sent later.

use super::message::Kind;
use super::message::MAXIMUM_MESSAGE;
use super::message::Message;
use super::message::Outputs;
use super::writer::Writer;
use carpel_linux::clone::ChildProcess;
use carpel_linux::clone::CloneRequest;
use carpel_linux::clone::Cloned;
use carpel_linux::clone::clone_process;
use carpel_linux::process;
use carpel_linux::socket;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// So many writers in a row may die without having done anything, before the next one waits for a command.
const MAXIMUM_FAILURES: u32 = 10;

/// How long the end of the writer is waited for, twice at the most.
const MOMENT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// What the writer tells the shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogEvent {
    /// The answer to `reopen`; errno 0: from now on everything goes to the new file.
    Reopened {
        /// Whose log.
        container_id: String,
        /// Why the old file is still written, or 0.
        errno: i32,
    },
    /// The answer to `finish`: all that was in the pipes has been dealt with.
    Finished {
        /// Whose log.
        container_id: String,
        /// Lines that could not be written in the container's life.
        lost_lines: u64,
    },
    /// Lines are being lost, or (errno 0) no more.
    Trouble {
        /// Whose log.
        container_id: String,
        /// Why, or 0.
        errno: i32,
        /// So far.
        lost_lines: u64,
    },
    /// The writer was killed. Another one goes on, but what had been read and not yet written is lost.
    WriterDied,
}

/// A container whose output the writer reads; the descriptors are duplicates for the next writer.
#[derive(Debug)]
struct Container {
    id: String,
    path: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    lost_lines: u64,
    is_reopening: bool,
    is_finishing: bool,
}

/// The log writer of the pod. It is started with the first container, or before.
#[derive(Debug)]
pub(crate) struct LogWriter {
    /// The shim's end of the control socket, and the writer's, of which the writer has a duplicate: so the socket stays the
    /// same whatever becomes of the writer. Absent if there were no descriptors to be had at the start.
    control: Option<(OwnedFd, OwnedFd)>,
    /// The process and its pidfd.
    writer: Option<(Pid, OwnedFd)>,
    containers: Vec<Container>,
    /// What the socket has not taken yet, and the descriptors that travel with an Attach; those of an Add are found by the
    /// id of their container.
    unsent: VecDeque<(Message, Vec<OwnedFd>)>,
    events: Vec<LogEvent>,
    /// Writers that have died since one was last heard of.
    failures: u32,
}

impl LogWriter {
    /// No process yet.
    pub(crate) fn new() -> Self {
        Self {
            control: control_socket().ok(),
            writer: None,
            containers: Vec::new(),
            unsent: VecDeque::new(),
            events: Vec::new(),
            failures: 0,
        }
    }

    /// Starts the writer before there is a container: it is then a copy of less, and nobody waits for it. If that does not
    /// work, the first container starts it.
    pub(crate) fn prepare(&mut self) {
        if self.writer.is_none() {
            self.start().ok();
        }
    }

    /// Has the output of a container written to the log at `path`; if that is empty, read and thrown away.
    ///
    /// # Errors
    ///
    /// EEXIST for a container that has been added before; ENAMETOOLONG; what clone3 says if there is no writer yet.
    pub(crate) fn add(
        &mut self,
        container_id: &str,
        path: &[u8],
        stdout: OwnedFd,
        stderr: Option<OwnedFd>,
    ) -> Result<(), Errno> {
        if self.containers.iter().any(|it| it.id == container_id) {
            return Err(Errno::EXIST);
        }
        let message = Message {
            path: path.to_vec(),
            ..Message::new(Kind::Add, container_id)
        };
        message.encode().ok_or(Errno::NAMETOOLONG)?;
        let descriptors: Vec<OwnedFd> = [Some(stdout), stderr].into_iter().flatten().collect();
        for descriptor in &descriptors {
            rustix::io::ioctl_fionbio(descriptor, true)?;
        }
        self.containers.push(Container {
            id: container_id.to_owned(),
            path: path.to_vec(),
            descriptors,
            lost_lines: 0,
            is_reopening: false,
            is_finishing: false,
        });
        if self.writer.is_some() {
            self.send(message);
            return Ok(());
        }
        // A new writer is born with all containers.
        let started = self.start();
        if started.is_err() {
            self.containers.pop();
        }
        started
    }

    /// Has the log opened again at its path; the answer is [`LogEvent::Reopened`].
    ///
    /// # Errors
    ///
    /// ENOENT for an unknown container; what clone3 says if the writer has died and there is no other. No event comes then.
    pub(crate) fn reopen(&mut self, container_id: &str) -> Result<(), Errno> {
        let position = self.containers.iter().position(|it| it.id == container_id);
        let position = position.ok_or(Errno::NOENT)?;
        self.set_reopening(position, true);
        let asked = self.ask(Kind::Reopen, container_id);
        if asked.is_err() {
            self.set_reopening(position, false);
        }
        asked
    }

    fn set_reopening(&mut self, position: usize, is_reopening: bool) {
        if let Some(container) = self.containers.get_mut(position) {
            container.is_reopening = is_reopening;
        }
    }

    /// Has what is in the container's pipes written, and the pipes closed; the answer is [`LogEvent::Finished`], always.
    pub(crate) fn finish(&mut self, container_id: &str) {
        let container = self.containers.iter_mut().find(|it| it.id == container_id);
        let Some(container) = container else {
            self.events.push(LogEvent::Finished {
                container_id: container_id.to_owned(),
                lost_lines: 0,
            });
            self.wake();
            return;
        };
        container.is_finishing = true;
        let lost_lines = container.lost_lines;
        if self.ask(Kind::Finish, container_id).is_err() {
            self.containers.retain(|it| it.id != container_id);
            self.events.push(LogEvent::Finished {
                container_id: container_id.to_owned(),
                lost_lines,
            });
            self.wake();
        }
    }

    /// Forgets a container at once; what is in its pipes is not written.
    pub(crate) fn remove(&mut self, container_id: &str) {
        let before = self.containers.len();
        self.containers.retain(|it| it.id != container_id);
        if self.writer.is_some() && self.containers.len() < before {
            self.send(Message::new(Kind::Remove, container_id));
        }
    }

    /// Has the output of a container copied into the pipes of a client, which the writer closes when the client is too slow,
    /// at the container's end, and at its own: another writer knows nothing of clients.
    ///
    /// # Errors
    ///
    /// ENOENT for an unknown container, EAGAIN if there is no writer now.
    pub(crate) fn attach(
        &mut self,
        container_id: &str,
        outputs: Outputs,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Errno> {
        if !self.containers.iter().any(|it| it.id == container_id) {
            return Err(Errno::NOENT);
        }
        if self.writer.is_none() {
            return Err(Errno::AGAIN);
        }
        let message = Message {
            outputs,
            ..Message::new(Kind::Attach, container_id)
        };
        self.unsent.push_back((message, descriptors));
        self.flush();
        Ok(())
    }

    /// Readable when [`LogWriter::events`] has something. It stays the same for good.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.control.as_ref().map(|(ours, _theirs)| ours.as_fd())
    }

    /// What has happened since it was last asked. Never waits.
    pub(crate) fn events(&mut self) -> Vec<LogEvent> {
        self.receive();
        self.flush();
        std::mem::take(&mut self.events)
    }

    /// The process, for the reaper to know it by.
    pub(crate) fn writer_pid(&self) -> Option<Pid> {
        self.writer.as_ref().map(|(pid, _pidfd)| *pid)
    }

    /// The end of the shim: the writer goes first, so that the shim's cgroup is empty when the shim has gone. One that still
    /// has something to write is killed; one that hangs in the disk is left behind after a moment.
    pub(crate) fn stop(&mut self) {
        self.control = None;
        let Some((_pid, pidfd)) = self.writer.take() else {
            return;
        };
        if !has_ended(&pidfd) {
            carpel_linux::signal::send(pidfd.as_fd(), carpel_linux::signal::KILL).ok();
            has_ended(&pidfd);
        }
    }

    /// To be called by the reaper when the process has ended: another one takes over the pipes.
    pub(crate) fn writer_exited(&mut self) {
        // What it had said before counts.
        self.receive();
        self.writer = None;
        self.events.push(LogEvent::WriterDied);
        self.failures = self.failures.saturating_add(1);
        let wanted = !self.containers.is_empty() && self.failures <= MAXIMUM_FAILURES;
        if !wanted || self.start().is_err() {
            // The next command tries again; who waits now is told.
            self.give_up();
        }
        self.wake();
    }

    /// Answers all that has been asked, as there is no writer that could.
    fn give_up(&mut self) {
        for container in &mut self.containers {
            if std::mem::take(&mut container.is_reopening) {
                self.events.push(LogEvent::Reopened {
                    container_id: container.id.clone(),
                    errno: Errno::AGAIN.raw_os_error(),
                });
            }
            if container.is_finishing {
                self.events.push(LogEvent::Finished {
                    container_id: container.id.clone(),
                    lost_lines: container.lost_lines,
                });
            }
        }
        self.containers.retain(|container| !container.is_finishing);
    }

    fn ask(&mut self, kind: Kind, container_id: &str) -> Result<(), Errno> {
        if self.writer.is_none() {
            // It asks for all that has not been answered.
            return self.start();
        }
        self.send(Message::new(kind, container_id));
        Ok(())
    }

    fn send(&mut self, message: Message) {
        self.unsent.push_back((message, Vec::new()));
        self.flush();
    }

    /// Sends what the socket takes. The writer answers every command, so that this is called again when there is room.
    fn flush(&mut self) {
        let Some((ours, _theirs)) = &self.control else {
            return;
        };
        while let Some((message, owned)) = self.unsent.front() {
            let container = self
                .containers
                .iter()
                .find(|it| it.id == message.container_id);
            let descriptors: Vec<BorrowedFd<'_>> = match (message.kind, container) {
                (Kind::Add, Some(container)) => {
                    container.descriptors.iter().map(AsFd::as_fd).collect()
                }
                _ => owned.iter().map(AsFd::as_fd).collect(),
            };
            // An Add whose container has been removed meanwhile is not sent, nor what cannot be encoded.
            let bytes = message
                .encode()
                .filter(|_| message.kind != Kind::Add || container.is_some());
            if let Some(bytes) = bytes
                && socket::send(ours.as_fd(), &bytes, &descriptors) == Err(Errno::AGAIN)
            {
                return;
            }
            self.unsent.pop_front();
        }
    }

    fn receive(&mut self) {
        loop {
            let Some((ours, _theirs)) = &self.control else {
                return;
            };
            // As large as the message: pages of the stack stay taken.
            let Ok(length) = socket::next_length(ours.as_fd()) else {
                return;
            };
            let mut buffer = vec![0; length.clamp(1, MAXIMUM_MESSAGE)];
            let Ok(received) = socket::receive(ours.as_fd(), &mut buffer) else {
                return;
            };
            let bytes = buffer.get(..received.length).unwrap_or_default();
            if let Some(message) = Message::decode(bytes) {
                self.heard(message);
            }
        }
    }

    fn heard(&mut self, message: Message) {
        let Message {
            kind,
            errno,
            lost_lines,
            container_id,
            path: _,
            outputs: _,
        } = message;
        let position = self.containers.iter().position(|it| it.id == container_id);
        let Some(container) = position.and_then(|position| self.containers.get_mut(position))
        else {
            return;
        };
        self.failures = 0;
        match kind {
            Kind::Reopened if container.is_reopening => {
                container.is_reopening = false;
                self.events.push(LogEvent::Reopened {
                    container_id,
                    errno,
                });
            }
            Kind::Finished if container.is_finishing => {
                self.containers.retain(|it| it.id != container_id);
                self.events.push(LogEvent::Finished {
                    container_id,
                    lost_lines,
                });
            }
            Kind::Trouble => {
                container.lost_lines = lost_lines;
                self.events.push(LogEvent::Trouble {
                    container_id,
                    errno,
                    lost_lines,
                });
            }
            // Taken, an answer that is no longer waited for, or the wake below.
            _ => {}
        }
    }

    /// Makes the descriptor readable, for events that did not come from the writer.
    fn wake(&self) {
        if let Some((_ours, theirs)) = &self.control
            && let Some(bytes) = Message::new(Kind::Taken, "").encode()
        {
            // A full socket is readable already.
            socket::send(theirs.as_fd(), &bytes, &[]).ok();
        }
    }

    /// Clones a writer that knows all containers, and asks it again for what its predecessor has not answered.
    fn start(&mut self) -> Result<(), Errno> {
        if self.control.is_none() {
            self.control = Some(control_socket()?);
        }
        let Some((_ours, theirs)) = &self.control else {
            return Err(Errno::BADF);
        };
        // Commands to the predecessor are in the state that its successor is born with.
        while matches!(
            socket::receive(theirs.as_fd(), &mut [0; 1]),
            // Larger than the buffer is as good: it is thrown away.
            Ok(_) | Err(Errno::MSGSIZE)
        ) {}
        self.unsent.clear();
        match clone_process(&CloneRequest::default()).map_err(|error| error.errno())? {
            Cloned::Child(child) => self.become_writer(&child),
            Cloned::Parent { pid, pidfd } => self.writer = Some((pid, pidfd)),
        }
        let asked: Vec<Message> = self
            .containers
            .iter()
            .flat_map(|it| {
                let reopen = it.is_reopening.then(|| Message::new(Kind::Reopen, &it.id));
                let finish = it.is_finishing.then(|| Message::new(Kind::Finish, &it.id));
                [reopen, finish].into_iter().flatten()
            })
            .collect();
        let without = asked.into_iter().map(|message| (message, Vec::new()));
        self.unsent.extend(without);
        self.flush();
        Ok(())
    }

    /// The life of the child. Everything that it has inherited is left alone, but for the descriptors that it keeps.
    fn become_writer(&self, child: &ChildProcess) -> ! {
        if let Some(mut writer) = self.writer_of_child(child) {
            writer.run();
        }
        process::exit_now(0)
    }

    fn writer_of_child(&self, child: &ChildProcess) -> Option<Writer> {
        let (_ours, theirs) = self.control.as_ref()?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let standard = null.as_ref().map_or(theirs.as_fd(), AsFd::as_fd);
        let mut kept = vec![standard, standard, standard, theirs.as_fd()];
        let descriptors = self.containers.iter().flat_map(|it| &it.descriptors);
        kept.extend(descriptors.map(AsFd::as_fd));
        let mut owned = child.keep_only(&kept).ok()?.into_iter();
        // Its number is closed or another's now.
        std::mem::forget(null);
        drop(process::set_name(c"carpel-log"));
        process::set_umask(0);
        let mut writer = Writer::new(owned.next()?).ok()?;
        for container in &self.containers {
            let message = Message {
                path: container.path.clone(),
                lost_lines: container.lost_lines,
                ..Message::new(Kind::Add, &container.id)
            };
            let descriptors = owned.by_ref().take(container.descriptors.len()).collect();
            writer.add(message, descriptors);
        }
        Some(writer)
    }
}

/// Waits a moment for the end of a process, and reaps it.
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
    let has_ended = rustix::event::poll(&mut ended, Some(&MOMENT)) == Ok(1);
    if has_ended {
        rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).ok();
    }
    has_ended
}

/// Both ends, neither of which ever waits.
fn control_socket() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (ours, theirs) = socket::pair().map_err(|error| error.errno())?;
    for end in [&ours, &theirs] {
        socket::set_nonblocking(end).map_err(|error| error.errno())?;
    }
    Ok((ours, theirs))
}
