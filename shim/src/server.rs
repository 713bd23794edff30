//! The loop: waits for descriptors and deadlines, and hands each to the part that it belongs to.

use crate::connection::Connection;
use crate::connection::Incoming;
use crate::connection::Link;
use crate::container::state::Container;
use crate::container::state::Exec;
use crate::external::errand::Errand;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::log::LogWriter;
use crate::outbox::Outbox;
use crate::poller::EventFlags;
use crate::poller::Poller;
use crate::poller::Token;
use crate::sandbox::Sandbox;
use crate::time;
use carpel_linux::process;
use carpel_linux::process::EndedChild;
use carpel_linux::signal;
use carpel_linux::socket;
use rustix::process::Pid;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// The shim's whole state.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) poller: Poller,
    signals: OwnedFd,
    pub(crate) connection: Option<Connection>,
    pub(crate) outbox: Outbox,
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) containers: Vec<Container>,
    pub(crate) execs: Vec<Exec>,
    /// Runs of other runtimes.
    pub(crate) errands: Vec<Errand>,
    /// Children that have been reaped while a run of a runtime could still say that they were its own.
    pub(crate) strangers: Vec<EndedChild>,
    pub(crate) log: LogWriter,
    /// The log's descriptor is in the poller.
    pub(crate) log_watched: Option<i32>,
    /// Processes that take mounts down.
    pub(crate) cleaners: Vec<Pid>,
    pub(crate) next_serial: u32,
    /// Shutdown requests; some: no new work is taken.
    pub(crate) shutting_down: Option<Vec<u64>>,
    pub(crate) done: bool,
    /// Something large was done: its memory goes back before the next wait, when the stack is shallow and all of it is free.
    pub(crate) untidy: bool,
}

impl Server {
    /// A server with its first connection.
    pub(crate) fn new(first: OwnedFd) -> Outcome<Self> {
        let poller = Poller::new().step(|| "make the poller".into())?;
        let signals = signal::descriptor(&[signal::CHILD]).step(|| "watch for children".into())?;
        poller
            .add(signals.as_fd(), Token::Signals, EventFlags::IN)
            .step(|| "watch for children".into())?;
        let connection = Connection::new(first, &poller).step(|| "take the connection".into())?;
        Ok(Self {
            poller,
            signals,
            connection: Some(connection),
            outbox: Outbox::default(),
            sandbox: None,
            containers: Vec::new(),
            execs: Vec::new(),
            errands: Vec::new(),
            strangers: Vec::new(),
            log: LogWriter::new(),
            log_watched: None,
            cleaners: Vec::new(),
            next_serial: 1,
            shutting_down: None,
            done: false,
            untidy: false,
        })
    }

    /// Runs until the pod is shut down, or until there is neither a sandbox nor anybody who could ask for one.
    pub(crate) fn run(mut self) -> ExitCode {
        while !self.done {
            let timeout = self
                .deadline()
                .map(|at| at.saturating_sub(time::monotonic_nanoseconds()));
            for (token, flags) in self.poller.wait(timeout) {
                self.handle(token, flags);
            }
            self.handle_deadlines();
            self.flush();
            if self.connection.is_none() && self.sandbox.is_none() {
                return ExitCode::FAILURE;
            }
            if std::mem::take(&mut self.untidy) {
                process::trim_memory();
            }
        }
        self.flush();
        ExitCode::SUCCESS
    }

    fn handle(&mut self, token: Token, flags: EventFlags) {
        match token {
            Token::Signals => {
                signal::drain(self.signals.as_fd());
                self.reap();
            }
            Token::Listener => self.accept(),
            Token::Connection => self.read_request(flags),
            Token::Log => self.take_log_events(),
            Token::Infra => self.hear_infra(),
            Token::Container(serial) => self.hear_container(serial),
            Token::Exec(serial) => self.hear_exec(serial),
            Token::Memory(serial) => self.note_memory_event(serial),
            Token::Console(serial) => self.hear_console(serial),
        }
    }

    /// A number for the poller's tokens.
    pub(crate) fn take_serial(&mut self) -> u32 {
        let serial = self.next_serial;
        self.next_serial = self.next_serial.wrapping_add(1).max(1);
        serial
    }

    /// One request a turn, so that a busy daemon does not keep exits waiting.
    fn read_request(&mut self, flags: EventFlags) {
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return;
        }
        let Some(connection) = &mut self.connection else {
            return;
        };
        match connection.receive() {
            Incoming::Request(request, descriptors) => self.dispatch(*request, descriptors),
            Incoming::Nothing => {}
            Incoming::Closed => self.drop_connection(),
        }
    }

    /// The daemon is gone: its requests are forgotten, the pod goes on.
    pub(crate) fn drop_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.poller.remove(connection.descriptor());
        }
        self.outbox.replies.clear();
        for container in &mut self.containers {
            container.waiting.clear();
            container.reopening.clear();
            if let Some(external) = &mut container.external {
                external.removals.clear();
            }
        }
        self.errands.iter_mut().for_each(Errand::forget_request);
        for exec in &mut self.execs {
            exec.waiting.clear();
        }
        if let Some(sandbox) = &mut self.sandbox {
            sandbox.waiting.clear();
            sandbox.held_starts.clear();
        }
        if let Some(waiting) = &mut self.shutting_down {
            waiting.clear();
        }
        self.untidy = true;
    }

    /// A new connection replaces the old one. Only root may have one.
    fn accept(&mut self) {
        let Some(listener) = self
            .sandbox
            .as_ref()
            .and_then(|sandbox| sandbox.listener.as_ref())
        else {
            return;
        };
        let (socket, uid) = match socket::accept(listener.as_fd()) {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return,
            Err(error) => {
                self.outbox
                    .notice(format!("{}: {}", error.call(), error.errno()));
                return;
            }
        };
        if uid != 0 {
            self.outbox
                .notice(format!("a connection of uid {uid} was refused"));
            return;
        }
        self.drop_connection();
        match Connection::new(socket, &self.poller) {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => self
                .outbox
                .notice(format!("{}: {}", error.call(), error.errno())),
        }
    }

    /// Sends what can be sent without waiting.
    pub(crate) fn flush(&mut self) {
        let Some(connection) = &mut self.connection else {
            self.outbox.replies.clear();
            return;
        };
        if connection.flush(&mut self.outbox, &self.poller) == Link::Broken {
            self.drop_connection();
        }
    }

    /// The next moment at which something is to be done without a descriptor.
    fn deadline(&self) -> Option<u64> {
        let containers = self.containers.iter().filter_map(Container::deadline);
        let execs = self.execs.iter().filter_map(|exec| exec.deadline);
        containers.chain(execs).min()
    }

    fn handle_deadlines(&mut self) {
        let now = time::monotonic_nanoseconds();
        self.end_late_execs(now);
        self.settle_exits(now);
        self.go_on_shutting_down();
    }
}
