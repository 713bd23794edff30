//! The child between clone3 and the release: it applies the steps of the plan and reports.
//!
//! Who runs here: a copy of the shim in the container's cgroup, its own mount namespace and, if it is to have one of its own,
//! pid namespace, with the host's privileges until `rights` gives them up. Not dumpable and without foreign descriptors before
//! it joins any namespace of the pod. End of file on the control socket means exit, never exec.
//!
//! ```text
//! own pid namespace:      all steps, report, release, rights, execve
//! shared one, or an exec: all steps, rights ─ clone into the pid namespace ─► report, release, execve
//! ```

use crate::container::entry;
use crate::container::entry::Entry;
use crate::container::filesystem;
use crate::container::image;
use crate::container::plan;
use crate::container::plan::LabelKind;
use crate::container::plan::Step;
use crate::container::program;
use crate::container::rights;
use crate::container::rights::Leftover;
use crate::container::rights::Sight;
use crate::container::shared_proc;
use crate::container::user;
use crate::failure::Failure;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::invalid;
use crate::report;
use crate::report::Report;
use crate::terminal;
use carpel_linux::clone::ChildProcess;
use carpel_linux::mount;
use carpel_linux::mount::Depth;
use carpel_linux::mount::Propagation;
use carpel_linux::namespace;
use carpel_linux::namespace::Namespaces;
use carpel_linux::path;
use carpel_linux::path::Links;
use carpel_linux::process;
use carpel_linux::socket;
use carpel_shim_protocol::message::ContainerCreated;
use carpel_shim_protocol::message::Notice;
use carpel_shim_protocol::message::Process;
use carpel_shim_protocol::message::ResolvedUser;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// The exit code of a child that did not become a program.
pub(crate) const FAILED: i32 = 128;

/// RLIMIT_* numbers go below this.
const LIMITS: u32 = 16;

/// What the child needs of the shim.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) steps: &'a [Step],
    pub(crate) process: &'a Process,
    /// Standard input, output, error.
    pub(crate) standard: [BorrowedFd<'a>; 3],
    pub(crate) control: BorrowedFd<'a>,
    /// The process whose namespaces are joined: the infra process, or the container's first one for an exec.
    pub(crate) joined: Option<BorrowedFd<'a>>,
    /// An empty directory of the host, where the root is mounted; empty for an exec.
    pub(crate) root_place: &'a str,
    /// The process whose pid namespace a container shares. An exec joins it by a step.
    pub(crate) pid_namespace_of: Option<BorrowedFd<'a>>,
    /// The pod's user namespace, for a container: it is entered half-way.
    pub(crate) entry: Option<Entry<BorrowedFd<'a>>>,
    pub(crate) ending: Ending,
}

/// What follows the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Report, wait for the release, execute: a container.
    WaitForRelease,
    /// Execute at once: an exec.
    ExecuteAtOnce,
}

/// What the steps leave behind for each other and for the program.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) joined: Option<OwnedFd>,
    pub(crate) pid_namespace_of: Option<OwnedFd>,
    pub(crate) root: Option<OwnedFd>,
    pub(crate) shared: VecDeque<OwnedFd>,
    /// What was taken before the user namespace was entered: the root, then binds, images and devices.
    pub(crate) trees: VecDeque<OwnedFd>,
    working_directory: Option<OwnedFd>,
    pub(crate) user: ResolvedUser,
    terminal: Option<terminal::Terminal>,
    /// The terminal's own side, when the shim has the other one.
    slave: Option<OwnedFd>,
    old_root: Option<mount::OldRoot>,
}

impl Prepared {
    /// The tree that was taken for a step before the user namespace was entered.
    fn tree_for(&mut self, step: &Step) -> Option<OwnedFd> {
        plan::destination(step)?;
        self.trees.pop_front()
    }
}

/// Runs the child; it ends as the container's program, or exits.
pub(crate) fn run(child: &ChildProcess, start: &Start<'_>) -> ! {
    // Before anything can be seen of this process (CVE-2016-9962).
    let guarded = process::set_not_dumpable();
    let [input, output, error] = start.standard;
    let mut kept = vec![input, output, error, start.control];
    kept.extend(start.joined);
    kept.extend(start.pid_namespace_of);
    kept.extend(start.entry.iter().map(|entry| entry.user_namespace));
    let mut owned = match child.keep_only(&kept) {
        Ok(owned) => VecDeque::from(owned),
        Err(_error) => process::exit_now(FAILED),
    };
    let Some(control) = owned.pop_front() else {
        process::exit_now(FAILED);
    };
    let prepared = Prepared {
        joined: start.joined.and_then(|_| owned.pop_front()),
        pid_namespace_of: start.pid_namespace_of.and_then(|_| owned.pop_front()),
        ..Prepared::default()
    };
    let entry = start.entry.as_ref().and_then(|entry| {
        Some(Entry {
            user_namespace: owned.pop_front()?,
            root: entry.root,
            namespaces: entry.namespaces,
        })
    });
    let failure = match guarded.step(|| "become not dumpable".into()) {
        Ok(()) => match go(child, start, entry.as_ref(), prepared, &control) {
            Ok(never) => match never {},
            Err(failure) => failure,
        },
        Err(failure) => failure,
    };
    report::send(control.as_fd(), &Report::Failed(failure), None);
    process::exit_now(FAILED)
}

fn go(
    child: &ChildProcess,
    start: &Start<'_>,
    entry: Option<&Entry<OwnedFd>>,
    mut prepared: Prepared,
    control: &OwnedFd,
) -> Outcome<std::convert::Infallible> {
    // Modes of what is made are meant as they are.
    process::set_umask(0);
    if let Some(entry) = entry {
        entry::enter(start, entry, &mut prepared, control)?;
    }
    process::new_session().step(|| "make a session".into())?;
    for step in start.steps {
        if entry.is_none() || !entry::is_taken_outside(step) {
            apply(step, start, &mut prepared, control)?;
        }
    }
    if let Some(directory) = prepared.working_directory.take() {
        rustix::process::fchdir(&directory).step(|| "enter the working directory".into())?;
    }
    if start.process.terminal {
        offer_terminal(&mut prepared, control)?;
    }
    let program = program::prepare(start.process, &prepared.user)?;
    let leftover = match prepared.pid_namespace_of.take() {
        // In a user namespace the child was born into the pid namespace on its way in.
        None if start.ending == Ending::WaitForRelease => {
            prepare_hidden(start, &mut prepared, control)?
        }
        process => prepare_seen(child, start, (&mut prepared, process), control)?,
    };
    rights::finish(start.process, leftover, control)?;
    Err(program::execute(start.process, &program))
}

/// This process becomes the program. It keeps its rights until the release.
fn prepare_hidden(
    start: &Start<'_>,
    prepared: &mut Prepared,
    control: &OwnedFd,
) -> Outcome<Leftover> {
    if let Some(slave) = prepared.slave.take() {
        terminal::take(&slave)?;
    }
    report::send(control.as_fd(), &ready(prepared), None);
    // Takes its time, for which nobody need wait; but no program runs before it.
    detach_old_root(prepared)?;
    wait_for_release(control);
    rights::give_up(start.process, &prepared.user, Sight::Hidden, control)
}

/// A process that is cloned into the pid namespace when everything else is done becomes the program. Returns there.
fn prepare_seen(
    child: &ChildProcess,
    start: &Start<'_>,
    (prepared, pid_namespace_of): (&mut Prepared, Option<OwnedFd>),
    control: &OwnedFd,
) -> Outcome<Leftover> {
    prepared.joined = None;
    detach_old_root(prepared)?;
    if let Some(process) = pid_namespace_of {
        namespace::join_process(process.as_fd(), Namespaces::PID)
            .step(|| "join the shared pid namespace".into())?;
    }
    let leftover = rights::give_up(start.process, &prepared.user, Sight::Seen, control)?;
    let ready = (start.ending == Ending::WaitForRelease).then(|| ready(prepared));
    entry::continue_in_sight(child, control, ready.as_ref())?;
    process::new_session().step(|| "make a session".into())?;
    if let Some(slave) = prepared.slave.take() {
        terminal::take(&slave)?;
    }
    if start.ending == Ending::WaitForRelease {
        wait_for_release(control);
    }
    Ok(leftover)
}

fn ready(prepared: &Prepared) -> Report {
    Report::Ready(ContainerCreated {
        pid: 0,
        user: Some(prepared.user.clone()),
    })
}

fn detach_old_root(prepared: &mut Prepared) -> Outcome<()> {
    match prepared.old_root.take() {
        Some(old_root) => old_root.detach().step(|| "leave the old root".into()),
        None => Ok(()),
    }
}

/// Waits for the byte that starts the program. The end of the stream means that the shim gave up or died.
fn wait_for_release(control: &OwnedFd) {
    let mut buffer = [0; 8];
    match socket::receive(control.as_fd(), &mut buffer) {
        Ok(received) if buffer.get(..received.length) == Some(report::RELEASE) => {}
        _ => process::exit_now(FAILED),
    }
}

pub(crate) fn apply(
    step: &Step,
    start: &Start<'_>,
    prepared: &mut Prepared,
    control: &OwnedFd,
) -> Outcome<()> {
    let named = || plan::describe(step);
    match step {
        Step::Label { value, kind } => set_label(value, *kind).step(named),
        Step::OomScore(value) => set_oom_score(*value, control),
        Step::JoinPod(namespaces) => join(*namespaces, prepared),
        Step::BecomeRoot => entry::become_root(),
        Step::OwnCgroupNamespace => namespace::unshare(Namespaces::CGROUP).step(named),
        Step::KeepShared { source, depth } => {
            let tree = mount::copy_tree(source, *depth).step(named)?;
            prepared.shared.push_back(tree);
            Ok(())
        }
        Step::LeavePropagation => {
            mount::set_propagation("/", Propagation::Slave, Depth::Recursive).step(named)
        }
        Step::OverlayRoot { .. } if prepared.root.is_some() => Ok(()),
        Step::OverlayRoot { root, options } => {
            let root = filesystem::mount_overlay(root, options.as_ref(), start.root_place)?;
            prepared.root = Some(root);
            Ok(())
        }
        Step::Limit(limit) => set_limit(limit.resource, limit.soft, limit.hard, control),
        _ => {
            let root = match &prepared.root {
                Some(root) => root,
                // An exec: its root is the container's already.
                None => prepared.root.insert(open_root()?),
            };
            let root = rustix::io::fcntl_dupfd_cloexec(root, 3).step(|| "copy the root".into())?;
            match (step, prepared.tree_for(step)) {
                (step, Some(tree)) => {
                    let destination = plan::destination(step).unwrap_or_default();
                    filesystem::place(root.as_fd(), destination, tree.as_fd())
                }
                (Step::Image(volume), None) => image::mount(root.as_fd(), volume, start.root_place),
                (_, None) => apply_in_root(step, root.as_fd(), prepared),
            }
        }
    }
}

fn apply_in_root(step: &Step, root: BorrowedFd<'_>, prepared: &mut Prepared) -> Outcome<()> {
    match step {
        Step::FileSystem {
            kind,
            source,
            destination,
            flags,
            data,
        } => match (kind.as_str(), &prepared.joined, &prepared.pid_namespace_of) {
            ("proc", Some(infra), Some(process)) => {
                let processes = (infra.as_fd(), process.as_fd());
                shared_proc::mount(root, destination, (*flags, data), processes)
            }
            _ => filesystem::mount_file_system(root, (kind, source), destination, (*flags, data)),
        },
        Step::Bind(bind) => {
            let kept = match bind.source {
                Some(_) => None,
                None => prepared.shared.pop_front(),
            };
            let tree = filesystem::bound_tree(bind, kept, None)?;
            filesystem::place(root, &bind.destination, tree.as_fd())
        }
        Step::Device(device) => filesystem::make_device(root, device),
        Step::DeviceLinks => filesystem::make_device_links(root),
        Step::Terminal => {
            let terminal = terminal::open(root)?;
            terminal::bind_console(root, &terminal)?;
            prepared.terminal = Some(terminal);
            Ok(())
        }
        Step::Mask(path) => filesystem::mask(root, path),
        Step::ReadOnly(path) => filesystem::make_read_only(root, path),
        Step::ReadOnlyRoot => filesystem::make_root_read_only(root),
        Step::ResolveUser(wanted) => {
            prepared.user = user::resolve(root, wanted)?;
            Ok(())
        }
        Step::WorkingDirectory(path) => {
            let directory = path::make_directories(root, path, 0o755)
                .step(|| format!("enter working directory {path:?}"))?;
            prepared.working_directory = Some(directory);
            Ok(())
        }
        Step::ExistingDirectory(path) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let directory = path::open_in_root(root, path, flags, Links::Follow)
                .step(|| format!("enter working directory {path:?}"))?;
            prepared.working_directory = Some(directory);
            Ok(())
        }
        Step::ChangeRoot(propagation) => {
            let step = || "change the root".to_owned();
            let old_root = mount::cover_root(root).step(step)?;
            match propagation {
                Some(propagation) => {
                    // The end of a mount on a shared one would spread.
                    old_root.detach().step(step)?;
                    mount::set_propagation("/", *propagation, Depth::Single)
                        .step(|| "set the root's propagation".into())
                }
                None => {
                    prepared.old_root = Some(old_root);
                    Ok(())
                }
            }
        }
        _ => Err(invalid(plan::describe(step), "a step out of place")),
    }
}

fn open_root() -> Outcome<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty()).step(|| "open the root".into())
}

pub(crate) fn join(namespaces: Namespaces, prepared: &Prepared) -> Outcome<()> {
    let step = || format!("join namespaces {:#x}", namespaces.bits());
    match &prepared.joined {
        Some(process) => namespace::join_process(process.as_fd(), namespaces).step(step),
        None => Err(invalid(step(), "there is no process to join")),
    }
}

/// Tells the kernel how the program will be confined. Now, by the host's proc: a process may write its own attributes only,
/// with the rights that it had when it opened them, and what a volume has in the place of the container's proc would not
/// tell the kernel anything (CVE-2019-16884).
fn set_label(value: &str, kind: LabelKind) -> Result<(), Errno> {
    let (paths, content): (&[&str], String) = match kind {
        LabelKind::AppArmor => (
            // KERNEL(5.8): before, the only module that has labels has the old name.
            &["/proc/self/attr/apparmor/exec", "/proc/self/attr/exec"],
            format!("exec {value}"),
        ),
        LabelKind::SeLinux => (&["/proc/self/attr/exec"], value.to_owned()),
    };
    let mut last = Errno::NOENT;
    for path in paths {
        match rustix::fs::open(*path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => return process::write_once(file.as_fd(), content.as_bytes()),
            Err(Errno::NOENT) => {}
            Err(errno) => last = errno,
        }
    }
    Err(last)
}

/// Without CAP_SYS_RESOURCE the value cannot go below the inherited one: keep that and say so.
fn set_oom_score(value: i32, control: &OwnedFd) -> Outcome<()> {
    let written = process::write_file("/proc/self/oom_score_adj", value.to_string().as_bytes());
    match written {
        Err(error) if error.errno() == Errno::ACCESS => {
            notice(
                control,
                format!("oom_score_adj {value} needs CAP_SYS_RESOURCE: the inherited one stays"),
            );
            Ok(())
        }
        result => result.step(|| format!("set oom_score_adj to {value}")),
    }
}

/// Without CAP_SYS_RESOURCE a hard limit cannot be raised: take what there is and say so.
fn set_limit(resource: u32, soft: u64, hard: u64, control: &OwnedFd) -> Outcome<()> {
    let step = || format!("set limit {resource} to {soft}, {hard}");
    if resource >= LIMITS {
        return Err(invalid(step(), "no such limit"));
    }
    match process::set_limit(resource, soft, hard) {
        Err(error) if error.errno() == Errno::PERM => {
            let highest = process::hard_limit(resource).step(step)?;
            notice(
                control,
                format!("limit {resource} of {hard} needs CAP_SYS_RESOURCE: it is {highest}"),
            );
            process::set_limit(resource, soft.min(highest), hard.min(highest)).step(step)
        }
        result => result.step(step),
    }
}

fn notice(control: &OwnedFd, text: String) {
    report::send(control.as_fd(), &Report::Notice(Notice { text }), None);
}

/// Gives the shim the master side of the terminal, and the user the other one.
fn offer_terminal(prepared: &mut Prepared, control: &OwnedFd) -> Outcome<()> {
    let terminal = match prepared.terminal.take() {
        Some(terminal) => terminal,
        None => terminal::open(open_root()?.as_fd())?,
    };
    terminal::give(&terminal.slave, prepared.user.uid)?;
    report::send(
        control.as_fd(),
        &Report::Terminal,
        Some(terminal.master.as_fd()),
    );
    prepared.slave = Some(terminal.slave);
    Ok(())
}

/// The failure of a child that ended without a report.
pub(crate) fn ended_early(what: &str) -> Failure {
    crate::failure::system(
        format!("{what}: its process ended before it was ready"),
        Errno::CHILD,
    )
}
