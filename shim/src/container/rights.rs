//! What a child gives up to have no more than its program: user, groups, capabilities; and when its filter is loaded.
//!
//! A process that nobody but its program's container can see gives up everything at the end, after the release. One that is
//! born into a pid namespace where programs run already has given it up before: whoever may trace it gains nothing.

use crate::failure::InStep;
use crate::failure::Outcome;
use crate::report;
use crate::report::Report;
use carpel_linux::clone::SIBLING_FLAGS;
use carpel_linux::credentials;
use carpel_linux::process;
use carpel_linux::seccomp;
use carpel_shim_protocol::message::CapabilitySets;
use carpel_shim_protocol::message::Process;
use carpel_shim_protocol::message::ResolvedUser;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

/// umask(2) unless the request sets one.
const DEFAULT_UMASK: u32 = 0o022;
/// CAP_SYS_ADMIN: what loading a filter takes without no_new_privs.
const ADMIN: u64 = 1 << 21;

/// System calls between the birth of a process that can be seen and its execve, with the first arguments where a filter
/// may look at them: the one that clones it, then itself.
const ON_THE_WAY: [(libc::c_long, &[u64]); 16] = [
    (libc::SYS_clone, &[SIBLING_FLAGS]),
    (libc::SYS_sendmsg, &[]),
    // F_DUPFD_CLOEXEC
    (libc::SYS_fcntl, &[0, 1030]),
    (libc::SYS_dup3, &[]),
    (libc::SYS_close_range, &[]),
    (libc::SYS_write, &[]),
    (libc::SYS_exit_group, &[]),
    (libc::SYS_read, &[]),
    (libc::SYS_close, &[]),
    (libc::SYS_setsid, &[]),
    (libc::SYS_ioctl, &[0, libc::TIOCSCTTY]),
    (libc::SYS_recvmsg, &[]),
    (libc::SYS_rt_sigprocmask, &[]),
    (libc::SYS_brk, &[]),
    (libc::SYS_munmap, &[]),
    (libc::SYS_execve, &[]),
];

/// Who can see the process whose rights are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nobody in the pod: it is its container's first process.
    Hidden,
    /// Programs that run already will see the process that is cloned from this one.
    Seen,
}

/// What is left to do right before execve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftover {
    Nothing,
    /// The filter, which the rights that are left suffice for.
    Filter,
    /// The filter, and then to give up CAP_SYS_ADMIN, which was kept for it.
    FilterAndAdmin(CapabilitySets),
}

/// When the filter of a process is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FilterTime {
    First,
    Last(Leftover),
}

fn filter_time(process: &Process, sets: CapabilitySets, sight: Sight) -> FilterTime {
    let passes = |call: &(libc::c_long, &[u64])| seccomp::allows(&process.seccomp, call.0, call.1);
    if process.seccomp.is_empty() {
        FilterTime::Last(Leftover::Nothing)
    } else if process.no_new_privileges {
        FilterTime::Last(Leftover::Filter)
    } else if sight == Sight::Hidden {
        // It needs CAP_SYS_ADMIN, which goes with the rest.
        FilterTime::First
    } else if sets.effective & sets.permitted & ADMIN != 0 {
        FilterTime::Last(Leftover::Filter)
    } else if process.seccomp_listener.is_none() && ON_THE_WAY.iter().all(passes) {
        FilterTime::First
    } else {
        FilterTime::Last(Leftover::FilterAndAdmin(sets))
    }
}

/// Gives up what the program has not. Returned is what [`finish`] must do.
pub(crate) fn give_up(
    process: &Process,
    user: &ResolvedUser,
    sight: Sight,
    control: &OwnedFd,
) -> Outcome<Leftover> {
    process::set_umask(match process.umask {
        0 => DEFAULT_UMASK,
        mask => mask,
    });
    let allowed = credentials::bounding_set().step(|| "read the bounding set".into())?;
    let sets = allowed_of(process, allowed);
    let time = filter_time(process, sets, sight);
    if time == FilterTime::First {
        load_filter(process, control)?;
    }
    credentials::limit_bounding_set(sets.bounding).step(|| "limit the bounding set".into())?;
    credentials::keep_capabilities().step(|| "keep capabilities".into())?;
    credentials::set_groups(&user.additional_gids)
        .step(|| format!("set groups {:?}", user.additional_gids))?;
    credentials::set_group(user.gid).step(|| format!("set group {}", user.gid))?;
    credentials::set_user(user.uid).step(|| format!("set user {}", user.uid))?;
    let kept = match time {
        FilterTime::Last(Leftover::FilterAndAdmin(_)) => ADMIN & allowed,
        _ => 0,
    };
    set_capabilities(sets, kept)?;
    credentials::set_ambient(sets.ambient & sets.permitted & sets.inheritable)
        .step(|| "set ambient capabilities".into())?;
    // Another user, or capabilities, may have made this process dumpable as /proc/sys/fs/suid_dumpable says.
    process::set_not_dumpable().step(|| "stay not dumpable".into())?;
    if process.no_new_privileges {
        process::set_no_new_privileges().step(|| "set no_new_privs".into())?;
    }
    Ok(match time {
        FilterTime::First => Leftover::Nothing,
        FilterTime::Last(leftover) => leftover,
    })
}

/// The last steps before execve.
pub(crate) fn finish(process: &Process, leftover: Leftover, control: &OwnedFd) -> Outcome<()> {
    match leftover {
        Leftover::Nothing => Ok(()),
        Leftover::Filter => load_filter(process, control),
        Leftover::FilterAndAdmin(sets) => {
            load_filter(process, control)?;
            set_capabilities(sets, 0)
        }
    }
}

/// Never more than this process may have itself: a node without CAP_SYS_RESOURCE runs pods all the same.
fn allowed_of(process: &Process, allowed: u64) -> CapabilitySets {
    let sets = process.capabilities.unwrap_or_default();
    CapabilitySets {
        permitted: sets.permitted & allowed,
        inheritable: sets.inheritable & allowed,
        ..sets
    }
}

fn set_capabilities(sets: CapabilitySets, kept: u64) -> Outcome<()> {
    let effective = sets.effective & sets.permitted;
    credentials::set_capabilities(effective | kept, sets.permitted | kept, sets.inheritable)
        .step(|| "set capabilities".into())
}

fn load_filter(process: &Process, control: &OwnedFd) -> Outcome<()> {
    if process.seccomp.is_empty() {
        return Ok(());
    }
    let (filter, flags) = (&process.seccomp, process.seccomp_flags);
    let step = || "load the seccomp filter".to_owned();
    if process.seccomp_listener.is_none() {
        return seccomp::load_filter(filter, flags).step(step);
    }
    let listener = seccomp::load_filter_with_listener(filter, flags).step(step)?;
    // The daemon has made sure that the filter lets this pass: whatever comes next may wait for the listener.
    report::send(control.as_fd(), &Report::Listener, Some(listener.as_fd()));
    Ok(())
}
