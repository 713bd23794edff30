//! Whether anything else on the node has the pods' subnets or the bridge's name: looked at before anything is made.

use std::collections::BTreeMap;
use std::path::Path;

use super::bridge::{check_own, netlink};
use super::config::NetworkConfig;
use super::error::NetworkError;
use super::route::{Link, Route, RouteSocket};

/// Whether the built-in network can be on this node: nothing else has its subnets or the bridge's name. Changes nothing.
///
/// # Errors
///
/// `Conflict` names the object that is in the way; `InvalidArgument` for a configuration that cannot be.
pub fn look_for_conflicts(config: &NetworkConfig) -> Result<(), NetworkError> {
    config.check()?;
    let mut routes = RouteSocket::open().map_err(|errno| netlink("open", "rtnetlink", errno))?;
    check_conflicts(&mut routes, config)
}

/// Fails if an address or a route of the node that is not the bridge's overlaps the pods' subnets, if the bridge's name
/// is somebody else's, or if the kernel lacks a family. Changes nothing.
pub(super) fn check_conflicts(
    routes: &mut RouteSocket,
    config: &NetworkConfig,
) -> Result<(), NetworkError> {
    let dump = |step| move |errno| netlink(step, "of the node", errno);
    if let Some(subnet) = config.subnet_v6
        && !Path::new("/proc/sys/net/ipv6").exists()
    {
        return Err(NetworkError::NoIpv6 { subnet });
    }
    let links = routes.links().map_err(dump("list interfaces"))?;
    let names: BTreeMap<u32, &Link> = links.iter().map(|link| (link.index, link)).collect();
    let own = |index: u32| {
        names
            .get(&index)
            .is_some_and(|link| link.name == config.bridge)
    };
    if let Some(link) = links.iter().find(|link| link.name == config.bridge) {
        check_own(link)?;
    }
    let addresses = routes.addresses().map_err(dump("list addresses"))?;
    let found_routes = routes.routes().map_err(dump("list routes"))?;
    for subnet in config.subnets() {
        let taken = addresses
            .iter()
            .find(|found| !own(found.index) && subnet.overlaps(found.address, found.prefix_length));
        if let Some(found) = taken {
            return Err(NetworkError::SubnetAddress {
                subnet,
                interface: name_of(&names, found.index),
                address: found.address,
                prefix_length: found.prefix_length,
            });
        }
        let taken = found_routes.iter().find(|route| {
            route.prefix_length > 0
                && subnet.overlaps(route.destination, route.prefix_length)
                && !route.interface.is_some_and(own)
        });
        if let Some(route) = taken {
            return Err(NetworkError::SubnetRoute {
                subnet,
                destination: route.destination,
                prefix_length: route.prefix_length,
                way: way(route, &names),
            });
        }
    }
    Ok(())
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
        Some(gateway) if !gateway.is_unspecified() => format!("{interface} via {gateway}"),
        _ => interface,
    }
}
