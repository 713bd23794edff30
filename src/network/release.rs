//! Deleting pods' interfaces off everybody's path: the kernel takes 16 to 20 ms for a veth, or for a group of them.
//!
//! One thread takes what has been handed to it, all that is waiting at once. An address is free only when the
//! interface is gone, so what fails is tried again until it works.

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use super::bridge;
use super::conntrack;
use super::error::NetworkError;
use super::ledger::Ledger;
use super::nftables;
use super::port::Redirect;
use super::route::RouteSocket;

/// The group of links (`ip link show group`) that are being deleted: an arbitrary number, "carp" in ASCII.
const DOOMED: u32 = 0x6361_7270;
/// How long to wait before what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// An attachment that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// The sandbox.
    pub(super) sandbox: String,
    /// Its interface on the node.
    pub(super) host_interface: String,
    /// The redirections to it that are still there.
    pub(super) redirects: Vec<Redirect>,
}

/// Closes the host ports of an attachment that is to go, and forgets the flows through them.
fn close_ports(ledger: &Ledger, table: &str, job: &mut Job) -> Result<(), NetworkError> {
    if job.redirects.is_empty() {
        return Ok(());
    }
    nftables::remove_redirects(table, &job.redirects)
        .map_err(|errno| bridge::netlink("close the host ports of", &job.sandbox, errno))?;
    if let Err(errno) = conntrack::forget_redirected(&job.redirects) {
        // Those who go on sending wait for the flow's own end, half a minute after their last packet.
        tracing::debug!(sandbox = job.sandbox, error = %errno, "flows to a pod that goes were not forgotten");
    }
    job.redirects.clear();
    ledger.ports_closed(&job.sandbox)
}

/// The way to the thread. The queue needs no bound of its own: a sandbox is in it once at most.
#[derive(Debug, Clone)]
pub(super) struct Releases {
    sender: Sender<Job>,
    ledger: Arc<Ledger>,
    table: Arc<str>,
}

impl Releases {
    /// Starts the thread. It ends when the last of these is dropped and the last job is done.
    pub(super) fn start(ledger: Arc<Ledger>, table: &str) -> Result<Self, NetworkError> {
        let (sender, receiver) = channel();
        let releases = Self {
            sender,
            ledger: Arc::clone(&ledger),
            table: table.into(),
        };
        let table = Arc::clone(&releases.table);
        thread::Builder::new()
            .name("network-release".to_owned())
            .spawn(move || run(&receiver, &ledger, &table))
            .map_err(|source| NetworkError::Thread {
                step: "start the thread that deletes interfaces",
                source,
            })?;
        Ok(releases)
    }

    /// Releases what a sandbox has, if it is not on its way already.
    pub(super) fn release(&self, sandbox: &str) {
        if let Some(job) = self.ledger.begin_release(sandbox) {
            self.close_and_send(job);
        }
    }

    /// Closes the ports at once, as the next pod may ask for them, and hands the rest on.
    pub(super) fn close_and_send(&self, mut job: Job) {
        if let Err(error) = close_ports(&self.ledger, &self.table, &mut job) {
            // The thread tries it again until it works.
            tracing::warn!(sandbox = job.sandbox, %error, "host ports are closed later");
        }
        self.send(job);
    }

    /// Hands a job on.
    pub(super) fn send(&self, job: Job) {
        if let Err(error) = self.sender.send(job) {
            // The thread never ends before its sender; if it did, the next start releases what is recorded.
            tracing::error!(
                sandbox = error.0.sandbox,
                "nobody deletes pods' interfaces any more"
            );
        }
    }
}

fn run(receiver: &Receiver<Job>, ledger: &Ledger, table: &str) {
    let mut jobs: Vec<Job> = Vec::new();
    let mut open = Open::Yes;
    while open == Open::Yes || !jobs.is_empty() {
        open = receive(receiver, &mut jobs);
        jobs = match delete(ledger, table, &mut jobs) {
            Ok(()) => {
                for job in &jobs {
                    ledger.released(&job.sandbox);
                }
                Vec::new()
            }
            Err(error) => {
                let cause = error.source().map(ToString::to_string);
                tracing::warn!(interfaces = jobs.len(), %error, cause, "deleting pods' interfaces is tried again");
                jobs
            }
        };
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Yes,
    No,
}

/// Waits for a job, or a while if there are old ones, and takes all that are there.
fn receive(receiver: &Receiver<Job>, jobs: &mut Vec<Job>) -> Open {
    if jobs.is_empty() {
        match receiver.recv() {
            Ok(job) => jobs.push(job),
            Err(_) => return Open::No,
        }
    } else {
        match receiver.recv_timeout(RETRY) {
            Ok(job) => jobs.push(job),
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody is left to tell; the next start finds the records.
            Err(RecvTimeoutError::Disconnected) => {
                jobs.clear();
                return Open::No;
            }
        }
    }
    jobs.extend(receiver.try_iter());
    Open::Yes
}

/// Closes the ports and deletes the interfaces of all jobs. What is gone already is done.
fn delete(ledger: &Ledger, table: &str, jobs: &mut [Job]) -> Result<(), NetworkError> {
    for job in &mut *jobs {
        close_ports(ledger, table, job)?;
    }
    delete_links(jobs)
        .map_err(|errno| bridge::netlink("delete interfaces of", "pods that ended", errno))
}

fn delete_links(jobs: &[Job]) -> Result<(), Errno> {
    if jobs.is_empty() {
        return Ok(());
    }
    let mut routes = RouteSocket::open()?;
    if let [job] = jobs {
        return ignore(routes.delete_link(&job.host_interface), Errno::NODEV);
    }
    for job in jobs {
        ignore(routes.set_group(&job.host_interface, DOOMED), Errno::NODEV)?;
    }
    // ENODEV: all of them were gone.
    ignore(routes.delete_group(DOOMED), Errno::NODEV)
}

fn ignore(result: Result<(), Errno>, harmless: Errno) -> Result<(), Errno> {
    match result {
        Err(errno) if errno == harmless => Ok(()),
        other => other,
    }
}
