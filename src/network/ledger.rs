//! Who has which address, namespace and interface: the pool and the records behind one short-held lock.
//!
//! ```text
//!            begin_attach         finish_attach
//! Unattached ───────────▶ Attaching ────────────▶ Attached          (after a crash: Interrupted)
//!     ▲                 begin_release │ failed        │ begin_release     │ begin_release
//!     │                     ▼         │               │                   │
//!     │ released        Abandoned ──▶ Releasing ◀─────┴───────────────────┘
//!     └───────────────────────────────┘
//! ```
//!
//! No lock is held while a record is written, so a hung disk stops those who write and nobody who asks. A sandbox's
//! record has one writer at a time: its phase says whose turn it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::attachment::{Attachment, Ipv6Attachment, host_interface, mac, mac_text};
use super::config::NetworkConfig;
use super::error::NetworkError;
use super::pool::AddressPool;
use super::port::{HostPort, Redirect};
use super::record::{Event, Progress, Record, Records};
use super::release::Job;
use super::subnet::Ipv4Subnet;
use super::subnet_v6::Ipv6Subnet;

/// Where an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
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

#[derive(Debug)]
struct Entry {
    namespace: Option<PathBuf>,
    add: Option<(Attachment, String)>,
    ports: Vec<HostPort>,
    phase: Phase,
}

#[derive(Debug)]
struct Table {
    subnet: Ipv4Subnet,
    subnet_v6: Option<Ipv6Subnet>,
    pool: AddressPool,
    entries: BTreeMap<String, Entry>,
}

/// What an attach starts from.
#[derive(Debug)]
pub(super) enum Begun {
    /// It is attached already.
    Already(Attachment),
    /// This is to be recorded and made.
    Started(Plan),
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

/// The ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    records: Records,
    table: Mutex<Table>,
    /// Changes whenever an attachment is gone.
    releases: watch::Sender<u64>,
}

impl Ledger {
    /// Starts from the records of live sandboxes.
    pub(super) fn new(
        config: &NetworkConfig,
        records: Records,
        live: Vec<(String, Record)>,
    ) -> Self {
        let mut table = Table {
            subnet: config.subnet,
            subnet_v6: config.subnet_v6,
            pool: AddressPool::new(config.subnet),
            entries: BTreeMap::new(),
        };
        for (sandbox, record) in live {
            let phase = match (&record.add, record.progress) {
                (None, _) => Phase::Unattached,
                (Some(_), Progress::Started) => Phase::Interrupted,
                (Some(_), Progress::Complete) => Phase::Attached,
            };
            if let Some((attachment, _)) = &record.add {
                for address in table.places(attachment) {
                    if let Err(holder) = table.pool.reserve(address, &sandbox) {
                        tracing::error!(sandbox, %address, holder, "two sandboxes have one address");
                    }
                }
            }
            let entry = Entry {
                namespace: record.namespace,
                add: record.add,
                ports: record.ports,
                phase,
            };
            table.entries.insert(sandbox, entry);
        }
        Self {
            records,
            table: Mutex::new(table),
            releases: watch::Sender::new(0),
        }
    }

    /// Notes that a namespace is about to be bound.
    pub(super) fn begin_namespace(&self, sandbox: &str, path: PathBuf) -> Result<(), NetworkError> {
        self.records
            .append(sandbox, &Event::Namespace { path: path.clone() })?;
        self.lock().entry(sandbox).namespace = Some(path);
        Ok(())
    }

    /// The path that was noted.
    pub(super) fn namespace(&self, sandbox: &str) -> Option<PathBuf> {
        self.lock().entries.get(sandbox)?.namespace.clone()
    }

    /// Notes that the namespace's path is gone.
    pub(super) fn end_namespace(&self, sandbox: &str) -> Result<(), NetworkError> {
        let forgotten = {
            let mut table = self.lock();
            if let Some(entry) = table.entries.get_mut(sandbox) {
                entry.namespace = None;
            }
            table.forget_if_empty(sandbox)
        };
        self.remove_record(sandbox, forgotten)
    }

    /// Takes an address and host ports for an attach that ends with [`Ledger::finish_attach`] or
    /// [`Ledger::cancel_attach`]. Does not touch the disk.
    pub(super) fn begin_attach(
        &self,
        sandbox: &str,
        ports: &[HostPort],
    ) -> Result<Begun, NetworkError> {
        let mut table = self.lock();
        match table.attached_or_busy(sandbox)? {
            None => table.reserve(sandbox, ports).map(Begun::Started),
            Some(_) if table.wants_ports(sandbox, ports) => {
                table.add_ports(sandbox, ports).map(Begun::Started)
            }
            Some(attachment) => Ok(Begun::Already(attachment)),
        }
    }

    /// Writes down what is about to be made. A file that is returned is to be synced.
    pub(super) fn record_attach(
        &self,
        sandbox: &str,
        plan: &Plan,
    ) -> Result<Option<File>, NetworkError> {
        let mut record = None;
        if plan.start == Start::Nothing {
            let event = Event::AddStarted {
                attachment: plan.attachment.clone(),
                host_interface: plan.host_interface.clone(),
            };
            record = Some(self.records.append(sandbox, &event)?);
        }
        if !plan.ports.is_empty() {
            let ports = plan.ports.clone();
            self.records.append(sandbox, &Event::HostPorts { ports })?;
        }
        Ok(record)
    }

    /// Gives a sandbox what was attached under another name, which is no sandbox's, and notes that its namespace is
    /// about to be bound. The attachment was synced when it was made; that it changed hands need not be, as a power
    /// cut ends the pod as well.
    pub(super) fn hand_over(
        &self,
        prepared: &str,
        sandbox: &str,
        path: PathBuf,
    ) -> Result<(), NetworkError> {
        let namespace = Event::Namespace { path: path.clone() };
        self.records.append(prepared, &namespace)?;
        self.records.rename(prepared, sandbox)?;
        let mut table = self.lock();
        if let Some(mut entry) = table.entries.remove(prepared) {
            if let Some((attachment, _)) = &entry.add {
                for address in table.places(attachment) {
                    table.pool.hand_over(address, prepared, sandbox);
                }
            }
            entry.namespace = Some(path);
            table.entries.insert(sandbox.to_owned(), entry);
        }
        Ok(())
    }

    /// Whether there are so few addresses left that none should be taken for later.
    pub(super) fn is_scarce(&self) -> bool {
        const PLENTY: u32 = 16;
        self.lock().pool.free() < PLENTY
    }

    /// Ends an attach of which nothing was made.
    pub(super) fn cancel_attach(&self, sandbox: &str) {
        let mut table = self.lock();
        table.free(sandbox);
        table.forget_if_empty(sandbox);
        drop(table);
        self.announce_release();
    }

    /// Waits until the record is on the disk.
    pub(super) fn sync(&self, sandbox: &str, record: &File) -> Result<(), NetworkError> {
        self.records.sync(sandbox, record)
    }

    /// Ends an attach that worked, or not. A job is what must be released now.
    pub(super) fn finish_attach(
        &self,
        sandbox: &str,
        result: Result<(), NetworkError>,
    ) -> (Result<(), NetworkError>, Option<Job>) {
        let result = result.and_then(|()| self.records.append(sandbox, &Event::Attached).map(drop));
        let mut table = self.lock();
        let entry = table.entry(sandbox);
        let result = match entry.phase {
            Phase::Abandoned => result.and(Err(busy(sandbox, "released"))),
            _ => result,
        };
        if result.is_ok() {
            entry.phase = Phase::Attached;
            return (result, None);
        }
        entry.phase = Phase::Releasing;
        (result, entry.job(sandbox))
    }

    /// Marks an attachment as going; a job is what must be deleted, nothing if that is done or under way.
    pub(super) fn begin_release(&self, sandbox: &str) -> Option<Job> {
        let mut table = self.lock();
        let entry = table.entries.get_mut(sandbox)?;
        match entry.phase {
            Phase::Attaching => {
                entry.phase = Phase::Abandoned;
                None
            }
            Phase::Interrupted | Phase::Attached => {
                entry.phase = Phase::Releasing;
                entry.job(sandbox)
            }
            Phase::Unattached | Phase::Abandoned | Phase::Releasing => None,
        }
    }

    /// The interfaces on the node of all sandboxes that have one, or soon.
    pub(super) fn host_interfaces(&self) -> BTreeSet<String> {
        let table = self.lock();
        table
            .entries
            .values()
            .filter_map(|entry| entry.add.as_ref())
            .map(|(_, host_interface)| host_interface.clone())
            .collect()
    }

    /// The redirections of all sandboxes that are attached.
    pub(super) fn redirects(&self) -> Vec<Redirect> {
        let table = self.lock();
        table
            .entries
            .values()
            .filter(|entry| entry.phase != Phase::Releasing)
            .flat_map(Entry::redirects)
            .collect()
    }

    /// Notes that the sandbox's host ports are closed, so that no start opens them again.
    pub(super) fn ports_closed(&self, sandbox: &str) -> Result<(), NetworkError> {
        if let Some(entry) = self.lock().entries.get_mut(sandbox) {
            entry.ports.clear();
        }
        let ports = Vec::new();
        self.records
            .append(sandbox, &Event::HostPorts { ports })
            .map(drop)
    }

    /// The interface is gone: the address is free.
    pub(super) fn released(&self, sandbox: &str) {
        // Recorded first: the address may have a new holder right after.
        let recorded = self.records.append(sandbox, &Event::Released).map(drop);
        let forgotten = {
            let mut table = self.lock();
            table.free(sandbox);
            table.forget_if_empty(sandbox)
        };
        if let Err(error) = recorded.and(self.remove_record(sandbox, forgotten)) {
            // The next start sees an attachment of a sandbox that is gone, and releases it again.
            tracing::warn!(sandbox, error = %error, "the release of a pod's address could not be recorded");
        }
        self.announce_release();
    }

    /// Waits until the sandbox has no attachment.
    pub(super) async fn wait_released(&self, sandbox: &str) {
        let mut releases = self.releases.subscribe();
        while self.holds_attachment(sandbox) {
            // The sender lives as long as the ledger, so this fails never.
            if releases.changed().await.is_err() {
                return;
            }
        }
    }

    /// The attachment, if it is complete and not going.
    pub(super) fn attachment(&self, sandbox: &str) -> Option<Attachment> {
        let table = self.lock();
        let entry = table.entries.get(sandbox)?;
        if entry.phase != Phase::Attached {
            return None;
        }
        entry.add.as_ref().map(|(attachment, _)| attachment.clone())
    }

    /// Whether it has anything of the sandbox.
    pub(super) fn knows(&self, sandbox: &str) -> bool {
        self.lock().entries.contains_key(sandbox)
    }

    /// All sandboxes.
    pub(super) fn sandboxes(&self) -> Vec<String> {
        self.lock().entries.keys().cloned().collect()
    }

    fn announce_release(&self) {
        self.releases
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn holds_attachment(&self, sandbox: &str) -> bool {
        self.lock()
            .entries
            .get(sandbox)
            .is_some_and(|entry| entry.add.is_some())
    }

    fn remove_record(&self, sandbox: &str, forgotten: Forgotten) -> Result<(), NetworkError> {
        match forgotten {
            Forgotten::Yes => self.records.remove(sandbox),
            Forgotten::No => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code that holds the lock can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a sandbox has left the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forgotten {
    Yes,
    No,
}

impl Table {
    fn entry(&mut self, sandbox: &str) -> &mut Entry {
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
    fn attached_or_busy(&self, sandbox: &str) -> Result<Option<Attachment>, NetworkError> {
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
    fn reserve(&mut self, sandbox: &str, ports: &[HostPort]) -> Result<Plan, NetworkError> {
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
    fn wants_ports(&self, sandbox: &str, ports: &[HostPort]) -> bool {
        let entry = self.entries.get(sandbox);
        !ports.is_empty() && entry.is_some_and(|entry| entry.ports.is_empty())
    }

    /// Host ports for a sandbox that is attached.
    fn add_ports(&mut self, sandbox: &str, ports: &[HostPort]) -> Result<Plan, NetworkError> {
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
    fn places(&self, attachment: &Attachment) -> Vec<Ipv4Addr> {
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
    fn free(&mut self, sandbox: &str) {
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

    fn forget_if_empty(&mut self, sandbox: &str) -> Forgotten {
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
    fn job(&self, sandbox: &str) -> Option<Job> {
        let (_, host_interface) = self.add.as_ref()?;
        Some(Job {
            sandbox: sandbox.to_owned(),
            host_interface: host_interface.clone(),
            redirects: self.redirects(),
        })
    }

    fn redirects(&self) -> Vec<Redirect> {
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

fn busy(sandbox: &str, doing: &'static str) -> NetworkError {
    NetworkError::Busy {
        sandbox: sandbox.to_owned(),
        doing,
    }
}
