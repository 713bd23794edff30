//! Links: the bridge, veth pairs, loopback; their state, and the counters of an interface.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::super::netlink::{Answers, Message, Socket, attributes};
use super::{ACKNOWLEDGE, CREATE, DUMP, RouteSocket, number, text};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const VETH_INFO_PEER: u16 = 1;

/// `IFF_UP`.
const UP: u32 = 1;
/// `IFF_LOOPBACK`.
const LOOPBACK: u32 = 8;
/// `BR_STATE_FORWARDING`.
const FORWARDING: u8 = 3;
/// The kernel's worker for links has milliseconds of work; after this something is wrong.
const FORWARDING_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of `struct ifinfomsg`.
const HEADER_LENGTH: usize = 16;

/// A link as the kernel describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::network) struct Link {
    /// The interface's number in its namespace.
    pub(in crate::network) index: u32,
    /// Its name.
    pub(in crate::network) name: String,
    /// Its hardware address; zeros if it has none of 6 bytes.
    pub(in crate::network) mac: [u8; 6],
    /// The driver (`bridge`, `veth`), empty for hardware and loopback.
    pub(in crate::network) kind: String,
    /// The number of the bridge that it is a port of.
    pub(in crate::network) master: Option<u32>,
    /// Whether it is a port that its bridge sends through.
    pub(in crate::network) forwarding: bool,
    /// Largest packet, in bytes.
    pub(in crate::network) mtu: u32,
    /// Whether it is the loopback interface.
    pub(in crate::network) loopback: bool,
    /// Bytes received.
    pub(in crate::network) rx_bytes: u64,
    /// Receive errors.
    pub(in crate::network) rx_errors: u64,
    /// Bytes sent.
    pub(in crate::network) tx_bytes: u64,
    /// Send errors.
    pub(in crate::network) tx_errors: u64,
    /// Received packets.
    pub(in crate::network) rx_packets: u64,
    /// Received packets that were dropped.
    pub(in crate::network) rx_dropped: u64,
    /// Sent packets.
    pub(in crate::network) tx_packets: u64,
    /// Packets that were dropped instead of sent.
    pub(in crate::network) tx_dropped: u64,
}

/// A veth pair: one end a port of a bridge here, the other in a pod's namespace.
#[derive(Debug)]
pub(in crate::network) struct VethPair<'a> {
    /// Name of the end here.
    pub(in crate::network) host_name: &'a str,
    /// Number of the bridge.
    pub(in crate::network) bridge: u32,
    /// Name of the end in the pod.
    pub(in crate::network) pod_name: &'a str,
    /// Hardware address of the end in the pod.
    pub(in crate::network) pod_mac: [u8; 6],
    /// Largest packet, in bytes.
    pub(in crate::network) mtu: u32,
    /// The pod's network namespace.
    pub(in crate::network) namespace: BorrowedFd<'a>,
}

impl RouteSocket {
    /// Creates a bridge, down.
    pub(in crate::network) fn create_bridge(
        &mut self,
        name: &str,
        mac: [u8; 6],
        mtu: u32,
    ) -> Result<(), Errno> {
        let mut message = Message::new(RTM_NEWLINK, CREATE, &header(0, 0, 0));
        message
            .text(IFLA_IFNAME, name)
            .attribute(IFLA_ADDRESS, &mac)
            .attribute(IFLA_MTU, &mtu.to_ne_bytes())
            .nested(IFLA_LINKINFO, |info| {
                info.text(IFLA_INFO_KIND, "bridge");
            });
        self.0.request(message)
    }

    /// Creates a veth pair in one step: the host's end a port of the bridge and up, the other end already in
    /// the pod's namespace. It is down there: the kernel answers ENOTCONN to a peer that is to be up at once.
    pub(in crate::network) fn create_veth(&mut self, pair: &VethPair<'_>) -> Result<(), Errno> {
        let mut message = Message::new(RTM_NEWLINK, CREATE, &header(0, UP, UP));
        message
            .text(IFLA_IFNAME, pair.host_name)
            .attribute(IFLA_MTU, &pair.mtu.to_ne_bytes())
            .attribute(IFLA_MASTER, &pair.bridge.to_ne_bytes())
            .nested(IFLA_LINKINFO, |info| {
                info.text(IFLA_INFO_KIND, "veth");
                info.nested(IFLA_INFO_DATA, |data| {
                    data.nested_after(VETH_INFO_PEER, &header(0, 0, 0), |peer| {
                        peer.text(IFLA_IFNAME, pair.pod_name)
                            .attribute(IFLA_ADDRESS, &pair.pod_mac)
                            .attribute(IFLA_MTU, &pair.mtu.to_ne_bytes())
                            .attribute(IFLA_NET_NS_FD, &pair.namespace.as_raw_fd().to_ne_bytes());
                    });
                });
            });
        self.0.request(message)
    }

    /// Brings a link up.
    pub(in crate::network) fn set_up(&mut self, index: u32) -> Result<(), Errno> {
        self.0.request(set_up_message(index))
    }

    /// Waits until the bridge sends through a port. The kernel tells the bridge that a veth has its other end up by a
    /// worker, later; what is sent before is lost, and sent again by TCP and ARP after a whole second.
    pub(in crate::network) fn wait_forwarding(&mut self, name: &str) -> Result<(), Errno> {
        let forwarding = |routes: &mut Self| match routes.link(name)? {
            Some(link) => Ok(link.forwarding),
            None => Err(Errno::NODEV),
        };
        // Since Linux 6.8 the question itself brings the state up to date.
        if forwarding(self)? {
            return Ok(());
        }
        let deadline = Instant::now() + FORWARDING_DEADLINE;
        let events = Socket::open_link_events()?;
        while !forwarding(self)? {
            if Instant::now() > deadline {
                return Err(Errno::TIMEDOUT);
            }
            events.wait_for_event()?;
        }
        Ok(())
    }

    /// Makes a link a port of a bridge.
    pub(in crate::network) fn set_master(&mut self, name: &str, bridge: u32) -> Result<(), Errno> {
        let mut message = Message::new(RTM_SETLINK, ACKNOWLEDGE, &header(0, 0, 0));
        message
            .text(IFLA_IFNAME, name)
            .attribute(IFLA_MASTER, &bridge.to_ne_bytes());
        self.0.request(message)
    }

    /// Lets a bridge send a packet back through the port that it came from. A pod that asks for its own host port
    /// needs it where `br_netfilter` redirects packets inside the bridge.
    pub(in crate::network) fn set_hairpin(&mut self, name: &str) -> Result<(), Errno> {
        let mut message = Message::new(RTM_NEWLINK, ACKNOWLEDGE, &header(0, 0, 0));
        message
            .text(IFLA_IFNAME, name)
            .nested(IFLA_LINKINFO, |info| {
                info.text(IFLA_INFO_SLAVE_KIND, "bridge");
                info.nested(IFLA_INFO_SLAVE_DATA, |port| {
                    port.attribute(IFLA_BRPORT_MODE, &[1]);
                });
            });
        self.0.request(message)
    }

    /// Puts a link into a group, so that it can be deleted with others.
    pub(in crate::network) fn set_group(&mut self, name: &str, group: u32) -> Result<(), Errno> {
        let mut message = Message::new(RTM_SETLINK, ACKNOWLEDGE, &header(0, 0, 0));
        message
            .text(IFLA_IFNAME, name)
            .attribute(IFLA_GROUP, &group.to_ne_bytes());
        self.0.request(message)
    }

    /// Deletes a link by name. The end of a veth takes its peer along.
    pub(in crate::network) fn delete_link(&mut self, name: &str) -> Result<(), Errno> {
        let mut message = Message::new(RTM_DELLINK, ACKNOWLEDGE, &header(0, 0, 0));
        message.text(IFLA_IFNAME, name);
        self.0.request(message)
    }

    /// Deletes all links of a group at the price of one: the grace periods of the kernel are waited for once.
    pub(in crate::network) fn delete_group(&mut self, group: u32) -> Result<(), Errno> {
        let mut message = Message::new(RTM_DELLINK, ACKNOWLEDGE, &header(0, 0, 0));
        message.attribute(IFLA_GROUP, &group.to_ne_bytes());
        self.0.request(message)
    }

    /// The link of this name, if there is one.
    pub(in crate::network) fn link(&mut self, name: &str) -> Result<Option<Link>, Errno> {
        let mut message = Message::new(RTM_GETLINK, 0, &header(0, 0, 0));
        message.text(IFLA_IFNAME, name);
        match self.0.answers(message, Answers::One) {
            Ok(answers) => Ok(answers.iter().find_map(|answer| parse(&answer.payload))),
            Err(Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// All links.
    pub(in crate::network) fn links(&mut self) -> Result<Vec<Link>, Errno> {
        let message = Message::new(RTM_GETLINK, DUMP, &header(0, 0, 0));
        let answers = self.0.answers(message, Answers::All)?;
        Ok(answers
            .iter()
            .filter_map(|answer| parse(&answer.payload))
            .collect())
    }
}

/// The request that brings a link up, for a packet of several requests.
pub(super) fn set_up_message(index: u32) -> Message {
    Message::new(RTM_NEWLINK, ACKNOWLEDGE, &header(index, UP, UP))
}

/// `struct ifinfomsg`: family, padding, device type, index, flags, which flags to change.
fn header(index: u32, flags: u32, change: u32) -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

fn parse(payload: &[u8]) -> Option<Link> {
    let (header, rest) = payload.split_at_checked(HEADER_LENGTH)?;
    let mut link = Link {
        index: number(header.get(4..)?)?,
        loopback: number(header.get(8..)?)? & LOOPBACK != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(rest) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            IFLA_MTU => link.mtu = number(value)?,
            IFLA_MASTER => link.master = number(value),
            IFLA_LINKINFO => {
                let info = attributes(value);
                link.kind = info.value_of(IFLA_INFO_KIND).map(text).unwrap_or_default();
                link.forwarding = info
                    .value_of(IFLA_INFO_SLAVE_DATA)
                    .and_then(|port| attributes(port).value_of(IFLA_BRPORT_STATE))
                    .is_some_and(|state| state == [FORWARDING]);
            }
            IFLA_STATS64 => {
                // struct rtnl_link_stats64: rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors,
                // rx_dropped, tx_dropped, …
                link.rx_packets = counter(value, 0);
                link.tx_packets = counter(value, 1);
                link.rx_dropped = counter(value, 6);
                link.tx_dropped = counter(value, 7);
                link.rx_bytes = counter(value, 2);
                link.tx_bytes = counter(value, 3);
                link.rx_errors = counter(value, 4);
                link.tx_errors = counter(value, 5);
            }
            _ => {}
        }
    }
    Some(link)
}

fn counter(statistics: &[u8], position: usize) -> u64 {
    statistics
        .get(position * 8..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .map_or(0, u64::from_ne_bytes)
}
