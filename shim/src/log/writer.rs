//! The log writer's own process: waits for output and for commands, and ends when the shim has gone and all output has ended.

use super::clients::Clients;
use super::file::LogFile;
use super::lines::Output;
use super::message::Kind;
use super::message::MAXIMUM_MESSAGE;
use super::message::Message;
use super::stream::Batch;
use super::stream::Buffers;
use super::stream::Stream;
use carpel_linux::process;
use carpel_linux::socket;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::event::epoll::EventData;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::time::ClockId;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

/// After a second without much output the buffers are given back; changes are reported as rarely.
const IDLE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
const IDLE_NANOSECONDS: u64 = 1_000_000_000;

/// A batch from which on the buffers hold more than a few pages.
const LARGE_BATCH: usize = 16 * 1024;

/// A producer that writes line by line, faster than this, is read in rounds: what comes during a pause is one batch. It costs
/// the log a fraction of a millisecond and saves most of the system calls.
const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 300_000,
};
const PAUSE_NANOSECONDS: u64 = 300_000;

/// A round of so much needs no pause: half a pipe.
const ROUND: usize = 32 * 1024;

/// What epoll calls the control socket; a stream is called by its container's serial number and its place, a client by its
/// own serial number.
const CONTROL: u64 = 0;
const CLIENT: u64 = 1 << 63;

/// A container whose output is read.
#[derive(Debug)]
struct Container {
    serial: u64,
    id: String,
    file: LogFile,
    /// stdout, stderr. `None`: ended or never there.
    streams: [Option<Stream>; 2],
    clients: Clients,
}

/// The process's whole state.
#[derive(Debug)]
pub(crate) struct Writer {
    control: OwnedFd,
    /// The shim is still there.
    is_controlled: bool,
    epoll: OwnedFd,
    containers: Vec<Container>,
    last_serial: u64,
    buffers: Option<Buffers>,
    /// When the buffers were mapped or last used for much, on the monotonic clock.
    last_large: u64,
    /// When the last round ended, and how many bytes have been read in this one.
    last_round: u64,
    round: usize,
}

impl Writer {
    /// `control` is this process's end of the socket to the shim, non-blocking.
    pub(crate) fn new(control: OwnedFd) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &control,
            EventData::new_u64(CONTROL),
            EventFlags::IN,
        )?;
        Ok(Self {
            control,
            is_controlled: true,
            epoll,
            containers: Vec::new(),
            last_serial: 0,
            buffers: None,
            last_large: 0,
            last_round: 0,
            round: 0,
        })
    }

    /// Begins to read a container's output. One that is known already is left as it is.
    pub(crate) fn add(&mut self, message: Message, descriptors: Vec<OwnedFd>) {
        if self.position(&message.container_id).is_some() {
            return;
        }
        self.last_serial = self.last_serial.saturating_add(1);
        let serial = self.last_serial;
        let mut streams = [None, None];
        let outputs = [Output::Stdout, Output::Stderr];
        for (number, (descriptor, output)) in descriptors.into_iter().zip(outputs).enumerate() {
            let stream = Stream::new(descriptor, output);
            let name = EventData::new_u64(name_of(serial, number));
            // ENOSPC and ENOMEM only: this output is not read then, as if it were closed.
            if epoll::add(&self.epoll, stream.descriptor(), name, EventFlags::IN).is_ok()
                && let Some(place) = streams.get_mut(number)
            {
                *place = Some(stream);
            }
        }
        self.containers.push(Container {
            serial,
            id: message.container_id,
            file: LogFile::open(message.path, message.lost_lines),
            streams,
            clients: Clients::default(),
        });
        self.report();
    }

    /// Works until there is nothing left to do.
    pub(crate) fn run(&mut self) {
        process::trim_memory();
        while self.is_controlled || !self.containers.is_empty() {
            let mut events = [epoll::Event {
                flags: EventFlags::empty(),
                data: EventData::new_u64(0),
            }; 16];
            let has_report = self
                .containers
                .iter()
                .any(|container| container.file.has_report());
            let timeout = (self.buffers.is_some() || has_report).then_some(&IDLE);
            let count = match epoll::wait(&self.epoll, &mut events[..], timeout) {
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(_errno) => return,
            };
            let names = events.iter().take(count).map(|event| { event.data }.u64());
            // Commands first: they are few, and somebody waits for them.
            if names.clone().any(|name| name == CONTROL) {
                self.obey();
            }
            for name in names.filter(|name| *name != CONTROL) {
                if name & CLIENT == 0 {
                    self.transfer(name);
                } else {
                    self.forget_client(name);
                }
            }
            self.report();
            self.give_back_memory();
            self.pause();
        }
    }

    /// Lets output gather, if little of it comes very often.
    fn pause(&mut self) {
        let now = monotonic();
        let is_fast = now.saturating_sub(self.last_round) < PAUSE_NANOSECONDS;
        let is_large = std::mem::take(&mut self.round) >= ROUND;
        self.last_round = now;
        if is_fast && !is_large {
            // Interrupted is as good as over.
            drop(rustix::thread::nanosleep(&PAUSE));
            self.last_round = monotonic();
        }
    }

    fn transfer(&mut self, name: u64) {
        let (serial, number) = serial_and_number(name);
        let Some(position) = self.containers.iter().position(|it| it.serial == serial) else {
            return;
        };
        let (Some(buffers), Some(container)) = (
            mapped(&mut self.buffers, &mut self.last_large),
            self.containers.get_mut(position),
        ) else {
            return;
        };
        let Some(place) = container.streams.get_mut(number) else {
            return;
        };
        let Some(stream) = place else {
            return;
        };
        match stream.transfer(buffers, &mut container.file, &mut container.clients) {
            Batch::Bytes(length) => {
                self.round = self.round.saturating_add(length);
                if length >= LARGE_BATCH {
                    self.last_large = monotonic();
                }
            }
            Batch::Nothing => {}
            Batch::End => {
                // Closing is not enough: the shim holds the open file too, and it would stay ready for ever.
                epoll::delete(&self.epoll, stream.descriptor()).ok();
                container.clients.end(stream.output());
                *place = None;
                if !self.is_controlled && container.streams.iter().all(Option::is_none) {
                    self.containers.remove(position);
                }
            }
        }
    }

    /// Begins to copy a container's output to a client.
    fn attach(&mut self, message: &Message, descriptors: Vec<OwnedFd>) {
        self.last_serial = self.last_serial.saturating_add(1);
        let name = CLIENT | self.last_serial;
        let mut containers = self.containers.iter_mut();
        // Of one that has ended the client reads the end at once: its pipes are closed here.
        if let Some(container) = containers.find(|it| it.id == message.container_id) {
            container
                .clients
                .add(&self.epoll, name, message.outputs, descriptors);
            // What has ended before has ended for it too.
            for (stream, output) in container
                .streams
                .iter()
                .zip([Output::Stdout, Output::Stderr])
            {
                if stream.is_none() {
                    container.clients.end(output);
                }
            }
        }
    }

    /// A client has left.
    fn forget_client(&mut self, name: u64) {
        for container in &mut self.containers {
            if container.clients.remove(name) {
                return;
            }
        }
    }

    /// Carries out all commands that have come.
    fn obey(&mut self) {
        while self.is_controlled {
            // As large as the message: pages of the stack stay taken.
            let length = socket::next_length(self.control.as_fd()).unwrap_or(0);
            let mut buffer = vec![0; length.clamp(1, MAXIMUM_MESSAGE)];
            let received = match socket::receive(self.control.as_fd(), &mut buffer) {
                Ok(received) => received,
                Err(Errno::AGAIN) => return,
                Err(_errno) => {
                    self.leave_alone();
                    return;
                }
            };
            if received.length == 0 {
                self.leave_alone();
                return;
            }
            let bytes = buffer.get(..received.length).unwrap_or_default();
            if let Some(message) = Message::decode(bytes) {
                self.carry_out(message, received.descriptors);
            }
        }
    }

    fn carry_out(&mut self, message: Message, descriptors: Vec<OwnedFd>) {
        let id = message.container_id.clone();
        let answer = match message.kind {
            Kind::Add => {
                self.add(message, descriptors);
                Message::new(Kind::Taken, &id)
            }
            Kind::Remove => {
                self.forget(&id);
                Message::new(Kind::Taken, &id)
            }
            Kind::Reopen => {
                let container = self.containers.iter_mut().find(|it| it.id == id);
                let reopened = container.map_or(Err(Errno::NOENT), |it| it.file.reopen());
                Message {
                    errno: reopened.err().map_or(0, Errno::raw_os_error),
                    ..Message::new(Kind::Reopened, &id)
                }
            }
            Kind::Finish => Message {
                lost_lines: self.finish(&id),
                ..Message::new(Kind::Finished, &id)
            },
            Kind::Attach => {
                self.attach(&message, descriptors);
                Message::new(Kind::Taken, &id)
            }
            Kind::Taken | Kind::Reopened | Kind::Finished | Kind::Trouble => return,
        };
        self.tell(&answer);
    }

    /// Writes what is in the container's pipes now, which may be held open by others for ever, and forgets the container.
    fn finish(&mut self, id: &str) -> u64 {
        let position = self.position(id);
        let container = position.and_then(|position| self.containers.get_mut(position));
        let Some(container) = container else {
            return 0;
        };
        let streams = container.streams.iter_mut().flatten();
        if let Some(buffers) = mapped(&mut self.buffers, &mut self.last_large) {
            for stream in streams {
                let mut waiting = stream.waiting();
                while waiting > 0 {
                    match stream.transfer(buffers, &mut container.file, &mut container.clients) {
                        Batch::Bytes(length) => waiting = waiting.saturating_sub(length),
                        Batch::Nothing | Batch::End => break,
                    }
                }
                stream.finish(buffers, &mut container.file);
            }
        }
        let lost_lines = container.file.lost_lines();
        self.forget(id);
        lost_lines
    }

    fn forget(&mut self, id: &str) {
        let Some(position) = self.position(id) else {
            return;
        };
        let container = self.containers.remove(position);
        for stream in container.streams.iter().flatten() {
            // As above: the shim may hold the open file still.
            epoll::delete(&self.epoll, stream.descriptor()).ok();
        }
    }

    /// The shim has gone. What the containers still say is written to the end.
    fn leave_alone(&mut self) {
        self.is_controlled = false;
        epoll::delete(&self.epoll, &self.control).ok();
        self.containers
            .retain(|container| container.streams.iter().any(Option::is_some));
    }

    fn report(&mut self) {
        let now = monotonic();
        let mut reports = Vec::new();
        for container in &mut self.containers {
            if let Some((errno, lost_lines)) = container.file.report(now) {
                reports.push(Message {
                    errno,
                    lost_lines,
                    ..Message::new(Kind::Trouble, &container.id)
                });
            }
        }
        for report in &reports {
            self.tell(report);
        }
    }

    /// Tells the shim, which reads whenever there is something to read, so that the wait is short. A dead shim is told nothing.
    fn tell(&self, message: &Message) {
        let Some(bytes) = message.encode() else {
            return;
        };
        if !self.is_controlled {
            return;
        }
        while socket::send(self.control.as_fd(), &bytes, &[]) == Err(Errno::AGAIN) {
            let mut room = [PollFd::new(&self.control, PollFlags::OUT)];
            rustix::event::poll(&mut room, None).ok();
        }
    }

    fn give_back_memory(&mut self) {
        let idle = monotonic().saturating_sub(self.last_large) > IDLE_NANOSECONDS;
        if idle && self.buffers.take().is_some() {
            let streams = self
                .containers
                .iter_mut()
                .flat_map(|it| it.streams.iter_mut());
            streams.flatten().for_each(Stream::shrink);
            process::trim_memory();
        }
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.containers
            .iter()
            .position(|container| container.id == id)
    }
}

/// The buffers, mapped now if they are not, to stay for a second. `None` if there is no memory: tried again with the next
/// event.
fn mapped<'a>(buffers: &'a mut Option<Buffers>, last_large: &mut u64) -> Option<&'a mut Buffers> {
    if buffers.is_none() {
        *buffers = Buffers::new().ok();
        *last_large = monotonic();
    }
    buffers.as_mut()
}

fn name_of(serial: u64, number: usize) -> u64 {
    let number = u64::try_from(number).unwrap_or(0);
    serial.saturating_mul(2).saturating_add(number)
}

fn serial_and_number(name: u64) -> (u64, usize) {
    (name >> 1, usize::from(name & 1 == 1))
}

fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}
