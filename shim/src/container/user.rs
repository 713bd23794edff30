//! Users and groups by name, in the databases of the container: `/etc/passwd` and `/etc/group` below its root.
//!
//! The files belong to the image: they may be missing, huge, a FIFO, or a link to somewhere. They are opened by
//! RESOLVE_IN_ROOT without waiting, must be regular, and are read in small pieces up to a bound.

use crate::failure::Failure;
use crate::failure::Outcome;
use crate::failure::invalid;
use crate::failure::system;
use carpel_linux::path::Links;
use carpel_linux::path::open_in_root;
use carpel_shim_protocol::message::ResolvedUser;
use carpel_shim_protocol::message::User;
use rustix::fs::FileType;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// A database is read so far.
const DATABASE_BYTES: usize = 16 * 1024 * 1024;
/// A longer line is skipped: it names no user that could be meant. A group of many members may be long.
const LINE_BYTES: usize = 256 * 1024;

/// A line of passwd, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: Vec<u8>,
    uid: u32,
    gid: u32,
    home: String,
}

/// Finds what `user` means in the databases below `root`.
///
/// # Errors
///
/// `FAILURE_INVALID` for a name that is not there; a system failure if a database cannot be read.
pub(crate) fn resolve(root: BorrowedFd<'_>, user: &User) -> Outcome<ResolvedUser> {
    let (name, group) = match user.name.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (user.name.as_str(), None),
    };
    let account = find_account(root, user, name)?;
    let uid = match (&account, name.is_empty()) {
        (Some(account), _) => account.uid,
        (None, true) => user.uid,
        (None, false) => {
            number(name.as_bytes()).ok_or_else(|| unknown("user", name, "/etc/passwd"))?
        }
    };
    let gid = match group {
        Some(group) if !group.is_empty() && !user.gid_given => find_group(root, group)?,
        _ if user.gid_given || name.is_empty() => user.gid,
        _ => account.as_ref().map_or(0, |account| account.gid),
    };
    let mut additional_gids = user.additional_gids.clone();
    // As the peers: a process that could drop its own group by newgrp(1) would escape a file's denial to that group
    // (CVE-2022-36109).
    if !user.name.is_empty() && !additional_gids.contains(&gid) {
        additional_gids.insert(0, gid);
    }
    if user.merge_groups
        && let Some(account) = &account
    {
        add_memberships(root, account, &mut additional_gids)?;
    }
    Ok(ResolvedUser {
        uid,
        gid,
        additional_gids,
        home: account.map_or_else(|| "/".to_owned(), |account| account.home),
    })
}

fn find_account(root: BorrowedFd<'_>, user: &User, name: &str) -> Outcome<Option<Account>> {
    let by_number = match number(name.as_bytes()) {
        Some(uid) => Some(uid),
        None => name.is_empty().then_some(user.uid),
    };
    let mut found: Option<Account> = None;
    for_each_line(root, "/etc/passwd", &mut |line| {
        if let Some(account) = account_of(line) {
            if !is_number(name) && account.name == name.as_bytes() {
                found = Some(account);
                return Go::Stop;
            }
            if found.is_none() && Some(account.uid) == by_number {
                found = Some(account);
            }
        }
        Go::On
    })?;
    Ok(found)
}

fn find_group(root: BorrowedFd<'_>, group: &str) -> Outcome<u32> {
    let mut found = None;
    for_each_line(root, "/etc/group", &mut |line| match fields(line) {
        [name, _, gid, _] if !is_number(group) && name == group.as_bytes() => {
            found = number(gid);
            Go::Stop
        }
        _ => Go::On,
    })?;
    found
        .or_else(|| number(group.as_bytes()))
        .ok_or_else(|| unknown("group", group, "/etc/group"))
}

fn add_memberships(root: BorrowedFd<'_>, account: &Account, gids: &mut Vec<u32>) -> Outcome<()> {
    for_each_line(root, "/etc/group", &mut |line| {
        if let [_, _, gid, members] = fields(line)
            && members
                .split(|byte| *byte == b',')
                .any(|member| member == account.name)
            && let Some(gid) = number(gid)
            && !gids.contains(&gid)
        {
            gids.push(gid);
        }
        Go::On
    })
}

fn account_of(line: &[u8]) -> Option<Account> {
    let mut parts = line.split(|byte| *byte == b':');
    let name = parts.next()?.to_vec();
    let mut parts = parts.skip(1);
    let (uid, gid) = (number(parts.next()?)?, number(parts.next()?)?);
    let home = parts.nth(1).unwrap_or_default();
    let home = match String::from_utf8_lossy(home).into_owned() {
        home if home.is_empty() => "/".to_owned(),
        home => home,
    };
    Some(Account {
        name,
        uid,
        gid,
        home,
    })
}

/// The first four fields of a line; missing ones are empty.
fn fields(line: &[u8]) -> [&[u8]; 4] {
    let mut parts = line.split(|byte| *byte == b':');
    std::array::from_fn(|_index| parts.next().unwrap_or_default())
}

/// Only digits: never a name, or an image could make root of any number that a pod or its own configuration names, and be
/// taken for one that does not run as root (CVE-2026-46680). The same holds for numbers that are no id. Empty is no name.
fn is_number(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    // -1 means "unchanged" to the kernel, and '+' is no digit.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = digits.then(|| text.parse().ok()).flatten()?;
    (id != u32::MAX).then_some(id)
}

fn unknown(what: &str, name: &str, file: &str) -> Failure {
    let step = format!("look up {what} {name:?}");
    invalid(step, format!("no such {what} in {file} of the container"))
}

/// Whether to read on.
enum Go {
    On,
    Stop,
}

fn for_each_line(
    root: BorrowedFd<'_>,
    path: &str,
    line: &mut dyn FnMut(&[u8]) -> Go,
) -> Outcome<()> {
    let Some(file) = open_database(root, path)? else {
        return Ok(());
    };
    let mut pending: Vec<u8> = Vec::new();
    let mut skipping = false;
    let mut total = 0_usize;
    let mut buffer = [0_u8; 4096];
    while total < DATABASE_BYTES {
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer))
            .map_err(|errno| system(format!("read {path:?} of the container"), errno))?;
        if read == 0 {
            break;
        }
        total = total.saturating_add(read);
        let mut rest = buffer.get(..read).unwrap_or_default();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            pending.extend_from_slice(head);
            rest = tail.get(1..).unwrap_or_default();
            if !skipping && matches!(line(&pending), Go::Stop) {
                return Ok(());
            }
            skipping = false;
            pending.clear();
        }
        pending.extend_from_slice(rest);
        if pending.len() > LINE_BYTES {
            skipping = true;
            pending.clear();
        }
    }
    if !skipping && !pending.is_empty() {
        line(&pending);
    }
    Ok(())
}

/// The database, if there is one; whatever is not a regular file counts as none.
fn open_database(root: BorrowedFd<'_>, path: &str) -> Outcome<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open_in_root(root, path, flags, Links::Follow) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.errno(),
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO
            ) =>
        {
            return Ok(None);
        }
        Err(error) => {
            return Err(system(
                format!("open {path:?} of the container"),
                error.errno(),
            ));
        }
    };
    let status = rustix::fs::fstat(&file)
        .map_err(|errno| system(format!("look at {path:?} of the container"), errno))?;
    let regular = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
    Ok(regular.then_some(file))
}

#[cfg(test)]
#[path = "user_tests.rs"]
mod tests;
