//! Who has which address, namespace and interface: the table and the records behind one short-held lock.
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
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::attachment::Attachment;
use super::config::NetworkConfig;
use super::error::NetworkError;
use super::pool::AddressPool;
use super::port::{HostPort, Redirect};
use super::record::{Event, Progress, Record, Records};
use super::release::Job;
use super::table::{Entry, Forgotten, Phase, Plan, Start, Table, busy};

/// What an attach starts from.
#[derive(Debug)]
pub(super) enum Begun {
    /// It is attached already.
    Already(Attachment),
    /// This is to be recorded and made.
    Started(Plan),
}

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
