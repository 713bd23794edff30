//! The pod network: namespaces with a path, CNI, and the built-in bridge that attaches pods without any binary of the host.
//!
//! [`Network`] is the door. A sandbox's network namespace is made by a thread that is used up by it, and bound to a
//! path. The built-in network gives it a veth pair on a bridge, an address from a pool with durable records (IPv4, and
//! IPv6 if there is a subnet for it), a default route, a masquerade and host ports, by netlink alone. Every step is announced in a record before it is taken, so a
//! start removes what a daemon that died left behind.
//!
//! ```text
//! service ── inner: which way a pod goes
//!          ┬─ namespace, sysctl           namespaces with a path
//!          ├─ ledger ─┬─ table ── pool, port   who has what
//!          │          └─ record           the same, durable
//!          ├─ cni                         configurations, plugins, attachments by them
//!          ├─ built_in ─┬─ conflicts      what is in the way
//!          │            ├─ bridge         the bridge and its ports
//!          │            ├─ forwarding     the node's sysctls and table
//!          │            ├─ conntrack      flows past host ports
//!          │            └─ status         who else drops packets
//!          ├─ prepared                    the networks of the next pods
//!          └─ release                     deletion off everybody's path
//! route (rtnetlink), nftables ── netlink  messages to the kernel
//! ```
//!
//! Not here: resolv.conf and hosts files, and which pod wants a network at all.

mod attachment;
mod bridge;
mod built_in;
mod cni;
mod config;
mod conflicts;
mod conntrack;
mod error;
mod forwarding;
mod inner;
mod inspect;
mod ledger;
mod namespace;
mod netlink;
mod nftables;
mod node_settings;
mod pool;
mod port;
mod prepared;
mod record;
mod recovery;
mod release;
mod request;
mod route;
mod service;
mod status;
mod subnet;
mod subnet_v6;
mod sysctl;
mod table;

pub use attachment::{Attachment, InterfaceStatistics, Ipv6Attachment};
pub use cni::{CniConfig, CniError, PluginError, TemplateError};
pub use config::{Mode, NetworkConfig};
pub use conflicts::look_for_conflicts;
pub use error::{NetworkError, NetworkErrorKind};
pub use inspect::{InspectedPod, NetworkInspection, Presence, inspect};
pub use namespace::NetworkNamespace;
pub use port::{HostPort, Transport};
pub use request::{PodRequest, Resolver};
pub use service::Network;
pub use status::{CniAbsence, NetworkStatus, cni_configuration, foreign_drops};
pub use subnet::{Ipv4Subnet, Subnet, SubnetError};
pub use subnet_v6::{Ipv6Subnet, Ipv6SubnetError};

#[cfg(test)]
mod tests;
