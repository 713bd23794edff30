//! The container's /proc when it shares a pid namespace that the child is not in while it mounts: nobody there sees the child
//! before it has the container's root and rights.
//!
//! Linux 6.17 can be told whose processes a proc shows. Before, it shows those of whoever opened its context, so one process in
//! the namespace must: the opener, cloned by a lender, which prepares it outside.
//!
//! ```text
//! child ─ clone ─► lender: the infra process's empty root; no descriptor, a filter of five calls
//!   │                └ clone ─► opener, in the pid namespace: fsopen("proc"), sends that, exits
//!   └◄────────────── context ──────┘      the child makes the file system of it, and mounts it
//! ```
//!
//! Whoever takes the opener over has a process that may open a context, send it and exit. What comes is made without
//! options of its, and used only if it is a proc.

use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::invalid;
use carpel_linux::clone::ChildProcess;
use carpel_linux::clone::CloneRequest;
use carpel_linux::clone::Cloned;
use carpel_linux::clone::clone_process;
use carpel_linux::credentials;
use carpel_linux::mount;
use carpel_linux::namespace;
use carpel_linux::namespace::Namespaces;
use carpel_linux::path;
use carpel_linux::path::Links;
use carpel_linux::proc_mount;
use carpel_linux::process;
use carpel_linux::seccomp;
use carpel_linux::signal;
use carpel_linux::socket;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// CAP_SYS_ADMIN: what opening a context takes.
const ADMIN: u64 = 1 << 21;
/// What lender and opener may call.
const CALLS: [libc::c_long; 5] = [
    libc::SYS_clone,
    libc::SYS_fsopen,
    libc::SYS_sendmsg,
    libc::SYS_close,
    libc::SYS_exit_group,
];
/// How long the opener may take. Somebody in the pod may have stopped it.
const PATIENCE: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// What the lender and the opener send, each with a descriptor: the opener's pidfd, the context.
const OPENER: &[u8] = b"o";
const CONTEXT: &[u8] = b"c";

/// Mounts proc at `destination` below `root`: that of the pid namespace of `process`. `infra` is the process whose mount
/// namespace is empty.
pub(crate) fn mount(
    root: BorrowedFd<'_>,
    destination: &str,
    (flags, options): (u32, &str),
    (infra, process): (BorrowedFd<'_>, BorrowedFd<'_>),
) -> Outcome<()> {
    let step = || format!("mount proc of the shared pid namespace at {destination:?}");
    path::make_directories(root, destination, 0o755).step(step)?;
    let place = OFlags::PATH | OFlags::DIRECTORY;
    let target = path::open_in_root(root, destination, place, Links::Refuse).step(step)?;
    let context = match proc_mount::open_for(process).step(step)? {
        Some(context) => context,
        None => borrow_context(infra, process)?,
    };
    let tree = proc_mount::make(&context, flags, options).step(step)?;
    mount::place(tree.as_fd(), target.as_fd()).step(step)
}

/// A context of proc that was opened in the pid namespace of `process`.
fn borrow_context(infra: BorrowedFd<'_>, process: BorrowedFd<'_>) -> Outcome<OwnedFd> {
    let step = || "open proc in the shared pid namespace".to_owned();
    let (own, other) = socket::pair().step(step)?;
    match clone_process(&CloneRequest::default()).step(step)? {
        Cloned::Child(child) => lend(&child, other.as_fd(), infra, process),
        Cloned::Parent { pid, .. } => {
            drop(other);
            let context = receive_context(&own);
            // Both are this process's children; the opener is dead by now.
            let wait = |id| rustix::process::waitid(id, WaitIdOptions::EXITED);
            rustix::io::retry_on_intr(|| wait(WaitId::Pid(pid))).step(step)?;
            while rustix::io::retry_on_intr(|| wait(WaitId::All)).is_ok() {}
            context
                .step(step)?
                .ok_or_else(|| invalid(step(), "the process that was to open it ended without it"))
        }
    }
}

/// Reads what lender and opener send, to the end, and makes sure that the opener is dead.
fn receive_context(from: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    let (mut opener, mut context) = (None, None);
    let result = loop {
        let mut wanted = [PollFd::new(from, PollFlags::IN)];
        match rustix::io::retry_on_intr(|| rustix::event::poll(&mut wanted, Some(&PATIENCE))) {
            Ok(0) => break Err(Errno::TIMEDOUT),
            Ok(_) => {}
            Err(errno) => break Err(errno),
        }
        let mut buffer = [0; 8];
        match socket::receive(from.as_fd(), &mut buffer) {
            Ok(mut received) => match buffer.get(..received.length) {
                Some(OPENER) => opener = received.descriptors.pop(),
                Some(CONTEXT) => context = received.descriptors.pop(),
                _ => break Ok(()),
            },
            Err(errno) => break Err(errno),
        }
        if opener.is_some() && context.is_some() {
            break Ok(());
        }
    };
    if let Some(opener) = opener {
        let killed = signal::send(opener.as_fd(), signal::KILL);
        crate::failure::ignore(killed, "it is a zombie");
    }
    result.map(|()| context)
}

/// The lender: a copy of the child, which gives up what it has before it clones the opener.
fn lend(
    child: &ChildProcess,
    socket: BorrowedFd<'_>,
    infra: BorrowedFd<'_>,
    process: BorrowedFd<'_>,
) -> ! {
    let prepared = prepare(child, socket, infra, process);
    let cloned = prepared.and_then(|()| child.clone_sibling());
    let to = rustix::stdio::stdin();
    let sent = match cloned {
        Ok(Cloned::Parent { pidfd, .. }) => socket::send(to, OPENER, &[pidfd.as_fd()]).is_ok(),
        Ok(Cloned::Child(_)) => proc_mount::open()
            .is_ok_and(|context| socket::send(to, CONTEXT, &[context.as_fd()]).is_ok()),
        Err(_error) => false,
    };
    process::exit_now(if sent { 0 } else { 1 })
}

fn prepare(
    child: &ChildProcess,
    socket: BorrowedFd<'_>,
    infra: BorrowedFd<'_>,
    process: BorrowedFd<'_>,
) -> carpel_linux::Result<()> {
    process::set_name(c"carpel-proc")?;
    // The namespace's root, working directory and all: the infra process's, which has nothing in it.
    namespace::join_process(infra, Namespaces::MOUNT)?;
    namespace::join_process(process, Namespaces::PID)?;
    child.keep_only(&[socket])?;
    credentials::limit_bounding_set(0)?;
    credentials::set_groups(&[])?;
    credentials::set_capabilities(ADMIN, ADMIN, 0)?;
    process::set_no_new_privileges()?;
    process::set_not_dumpable()?;
    seccomp::load_filter(&seccomp::allow_only(&CALLS), 0)
}
