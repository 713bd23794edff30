//! Host ports with real packets: from the node, from pods, from a host beyond; who may not; what stays afterwards.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};

use super::super::nftables;
use super::super::{HostPort, Network, NetworkErrorKind, NetworkNamespace, Transport};
use super::{on_a_node, outside, pod, pod_with_ports, remove, without_nat};

/// Longer than any exchange takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing must come.
const SILENCE: Duration = Duration::from_millis(300);

pub(super) const AT_PORT_8080: HostPort = HostPort {
    transport: Transport::Tcp,
    host_port: 8080,
    host_address: None,
    port: 80,
};

pub(super) const AT_PORT_53: HostPort = HostPort {
    transport: Transport::Udp,
    host_port: 53,
    host_address: Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
    port: 5353,
};

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Runs `work` in a namespace, or on the node.
pub(super) fn at<T: Send>(place: Option<&NetworkNamespace>, work: impl FnOnce() -> T + Send) -> T {
    match place {
        Some(namespace) => namespace.inside("test", work).unwrap(),
        None => work(),
    }
}

/// Binds when the address is free. A process that another test starts at this moment has copies of this one's
/// descriptors, also of a listener that is closed here, until it executes its program.
fn once_free<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::yield_now();
            }
            bound => return bound,
        }
    }
}

/// An exchange over TCP: the address that the server saw.
pub(super) fn tcp(
    client: Option<&NetworkNamespace>,
    server: &NetworkNamespace,
    port: u16,
    to: SocketAddr,
) -> io::Result<IpAddr> {
    let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
    let listener = at(Some(server), || {
        once_free(|| TcpListener::bind((any, port)))
    })?;
    listener.set_nonblocking(true)?;
    let stream = at(client, || TcpStream::connect_timeout(&to, PATIENCE))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((_, from)) => {
                drop(stream);
                return Ok(from.ip());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                assert!(Instant::now() < deadline, "somebody else accepted {to}");
                std::thread::yield_now();
            }
            Err(error) => return Err(error),
        }
    }
}

/// An exchange over UDP, both ways: the address that the server saw.
fn udp(
    client: &UdpSocket,
    server: &NetworkNamespace,
    port: u16,
    to: SocketAddr,
) -> io::Result<IpAddr> {
    let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
    let listener = at(Some(server), || once_free(|| UdpSocket::bind((any, port))))?;
    listener.set_read_timeout(Some(PATIENCE))?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.send_to(b"question", to)?;
    let mut buffer = [0; 16];
    let (_, from) = listener.recv_from(&mut buffer)?;
    listener.send_to(b"answer", from)?;
    // What the kernel said about an earlier packet, that nobody is there, comes first.
    let received = client
        .recv_from(&mut buffer)
        .or_else(|_| client.recv_from(&mut buffer));
    let (length, answered) = received?;
    assert_eq!((&buffer[..length], answered), (&b"answer"[..], to));
    Ok(from.ip())
}

fn udp_client(place: Option<&NetworkNamespace>) -> UdpSocket {
    at(place, || UdpSocket::bind("0.0.0.0:0").unwrap())
}

/// Whether rules apply to packets inside the bridge: they do where kube-proxy or Docker loaded `br_netfilter`.
fn set_bridge_filter(value: &str) -> bool {
    let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    super::super::sysctl::write(path.as_ref(), value).is_ok()
}

async fn ready(node: &super::Node) -> Option<Network> {
    let network = node.start(&[]).await;
    (!without_nat(&network).await).then_some(network)
}

#[test]
fn root_a_host_port_is_reached_from_everywhere() {
    on_a_node(|node| async move {
        let Some(network) = ready(&node).await else {
            return;
        };
        let outside = outside(&network).await;
        let at_port_5353 = HostPort {
            transport: Transport::Udp,
            host_port: 5353,
            port: 53,
            ..AT_PORT_8080
        };
        let (web, at_web) = pod_with_ports(&network, "web", &[AT_PORT_8080, at_port_5353]).await;
        let (other, at_other) = pod(&network, "other").await;
        let ways = [
            (None, "127.0.0.1", "10.63.0.1"),
            (None, "127.0.0.77", "10.63.0.1"),
            (None, "192.0.2.1", "192.0.2.1"),
            (None, "10.63.0.1", "10.63.0.1"),
            (Some(&outside), "192.0.2.1", "192.0.2.2"),
            (Some(&other), "192.0.2.1", "10.63.0.1"),
            (Some(&other), "10.63.0.1", "10.63.0.1"),
            (Some(&web), "192.0.2.1", "10.63.0.1"),
            (Some(&web), "10.63.0.1", "10.63.0.1"),
        ];
        for filter in ["0", "1"] {
            if !set_bridge_filter(filter) {
                println!("SKIP the kernel has no br_netfilter");
            }
            for (client, to, seen) in ways {
                let socket = udp_client(client);
                // More than once: a pod that was told of a shorter way would take it the second time.
                for round in 0..3 {
                    let what = format!("{to}, filter {filter}, round {round}");
                    let to = address(to);
                    let saw = tcp(client, &web, 80, (to, 8080).into());
                    assert_eq!(saw.expect(&what), address(seen), "TCP to {what}");
                    let saw = udp(&socket, &web, 53, (to, 5353).into());
                    assert_eq!(saw.expect(&what), address(seen), "UDP to {what}");
                }
            }
            // Without a host port in between, pods see each other.
            let direct = tcp(Some(&other), &web, 80, (at_web.address, 80).into());
            assert_eq!(direct.unwrap(), at_other.address);
        }
    });
}

#[test]
fn root_a_port_of_one_address_of_the_node_is_none_of_the_others() {
    on_a_node(|node| async move {
        let Some(network) = ready(&node).await else {
            return;
        };
        let outside = outside(&network).await;
        let on = |text, host_port| HostPort {
            host_address: Some(address(text)),
            host_port,
            ..AT_PORT_8080
        };
        let ports = [on("127.0.0.1", 8080), on("192.0.2.1", 8081)];
        let (web, _) = pod_with_ports(&network, "web", &ports).await;
        let (other, _) = pod(&network, "other").await;
        let try_to = |client, to: &str| tcp(client, &web, 80, to.parse().unwrap());
        assert_eq!(
            try_to(None, "127.0.0.1:8080").unwrap(),
            address("10.63.0.1")
        );
        assert_eq!(
            try_to(Some(&outside), "192.0.2.1:8081").unwrap(),
            address("192.0.2.2")
        );
        assert!(try_to(Some(&other), "192.0.2.1:8081").is_ok());
        for (client, to) in [
            (None, "127.0.0.1:8081"),
            (None, "192.0.2.1:8080"),
            (Some(&outside), "192.0.2.1:8080"),
            (Some(&other), "10.63.0.1:8081"),
        ] {
            let error = try_to(client, to).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{to}");
        }
    });
}

#[test]
fn root_a_pod_does_not_reach_what_listens_on_the_nodes_loopback() {
    on_a_node(|node| async move {
        let Some(network) = ready(&node).await else {
            return;
        };
        let (pod, _) = pod(&network, "pod").await;
        let listener = UdpSocket::bind("127.0.0.1:7777").unwrap();
        listener.set_read_timeout(Some(SILENCE)).unwrap();
        // A pod with CAP_NET_ADMIN sends packets to 127.0.0.1 out of its interface.
        let arranged = pod
            .inside("arrange", || {
                let ip = |arguments: &[&str]| {
                    let status = std::process::Command::new("ip").args(arguments).status();
                    status.is_ok_and(|status| status.success())
                };
                super::super::sysctl::write(
                    "/proc/sys/net/ipv4/conf/all/route_localnet".as_ref(),
                    "1",
                )
                .unwrap();
                ip(&["address", "delete", "127.0.0.1/8", "dev", "lo"])
                    && ip(&["route", "add", "127.0.0.1/32", "via", "10.63.0.1"])
            })
            .unwrap();
        if !arranged {
            println!("SKIP the pod's routes could not be arranged by ip");
            return;
        }
        let client = udp_client(Some(&pod));
        client.send_to(b"let me in", "127.0.0.1:7777").unwrap();
        let error = listener.recv_from(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // It is the guard that stops it.
        nftables::delete_table("carpel").unwrap();
        listener.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send_to(b"let me in", "127.0.0.1:7777").unwrap();
        assert_eq!(listener.recv_from(&mut [0; 16]).unwrap().0, 9);
    });
}

#[test]
fn root_host_ports_survive_a_restart_and_go_with_their_pod() {
    on_a_node(|node| async move {
        let Some(network) = ready(&node).await else {
            return;
        };
        drop(network.create_namespace("first").await.unwrap());
        network.remove_namespace("first").await.unwrap();
        let before = node.counts();
        let (web, _) = pod_with_ports(&network, "web", &[AT_PORT_8080]).await;
        drop(pod_with_ports(&network, "gone", &[AT_PORT_53]).await);
        drop(network);

        // As after `nft flush ruleset`: the start knows the ports by its records.
        nftables::delete_table("carpel").unwrap();
        let network = node.start(&["web"]).await;
        let to: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        assert!(tcp(None, &web, 80, to).is_ok());
        // The one that did not live on is free, the other is not.
        drop(pod_with_ports(&network, "new", &[AT_PORT_53]).await);
        let namespace = network.create_namespace("second").await.unwrap();
        let taken = network.attach("second", &namespace, &[AT_PORT_8080]).await;
        let error = taken.unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::PortTaken);
        assert_eq!(
            error.to_string(),
            "host port tcp/8080 is taken by sandbox web"
        );
        // Rules that are flushed while the daemon runs come back with its next look.
        nftables::delete_table("carpel").unwrap();
        assert!(network.status().await.ready);
        assert!(tcp(None, &web, 80, to).is_ok());
        // Or with the next host port.
        nftables::delete_table("carpel").unwrap();
        let port = HostPort {
            host_port: 8081,
            ..AT_PORT_8080
        };
        network.attach("second", &namespace, &[port]).await.unwrap();
        assert!(tcp(None, &web, 80, to).is_ok());

        network.detach("web").await.unwrap();
        let refused = at(None, || TcpStream::connect_timeout(&to, PATIENCE)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        drop((web, namespace));
        for sandbox in ["web", "new", "second"] {
            remove(&network, sandbox).await;
        }
        assert_eq!(node.counts(), before);
        drop(network);
        // No record opens a port again.
        let network = node.start(&[]).await;
        let (again, _) = pod_with_ports(&network, "again", &[AT_PORT_8080]).await;
        assert!(tcp(None, &again, 80, to).is_ok());
    });
}

#[test]
fn root_a_sender_of_datagrams_follows_the_pods() {
    on_a_node(|node| async move {
        let Some(network) = ready(&node).await else {
            return;
        };
        let outside = outside(&network).await;
        let port = HostPort {
            transport: Transport::Udp,
            ..AT_PORT_8080
        };
        let to: SocketAddr = "192.0.2.1:8080".parse().unwrap();
        let client = udp_client(Some(&outside));
        // Before there is a pod: the node itself has the flow. Something listens, so that no error is told.
        let own = UdpSocket::bind(to).unwrap();
        client.send_to(b"early", to).unwrap();
        own.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(own.recv_from(&mut [0; 16]).unwrap().0, 5);
        for sandbox in ["one", "two"] {
            let (pod, _) = pod_with_ports(&network, sandbox, &[port]).await;
            assert!(udp(&client, &pod, 80, to).is_ok(), "{sandbox}");
            network.detach(sandbox).await.unwrap();
        }
        // After the last pod, the node again.
        client.send_to(b"late", to).unwrap();
        assert_eq!(own.recv_from(&mut [0; 16]).unwrap().0, 4);
    });
}

#[test]
fn root_sctp_is_redirected_too() {
    on_a_node(|node| async move {
        let Some(network) = ready(&node).await else {
            return;
        };
        let outside = outside(&network).await;
        let port = HostPort {
            transport: Transport::Sctp,
            ..AT_PORT_8080
        };
        let (pod, _) = pod_with_ports(&network, "pod", &[port]).await;
        // By raw sockets, as few kernels have SCTP itself: the packet that opens an association.
        let raw = || {
            let sctp = rustix::net::ipproto::SCTP;
            rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(sctp)).unwrap()
        };
        let listener = pod.inside("listen", raw).unwrap();
        let patience = Some(PATIENCE);
        rustix::net::sockopt::set_socket_timeout(
            &listener,
            rustix::net::sockopt::Timeout::Recv,
            patience,
        )
        .unwrap();
        for client in [Some(&outside), None] {
            let socket = at(client, raw);
            let to: SocketAddr = "192.0.2.1:0".parse().unwrap();
            let packet = sctp_init(40_000 + u16::from(client.is_none()), 8080);
            rustix::net::sendto(&socket, &packet, rustix::net::SendFlags::empty(), &to).unwrap();
            let mut buffer = [0; 256];
            let (_, length) =
                rustix::net::recv(&listener, &mut buffer, rustix::net::RecvFlags::empty()).unwrap();
            let (header, sctp) = buffer[..length].split_at(20);
            assert_eq!(header[16..20], [10, 63, 0, 2], "the packet's destination");
            assert_eq!(sctp[2..4], 80_u16.to_be_bytes(), "the destination port");
        }
    });
}

/// An SCTP packet with one INIT chunk (RFC 9260, 3.3.2) and its checksum.
fn sctp_init(from: u16, to: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(from.to_be_bytes());
    packet.extend(to.to_be_bytes());
    packet.extend([0; 8]);
    // Type, flags, length; initiate tag, window, streams out and in, first number.
    packet.extend([1, 0, 0, 20]);
    packet.extend([0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    let checksum = crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&checksum);
    packet
}

fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let remainder = bytes.iter().fold(u32::MAX, |remainder, byte| {
        (0..8).fold(remainder ^ u32::from(*byte), |remainder, _| {
            (remainder >> 1) ^ (POLYNOMIAL & (remainder & 1).wrapping_neg())
        })
    });
    !remainder
}
