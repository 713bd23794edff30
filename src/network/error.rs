//! What can go wrong with a pod's network, by step; and the kinds that callers tell apart.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::cni::{CniError, TemplateError};
use super::port::HostPort;
use super::subnet::{Ipv4Subnet, Subnet};
use super::subnet_v6::Ipv6Subnet;

/// What a caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkErrorKind {
    /// Something else on the node has the subnet, the name or the path.
    Conflict,
    /// Another sandbox has the host port.
    PortTaken,
    /// No address is left.
    Exhausted,
    /// There is no pod network, by configuration or until CNI brings one.
    NotReady,
    /// The caller's value cannot be used.
    InvalidArgument,
    /// The sandbox has no such thing.
    NotFound,
    /// The kernel or the disk refused.
    System {
        /// The error number, if there is one.
        errno: Option<i32>,
    },
}

/// A step of the pod network that did not work.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// An interface has an address in the pods' subnet.
    #[error(
        "the pod subnet {subnet} overlaps {address}/{prefix_length} of interface {interface}; \
         choose another with {}", subnet.setting()
    )]
    SubnetAddress {
        /// The pods' subnet.
        subnet: Subnet,
        /// The interface that has it.
        interface: String,
        /// Its address.
        address: IpAddr,
        /// Its prefix.
        prefix_length: u8,
    },
    /// A route leads to the pods' subnet.
    #[error(
        "the pod subnet {subnet} overlaps the route {destination}/{prefix_length} {way}; \
         choose another with {}", subnet.setting()
    )]
    SubnetRoute {
        /// The pods' subnet.
        subnet: Subnet,
        /// The destination of the route.
        destination: IpAddr,
        /// Its prefix.
        prefix_length: u8,
        /// Where it leads, as `dev eth0 via 192.168.1.1`.
        way: String,
    },
    /// The bridge's name belongs to an interface that is no bridge.
    #[error(
        "interface {name} exists and is not a bridge but {kind:?}; choose another network.bridge"
    )]
    InterfaceTaken {
        /// The bridge's name.
        name: String,
        /// What it is.
        kind: String,
    },
    /// The bridge was made by another program.
    #[error(
        "the bridge {name} exists and was made by another program (its hardware address is {mac}); choose another \
         network.bridge"
    )]
    BridgeForeign {
        /// The bridge's name.
        name: String,
        /// Its hardware address, which is not one of ours.
        mac: String,
    },
    /// The IPv6 subnet has fewer addresses than the IPv4 one.
    #[error(
        "network.subnet_v6 {subnet_v6} has fewer addresses than network.subnet {subnet}; choose a shorter prefix"
    )]
    SubnetSize {
        /// The pods' IPv6 subnet.
        subnet_v6: Ipv6Subnet,
        /// The pods' subnet.
        subnet: Ipv4Subnet,
    },
    /// The kernel has no IPv6.
    #[error("network.subnet_v6 is {subnet}, but the kernel has no IPv6")]
    NoIpv6 {
        /// The pods' IPv6 subnet.
        subnet: Ipv6Subnet,
    },
    /// Another sandbox has the host port.
    #[error("host port {port} is taken by sandbox {sandbox}")]
    HostPortTaken {
        /// What was asked for.
        port: HostPort,
        /// Who has it.
        sandbox: String,
    },
    /// A host port of an address family that the pod does not have.
    #[error(
        "host port {port} needs an address of that family in the pod; set network.subnet_v6 for IPv6"
    )]
    HostPortFamily {
        /// What was asked for.
        port: HostPort,
    },
    /// A name that the kernel would not take.
    #[error("{name:?} cannot be the name of the bridge: 1 to 15 letters, digits, '-', '_' or '.'")]
    InterfaceName {
        /// The configured name.
        name: String,
    },
    /// All addresses are taken.
    #[error("all {size} pod addresses of {subnet} are in use")]
    Exhausted {
        /// The pods' subnet.
        subnet: Ipv4Subnet,
        /// How many addresses it has.
        size: u32,
    },
    /// The built-in network is switched off and there is no other.
    #[error("no pod network: network.mode is \"none\"")]
    Disabled,
    /// An id that cannot be a file's name.
    #[error("{id:?} cannot be a sandbox id: letters, digits, '-', '_' and '.' only")]
    SandboxId {
        /// What was given.
        id: String,
    },
    /// A second attach while the first is running, or after the release began.
    #[error("sandbox {sandbox} is being {doing}")]
    Busy {
        /// The sandbox.
        sandbox: String,
        /// `attached` or `released`.
        doing: &'static str,
    },
    /// Another namespace is at the path.
    #[error("{} already holds a network namespace", path.display())]
    NamespaceExists {
        /// The path.
        path: PathBuf,
    },
    /// No namespace is at the path.
    #[error("{} is no network namespace", path.display())]
    NamespaceMissing {
        /// The path.
        path: PathBuf,
    },
    /// A step on a namespace.
    #[error("{step} (network namespace {})", path.display())]
    Namespace {
        /// What was done.
        step: &'static str,
        /// The namespace's path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A request to the kernel about links, addresses, routes or nf_tables.
    #[error("{step} {object}")]
    Netlink {
        /// What was done.
        step: &'static str,
        /// To what.
        object: String,
        /// Why not.
        source: io::Error,
    },
    /// A step on a durable record.
    #[error("{step} {}", path.display())]
    Record {
        /// What was done.
        step: &'static str,
        /// The record's path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A sysctl that is not one of the network's, or whose name leaves `/proc/sys/net`.
    #[error("{name:?} is not a sysctl of a network namespace")]
    SysctlName {
        /// The sysctl.
        name: String,
    },
    /// A sysctl that the kernel refused.
    #[error("set sysctl {name} to {value:?}")]
    Sysctl {
        /// The sysctl.
        name: String,
        /// The value.
        value: String,
        /// Why not.
        source: io::Error,
    },
    /// A step of CNI.
    #[error(transparent)]
    Cni(#[from] CniError),
    /// DEL has failed, and is tried again in the background.
    #[error("the network of sandbox {sandbox} is not released yet")]
    Undeleted {
        /// The sandbox.
        sandbox: String,
        /// Why the last DEL failed.
        source: Arc<NetworkError>,
    },
    /// A thread could not be started, or ended before its work.
    #[error("{step}")]
    Thread {
        /// What it was to do.
        step: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl NetworkError {
    /// The kind, for callers that branch.
    #[must_use]
    pub fn kind(&self) -> NetworkErrorKind {
        match self {
            Self::SubnetAddress { .. }
            | Self::SubnetRoute { .. }
            | Self::InterfaceTaken { .. }
            | Self::BridgeForeign { .. }
            | Self::NamespaceExists { .. }
            | Self::Busy { .. } => NetworkErrorKind::Conflict,
            Self::HostPortTaken { .. } => NetworkErrorKind::PortTaken,
            Self::Exhausted { .. } => NetworkErrorKind::Exhausted,
            Self::Disabled => NetworkErrorKind::NotReady,
            Self::Cni(error) if error.is_not_ready() => NetworkErrorKind::NotReady,
            Self::Cni(
                CniError::Value { .. }
                | CniError::Template {
                    source: TemplateError::Network { .. },
                    ..
                },
            ) => NetworkErrorKind::InvalidArgument,
            Self::Cni(_) | Self::Undeleted { .. } => NetworkErrorKind::System { errno: None },
            Self::InterfaceName { .. }
            | Self::SandboxId { .. }
            | Self::SysctlName { .. }
            | Self::SubnetSize { .. }
            | Self::NoIpv6 { .. }
            | Self::HostPortFamily { .. } => NetworkErrorKind::InvalidArgument,
            Self::NamespaceMissing { .. } => NetworkErrorKind::NotFound,
            Self::Namespace { source, .. }
            | Self::Netlink { source, .. }
            | Self::Record { source, .. }
            | Self::Sysctl { source, .. }
            | Self::Thread { source, .. } => NetworkErrorKind::System {
                errno: source.raw_os_error(),
            },
        }
    }
}
