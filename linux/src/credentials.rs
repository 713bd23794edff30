//! User, groups and capabilities of the calling thread. Meant for a process with one thread: the C library's versions
//! tell all threads, these do not.

use crate::Error;
use crate::Result;
use rustix::fs::Gid;
use rustix::fs::Uid;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use rustix::thread::CapabilitySets;

/// Capabilities that capget(2) can name: two words of 32 bits.
const CAPABILITIES: u32 = 64;

/// Real, effective and saved user id.
///
/// # Errors
///
/// `EPERM` without CAP_SETUID, `EINVAL` for an id that the user namespace does not map, `EAGAIN` above RLIMIT_NPROC.
pub fn set_user(uid: u32) -> Result<()> {
    let id = Some(Uid::from_raw(uid));
    Error::of(rustix::thread::set_thread_res_uid(id, id, id), || {
        format!("setresuid({uid}, {uid}, {uid})")
    })
}

/// Real, effective and saved group id.
///
/// # Errors
///
/// `EPERM` without CAP_SETGID, `EINVAL` for an id that the user namespace does not map.
pub fn set_group(gid: u32) -> Result<()> {
    let id = Some(Gid::from_raw(gid));
    Error::of(rustix::thread::set_thread_res_gid(id, id, id), || {
        format!("setresgid({gid}, {gid}, {gid})")
    })
}

/// The supplementary groups.
///
/// # Errors
///
/// `EPERM` without CAP_SETGID, `EINVAL` for more than 65536 or unmapped ones.
pub fn set_groups(gids: &[u32]) -> Result<()> {
    let groups: Vec<Gid> = gids.iter().copied().map(Gid::from_raw).collect();
    Error::of(rustix::thread::set_thread_groups(&groups), || {
        format!("setgroups({}, {gids:?})", gids.len())
    })
}

/// Permitted capabilities survive the next [`set_user`] to another than root: PR_SET_KEEPCAPS. execve clears it.
///
/// # Errors
///
/// `EPERM` when SECBIT_KEEP_CAPS_LOCKED is set.
pub fn keep_capabilities() -> Result<()> {
    Error::of(rustix::thread::set_keep_capabilities(true), || {
        "prctl(PR_SET_KEEPCAPS, 1)".into()
    })
}

/// The own bounding set, one bit a capability.
///
/// # Errors
///
/// None that is known.
pub fn bounding_set() -> Result<u64> {
    let mut set = 0;
    for number in 0..CAPABILITIES {
        match rustix::thread::capability_is_in_bounding_set(one(number)) {
            Ok(true) => set |= 1 << number,
            Ok(false) => {}
            // The first number that the kernel does not know.
            Err(Errno::INVAL) => break,
            Err(errno) => {
                return Err(Error::new(
                    format!("prctl(PR_CAPBSET_READ, {number})"),
                    errno,
                ));
            }
        }
    }
    Ok(set)
}

/// Removes everything but `kept` from the bounding set.
///
/// # Errors
///
/// `EPERM` without CAP_SETPCAP.
pub fn limit_bounding_set(kept: u64) -> Result<()> {
    for number in 0..CAPABILITIES {
        if kept & (1 << number) != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(one(number)) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(errno) => {
                return Err(Error::new(
                    format!("prctl(PR_CAPBSET_DROP, {number})"),
                    errno,
                ));
            }
        }
    }
    Ok(())
}

/// Effective, permitted and inheritable capabilities, one bit each.
///
/// # Errors
///
/// `EPERM` when a permitted one is asked for that the process has not.
pub fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(effective),
        permitted: CapabilitySet::from_bits_retain(permitted),
        inheritable: CapabilitySet::from_bits_retain(inheritable),
    };
    Error::of(rustix::thread::set_capabilities(None, sets), || {
        format!("capset({effective:#x}, {permitted:#x}, {inheritable:#x})")
    })
}

/// Sets the ambient capabilities to exactly these.
///
/// # Errors
///
/// `EPERM` for one that is not permitted and inheritable.
pub fn set_ambient(capabilities: u64) -> Result<()> {
    Error::of(rustix::thread::clear_ambient_capability_set(), || {
        "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)".into()
    })?;
    for number in (0..CAPABILITIES).filter(|number| capabilities & (1 << number) != 0) {
        Error::of(
            rustix::thread::configure_capability_in_ambient_set(one(number), true),
            || format!("prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, {number})"),
        )?;
    }
    Ok(())
}

fn one(number: u32) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1 << number)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_bounding_set_is_that_of_proc() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("CapBnd:"));
        let set = u64::from_str_radix(line.unwrap().split_whitespace().last().unwrap(), 16);
        assert_eq!(super::bounding_set().unwrap(), set.unwrap());
    }
}
