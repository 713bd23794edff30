//! The infra process: the shim's own code, cloned into the pod's new namespaces, which it holds for the pod's life. In a
//! pid namespace that the pod shares it is pid 1 and reaps there.
//!
//! Containers that share its pid namespace see it, so it has nothing to take: an empty read-only root, no capability, no
//! new privileges, not dumpable, no descriptor, and a seccomp filter that lets it wait and end. It does not depend on the
//! daemon or the shim; their ends do not end it.

use crate::failure::Failure;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::invalid;
use crate::report;
use crate::report::Report;
use carpel_linux::clone::ChildProcess;
use carpel_linux::credentials;
use carpel_linux::idle;
use carpel_linux::mount;
use carpel_linux::mount::Depth;
use carpel_linux::mount::OldRoot;
use carpel_linux::mount::Propagation;
use carpel_linux::namespace;
use carpel_linux::namespace::Namespaces;
use carpel_linux::process;
use carpel_linux::seccomp;
use carpel_linux::signal;
use carpel_linux::socket;
use carpel_shim_protocol::message::ContainerCreated;
use carpel_shim_protocol::message::Sysctl;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

/// An id that no image's user has: that of the pause image.
const NOBODY: u32 = 65535;

/// What [`idle::wait`] calls: a filter allows nothing else, whatever profile the sandbox asks for. Whoever takes this
/// process over can open, connect and map nothing.
const CALLS: [libc::c_long; 9] = [
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigprocmask,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_exit_group,
];

/// What the infra process needs of the shim.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) control: BorrowedFd<'a>,
    pub(crate) null: BorrowedFd<'a>,
    pub(crate) network: Option<BorrowedFd<'a>>,
    pub(crate) hostname: &'a str,
    pub(crate) sysctls: &'a [Sysctl],
    /// An empty directory of the host to build the root on.
    pub(crate) root_place: &'a str,
    pub(crate) reaping: Reaping,
    /// The ids that its user namespace has, from 0 on; none: it is in the shim's.
    pub(crate) mapped_ids: Option<u32>,
}

/// Whether it is pid 1 of the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaping {
    FirstProcess,
    Nobody,
}

/// Runs the infra process. Who is here: a copy of the shim, with the host's privileges until `give_up_rights`.
pub(crate) fn run(child: &ChildProcess, start: &Start<'_>) -> ! {
    let guarded = process::set_not_dumpable();
    let mut kept = vec![start.null, start.null, start.null, start.control];
    kept.extend(start.network);
    let owned = match child.keep_only(&kept) {
        Ok(owned) => owned,
        Err(_error) => process::exit_now(1),
    };
    let mut owned = owned.iter();
    let Some(control) = owned.next() else {
        process::exit_now(1);
    };
    let network = owned.next().map(AsFd::as_fd);
    let prepared = guarded
        .step(|| "become not dumpable".into())
        .and_then(|()| match start.mapped_ids {
            // Without its mappings it could not even mount.
            Some(_) => wait_for_mappings(control.as_fd()),
            None => Ok(()),
        })
        .and_then(|()| prepare(start, network));
    let finished = prepared.and_then(|old_root| {
        let ready = Report::Ready(ContainerCreated::default());
        report::send(control.as_fd(), &ready, None);
        // Takes its time, for which nobody need wait; but no container runs before the control socket is closed.
        old_root.detach().step(|| "leave the old root".into())?;
        give_up_rights(start.mapped_ids)
    });
    if let Err(failure) = finished {
        report::send(control.as_fd(), &Report::Failed(failure), None);
        process::exit_now(1);
    }
    if child.close_all().is_err() {
        process::exit_now(1);
    }
    // A kernel without filters holds the pod all the same.
    drop(seccomp::load_filter(&seccomp::allow_only(&CALLS), 0));
    wait(start.reaping)
}

fn prepare(start: &Start<'_>, network: Option<BorrowedFd<'_>>) -> Outcome<OldRoot> {
    process::set_name(c"carpel-infra").step(|| "set the infra process's name".into())?;
    process::new_session().step(|| "make a session".into())?;
    if let Some(network) = network {
        namespace::join(network, Namespaces::NETWORK)
            .step(|| "join the pod's network namespace".into())?;
    }
    if !start.hostname.is_empty() {
        rustix::system::sethostname(start.hostname.as_bytes())
            .step(|| format!("set hostname {:?}", start.hostname))?;
    }
    for sysctl in start.sysctls {
        write_sysctl(sysctl)?;
    }
    enter_empty_root(start.root_place)
}

fn write_sysctl(sysctl: &Sysctl) -> Outcome<()> {
    let path = sysctl_path(&sysctl.name)?;
    process::write_file(&path, sysctl.value.as_bytes())
        .step(|| format!("set sysctl {} to {:?}", sysctl.name, sysctl.value))
}

/// Only those of the namespaces that this process has of its own; anything else would be the host's.
fn sysctl_path(name: &str) -> Outcome<String> {
    let known = name == "kernel.domainname"
        || name == "kernel.sem"
        || ["kernel.shm", "kernel.msg", "fs.mqueue."]
            .iter()
            .any(|prefix| name.starts_with(prefix));
    if !known || name.contains('/') || name.contains("..") {
        let step = format!("set sysctl {name}");
        return Err(invalid(
            step,
            "it belongs to no namespace of the infra process",
        ));
    }
    Ok(format!("/proc/sys/{}", name.replace('.', "/")))
}

fn enter_empty_root(place: &str) -> Outcome<OldRoot> {
    let step = || "enter an empty root".to_owned();
    mount::set_propagation("/", Propagation::Slave, Depth::Recursive).step(step)?;
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(place, flags, Mode::empty()).step(step)
    };
    // MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
    mount::mount(
        "tmpfs",
        open()?.as_fd(),
        "tmpfs",
        15,
        "size=0k,nr_inodes=2,mode=555",
    )
    .step(step)?;
    mount::cover_root(open()?.as_fd()).step(step)
}

/// The shim writes the mappings of a new user namespace from outside, and says so. The end of the stream means that it gave
/// up or died.
fn wait_for_mappings(control: BorrowedFd<'_>) -> Outcome<()> {
    let mut buffer = [0; 8];
    match socket::receive(control, &mut buffer) {
        Ok(received) if buffer.get(..received.length) == Some(report::RELEASE) => Ok(()),
        _ => process::exit_now(1),
    }
}

/// An id that no image's user has, or the last one that there is.
fn nobody(mapped_ids: Option<u32>) -> u32 {
    mapped_ids.map_or(NOBODY, |ids| NOBODY.min(ids.saturating_sub(1)))
}

fn give_up_rights(mapped_ids: Option<u32>) -> Outcome<()> {
    let step = || "give up all rights".to_owned();
    let nobody = nobody(mapped_ids);
    credentials::limit_bounding_set(0).step(step)?;
    credentials::set_groups(&[]).step(step)?;
    credentials::set_group(nobody).step(step)?;
    credentials::set_user(nobody).step(step)?;
    credentials::set_capabilities(0, 0, 0).step(step)?;
    process::set_no_new_privileges().step(step)?;
    // Changing the user may have made it dumpable again, as /proc/sys/fs/suid_dumpable says.
    process::set_not_dumpable().step(step)
}

fn wait(reaping: Reaping) -> ! {
    let signals: &[i32] = match reaping {
        Reaping::FirstProcess => &[signal::CHILD, signal::TERMINATE],
        Reaping::Nobody => &[signal::TERMINATE],
    };
    idle::wait(signals)
}

/// What is said of an infra process that ended before it was ready.
pub(crate) fn ended_early() -> Failure {
    crate::container::child::ended_early("make the sandbox")
}

#[cfg(test)]
mod tests {
    use super::{nobody, sysctl_path};

    #[test]
    fn it_becomes_nobody_of_the_ids_that_there_are() {
        let found = [None, Some(65_536), Some(1000), Some(1)].map(nobody);
        assert_eq!(found, [65_535, 65_535, 999, 0]);
    }

    #[test]
    fn only_sysctls_of_its_own_namespaces_are_written() {
        assert_eq!(
            sysctl_path("kernel.shm_rmid_forced").unwrap(),
            "/proc/sys/kernel/shm_rmid_forced"
        );
        assert_eq!(
            sysctl_path("fs.mqueue.msg_max").unwrap(),
            "/proc/sys/fs/mqueue/msg_max"
        );
        for name in [
            "kernel.panic",
            "net.ipv4.ip_forward",
            "vm.swappiness",
            "kernel.shm/../panic",
            "kernel.shm..x",
        ] {
            assert!(sysctl_path(name).is_err(), "{name}");
        }
    }
}
