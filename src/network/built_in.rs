//! The built-in network: one veth pair per pod on the node's bridge.
//!
//! Blocking code: a request to the kernel is answered inside the system call, so it runs on a thread for blocking
//! work and never waits there for anybody but the kernel's own lock on interfaces.
//!
//! A conflict with something else on the node does not end the daemon: the network is not ready and says why, nothing
//! was changed, and every look at its state and every attach tries again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::attachment::mac;
use super::bridge::{self, Bridge, Changes, netlink};
use super::config::NetworkConfig;
use super::conflicts;
use super::conntrack;
use super::error::{NetworkError, NetworkErrorKind};
use super::forwarding;
use super::ledger::Ledger;
use super::namespace::NetworkNamespace;
use super::nftables;
use super::node_settings::NodeSettings;
use super::port::Redirect;
use super::route::{InterfaceAddress, RouteSocket, VethPair};
use super::status::{self, NOT_READY, NetworkStatus};
use super::table::Plan;

/// The bridge and what is known about it.
#[derive(Debug)]
pub(super) struct BuiltInNetwork {
    config: NetworkConfig,
    /// Whose host ports the table has.
    ledger: Arc<Ledger>,
    /// Nothing while something on the node is in its way.
    node: Mutex<Option<Node>>,
}

/// The node as it was set up.
#[derive(Debug, Clone)]
struct Node {
    bridge: Bridge,
    /// What the start changed.
    changes: Changes,
    /// Why pods cannot reach beyond the node, if so.
    masquerade_warning: Option<String>,
}

impl BuiltInNetwork {
    /// Looks for conflicts, then makes the bridge, forwarding and masquerade as they have to be, and deletes
    /// interfaces of pods that the ledger does not know.
    pub(super) fn start(config: &NetworkConfig, ledger: Arc<Ledger>) -> Result<Self, NetworkError> {
        let network = Self {
            config: config.clone(),
            ledger,
            node: Mutex::new(None),
        };
        match network.ensure() {
            Ok(_) => {}
            Err(error) if error.kind() == NetworkErrorKind::Conflict => {
                tracing::error!(error = describe(&error), "the pod network is not ready");
            }
            Err(error) => return Err(error),
        }
        Ok(network)
    }

    /// Makes what the plan says: the pair; inside the namespace the addresses, the link up, the default routes; the
    /// host ports.
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
        let addresses: Vec<_> = plan
            .attachment
            .routes()
            .into_iter()
            .map(|(address, prefix_length, gateway)| {
                let address = InterfaceAddress {
                    index,
                    address,
                    prefix_length,
                };
                (address, gateway)
            })
            .collect();
        inside
            .configure(index, &addresses)
            .map_err(|(step, errno)| netlink(step, "of the pod", errno))?;
        routes
            .wait_forwarding(&plan.host_interface)
            .map_err(|errno| netlink("wait for the bridge to use", &plan.host_interface, errno))?;
        self.open_ports(&mut routes, &plan.host_interface, &plan.redirects)
    }

    /// Opens the host ports of a pod whose interface was prepared.
    pub(super) fn open_ports_of(&self, plan: &Plan) -> Result<(), NetworkError> {
        self.open_ports(&mut open()?, &plan.host_interface, &plan.redirects)
    }

    /// Whether nothing on the node is in its way, as far as is known.
    pub(super) fn is_set_up(&self) -> bool {
        self.known().is_some()
    }

    /// Opens the host ports of a pod whose interface is there.
    fn open_ports(
        &self,
        routes: &mut RouteSocket,
        host_interface: &str,
        redirects: &[Redirect],
    ) -> Result<(), NetworkError> {
        if redirects.is_empty() {
            return Ok(());
        }
        routes
            .set_hairpin(host_interface)
            .map_err(|errno| netlink("let packets return through", host_interface, errno))?;
        let table = bridge::table_name(&self.config.bridge);
        match nftables::add_redirects(&table, redirects) {
            Ok(()) => {}
            // Somebody flushed all rules. The ledger has these ports already.
            Err(Errno::NOENT) => {
                forwarding::ensure_table(&self.config, &self.ledger.redirects())
                    .map_err(|errno| netlink("create nf_tables table", &table, errno))?;
            }
            Err(errno) => return Err(netlink("open host ports in nf_tables table", &table, errno)),
        }
        let forgotten = routes.addresses().and_then(|addresses| {
            let own: BTreeSet<_> = addresses.iter().map(|found| found.address).collect();
            conntrack::forget_older(redirects, &own)
        });
        if let Err(errno) = forgotten {
            // Those who were sending already wait for the flow's own end, half a minute after their last packet.
            tracing::debug!(host_interface, error = %errno, "older flows to host ports were not forgotten");
        }
        Ok(())
    }

    /// The state of the bridge, and who else filters.
    pub(super) fn status(&self) -> NetworkStatus {
        let (node, problem) = match self.ensure() {
            Ok(node) => (Some(node), String::new()),
            Err(error) => (None, describe(&error)),
        };
        let mut warnings = status::foreign_drop_warnings(
            &bridge::table_name(&self.config.bridge),
            &self.config.bridge,
        );
        warnings.extend(
            node.iter()
                .filter_map(|node| node.masquerade_warning.clone()),
        );
        NetworkStatus {
            ready: problem.is_empty(),
            reason: if problem.is_empty() { "" } else { NOT_READY }.to_owned(),
            message: problem,
            warnings,
            changes: node.map(|node| node.changes).unwrap_or_default(),
        }
    }

    /// Removes bridge and table, and gives the node's sysctls back; a sentence for each thing.
    pub(super) fn reset(config: &NetworkConfig) -> Result<Vec<String>, NetworkError> {
        let mut sentences = Vec::new();
        let mut routes = open()?;
        let bridge = routes
            .link(&config.bridge)
            .map_err(|errno| netlink("look up bridge", &config.bridge, errno))?;
        // One that somebody else has made meanwhile is not ours to remove.
        if bridge.is_some_and(|link| bridge::check_own(&link).is_ok()) {
            bridge::remove_unknown_ports(&mut routes, &config.bridge, &BTreeSet::new())?;
            bridge::delete_link(&mut routes, &config.bridge)?;
            sentences.push(format!("removed the bridge {}", config.bridge));
        }
        let table = bridge::table_name(&config.bridge);
        if nftables::table_exists(&table) == Ok(true) {
            nftables::delete_table(&table)
                .map_err(|errno| netlink("delete nf_tables table", &table, errno))?;
            sentences.push(format!("removed the nftables table inet {table}"));
        }
        sentences.extend(NodeSettings::below(&config.state_directory).restore()?);
        Ok(sentences)
    }

    /// Creates the pair; if the bridge is gone, makes it again first.
    fn create_pair(
        &self,
        plan: &Plan,
        namespace: &NetworkNamespace,
    ) -> Result<RouteSocket, NetworkError> {
        let mut routes = open()?;
        let IpAddr::V4(address) = plan.attachment.address else {
            return Err(netlink(
                "create interface",
                &plan.host_interface,
                Errno::AFNOSUPPORT,
            ));
        };
        let create = |routes: &mut RouteSocket, bridge: Bridge| {
            routes.create_veth(&VethPair {
                host_name: &plan.host_interface,
                bridge: bridge.index,
                pod_name: &plan.attachment.interface,
                pod_mac: mac(address),
                mtu: bridge.mtu,
                namespace: namespace.descriptor(),
            })
        };
        let failed = |errno| netlink("create interface", &plan.host_interface, errno);
        let known = match self.known() {
            Some(node) => node.bridge,
            None => self.ensure()?.bridge,
        };
        match create(&mut routes, known) {
            Ok(()) => Ok(routes),
            Err(errno) => {
                let now = self.ensure()?.bridge;
                if now == known {
                    return Err(failed(errno));
                }
                create(&mut routes, now).map_err(failed)?;
                Ok(routes)
            }
        }
    }

    fn known(&self) -> Option<Node> {
        self.node
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The node as it should be: set up if it was not yet, the bridge or the table made again if somebody deleted
    /// them.
    fn ensure(&self) -> Result<Node, NetworkError> {
        let mut node = self.node.lock().unwrap_or_else(PoisonError::into_inner);
        let mut routes = open()?;
        let Some(known) = &mut *node else {
            let fresh = self.set_up(&mut routes)?;
            *node = Some(fresh.clone());
            return Ok(fresh);
        };
        let mut changes = Changes::new();
        known.bridge = bridge::ensure_bridge(&mut routes, &self.config, &mut changes)?;
        let table = bridge::table_name(&self.config.bridge);
        if known.masquerade_warning.is_none() && nftables::table_exists(&table) == Ok(false) {
            known.masquerade_warning = forwarding::ensure_forwarding(
                &self.config,
                &self.ledger.redirects(),
                &mut changes,
            )?;
        }
        for change in changes {
            tracing::warn!("somebody took part of the pod network away: {change}");
        }
        Ok(known.clone())
    }

    /// The first time.
    fn set_up(&self, routes: &mut RouteSocket) -> Result<Node, NetworkError> {
        let config = &self.config;
        let known = self.ledger.host_interfaces();
        conflicts::check_conflicts(routes, config)?;
        let mut changes = Changes::new();
        let bridge = bridge::ensure_bridge(routes, config, &mut changes)?;
        bridge::remove_unknown_ports(routes, &config.bridge, &known)?;
        let redirects = self.ledger.redirects();
        let masquerade_warning = forwarding::ensure_forwarding(config, &redirects, &mut changes)?;
        for name in &known {
            // A bridge that was deleted meanwhile has lost its ports.
            match routes.set_master(name, bridge.index) {
                Ok(()) | Err(Errno::NODEV) => {}
                Err(errno) => return Err(netlink("make a port of the bridge of", name, errno)),
            }
        }
        for change in &changes {
            tracing::info!("{change}");
        }
        Ok(Node {
            bridge,
            changes,
            masquerade_warning,
        })
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
