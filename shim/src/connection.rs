//! The connection to the daemon: packets in, responses and events out, never waiting for it.

use crate::outbox::Outbox;
use crate::outbox::Reply;
use crate::poller::EventFlags;
use crate::poller::Poller;
use crate::poller::Token;
use carpel_linux::memfd;
use carpel_linux::socket;
use carpel_shim_protocol::framing;
use carpel_shim_protocol::framing::Packet;
use carpel_shim_protocol::framing::Unpacked;
use carpel_shim_protocol::message::Request;
use carpel_shim_protocol::message::envelope::Body;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// A larger packet is not of this protocol.
const BUFFER_BYTES: usize = carpel_shim_protocol::MAXIMUM_PACKET_BYTES;
/// Responses that wait for a daemon that does not read; more, and the connection is given up.
const REPLIES: usize = 256;

/// One connection of the daemon.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    /// Events up to this one were sent; none: the daemon has not said Hello.
    sent: Option<u64>,
    wants_to_write: bool,
}

/// What came of reading.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A request with its descriptors.
    Request(Box<Request>, Vec<OwnedFd>),
    /// Nothing now.
    Nothing,
    /// The daemon is gone, or speaks another protocol.
    Closed,
}

/// Whether a connection is still of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Open,
    Broken,
}

impl Connection {
    /// Takes a non-blocking socket and watches it.
    pub(crate) fn new(socket: OwnedFd, poller: &Poller) -> carpel_linux::Result<Self> {
        socket::set_nonblocking(&socket)?;
        poller.add(socket.as_fd(), Token::Connection, EventFlags::IN)?;
        Ok(Self {
            socket,
            sent: None,
            wants_to_write: false,
        })
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Events after `sequence` are sent from now on.
    pub(crate) fn begin_events(&mut self, sequence: u64) {
        self.sent = Some(sequence);
    }

    /// Reads one packet.
    pub(crate) fn receive(&mut self) -> Incoming {
        let length = match socket::next_length(self.socket.as_fd()) {
            Ok(length) if (1..=BUFFER_BYTES).contains(&length) => length,
            Err(Errno::AGAIN) => return Incoming::Nothing,
            _ => return Incoming::Closed,
        };
        let mut buffer = vec![0; length];
        let mut received = match socket::receive(self.socket.as_fd(), &mut buffer) {
            Ok(received) if received.length > 0 => received,
            Err(Errno::AGAIN) => return Incoming::Nothing,
            _ => return Incoming::Closed,
        };
        let packet = buffer.get(..received.length).unwrap_or_default();
        let envelope = match framing::decode(packet, received.descriptors.len()) {
            Ok(Unpacked::Message(envelope)) => envelope,
            Ok(Unpacked::Large { length }) => {
                let memfd = received.descriptors.remove(0);
                let content = memfd::read_sealed(memfd.as_fd(), length).ok();
                let count = received.descriptors.len();
                match content.and_then(|content| framing::decode_large(&content, count).ok()) {
                    Some(envelope) => envelope,
                    None => return Incoming::Closed,
                }
            }
            Err(_error) => return Incoming::Closed,
        };
        match envelope.body {
            Some(Body::Request(request)) => {
                Incoming::Request(Box::new(request), received.descriptors)
            }
            _ => Incoming::Closed,
        }
    }

    /// Sends what can be sent without waiting.
    pub(crate) fn flush(&mut self, outbox: &mut Outbox, poller: &Poller) -> Link {
        let full = match self.send_all(outbox) {
            Ok(()) => false,
            Err(Errno::AGAIN | Errno::NOBUFS) => true,
            Err(_errno) => return Link::Broken,
        };
        if full && outbox.replies.len() > REPLIES {
            return Link::Broken;
        }
        if full != self.wants_to_write {
            let flags = if full {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            if poller
                .change(self.socket.as_fd(), Token::Connection, flags)
                .is_err()
            {
                return Link::Broken;
            }
            self.wants_to_write = full;
        }
        Link::Open
    }

    /// Responses first: an event may be about what a response has just made known (ExecStarted before ExecExited).
    fn send_all(&mut self, outbox: &mut Outbox) -> Result<(), Errno> {
        while let Some(reply) = outbox.replies.front() {
            self.send_reply(reply)?;
            outbox.replies.pop_front();
        }
        while let Some(sent) = self.sent {
            let Some(event) = outbox.event_after(sent) else {
                break;
            };
            self.send(Body::Event(event.clone()), &[])?;
            self.sent = Some(event.sequence);
        }
        outbox.forget_sent(self.sent.unwrap_or(0));
        Ok(())
    }

    fn send_reply(&self, reply: &Reply) -> Result<(), Errno> {
        let descriptors: Vec<BorrowedFd<'_>> = reply.descriptors.iter().map(AsFd::as_fd).collect();
        self.send(Body::Response(reply.response.clone()), &descriptors)
    }

    fn send(&self, body: Body, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let packet = framing::encode(body, descriptors.len()).map_err(|_error| Errno::MSGSIZE)?;
        match packet {
            Packet::Inline(packet) => socket::send(self.socket.as_fd(), &packet, descriptors),
            Packet::Large { packet, content } => {
                let memfd =
                    memfd::sealed(c"carpel-message", &content).map_err(|error| error.errno())?;
                let mut all = vec![memfd.as_fd()];
                all.extend_from_slice(descriptors);
                socket::send(self.socket.as_fd(), &packet, &all)
            }
        }
    }
}
