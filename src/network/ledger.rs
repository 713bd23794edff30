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

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::attachment::{Attachment, host_interface, mac, mac_text};
use super::error::NetworkError;
use super::pool::AddressPool;
use super::record::{Event, Progress, Record, Records};
use super::release::Job;
use super::subnet::Ipv4Subnet;

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
    phase: Phase,
}

#[derive(Debug)]
struct Table {
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
    /// The pod's address.
    pub(super) address: Ipv4Addr,
    /// The interface on the node.
    pub(super) host_interface: String,
}

/// The name of the pods' interface, which everybody expects.
const POD_INTERFACE: &str = "eth0";

/// The ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    subnet: Ipv4Subnet,
    records: Records,
    table: Mutex<Table>,
    /// Changes whenever an attachment is gone.
    releases: watch::Sender<u64>,
}

impl Ledger {
    /// Starts from the records of live sandboxes.
    pub(super) fn new(subnet: Ipv4Subnet, records: Records, live: Vec<(String, Record)>) -> Self {
        let mut table = Table {
            pool: AddressPool::new(subnet),
            entries: BTreeMap::new(),
        };
        for (sandbox, record) in live {
            let phase = match (&record.add, record.progress) {
                (None, _) => Phase::Unattached,
                (Some(_), Progress::Started) => Phase::Interrupted,
                (Some(_), Progress::Complete) => Phase::Attached,
            };
            if let Some((attachment, _)) = &record.add
                && let IpAddr::V4(address) = attachment.address
                && let Err(holder) = table.pool.reserve(address, &sandbox)
            {
                tracing::error!(sandbox, %address, holder, "two sandboxes have one address");
            }
            let entry = Entry {
                namespace: record.namespace,
                add: record.add,
                phase,
            };
            table.entries.insert(sandbox, entry);
        }
        Self {
            subnet,
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

    /// Takes an address for an attach that ends with [`Ledger::finish_attach`] or [`Ledger::cancel_attach`]. Does
    /// not touch the disk.
    pub(super) fn begin_attach(&self, sandbox: &str) -> Result<Begun, NetworkError> {
        let mut table = self.lock();
        match table.attached_or_busy(sandbox)? {
            Some(attachment) => Ok(Begun::Already(attachment)),
            None => self.reserve(&mut table, sandbox).map(Begun::Started),
        }
    }

    /// Writes down what is about to be made; the file is to be synced.
    pub(super) fn record_attach(&self, sandbox: &str, plan: &Plan) -> Result<File, NetworkError> {
        let event = Event::AddStarted {
            attachment: plan.attachment.clone(),
            host_interface: plan.host_interface.clone(),
        };
        self.records.append(sandbox, &event)
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

    /// An address and the names that go with it, noted in the table.
    fn reserve(&self, table: &mut Table, sandbox: &str) -> Result<Plan, NetworkError> {
        let address = table
            .pool
            .allocate(sandbox)
            .ok_or(NetworkError::Exhausted {
                subnet: self.subnet,
                size: table.pool.size(),
            })?;
        let attachment = Attachment {
            interface: POD_INTERFACE.to_owned(),
            address: IpAddr::V4(address),
            prefix_length: self.subnet.prefix_length(),
            gateway: IpAddr::V4(self.subnet.gateway()),
            mac: mac_text(mac(address)),
        };
        let host_interface = host_interface(sandbox, |name| table.has_host_interface(name));
        let entry = table.entry(sandbox);
        entry.phase = Phase::Attaching;
        entry.add = Some((attachment.clone(), host_interface.clone()));
        Ok(Plan {
            attachment,
            address,
            host_interface,
        })
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

    /// Takes the sandbox's address back.
    fn free(&mut self, sandbox: &str) {
        let Some(entry) = self.entries.get_mut(sandbox) else {
            return;
        };
        entry.phase = Phase::Unattached;
        if let Some((attachment, _)) = entry.add.take()
            && let IpAddr::V4(address) = attachment.address
        {
            self.pool.release(address, sandbox);
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
        })
    }
}

fn busy(sandbox: &str, doing: &'static str) -> NetworkError {
    NetworkError::Busy {
        sandbox: sandbox.to_owned(),
        doing,
    }
}
