//! Into the pod's user namespace: what needs the host's rights is done before, what must belong to the namespace after.
//!
//! ```text
//! shim ─ clone ─► child: host's rights, own mount namespace; takes all sources of mounts as detached trees
//!                   │ setns(user), setns(network, ipc, uts)
//!                   └ clone, as the shim's child ─► container: root of the pod alone; new mount and pid namespaces
//! ```
//!
//! A pid namespace must be made by a process that is in the user namespace already, or proc cannot be mounted in it; and from
//! inside no source below a closed directory of the host could be opened, nor an overlay or a mapping of owners be made.

use crate::container::child;
use crate::container::child::Prepared;
use crate::container::child::Start;
use crate::container::filesystem;
use crate::container::image;
use crate::container::mapped_overlay;
use crate::container::plan;
use crate::container::plan::Step;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::report;
use crate::report::Report;
use carpel_linux::clone::ChildProcess;
use carpel_linux::clone::CloneRequest;
use carpel_linux::clone::Cloned;
use carpel_linux::clone::Parent;
use carpel_linux::clone::clone_process;
use carpel_linux::credentials;
use carpel_linux::mount;
use carpel_linux::mount::Depth;
use carpel_linux::namespace;
use carpel_linux::namespace::Namespaces;
use carpel_linux::process;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// What the child needs to get in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<D> {
    /// The pod's user namespace.
    pub(crate) user_namespace: D,
    /// Its root, user and group, as the host knows them.
    pub(crate) root: (u32, u32),
    /// PID if it gets one of its own.
    pub(crate) namespaces: Namespaces,
}

/// Is the step one that was taken outside?
pub(crate) fn is_taken_outside(step: &Step) -> bool {
    matches!(
        step,
        Step::Label { .. }
            | Step::OomScore(_)
            | Step::Limit(_)
            | Step::KeepShared { .. }
            | Step::LeavePropagation
            | Step::JoinPod(_)
    )
}

/// Takes what needs the host's rights, and goes on as another process, in the namespace. The caller is that process when
/// this returns; the first one has ended.
pub(crate) fn enter(
    start: &Start<'_>,
    entry: &Entry<OwnedFd>,
    prepared: &mut Prepared,
    control: &OwnedFd,
) -> Outcome<()> {
    let mut joined = Namespaces::NONE;
    for step in start.steps {
        match step {
            Step::JoinPod(namespaces) => joined = *namespaces,
            step if is_taken_outside(step) => child::apply(step, start, prepared, control)?,
            step => take(step, start, entry, prepared)?,
        }
    }
    if let Some(process) = prepared.pid_namespace_of.take() {
        namespace::join_process(process.as_fd(), Namespaces::PID)
            .step(|| "join the shared pid namespace".into())?;
    }
    // In one call: inside, this process may not look at the infra process any more, which is not dumpable.
    child::join(joined | Namespaces::USER, prepared)?;
    continue_inside(entry.namespaces, control)?;
    prepared.root = Some(place_root(start.root_place, prepared)?);
    become_root()
}

/// The sources of a step, as trees in the order of the steps.
fn take(
    step: &Step,
    start: &Start<'_>,
    entry: &Entry<OwnedFd>,
    prepared: &mut Prepared,
) -> Outcome<()> {
    let user_namespace = entry.user_namespace.as_fd();
    let tree = match step {
        Step::OverlayRoot { root, .. } => {
            let copy = |image: BorrowedFd<'_>| {
                mount::copy_tree_of(image, Depth::Single).step(|| plan::describe(step))
            };
            mapped_overlay::take(root, start.root_place, entry, copy)?
        }
        Step::Bind(bind) => {
            let kept = match bind.source {
                Some(_) => None,
                None => prepared.shared.pop_front(),
            };
            filesystem::bound_tree(bind, kept, Some(user_namespace))?
        }
        Step::Image(volume) => image::mapped_tree(volume, start.root_place, entry)?,
        Step::Device(device) => mount::copy_tree(filesystem::host_path(device), Depth::Single)
            .step(|| plan::describe(step))?,
        _ => return Ok(()),
    };
    prepared.trees.push_back(tree);
    Ok(())
}

/// Clones the process that becomes the container, as a child of the shim, tells the shim of it, and ends. Returns in the
/// new process, once the shim has been told.
fn continue_inside(namespaces: Namespaces, control: &OwnedFd) -> Outcome<()> {
    let step = || "clone the container into its user namespace".to_owned();
    let (told, tell) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step(step)?;
    let request = CloneRequest {
        namespaces: namespaces | Namespaces::MOUNT,
        parent: Parent::ParentOfCaller,
        ..CloneRequest::default()
    };
    match clone_process(&request).step(step)? {
        Cloned::Parent { pidfd, .. } => {
            report::send(control.as_fd(), &Report::Born, Some(pidfd.as_fd()));
            match rustix::io::write(&tell, report::RELEASE) {
                Ok(_) => process::exit_now(0),
                Err(_errno) => process::exit_now(child::FAILED),
            }
        }
        Cloned::Child(_) => {
            drop(tell);
            wait_until_told(&told);
            Ok(())
        }
    }
}

/// All is prepared, and this process has no more rights than the program: clones the one that becomes it, into a pid namespace
/// where others can see it, as a child of the shim; tells the shim of it, and ends. Returns in the new process, once the shim
/// has been told. `ready` is a container's report.
///
/// Nobody in the pod sees this process before: it is born with the container's root, when all that leads to the host is
/// closed, and with the container's rights. A container with CAP_SYS_PTRACE could reach the host through one that still has
/// more.
pub(crate) fn continue_in_sight(
    child: &ChildProcess,
    control: &OwnedFd,
    ready: Option<&Report>,
) -> Outcome<()> {
    let step = || "clone the program's process into the pid namespace".to_owned();
    let (told, tell) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step(step)?;
    match child.clone_sibling().step(step)? {
        Cloned::Parent { pidfd, .. } => {
            report::send(control.as_fd(), &Report::Born, Some(pidfd.as_fd()));
            if let Some(ready) = ready {
                report::send(control.as_fd(), ready, None);
            }
            // The control socket must be closed by now, as its end means that the program runs.
            let closed = child.keep_only(&[tell.as_fd()]);
            let released = rustix::io::write(rustix::stdio::stdin(), report::RELEASE);
            match (closed, released) {
                (Ok(_), Ok(_)) => process::exit_now(0),
                _ => process::exit_now(child::FAILED),
            }
        }
        Cloned::Child(_) => {
            drop(tell);
            wait_until_told(&told);
            Ok(())
        }
    }
}

/// Waits for the byte that says that the shim has been told; its lack means that the first process has died, and that the
/// shim knows only of that.
fn wait_until_told(told: &OwnedFd) {
    let mut byte = [0];
    let read = rustix::io::retry_on_intr(|| rustix::io::read(told, &mut byte));
    if read != Ok(1) {
        process::exit_now(child::FAILED);
    }
}

/// Mounts the root in the new mount namespace. By now only the owner's rights lead to the pod's directory: the host's root
/// is this process still, with no capability outside.
fn place_root(place: &str, prepared: &mut Prepared) -> Outcome<OwnedFd> {
    let step = || "place the root".to_owned();
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(place, flags, Mode::empty()).step(step)
    };
    let tree = prepared.trees.pop_front();
    let tree = tree.ok_or_else(|| crate::failure::invalid(step(), "there is none"))?;
    mount::place(tree.as_fd(), open()?.as_fd()).step(step)?;
    open()
}

/// Becomes root of the user namespace: what is made from here on belongs to an id that it has.
pub(crate) fn become_root() -> Outcome<()> {
    let step = || "become root of the user namespace".to_owned();
    credentials::set_groups(&[]).step(step)?;
    credentials::set_group(0).step(step)?;
    credentials::set_user(0).step(step)?;
    // Another user may have made this process dumpable as /proc/sys/fs/suid_dumpable says.
    process::set_not_dumpable().step(step)
}
