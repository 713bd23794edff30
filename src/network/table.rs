//! The ledger's table: which sandbox has which address, interface and host ports, in memory.
//!
//! Pure: it is locked, and the records are written, by the ledger.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::attachment::{Attachment, Ipv6Attachment, host_interface, mac, mac_text};
use super::error::NetworkError;
use super::pool::AddressPool;
use super::port::{HostPort, Redirect};
use super::release::Job;
use super::subnet::Ipv4Subnet;
use super::subnet_v6::Ipv6Subnet;

/// Where an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Unattached,
    /// Somebody is at it.
    Attaching,
    /// A daemon died while it was at it: it can only be released.
    Interrupted,
    /// Somebody is at it, and when done it is to be released.
    Abandoned,
    Attached,
    Releasing,
}

/// What is known of a sandbox.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) namespace: Option<PathBuf>,
    pub(super) add: Option<(Attachment, String)>,
    pub(super) ports: Vec<HostPort>,
    pub(super) phase: Phase,
}

/// All sandboxes, and the addresses that they have.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) subnet: Ipv4Subnet,
    pub(super) subnet_v6: Option<Ipv6Subnet>,
    pub(super) pool: AddressPool,
    pub(super) entries: BTreeMap<String, Entry>,
}

/// What an attach is to make.
#[derive(Debug)]
pub(super) struct Plan {
    /// The pod's side.
    pub(super) attachment: Attachment,
    /// The interface on the node.
    pub(super) host_interface: String,
    /// The host ports.
    pub(super) ports: Vec<HostPort>,
    /// What they are made of.
    pub(super) redirects: Vec<Redirect>,
    /// What there is of it.
    pub(super) start: Start,
}

/// What there is of an attachment when an attach begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing.
    Nothing,
    /// Everything but the host ports: it was prepared.
    Prepared,
}

/// The name of the pods' interface, which everybody expects.
pub(super) const POD_INTERFACE: &str = "eth0";

/// Whether a sandbox has left the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgotten {
    Yes,
    No,
}

impl Table {
    pub(super) fn entry(&mut self, sandbox: &str) -> &mut Entry {
        self.entries
            .entry(sandbox.to_owned())
            .or_insert_with(|| Entry {
                namespace: None,
                add: None,
                ports: Vec::new(),
                phase: Phase::Unattached,
            })
    }

    /// The attachment that is complete, nothing if there is none, an error if one comes or goes.
    pub(super) fn attached_or_busy(
        &self,
        sandbox: &str,
    ) -> Result<Option<Attachment>, NetworkError> {
        let Some(entry) = self.entries.get(sandbox) else {
            return Ok(None);
        };
        match entry.phase {
            Phase::Unattached => Ok(None),
            Phase::Attached => Ok(entry.add.as_ref().map(|(attachment, _)| attachment.clone())),
            Phase::Attaching => Err(busy(sandbox, "attached")),
            Phase::Interrupted | Phase::Abandoned | Phase::Releasing => {
                Err(busy(sandbox, "released"))
            }
        }
    }

    /// An address, the names that go with it, and the host ports, noted in the table.
    pub(super) fn reserve(
        &mut self,
        sandbox: &str,
        ports: &[HostPort],
    ) -> Result<Plan, NetworkError> {
        self.check_ports(sandbox, ports)?;
        let address = self.pool.allocate(sandbox).ok_or(NetworkError::Exhausted {
            subnet: self.subnet,
            size: self.pool.size(),
        })?;
        let attachment = self.attachment(address);
        let redirects = match redirects(ports, &attachment) {
            Ok(redirects) => redirects,
            Err(error) => {
                self.pool.release(address, sandbox);
                return Err(error);
            }
        };
        let host_interface = host_interface(sandbox, |name| self.has_host_interface(name));
        let entry = self.entry(sandbox);
        entry.phase = Phase::Attaching;
        entry.add = Some((attachment.clone(), host_interface.clone()));
        entry.ports = ports.to_vec();
        Ok(Plan {
            attachment,
            host_interface,
            ports: ports.to_vec(),
            redirects,
            start: Start::Nothing,
        })
    }

    /// Whether an attached sandbox asks for host ports and has none.
    pub(super) fn wants_ports(&self, sandbox: &str, ports: &[HostPort]) -> bool {
        let entry = self.entries.get(sandbox);
        !ports.is_empty() && entry.is_some_and(|entry| entry.ports.is_empty())
    }

    /// Host ports for a sandbox that is attached.
    pub(super) fn add_ports(
        &mut self,
        sandbox: &str,
        ports: &[HostPort],
    ) -> Result<Plan, NetworkError> {
        self.check_ports(sandbox, ports)?;
        let entry = self.entry(sandbox);
        let Some((attachment, host_interface)) = entry.add.clone() else {
            return Err(busy(sandbox, "released"));
        };
        let redirects = redirects(ports, &attachment)?;
        entry.phase = Phase::Attaching;
        entry.ports = ports.to_vec();
        Ok(Plan {
            attachment,
            host_interface,
            ports: ports.to_vec(),
            redirects,
            start: Start::Prepared,
        })
    }

    /// Refuses host ports that another sandbox has.
    fn check_ports(&self, sandbox: &str, ports: &[HostPort]) -> Result<(), NetworkError> {
        for (holder, entry) in &self.entries {
            let taken = ports
                .iter()
                .find(|port| entry.ports.iter().any(|held| held.overlaps(port)));
            if let Some(port) = taken
                && holder != sandbox
            {
                return Err(NetworkError::HostPortTaken {
                    port: *port,
                    sandbox: holder.clone(),
                });
            }
        }
        Ok(())
    }

    /// What a pod with this address has: the same place in the IPv6 subnet.
    fn attachment(&self, address: Ipv4Addr) -> Attachment {
        Attachment {
            interface: POD_INTERFACE.to_owned(),
            address: IpAddr::V4(address),
            prefix_length: self.subnet.prefix_length(),
            gateway: IpAddr::V4(self.subnet.gateway()),
            mac: mac_text(mac(address)),
            ipv6: self.subnet_v6.map(|subnet| Ipv6Attachment {
                address: subnet.address(self.subnet.place(address)),
                prefix_length: subnet.prefix_length(),
                gateway: subnet.address(1),
            }),
        }
    }

    /// The IPv4 addresses that an attachment keeps from others: its own, and the one whose place in the IPv6 subnet it
    /// has, which is another one if the IPv4 subnet was reconfigured.
    pub(super) fn places(&self, attachment: &Attachment) -> Vec<Ipv4Addr> {
        let mut places = Vec::new();
        if let IpAddr::V4(address) = attachment.address {
            places.push(address);
        }
        if let (Some(subnet), Some(ipv6)) = (self.subnet_v6, &attachment.ipv6)
            && let Some(place) = subnet.place(ipv6.address)
        {
            let address = self.subnet.address(place);
            if !places.contains(&address) {
                places.push(address);
            }
        }
        places
    }

    /// Takes the sandbox's address and ports back.
    pub(super) fn free(&mut self, sandbox: &str) {
        let Some(entry) = self.entries.get_mut(sandbox) else {
            return;
        };
        entry.phase = Phase::Unattached;
        entry.ports.clear();
        if let Some((attachment, _)) = entry.add.take() {
            for address in self.places(&attachment) {
                self.pool.release(address, sandbox);
            }
        }
    }

    pub(super) fn forget_if_empty(&mut self, sandbox: &str) -> Forgotten {
        let empty = self
            .entries
            .get(sandbox)
            .is_none_or(|entry| entry.namespace.is_none() && entry.add.is_none());
        if !empty {
            return Forgotten::No;
        }
        self.entries.remove(sandbox);
        Forgotten::Yes
    }

    fn has_host_interface(&self, name: &str) -> bool {
        self.entries
            .values()
            .filter_map(|entry| entry.add.as_ref())
            .any(|(_, host_interface)| host_interface == name)
    }
}

impl Entry {
    pub(super) fn job(&self, sandbox: &str) -> Option<Job> {
        let (_, host_interface) = self.add.as_ref()?;
        Some(Job {
            sandbox: sandbox.to_owned(),
            host_interface: host_interface.clone(),
            redirects: self.redirects(),
        })
    }

    pub(super) fn redirects(&self) -> Vec<Redirect> {
        // They were made before, so they can be made again.
        self.add
            .as_ref()
            .and_then(|(attachment, _)| redirects(&self.ports, attachment).ok())
            .unwrap_or_default()
    }
}

fn redirects(ports: &[HostPort], attachment: &Attachment) -> Result<Vec<Redirect>, NetworkError> {
    let addresses = attachment.addresses();
    let each: Vec<Vec<Redirect>> = ports
        .iter()
        .map(|port| port.redirects(&addresses))
        .collect::<Result<_, _>>()?;
    Ok(each.into_iter().flatten().collect())
}

pub(super) fn busy(sandbox: &str, doing: &'static str) -> NetworkError {
    NetworkError::Busy {
        sandbox: sandbox.to_owned(),
        doing,
    }
}
