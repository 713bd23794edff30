//! SEQPACKET sockets of the unix family: one message a packet, descriptors beside it.

use crate::Error;
use crate::Result;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::ReturnFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// The most descriptors of one packet.
const DESCRIPTORS: usize = 16;

/// What came in one packet.
#[derive(Debug)]
pub struct Received {
    /// How many bytes of the buffer it fills; 0 is the end of the connection.
    pub length: usize,
    /// The descriptors that came with it, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Two connected sockets, close-on-exec, blocking.
///
/// # Errors
///
/// `EMFILE` and the like.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    Error::of(
        rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        ),
        || "socketpair(AF_UNIX, SOCK_SEQPACKET)".into(),
    )
}

/// Binds `name` in `directory` (mode by the umask; what is there is removed first) and listens, non-blocking.
///
/// The directory is given as a descriptor, so that its path may be longer than the 108 bytes of a socket address.
///
/// # Errors
///
/// As unlink(2), bind(2) and listen(2).
pub fn listen_in(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    listen_of_type(directory, name, SocketType::SEQPACKET)
}

/// The same with a STREAM socket, for other programs.
///
/// # Errors
///
/// As [`listen_in`].
pub fn listen_stream_in(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    listen_of_type(directory, name, SocketType::STREAM)
}

fn listen_of_type(directory: BorrowedFd<'_>, name: &str, kind: SocketType) -> Result<OwnedFd> {
    match rustix::fs::unlinkat(directory, name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(Error::new(format!("unlinkat(directory, {name:?})"), errno)),
    }
    let call = || format!("bind(AF_UNIX, {name:?})");
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = Error::of(
        rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None),
        call,
    )?;
    let address = Error::of(address_in(directory, name), call)?;
    Error::of(rustix::net::bind(&socket, &address), call)?;
    Error::of(rustix::net::listen(&socket, 8), || "listen(8)".into())?;
    Ok(socket)
}

/// Connects to `name` in `directory`; the socket is blocking.
///
/// # Errors
///
/// `ENOENT` and `ECONNREFUSED` when nobody listens there.
pub fn connect_in(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let call = || format!("connect(AF_UNIX, {name:?})");
    let socket = Error::of(
        rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        ),
        call,
    )?;
    let address = Error::of(address_in(directory, name), call)?;
    Error::of(rustix::net::connect(&socket, &address), call)?;
    Ok(socket)
}

/// Connects to the STREAM socket at `path` without waiting for room in its queue; the socket does not block.
///
/// # Errors
///
/// `ENOENT` and `ECONNREFUSED` when nobody listens there, `EAGAIN` when too many wait, `ENAMETOOLONG` above 107 bytes.
pub fn connect_stream(path: &str) -> Result<OwnedFd> {
    let call = || format!("connect(AF_UNIX, {path:?})");
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = Error::of(
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None),
        call,
    )?;
    let address = Error::of(SocketAddrUnix::new(path), call)?;
    Error::of(rustix::net::connect(&socket, &address), call)?;
    Ok(socket)
}

fn address_in(directory: BorrowedFd<'_>, name: &str) -> rustix::io::Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

/// Takes a waiting connection and the user id of its peer at the time when it connected; none is waiting: `None`.
///
/// # Errors
///
/// As accept4(2).
pub fn accept(listener: BorrowedFd<'_>) -> Result<Option<(OwnedFd, u32)>> {
    let socket = loop {
        match rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => break socket,
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(errno) => return Err(Error::new("accept4(SOCK_CLOEXEC)", errno)),
        }
    };
    let peer = Error::of(rustix::net::sockopt::socket_peercred(&socket), || {
        "getsockopt(SO_PEERCRED)".into()
    })?;
    Ok(Some((socket, peer.uid.as_raw())))
}

/// Sends one packet. Never raises SIGPIPE.
///
/// # Errors
///
/// `EAGAIN` when a non-blocking socket is full, `EPIPE` when the peer is gone, `EMSGSIZE`.
pub fn send(
    socket: BorrowedFd<'_>,
    packet: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> std::result::Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOMANYREFS);
    }
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(
            socket,
            &[IoSlice::new(packet)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )
    })?;
    if sent == packet.len() {
        Ok(())
    } else {
        Err(Errno::MSGSIZE)
    }
}

/// How many bytes the next packet has, without taking it; 0 is the end of the connection. A buffer made for it touches no
/// more memory than it needs.
///
/// # Errors
///
/// `EAGAIN` when none is there.
pub fn next_length(socket: BorrowedFd<'_>) -> std::result::Result<usize, Errno> {
    let flags = RecvFlags::PEEK | RecvFlags::TRUNC;
    let (_filled, length) =
        rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut [0_u8; 0][..], flags))?;
    Ok(length)
}

/// Receives one packet into `buffer`.
///
/// # Errors
///
/// `EMSGSIZE` when the packet or its descriptors did not fit (they are closed), `EAGAIN` when none is there.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> std::result::Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let parts = &mut [IoSliceMut::new(&mut *buffer)];
        match rustix::net::recvmsg(socket, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            result => break result?,
        }
    };
    let mut descriptors = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            descriptors.extend(received);
        }
    }
    if message
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(Errno::MSGSIZE);
    }
    Ok(Received {
        length: message.bytes,
        descriptors,
    })
}

/// Makes a socket answer `EAGAIN` where it would wait.
///
/// # Errors
///
/// As fcntl(2).
pub fn set_nonblocking(socket: &OwnedFd) -> Result<()> {
    Error::of(rustix::io::ioctl_fionbio(socket.as_fd(), true), || {
        "ioctl(FIONBIO)".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_and_their_descriptors_arrive() {
        let (left, right) = pair().unwrap();
        let file = crate::memfd::sealed(c"test", b"x").unwrap();
        send(left.as_fd(), b"hello", &[file.as_fd(), file.as_fd()]).unwrap();
        let mut buffer = [0; 16];
        let received = receive(right.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..received.length], b"hello");
        assert_eq!(received.descriptors.len(), 2);
        drop(left);
        assert_eq!(receive(right.as_fd(), &mut buffer).unwrap().length, 0);
    }

    #[test]
    fn the_length_of_a_packet_is_known_before_it_is_taken() {
        let (left, right) = pair().unwrap();
        set_nonblocking(&right).unwrap();
        assert_eq!(next_length(right.as_fd()), Err(Errno::AGAIN));
        send(left.as_fd(), &[1; 3000], &[left.as_fd()]).unwrap();
        assert_eq!(next_length(right.as_fd()), Ok(3000));
        let received = receive(right.as_fd(), &mut [0; 3000]).unwrap();
        assert_eq!((received.length, received.descriptors.len()), (3000, 1));
        drop((left, received));
        assert_eq!(next_length(right.as_fd()), Ok(0));
    }

    #[test]
    fn a_packet_that_does_not_fit_is_an_error() {
        let (left, right) = pair().unwrap();
        send(left.as_fd(), b"too long", &[]).unwrap();
        assert_eq!(
            receive(right.as_fd(), &mut [0; 4]).unwrap_err(),
            Errno::MSGSIZE
        );
    }

    #[test]
    fn another_program_hands_a_descriptor_over_a_stream() {
        let directory = tempfile::tempdir().unwrap();
        let folder = std::fs::File::open(directory.path()).unwrap();
        let listener = listen_stream_in(folder.as_fd(), "console.sock").unwrap();
        let client =
            std::os::unix::net::UnixStream::connect(directory.path().join("console.sock")).unwrap();
        let (server, _uid) = accept(listener.as_fd()).unwrap().unwrap();
        let mut buffer = [0; 64];
        assert_eq!(
            receive(server.as_fd(), &mut buffer).unwrap_err(),
            Errno::AGAIN
        );
        send(client.as_fd(), b"/dev/ptmx", &[folder.as_fd()]).unwrap();
        let received = receive(server.as_fd(), &mut buffer).unwrap();
        assert_eq!((received.length, received.descriptors.len()), (9, 1));
    }

    #[test]
    fn a_long_path_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let long = directory.path().join("a".repeat(120));
        std::fs::create_dir(&long).unwrap();
        let folder = std::fs::File::open(&long).unwrap();
        let listener = listen_in(folder.as_fd(), "shim.sock").unwrap();
        assert!(accept(listener.as_fd()).unwrap().is_none());
        let client = connect_in(folder.as_fd(), "shim.sock").unwrap();
        let (_server, uid) = accept(listener.as_fd()).unwrap().unwrap();
        assert_eq!(uid, rustix::process::getuid().as_raw());
        drop(client);
    }
}
