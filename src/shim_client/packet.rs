//! One envelope a packet, with its descriptors, on a non-blocking SEQPACKET socket. Not who asks what.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use carpel_linux::memfd;
use carpel_linux::socket;
use carpel_shim_protocol::MAXIMUM_PACKET_BYTES;
use carpel_shim_protocol::framing;
use carpel_shim_protocol::framing::FramingError;
use carpel_shim_protocol::framing::Packet;
use carpel_shim_protocol::framing::Unpacked;
use carpel_shim_protocol::message::envelope::Body;
use rustix::io::Errno;

/// Why a packet could not be made, sent, received or understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The other side has closed the connection.
    #[error("end of the connection")]
    Closed,
    /// A system call on the socket.
    #[error("{step}")]
    System {
        /// Which one.
        step: &'static str,
        /// The cause.
        #[source]
        errno: Errno,
    },
    /// The memfd of a large message could not be made or read.
    #[error("large message")]
    Memfd(#[source] carpel_linux::Error),
    /// The kernel has cut the packet or its descriptors.
    #[error("truncated packet")]
    Truncated,
    /// The bytes, or the number of descriptors, are not those of a message.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The message is none for this side.
    #[error("message that only the other side may send")]
    WrongDirection,
    /// An answer without a result, perhaps one of a kind that this version does not know.
    #[error("answer without a result")]
    NoResult,
}

impl PacketError {
    /// Whether a system call is to blame, not the other side.
    pub(super) fn is_system(&self) -> bool {
        matches!(self, Self::System { .. } | Self::Closed)
    }

    /// Whether it is only that the socket is not ready.
    pub(super) fn would_block(&self) -> bool {
        matches!(self, Self::System { errno, .. } if *errno == Errno::AGAIN)
    }
}

/// A message as it came: its body and its descriptors.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) body: Body,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// A message that is ready to be sent, as often as the socket is not ready for it.
#[derive(Debug)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// With the memfd first if the message is large.
    descriptors: Vec<OwnedFd>,
}

impl Outgoing {
    /// Encodes a message; a large one goes into a memfd.
    pub(super) fn new(body: Body, mut descriptors: Vec<OwnedFd>) -> Result<Self, PacketError> {
        let bytes = match framing::encode(body, descriptors.len())? {
            Packet::Inline(bytes) => bytes,
            Packet::Large { packet, content } => {
                let memfd = memfd::sealed(c"carpel-message", &content);
                descriptors.insert(0, memfd.map_err(PacketError::Memfd)?);
                packet
            }
        };
        Ok(Self { bytes, descriptors })
    }

    /// Sends it; [`PacketError::would_block`] if the socket has no room.
    pub(super) fn send(&self, socket: BorrowedFd<'_>) -> Result<(), PacketError> {
        let descriptors: Vec<BorrowedFd<'_>> = self.descriptors.iter().map(AsFd::as_fd).collect();
        socket::send(socket, &self.bytes, &descriptors).map_err(|errno| match errno {
            Errno::PIPE | Errno::CONNRESET => PacketError::Closed,
            errno => PacketError::System {
                step: "send a packet",
                errno,
            },
        })
    }
}

/// Receives a message; [`PacketError::would_block`] if none is there.
pub(super) fn receive(socket: BorrowedFd<'_>) -> Result<Received, PacketError> {
    // On the stack: it is used between two waits only, so that an idle connection has no buffer.
    let mut buffer = [0; MAXIMUM_PACKET_BYTES];
    let received = socket::receive(socket, &mut buffer).map_err(|errno| match errno {
        Errno::CONNRESET => PacketError::Closed,
        Errno::MSGSIZE => PacketError::Truncated,
        errno => PacketError::System {
            step: "receive a packet",
            errno,
        },
    })?;
    let mut descriptors = received.descriptors;
    if received.length == 0 {
        return Err(PacketError::Closed);
    }
    let bytes = buffer.get(..received.length).unwrap_or_default();
    let envelope = match framing::decode(bytes, descriptors.len())? {
        Unpacked::Message(envelope) => envelope,
        Unpacked::Large { length } => {
            // decode has seen that there is at least one.
            let memfd = descriptors.remove(0);
            let content = memfd::read_sealed(memfd.as_fd(), length).map_err(PacketError::Memfd)?;
            framing::decode_large(&content, descriptors.len())?
        }
    };
    let body = envelope.body.ok_or(FramingError::NoBody)?;
    Ok(Received { body, descriptors })
}
