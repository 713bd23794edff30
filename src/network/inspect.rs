//! What there is of the built-in network, by the records and the kernel: for people who look, with or without a daemon.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::attachment::Attachment;
use super::bridge::{netlink, table_name};
use super::config::NetworkConfig;
use super::error::NetworkError;
use super::nftables;
use super::port::HostPort;
use super::prepared;
use super::record::Records;
use super::route::{Link, RouteSocket};
use super::status;

/// The built-in network as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInspection {
    /// Whether the bridge is there.
    pub bridge: Presence,
    /// Its addresses with their prefixes, as text.
    pub bridge_addresses: Vec<String>,
    /// The largest packet of its interfaces, in bytes; 0 if it is not there.
    pub mtu: u32,
    /// The nftables table of the family inet.
    pub table: String,
    /// Whether it is there.
    pub table_presence: Presence,
    /// The pods with a record.
    pub pods: Vec<InspectedPod>,
    /// How many networks are made for pods that come.
    pub prepared: usize,
    /// Who else on this node drops what it forwards for pods.
    pub warnings: Vec<String>,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Present,
    /// It is not.
    Absent,
    /// The kernel does not tell.
    Unknown,
}

/// What a pod has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedPod {
    /// The sandbox.
    pub sandbox: String,
    /// Where its namespace is bound.
    pub namespace: Option<PathBuf>,
    /// Its side, if it was attached.
    pub attachment: Option<Attachment>,
    /// The interface on the node.
    pub host_interface: String,
    /// Whether that is there.
    pub interface: Presence,
    /// Its host ports.
    pub ports: Vec<HostPort>,
}

/// Looks at the records below the state directory, and at this node. Changes nothing.
///
/// # Errors
///
/// `System` if records or kernel cannot be read.
pub fn inspect(config: &NetworkConfig) -> Result<NetworkInspection, NetworkError> {
    let failed = |step| move |errno| netlink(step, "of the node", errno);
    let mut routes = RouteSocket::open().map_err(failed("open rtnetlink"))?;
    let links = routes.links().map_err(failed("list interfaces"))?;
    let names: BTreeSet<&str> = links.iter().map(|link| link.name.as_str()).collect();
    let bridge: Option<&Link> = links.iter().find(|link| link.name == config.bridge);
    let addresses = routes.addresses().map_err(failed("list addresses"))?;
    let table = table_name(&config.bridge);
    let (prepared, pods): (Vec<_>, Vec<_>) = Records::look(&config.state_directory)?
        .into_iter()
        .partition(|(sandbox, _)| prepared::is_name(sandbox));
    Ok(NetworkInspection {
        bridge: presence(bridge.is_some()),
        bridge_addresses: addresses
            .iter()
            .filter(|found| bridge.is_some_and(|link| link.index == found.index))
            .map(|found| format!("{}/{}", found.address, found.prefix_length))
            .collect(),
        mtu: bridge.map_or(0, |link| link.mtu),
        table_presence: nftables::table_exists(&table).map_or(Presence::Unknown, presence),
        pods: pods
            .into_iter()
            .map(|(sandbox, record)| {
                let (attachment, host_interface) = record.add.unzip();
                let host_interface = host_interface.unwrap_or_default();
                InspectedPod {
                    sandbox,
                    namespace: record.namespace,
                    attachment,
                    interface: presence(names.contains(host_interface.as_str())),
                    host_interface,
                    ports: record.ports,
                }
            })
            .collect(),
        prepared: prepared.len(),
        warnings: status::foreign_drop_warnings(&table, &config.bridge),
        table,
    })
}

fn presence(is_there: bool) -> Presence {
    if is_there {
        Presence::Present
    } else {
        Presence::Absent
    }
}
