//! A netlink socket with blocking requests: the kernel answers while the request is sent, so nothing waits.
//!
//! A socket belongs for ever to the network namespace of the thread that opened it, and keeps that
//! namespace alive: drop it with the pod.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv,
    send, socket_with, sockopt,
};

use super::message::{Message, Part, parts};

/// `NLMSG_ERROR`: an error code, 0 for an acknowledgement.
const KIND_ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const KIND_DONE: u16 = 3;
/// The kernel builds dump packets of up to 32 KiB (`netlink_recvmsg`), as the buffer offered allows.
const DUMP_BUFFER_LENGTH: usize = 32 * 1024;
/// A refusal repeats the request that it refuses; ours are a few hundred bytes.
const ACKNOWLEDGEMENT_BUFFER_LENGTH: usize = 4 * 1024;
/// No answer takes this long: the kernel answers inside `send`, or it is not answering at all.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// After this the state is asked for again, whether or not an event was heard.
const EVENT_WAIT: Duration = Duration::from_millis(50);

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) enum Family {
    /// Links, addresses, routes: `NETLINK_ROUTE`.
    Route,
    /// nf_tables: `NETLINK_NETFILTER`.
    Netfilter,
}

impl Family {
    fn protocol(self) -> Option<Protocol> {
        match self {
            // NETLINK_ROUTE is 0, the default.
            Self::Route => None,
            Self::Netfilter => Some(netlink::NETFILTER),
        }
    }
}

/// One message of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) struct Received {
    /// `RTM_…` or the nfnetlink type.
    pub(in crate::network) kind: u16,
    /// The family's fixed header and the attributes.
    pub(in crate::network) payload: Vec<u8>,
}

/// A netlink socket.
#[derive(Debug)]
pub(in crate::network) struct Socket {
    descriptor: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub(in crate::network) fn open(family: Family) -> Result<Self, Errno> {
        let descriptor = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            family.protocol(),
        )?;
        sockopt::set_socket_timeout(&descriptor, sockopt::Timeout::Recv, Some(ANSWER_DEADLINE))?;
        Ok(Self {
            descriptor,
            sequence: 0,
        })
    }

    /// Opens a socket that hears what happens to links (`RTMGRP_LINK`) in the namespace of the calling thread.
    pub(in crate::network) fn open_link_events() -> Result<Self, Errno> {
        const GROUP_LINK: u32 = 1;
        let socket = Self::open(Family::Route)?;
        bind(&socket.descriptor, &SocketAddrNetlink::new(0, GROUP_LINK))?;
        let timeout = Some(EVENT_WAIT);
        sockopt::set_socket_timeout(&socket.descriptor, sockopt::Timeout::Recv, timeout)?;
        Ok(socket)
    }

    /// Waits for an event, or a moment if none comes. Which one it was, the caller asks the kernel: events get lost
    /// when there are too many.
    pub(in crate::network) fn wait_for_event(&self) -> Result<(), Errno> {
        match self.receive(&mut vec![0; DUMP_BUFFER_LENGTH]) {
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Sends requests that have `NLM_F_ACK` in one packet and waits until each is acknowledged. The first
    /// refusal is the error, with the position of the request; the kernel may have done the others.
    pub(in crate::network) fn acknowledged(
        &mut self,
        messages: &mut [Message],
    ) -> Result<(), (usize, Errno)> {
        let first = self.transmit(messages).map_err(|errno| (0, errno))?;
        let mut waiting = messages.len();
        let mut refusal: Option<(usize, Errno)> = None;
        let mut buffer = vec![0; ACKNOWLEDGEMENT_BUFFER_LENGTH];
        while waiting > 0 {
            let packet = self.receive(&mut buffer).map_err(|errno| (0, errno))?;
            for part in parts(packet).filter(|part| part.kind == KIND_ERROR) {
                let Some(position) = position(part.sequence, first, messages.len()) else {
                    continue;
                };
                waiting = waiting.saturating_sub(1);
                if let (Some(errno), None) = (refused(&part), refusal) {
                    refusal = Some((position, errno));
                }
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Sends one request with `NLM_F_ACK` and waits for its acknowledgement.
    pub(in crate::network) fn request(&mut self, message: Message) -> Result<(), Errno> {
        self.acknowledged(&mut [message])
            .map_err(|(_, errno)| errno)
    }

    /// Sends a transaction (nfnetlink batch) of which one request has `NLM_F_ACK`: after a refusal nothing of it has
    /// happened and nobody knows how many answers follow, so the socket is used up.
    pub(in crate::network) fn transaction(mut self, messages: &mut [Message]) -> Result<(), Errno> {
        self.transmit(messages)?;
        // A refusal repeats its request, which may have hundreds of elements.
        let mut buffer = vec![0; DUMP_BUFFER_LENGTH];
        loop {
            let packet = self.receive(&mut buffer)?;
            if let Some(part) = parts(packet).find(|part| part.kind == KIND_ERROR) {
                return refused(&part).map_or(Ok(()), Err);
            }
        }
    }

    /// Sends a request without `NLM_F_ACK` and returns its answers: all of a dump (`NLM_F_DUMP`), or the one.
    pub(in crate::network) fn answers(
        &mut self,
        message: Message,
        count: Answers,
    ) -> Result<Vec<Received>, Errno> {
        let first = self.transmit(&mut [message])?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; DUMP_BUFFER_LENGTH];
        loop {
            let packet = self.receive(&mut buffer)?;
            for part in parts(packet).filter(|part| part.sequence == first) {
                match part.kind {
                    KIND_DONE => return Ok(answers),
                    KIND_ERROR => return refused(&part).map_or(Ok(answers), Err),
                    kind => answers.push(Received {
                        kind,
                        payload: part.payload.to_vec(),
                    }),
                }
            }
            if count == Answers::One && !answers.is_empty() {
                return Ok(answers);
            }
        }
    }

    fn transmit(&mut self, messages: &mut [Message]) -> Result<u32, Errno> {
        let first = self.sequence.wrapping_add(1);
        let mut packet = Vec::new();
        for message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            message.set_sequence(self.sequence);
            packet.extend_from_slice(message.bytes());
        }
        send(&self.descriptor, &packet, SendFlags::empty())?;
        Ok(first)
    }

    fn receive<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        let (_, length) =
            rustix::io::retry_on_intr(|| recv(&self.descriptor, &mut *buffer, RecvFlags::TRUNC))?;
        buffer.get(..length).ok_or(Errno::MSGSIZE)
    }
}

/// How many answers a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) enum Answers {
    /// One object.
    One,
    /// A dump, ended by `NLMSG_DONE`.
    All,
}

fn position(sequence: u32, first: u32, count: usize) -> Option<usize> {
    let position = usize::try_from(sequence.wrapping_sub(first)).ok()?;
    (position < count).then_some(position)
}

/// The error that an `NLMSG_ERROR` carries, nothing for an acknowledgement.
fn refused(part: &Part<'_>) -> Option<Errno> {
    let code = i32::from_ne_bytes(*part.payload.first_chunk()?);
    (code != 0).then(|| Errno::from_raw_os_error(code.saturating_neg()))
}
