//! Clients that want a copy of a container's output: each has a pipe, whose size is how far behind it may be. What a client
//! does not take at once is not waited for: it is dropped.

use super::lines::Output;
use super::message::Outputs;
use rustix::event::epoll;
use rustix::event::epoll::EventData;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// A client's pipes: stdout, stderr.
#[derive(Debug)]
struct Client {
    /// What epoll calls its pipes.
    name: u64,
    pipes: [Option<OwnedFd>; 2],
}

impl Client {
    fn is_left(&self) -> bool {
        self.pipes.iter().all(Option::is_none)
    }
}

/// The clients of one container.
#[derive(Debug, Default)]
pub(super) struct Clients {
    clients: Vec<Client>,
}

impl Clients {
    /// Takes a client, whose descriptors are for the outputs that it wants. epoll tells by `name` when it has left.
    pub(super) fn add(
        &mut self,
        epoll: &OwnedFd,
        name: u64,
        outputs: Outputs,
        descriptors: Vec<OwnedFd>,
    ) {
        let mut descriptors = descriptors.into_iter();
        let mut pipes = [None, None];
        for (pipe, wanted) in pipes.iter_mut().zip(outputs.wanted()) {
            let descriptor = wanted.then(|| descriptors.next()).flatten();
            *pipe = descriptor.filter(|descriptor| {
                // A pipe whose reader has gone is always told. One that cannot be watched is closed: the client comes again.
                rustix::io::ioctl_fionbio(descriptor, true).is_ok()
                    && epoll::add(
                        epoll,
                        descriptor,
                        EventData::new_u64(name),
                        EventFlags::empty(),
                    )
                    .is_ok()
            });
        }
        self.clients.push(Client { name, pipes });
    }

    /// Gives every client that wants it what has been logged.
    pub(super) fn copy(&mut self, output: Output, bytes: &[u8]) {
        self.clients.retain(|client| {
            let pipe = client.pipes.get(number_of(output)).and_then(Option::as_ref);
            pipe.is_none_or(|pipe| write_all(pipe, bytes))
        });
    }

    /// An output has ended: so it does for the clients.
    pub(super) fn end(&mut self, output: Output) {
        for client in &mut self.clients {
            if let Some(pipe) = client.pipes.get_mut(number_of(output)) {
                *pipe = None;
            }
        }
        self.clients.retain(|client| !client.is_left());
    }

    /// Forgets a client that has left. Whether it was one of these.
    pub(super) fn remove(&mut self, name: u64) -> bool {
        let before = self.clients.len();
        self.clients.retain(|client| client.name != name);
        self.clients.len() < before
    }
}

fn number_of(output: Output) -> usize {
    match output {
        Output::Stdout => 0,
        Output::Stderr => 1,
    }
}

/// Whether the pipe has taken all.
fn write_all(pipe: &OwnedFd, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(pipe, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_full_or_closed) => return false,
        }
    }
    true
}
