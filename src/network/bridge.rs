//! The bridge of the built-in network: its interface, its addresses, its ports.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use rustix::io::Errno;

use super::attachment::{is_host_interface, is_own_mac, mac, mac_text};
use super::config::NetworkConfig;
use super::error::NetworkError;
use super::route::{InterfaceAddress, Link, RouteSocket};
use super::subnet::Subnet;
use super::sysctl;

/// Ethernet's, where the node has no default route to take it from.
const DEFAULT_MTU: u32 = 1500;

/// The bridge as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bridge {
    /// Its interface number.
    pub(super) index: u32,
    /// The largest packet of pods' interfaces, in bytes.
    pub(super) mtu: u32,
}

/// What was changed on the node, as sentences for the log and the status; empty if all was as it should be.
pub(super) type Changes = Vec<String>;

/// The name of the nf_tables table: `carpel`, and another for each bridge that is not the default, so that two
/// daemons on a node do not replace each other's.
pub(super) fn table_name(bridge: &str) -> String {
    if bridge == NetworkConfig::default().bridge {
        return "carpel".to_owned();
    }
    format!("carpel-{bridge}")
}

/// Makes the bridge with the subnet's gateway address, up, if it is not like that already.
pub(super) fn ensure_bridge(
    routes: &mut RouteSocket,
    config: &NetworkConfig,
    changes: &mut Changes,
) -> Result<Bridge, NetworkError> {
    let failed = |step| move |errno| netlink(step, &config.bridge, errno);
    let mut link = routes
        .link(&config.bridge)
        .map_err(failed("look up bridge"))?;
    if link.is_none() {
        let mtu = match config.mtu {
            Some(mtu) => mtu,
            None => default_route_mtu(routes)?,
        };
        // A fixed hardware address: otherwise the bridge takes that of a port, and another when that port goes.
        match routes.create_bridge(&config.bridge, mac(config.subnet.gateway()), mtu) {
            Ok(()) => changes.push(format!("created the bridge {}", config.bridge)),
            // Another attach was quicker.
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(netlink("create bridge", &config.bridge, errno)),
        }
        link = routes
            .link(&config.bridge)
            .map_err(failed("look up bridge"))?;
    }
    let link = link.ok_or_else(|| netlink("look up bridge", &config.bridge, Errno::NODEV))?;
    check_own(&link)?;
    set_sysctls(config)?;
    ensure_gateways(routes, config, link.index)?;
    routes
        .set_up(link.index)
        .map_err(failed("bring up bridge"))?;
    Ok(Bridge {
        index: link.index,
        mtu: config.mtu.unwrap_or(link.mtu),
    })
}

/// Refuses an interface with the bridge's name that Carpel has not made.
pub(super) fn check_own(link: &Link) -> Result<(), NetworkError> {
    let name = link.name.clone();
    if link.kind != "bridge" {
        let kind = link.kind.clone();
        return Err(NetworkError::InterfaceTaken { name, kind });
    }
    if !is_own_mac(link.mac) {
        let mac = mac_text(link.mac);
        return Err(NetworkError::BridgeForeign { name, mac });
    }
    Ok(())
}

/// Removes interfaces of pods that nobody knows: ports of the bridge with names of ours that are not in `known`.
pub(super) fn remove_unknown_ports(
    routes: &mut RouteSocket,
    bridge: &str,
    known: &BTreeSet<String>,
) -> Result<(), NetworkError> {
    let links = routes
        .links()
        .map_err(|errno| netlink("list ports of", bridge, errno))?;
    let index = links
        .iter()
        .find(|link| link.name == bridge)
        .map(|link| link.index);
    for link in &links {
        let unknown = is_host_interface(&link.name) && !known.contains(link.name.as_str());
        if unknown && link.master.is_some() && link.master == index {
            delete_link(routes, &link.name)?;
        }
    }
    Ok(())
}

/// Deletes an interface; none is fine.
pub(super) fn delete_link(routes: &mut RouteSocket, name: &str) -> Result<(), NetworkError> {
    match routes.delete_link(name) {
        Ok(()) | Err(Errno::NODEV) => Ok(()),
        Err(errno) => Err(netlink("delete interface", name, errno)),
    }
}

/// The error of a request to rtnetlink or nf_tables.
pub(super) fn netlink(step: &'static str, object: &str, errno: Errno) -> NetworkError {
    NetworkError::Netlink {
        step,
        object: object.to_owned(),
        source: io::Error::from(errno),
    }
}

/// What the bridge is told by sysctls: it believes no IPv6 router, and 127.0.0.1 may use it as a way to host ports.
fn set_sysctls(config: &NetworkConfig) -> Result<(), NetworkError> {
    let mut wanted = vec![("ipv4", "route_localnet", "1"), ("ipv6", "accept_ra", "0")];
    if config.subnet_v6.is_some() {
        wanted.push(("ipv6", "disable_ipv6", "0"));
    }
    for (family, name, value) in wanted {
        let path = format!("/proc/sys/net/{family}/conf/{}/{name}", config.bridge);
        match sysctl::write(path.as_ref(), value) {
            Err(error) if family == "ipv6" && error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|source| NetworkError::Sysctl {
                name: format!("net/{family}/conf/{}/{name}", config.bridge),
                value: value.to_owned(),
                source,
            })?,
        }
    }
    Ok(())
}

/// Adds the gateways' addresses to the bridge and takes others of an earlier configuration away.
fn ensure_gateways(
    routes: &mut RouteSocket,
    config: &NetworkConfig,
    index: u32,
) -> Result<(), NetworkError> {
    let failed = |step| move |errno| netlink(step, &config.bridge, errno);
    let wanted: Vec<InterfaceAddress> = config
        .subnets()
        .iter()
        .map(|subnet| gateway(subnet, index))
        .collect();
    let link_local =
        |address: IpAddr| matches!(address, IpAddr::V6(ipv6) if ipv6.is_unicast_link_local());
    for found in routes
        .addresses()
        .map_err(failed("list addresses of"))?
        .iter()
        .filter(|found| found.index == index && !wanted.contains(found))
        .filter(|found| !link_local(found.address))
    {
        match routes.remove_address(found) {
            Ok(()) | Err(Errno::ADDRNOTAVAIL) => {}
            Err(errno) => return Err(netlink("remove an old address of", &config.bridge, errno)),
        }
    }
    for address in &wanted {
        match routes.add_address(address) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => {
                return Err(netlink("add the gateway address to", &config.bridge, errno));
            }
        }
    }
    Ok(())
}

fn gateway(subnet: &Subnet, index: u32) -> InterfaceAddress {
    InterfaceAddress {
        index,
        address: subnet.gateway(),
        prefix_length: subnet.prefix_length(),
    }
}

/// The largest packet of the interface that leads out of the node.
fn default_route_mtu(routes: &mut RouteSocket) -> Result<u32, NetworkError> {
    let dump = |step| move |errno| netlink(step, "of the node", errno);
    let way_out = routes
        .routes()
        .map_err(dump("list routes"))?
        .into_iter()
        .find(|route| route.prefix_length == 0)
        .and_then(|route| route.interface);
    let links = routes.links().map_err(dump("list interfaces"))?;
    Ok(links
        .iter()
        .find(|link| Some(link.index) == way_out && !link.loopback)
        .map_or(DEFAULT_MTU, |link| link.mtu))
}
