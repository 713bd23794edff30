//! PortForward: a TCP connection to a port in a sandbox's network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

use super::error::{PodError, PodErrorKind, Subject};
use super::procedure::Context;
use super::sandbox_state::{Pod, SandboxPhase};

/// Loopback answers at once, or a full queue of connections does not.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Refuses a sandbox that cannot be forwarded to, in the words that clients look for (client-go: "sandbox … is not running").
///
/// # Errors
/// `FailedPrecondition`.
pub(super) fn check(pod: &Pod) -> Result<(), PodError> {
    if pod.phase == SandboxPhase::Ready {
        return Ok(());
    }
    let text = format!("sandbox {:?} is not running", pod.id);
    let subject = Subject::Sandbox(pod.id.clone());
    Err(PodError::new(
        PodErrorKind::FailedPrecondition,
        subject,
        text,
    ))
}

/// Connects to 127.0.0.1 in the sandbox's network, else to ::1.
///
/// # Errors
/// `FailedPrecondition` if the sandbox does not run, `Unavailable` if nobody listens there.
pub(super) async fn connect(context: &Context, port: u16) -> Result<TcpStream, PodError> {
    let pod = context.slot.pod();
    check(&pod)?;
    let subject = context.subject();
    let unavailable = |step: String, error: io::Error| {
        PodError::new(PodErrorKind::Unavailable, subject.clone(), step).caused_by(error)
    };
    let mut sockets = sockets(&pod)
        .await
        .map_err(|error| {
            let closed = format!("network namespace for sandbox {:?} is closed", pod.id);
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::EINVAL) => {
                    PodError::new(PodErrorKind::FailedPrecondition, subject.clone(), closed)
                }
                _ => unavailable("make a socket in its network".to_owned(), error),
            }
        })?
        .into_iter();
    let addresses = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let mut first_error = None;
    for address in addresses {
        // Without IPv6 there is one socket only.
        let Some(socket) = sockets.next() else { break };
        let address = SocketAddr::new(address, port);
        match dial(socket, address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => first_error.get_or_insert((address, error)),
        };
    }
    let (address, error) = first_error.unwrap_or_else(|| {
        let address = SocketAddr::new(addresses[0], port);
        (address, io::ErrorKind::AddrNotAvailable.into())
    });
    Err(unavailable(format!("connect to {address}"), error))
}

async fn dial(socket: OwnedFd, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
    match tokio::time::timeout(CONNECT_PATIENCE, socket.connect(address)).await {
        Ok(connected) => connected,
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Sockets of IPv4 and, where there is IPv6, of that, in the sandbox's network: they stay there for good.
///
/// A thread that has entered a network namespace is in the wrong one for everybody else, so one is made for this and ends
/// with it.
async fn sockets(pod: &Pod) -> io::Result<Vec<OwnedFd>> {
    if pod.network_namespace.as_os_str().is_empty() {
        return both_families();
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::open(&pod.network_namespace, flags, Mode::empty())?;
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        let entered = move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&namespace),
            Some(LinkNameSpaceType::Network),
        );
        let made = entered
            .map_err(io::Error::from)
            .and_then(|()| both_families());
        // A client that has gone wants none.
        sender.send(made).ok();
    };
    std::thread::Builder::new()
        .name("port-forward".to_owned())
        .stack_size(64 << 10)
        .spawn(work)?;
    receiver
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn both_families() -> io::Result<Vec<OwnedFd>> {
    let make = |family| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socket_with(family, SocketType::STREAM, flags, None)
    };
    let mut sockets = vec![make(AddressFamily::INET)?];
    sockets.extend(make(AddressFamily::INET6).ok());
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn pod(namespace: PathBuf) -> Pod {
        Pod {
            id: "4f".to_owned(),
            config: std::sync::Arc::default(),
            resources: crate::oci::PodResources::default(),
            runtime_handler: String::new(),
            created_at: 0,
            phase: SandboxPhase::Ready,
            addresses: Vec::new(),
            network_namespace: namespace,
            infra_pid: 0,
            containers: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_sandbox_that_does_not_run_is_refused_in_the_words_of_the_peers() {
        let mut pod = pod(PathBuf::new());
        check(&pod).unwrap();
        pod.phase = SandboxPhase::InfraLost;
        let error = check(&pod).unwrap_err();
        assert_eq!(
            error.to_string(),
            "sandbox 4f: sandbox \"4f\" is not running"
        );
    }

    #[tokio::test]
    async fn root_sockets_are_in_the_namespace_and_the_thread_ends() {
        let Ok(made) = std::thread::spawn(|| {
            carpel_linux::netns::unshare_network()?;
            std::fs::File::open("/proc/thread-self/ns/net")
        })
        .join()
        .unwrap() else {
            println!("SKIP unshare(CLONE_NEWNET) needs CAP_SYS_ADMIN");
            return;
        };
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&made));
        let pod = pod(path.into());
        let sockets = sockets(&pod).await.unwrap();
        // lo is down in a new namespace: the host's answers "refused".
        let socket = sockets.into_iter().next().unwrap();
        let error = dial(socket, SocketAddr::from(([127, 0, 0, 1], 1))).await;
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::ENETUNREACH));
        let named = |entry: &std::fs::DirEntry| {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            name.trim() == "port-forward"
        };
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        loop {
            let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
            if !threads.into_iter().any(|entry| named(&entry)) {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "the thread stays");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn in_the_hosts_network_ipv6_is_tried_after_ipv4() {
        let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else {
            println!("SKIP no IPv6 here");
            return;
        };
        let port = listener.local_addr().unwrap().port();
        let mut made = sockets(&pod(PathBuf::new())).await.unwrap().into_iter();
        let refused = dial(
            made.next().unwrap(),
            SocketAddr::from(([127, 0, 0, 1], port)),
        )
        .await;
        assert_eq!(
            refused.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
        let mut client = dial(made.next().unwrap(), address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(b"hi").await.unwrap();
        let mut got = [0; 2];
        server.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hi");
    }
}
