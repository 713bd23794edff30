//! The terminal of a process that another runtime begins: the runtime connects to a socket in the bundle, and sends the
//! master.

use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::ignore;
use crate::poller::EventFlags;
use crate::poller::Poller;
use crate::poller::Token;
use crate::server::Server;
use carpel_linux::socket;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// The runtime says the terminal's name with the descriptor; nobody needs it.
const NAME_BYTES: usize = 4096;

/// Where the master comes from.
#[derive(Debug)]
pub(crate) struct Console {
    socket: OwnedFd,
    is_connected: bool,
    bundle: OwnedFd,
    /// Name of the socket in the bundle.
    pub(crate) name: String,
}

/// What looking at the socket gave.
enum Heard {
    Master(OwnedFd),
    Nothing,
    /// Nothing will come any more.
    End,
}

impl Console {
    /// Listens in the bundle. The name is short: what a runtime can connect to has 108 bytes, so it gets the name alone and
    /// the bundle as its working directory.
    pub(super) fn listen(bundle: &str, name: String) -> Outcome<Self> {
        let step = || format!("listen on {name:?} for the terminal");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(bundle, flags, Mode::empty()).step(step)?;
        let socket = socket::listen_stream_in(directory.as_fd(), &name).step(step)?;
        Ok(Self {
            socket,
            is_connected: false,
            bundle: directory,
            name,
        })
    }

    /// Has the loop look at it.
    pub(super) fn watch(&self, poller: &Poller, serial: u32) -> Outcome<()> {
        poller
            .add(self.socket.as_fd(), Token::Console(serial), EventFlags::IN)
            .step(|| "watch for the terminal".into())
    }

    fn hear(&mut self, poller: &Poller, serial: u32) -> Heard {
        if !self.is_connected {
            let Ok(accepted) = socket::accept(self.socket.as_fd()) else {
                return Heard::End;
            };
            let Some((connection, _uid)) = accepted else {
                return Heard::Nothing;
            };
            poller.remove(self.socket.as_fd());
            self.socket = connection;
            self.is_connected = true;
            if self.watch(poller, serial).is_err() {
                return Heard::End;
            }
        }
        match socket::receive(self.socket.as_fd(), &mut [0; NAME_BYTES]) {
            Ok(mut received) => match received.descriptors.pop() {
                Some(master) => Heard::Master(master),
                None if received.length == 0 => Heard::End,
                None => Heard::Nothing,
            },
            Err(rustix::io::Errno::AGAIN) => Heard::Nothing,
            Err(_errno) => Heard::End,
        }
    }

    pub(super) fn close(&self, poller: &Poller) {
        poller.remove(self.socket.as_fd());
        remove(self.bundle.as_fd(), &self.name);
    }
}

fn remove(bundle: BorrowedFd<'_>, name: &str) {
    let removed = rustix::fs::unlinkat(bundle, name, rustix::fs::AtFlags::empty());
    ignore(removed, "it goes with the bundle");
}

impl Server {
    /// A runtime connects, or sends the master of a terminal.
    pub(crate) fn hear_console(&mut self, serial: u32) {
        let containers = self.containers.iter_mut();
        let of_containers = containers.filter_map(|container| {
            let place = &mut container.external.as_mut()?.console;
            Some((container.serial, place))
        });
        let of_execs = self
            .execs
            .iter_mut()
            .filter_map(|exec| Some((exec.serial, &mut exec.external.as_mut()?.console)));
        let mut places = of_containers.chain(of_execs);
        let Some((_, place)) = places.find(|(found, _)| *found == serial) else {
            return;
        };
        let Some(console) = place else {
            return;
        };
        let master = match console.hear(&self.poller, serial) {
            Heard::Nothing => return,
            Heard::Master(master) => Some(master),
            Heard::End => None,
        };
        console.close(&self.poller);
        *place = None;
        let Some(master) = master else {
            return;
        };
        match self.execs.iter_mut().find(|exec| exec.serial == serial) {
            Some(exec) => exec.terminal = Some(master),
            None => self.take_terminal(serial, master),
        }
    }
}
