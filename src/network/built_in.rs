//! The built-in network: one veth pair per pod on the node's bridge.
//!
//! Blocking code: a request to the kernel is answered inside the system call, so it runs on a thread for blocking
//! work and never waits there for anybody but the kernel's own lock on interfaces.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

use super::attachment::mac;
use super::bridge::{self, Bridge, Changes, netlink};
use super::config::NetworkConfig;
use super::error::NetworkError;
use super::ledger::Plan;
use super::namespace::NetworkNamespace;
use super::nftables;
use super::route::{InterfaceAddress, RouteSocket, VethPair};
use super::status::{self, NOT_READY, NetworkStatus};

/// The bridge and what is known about it.
#[derive(Debug)]
pub(super) struct BuiltInNetwork {
    config: NetworkConfig,
    bridge: Mutex<Bridge>,
    /// What the start changed.
    changes: Changes,
    /// Why pods cannot reach beyond the node, if so.
    masquerade_warning: Option<String>,
}

impl BuiltInNetwork {
    /// Looks for conflicts, then makes the bridge, forwarding and masquerade as they have to be, and deletes
    /// interfaces of pods that are not in `known`.
    pub(super) fn start(
        config: &NetworkConfig,
        known: &BTreeSet<&str>,
    ) -> Result<Self, NetworkError> {
        let mut routes = open()?;
        bridge::check_conflicts(&mut routes, config)?;
        let mut changes = Changes::new();
        let bridge = bridge::ensure_bridge(&mut routes, config, &mut changes)?;
        bridge::remove_unknown_ports(&mut routes, &config.bridge, known)?;
        let masquerade_warning = bridge::ensure_forwarding(config, &mut changes)?;
        for name in known {
            // A bridge that was deleted meanwhile has lost its ports.
            match routes.set_master(name, bridge.index) {
                Ok(()) | Err(Errno::NODEV) => {}
                Err(errno) => return Err(netlink("make a port of the bridge of", name, errno)),
            }
        }
        for change in &changes {
            tracing::info!("{change}");
        }
        Ok(Self {
            config: config.clone(),
            bridge: Mutex::new(bridge),
            changes,
            masquerade_warning,
        })
    }

    /// Makes what the plan says: the pair, and inside the namespace the address, the link up, the default route.
    pub(super) fn attach(
        &self,
        plan: &Plan,
        namespace: &NetworkNamespace,
    ) -> Result<(), NetworkError> {
        let mut routes = self.create_pair(plan, namespace)?;
        let mut inside = namespace.routes()?;
        let pod_interface = &plan.attachment.interface;
        let index = inside
            .link(pod_interface)
            .and_then(|link| link.ok_or(Errno::NODEV))
            .map_err(|errno| netlink("look up in the pod", pod_interface, errno))?
            .index;
        let address = InterfaceAddress {
            index,
            address: plan.address,
            prefix_length: self.config.subnet.prefix_length(),
        };
        inside
            .configure(&address, self.config.subnet.gateway())
            .map_err(|(step, errno)| netlink(step, "of the pod", errno))?;
        routes
            .wait_forwarding(&plan.host_interface)
            .map_err(|errno| netlink("wait for the bridge to use", &plan.host_interface, errno))
    }

    /// The state of the bridge, and who else filters.
    pub(super) fn status(&self) -> NetworkStatus {
        let problem = match open().and_then(|mut routes| self.ensure(&mut routes)) {
            Ok(_) => String::new(),
            Err(error) => describe(&error),
        };
        let mut warnings = status::foreign_drop_warnings(
            &bridge::table_name(&self.config.bridge),
            &self.config.bridge,
        );
        warnings.extend(self.masquerade_warning.clone());
        NetworkStatus {
            ready: problem.is_empty(),
            reason: if problem.is_empty() { "" } else { NOT_READY }.to_owned(),
            message: problem,
            warnings,
            changes: self.changes.clone(),
        }
    }

    /// Removes bridge and table.
    pub(super) fn reset(&self) -> Result<(), NetworkError> {
        let mut routes = open()?;
        bridge::remove_unknown_ports(&mut routes, &self.config.bridge, &BTreeSet::new())?;
        bridge::delete_link(&mut routes, &self.config.bridge)?;
        let table = bridge::table_name(&self.config.bridge);
        match nftables::delete_table(&table) {
            Ok(()) => Ok(()),
            // Without nf_tables there is no table.
            Err(_) if self.masquerade_warning.is_some() => Ok(()),
            Err(errno) => Err(netlink("delete nf_tables table", &table, errno)),
        }
    }

    /// Creates the pair; if the bridge is gone, makes it again first.
    fn create_pair(
        &self,
        plan: &Plan,
        namespace: &NetworkNamespace,
    ) -> Result<RouteSocket, NetworkError> {
        let mut routes = open()?;
        let known = *self.bridge.lock().unwrap_or_else(PoisonError::into_inner);
        let create = |routes: &mut RouteSocket, bridge: Bridge| {
            routes.create_veth(&VethPair {
                host_name: &plan.host_interface,
                bridge: bridge.index,
                pod_name: &plan.attachment.interface,
                pod_mac: mac(plan.address),
                mtu: bridge.mtu,
                namespace: namespace.descriptor(),
            })
        };
        let failed = |errno| netlink("create interface", &plan.host_interface, errno);
        match create(&mut routes, known) {
            Ok(()) => Ok(routes),
            Err(errno) => {
                let now = self.ensure(&mut routes)?;
                if now == known {
                    return Err(failed(errno));
                }
                create(&mut routes, now).map_err(failed)?;
                Ok(routes)
            }
        }
    }

    /// The bridge as it is, made again if somebody deleted it.
    fn ensure(&self, routes: &mut RouteSocket) -> Result<Bridge, NetworkError> {
        let mut changes = Changes::new();
        let now = bridge::ensure_bridge(routes, &self.config, &mut changes)?;
        for change in changes {
            tracing::warn!("the bridge was missing: {change}");
        }
        *self.bridge.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(now)
    }
}

fn open() -> Result<RouteSocket, NetworkError> {
    RouteSocket::open().map_err(|errno| netlink("open", "rtnetlink", errno))
}

/// An error with its causes, for people.
fn describe(error: &NetworkError) -> String {
    use std::error::Error;
    error
        .source()
        .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
