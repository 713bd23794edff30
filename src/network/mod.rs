//! The pod network: namespaces with a path, and the built-in bridge that attaches pods without any binary of the host.
//!
//! [`Network`] is the door. A sandbox's network namespace is made by a thread that is used up by it, and bound to a
//! path. The built-in network gives it a veth pair on a bridge, an IPv4 address from a pool with durable records, a
//! default route and a masquerade, by netlink alone. Every step is announced in a record before it is taken, so a
//! start removes what a daemon that died left behind.
//!
//! ```text
//! service ─┬─ namespace, sysctl           namespaces with a path
//!          ├─ ledger ── pool, record      who has what, durable
//!          ├─ built_in ─┬─ bridge         bridge, forwarding, conflicts
//!          │            └─ status         who else drops packets
//!          └─ release                     deletion off everybody's path
//! route (rtnetlink), nftables ── netlink  messages to the kernel
//! ```
//!
//! Not here: resolv.conf and hosts files, and which pod wants a network at all.

mod attachment;
mod bridge;
mod built_in;
mod config;
mod error;
mod ledger;
mod namespace;
mod netlink;
mod nftables;
mod pool;
mod record;
mod recovery;
mod release;
mod route;
mod service;
mod status;
mod subnet;
mod sysctl;

pub use attachment::{Attachment, InterfaceStatistics};
pub use config::{BuiltIn, NetworkConfig};
pub use error::{NetworkError, NetworkErrorKind};
pub use namespace::NetworkNamespace;
pub use service::Network;
pub use status::{NetworkStatus, foreign_drops};
pub use subnet::{Ipv4Subnet, SubnetError};

#[cfg(test)]
mod tests;
