//! The node's side of the built-in network: the bridge, its address, forwarding, the masquerade; and a look at
//! whether anything else has the subnet before any of it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use rustix::io::Errno;

use super::attachment::{is_host_interface, mac};
use super::config::NetworkConfig;
use super::error::NetworkError;
use super::nftables::{self, NatTable};
use super::route::{InterfaceAddress, Link, Route, RouteSocket};
use super::sysctl;

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
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

/// Fails if an address or a route of the node that is not the bridge's overlaps the pods' subnet. Changes nothing.
pub(super) fn check_conflicts(
    routes: &mut RouteSocket,
    config: &NetworkConfig,
) -> Result<(), NetworkError> {
    let dump = |step| move |errno| netlink(step, "of the node", errno);
    let links = routes.links().map_err(dump("list interfaces"))?;
    let names: BTreeMap<u32, &Link> = links.iter().map(|link| (link.index, link)).collect();
    let own = |index: u32| {
        names
            .get(&index)
            .is_some_and(|link| link.name == config.bridge)
    };
    if let Some(link) = links.iter().find(|link| link.name == config.bridge)
        && link.kind != "bridge"
    {
        return Err(NetworkError::InterfaceTaken {
            name: link.name.clone(),
            kind: link.kind.clone(),
        });
    }
    for found in routes.addresses().map_err(dump("list addresses"))? {
        if !own(found.index) && config.subnet.overlaps(found.address, found.prefix_length) {
            return Err(NetworkError::SubnetAddress {
                subnet: config.subnet,
                interface: name_of(&names, found.index),
                address: found.address,
                prefix_length: found.prefix_length,
            });
        }
    }
    for route in routes.routes().map_err(dump("list routes"))? {
        let overlaps = config
            .subnet
            .overlaps(route.destination, route.prefix_length);
        if route.prefix_length > 0 && overlaps && !route.interface.is_some_and(own) {
            return Err(NetworkError::SubnetRoute {
                subnet: config.subnet,
                destination: route.destination,
                prefix_length: route.prefix_length,
                way: way(&route, &names),
            });
        }
    }
    Ok(())
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
    if link.kind != "bridge" {
        return Err(NetworkError::InterfaceTaken {
            name: link.name,
            kind: link.kind,
        });
    }
    sysctl::ignore_router_advertisements(&config.bridge).map_err(|source| {
        NetworkError::Sysctl {
            name: format!("net.ipv6.conf.{}.accept_ra", config.bridge),
            value: "0".to_owned(),
            source,
        }
    })?;
    ensure_gateway(routes, config, link.index)?;
    routes
        .set_up(link.index)
        .map_err(failed("bring up bridge"))?;
    Ok(Bridge {
        index: link.index,
        mtu: config.mtu.unwrap_or(link.mtu),
    })
}

/// Forwarding on, and the masquerade. A node without nf_tables keeps pods that reach each other and the node, so
/// that is a warning and no error; it is returned.
pub(super) fn ensure_forwarding(
    config: &NetworkConfig,
    changes: &mut Changes,
) -> Result<Option<String>, NetworkError> {
    let failed = |source| NetworkError::Sysctl {
        name: "net.ipv4.ip_forward".to_owned(),
        value: "1".to_owned(),
        source,
    };
    if fs::read_to_string(IP_FORWARD).map_err(failed)?.trim() != "1" {
        sysctl::write(Path::new(IP_FORWARD), "1").map_err(failed)?;
        changes.push("set net.ipv4.ip_forward to 1: the node now forwards IPv4 packets".to_owned());
    }
    let name = table_name(&config.bridge);
    let existed = nftables::table_exists(&name);
    let table = NatTable {
        name: &name,
        subnet: config.subnet,
        bridge: &config.bridge,
    };
    match existed.and_then(|existed| nftables::ensure_table(&table).map(|()| existed)) {
        Ok(true) => Ok(None),
        Ok(false) => {
            changes.push(format!(
                "created the nf_tables table inet {name}, which masquerades {}",
                config.subnet
            ));
            Ok(None)
        }
        // The kernel has no nf_tables, or not the family inet (CONFIG_NF_TABLES_INET; Debian's user-mode-linux).
        Err(errno @ (Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT)) => {
            Ok(Some(format!(
                "pods reach each other and the node but nothing beyond: the kernel has no nf_tables for IPv4 and \
                 IPv6 ({errno}), so there is no masquerade"
            )))
        }
        Err(errno) => Ok(Some(format!(
            "pods reach each other and the node but nothing beyond: creating the nf_tables table inet {name} \
             failed: {errno}"
        ))),
    }
}

/// Removes interfaces of pods that nobody knows: ports of the bridge with names of ours that are not in `known`.
pub(super) fn remove_unknown_ports(
    routes: &mut RouteSocket,
    bridge: &str,
    known: &BTreeSet<&str>,
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

/// Adds the gateway's address to the bridge and takes others of an earlier configuration away.
fn ensure_gateway(
    routes: &mut RouteSocket,
    config: &NetworkConfig,
    index: u32,
) -> Result<(), NetworkError> {
    let failed = |step| move |errno| netlink(step, &config.bridge, errno);
    let wanted = InterfaceAddress {
        index,
        address: config.subnet.gateway(),
        prefix_length: config.subnet.prefix_length(),
    };
    for found in routes
        .addresses()
        .map_err(failed("list addresses of"))?
        .iter()
        .filter(|found| found.index == index && **found != wanted)
    {
        match routes.remove_address(found) {
            Ok(()) | Err(Errno::ADDRNOTAVAIL) => {}
            Err(errno) => return Err(netlink("remove an old address of", &config.bridge, errno)),
        }
    }
    match routes.add_address(&wanted) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(netlink("add the gateway address to", &config.bridge, errno)),
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

fn name_of(names: &BTreeMap<u32, &Link>, index: u32) -> String {
    names
        .get(&index)
        .map_or_else(|| format!("number {index}"), |link| link.name.clone())
}

fn way(route: &Route, names: &BTreeMap<u32, &Link>) -> String {
    let interface = route.interface.map_or_else(
        || "to nowhere".to_owned(),
        |index| format!("dev {}", name_of(names, index)),
    );
    match route.gateway {
        Some(gateway) if gateway != Ipv4Addr::UNSPECIFIED => format!("{interface} via {gateway}"),
        _ => interface,
    }
}
