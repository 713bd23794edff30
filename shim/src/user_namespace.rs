//! The pod's user namespace: its mappings are written from outside, by the shim, which has the rights of the host.

use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::invalid;
use carpel_linux::process;
use carpel_shim_protocol::message::CreateSandbox;
use carpel_shim_protocol::message::IdMapping;
use carpel_shim_protocol::message::NamespaceSource;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::process::Pid;
use std::os::fd::OwnedFd;

/// A pod's user namespace.
#[derive(Debug)]
pub(crate) struct UserNamespace {
    pub(crate) descriptor: OwnedFd,
    /// Its root, user and group, as the host knows them.
    pub(crate) root: (u32, u32),
}

/// Does the pod get a user namespace?
///
/// # Errors
///
/// `FAILURE_INVALID` if it could not own what the pod has.
pub(crate) fn is_wanted(create: &CreateSandbox) -> Outcome<bool> {
    match (
        create.uid_mappings.is_empty(),
        create.gid_mappings.is_empty(),
    ) {
        (true, true) => Ok(false),
        (false, false) if create.network() == NamespaceSource::New => Ok(true),
        (false, false) => Err(invalid(
            "read the sandbox",
            "a user namespace must own the network namespace",
        )),
        _ => Err(invalid(
            "read the sandbox",
            "mappings of users and of groups come together",
        )),
    }
}

/// How many ids, from 0 on, there are of users as well as of groups; none: there is no user namespace.
pub(crate) fn mapped_ids(create: &CreateSandbox) -> Option<u32> {
    let count = |mappings: &[IdMapping]| {
        let first = mappings.iter().find(|mapping| mapping.container_id == 0);
        first.map(|mapping| mapping.length)
    };
    Some(count(&create.uid_mappings)?.min(count(&create.gid_mappings)?))
}

/// Writes the mappings of the infra process, which waits for them, and takes hold of its namespace.
pub(crate) fn map(infra: Pid, create: &CreateSandbox) -> Outcome<Option<UserNamespace>> {
    if create.uid_mappings.is_empty() {
        return Ok(None);
    }
    let number = infra.as_raw_nonzero();
    for (file, mappings) in [
        ("uid_map", &create.uid_mappings),
        ("gid_map", &create.gid_mappings),
    ] {
        let text = lines(mappings);
        process::write_file(&format!("/proc/{number}/{file}"), text.as_bytes())
            .step(|| format!("write {text:?} to {file} of the pod"))?;
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let path = format!("/proc/{number}/ns/user");
    let descriptor = rustix::fs::open(path, flags, Mode::empty())
        .step(|| "open the pod's user namespace".into())?;
    Ok(Some(UserNamespace {
        descriptor,
        root: (root_of(&create.uid_mappings), root_of(&create.gid_mappings)),
    }))
}

fn root_of(mappings: &[IdMapping]) -> u32 {
    let mut mappings = mappings.iter();
    let first = mappings.find(|mapping| mapping.container_id == 0);
    first.map_or(0, |mapping| mapping.host_id)
}

fn lines(mappings: &[IdMapping]) -> String {
    let lines = mappings.iter().map(|mapping| {
        let (inside, outside) = (mapping.container_id, mapping.host_id);
        format!("{inside} {outside} {}\n", mapping.length)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(network: NamespaceSource) -> CreateSandbox {
        let mapping = |length| IdMapping {
            container_id: 0,
            host_id: 100_000,
            length,
        };
        CreateSandbox {
            network: network.into(),
            uid_mappings: vec![mapping(65_536)],
            gid_mappings: vec![mapping(1000)],
            ..CreateSandbox::default()
        }
    }

    #[test]
    fn a_user_namespace_owns_its_network() {
        assert_eq!(is_wanted(&pod(NamespaceSource::New)), Ok(true));
        assert_eq!(is_wanted(&CreateSandbox::default()), Ok(false));
        assert!(is_wanted(&pod(NamespaceSource::Host)).is_err());
        assert!(is_wanted(&pod(NamespaceSource::Descriptor)).is_err());
        let mut half = pod(NamespaceSource::New);
        half.gid_mappings.clear();
        assert!(is_wanted(&half).is_err());
    }

    #[test]
    fn mappings_are_lines_of_the_kernels_file() {
        let pod = pod(NamespaceSource::New);
        assert_eq!(lines(&pod.uid_mappings), "0 100000 65536\n");
        assert_eq!(mapped_ids(&pod), Some(1000));
        assert_eq!(mapped_ids(&CreateSandbox::default()), None);
    }
}
