//! Which capabilities a container gets. Names are parsed by the crate `caps`; nothing is read from this process.

use std::collections::HashSet;
use std::str::FromStr;

use oci_spec::runtime::{Capability as SpecCapability, LinuxCapabilities};

use super::container_config::ContainerSecurity;
use super::error::OciError;
use super::input::{DeviceRules, HostFacts};

/// What a container has if nobody asks for anything: the set of Docker, containerd and CRI-O's ancestors.
const DEFAULT: [caps::Capability; 14] = [
    caps::Capability::CAP_CHOWN,
    caps::Capability::CAP_DAC_OVERRIDE,
    caps::Capability::CAP_FSETID,
    caps::Capability::CAP_FOWNER,
    caps::Capability::CAP_MKNOD,
    caps::Capability::CAP_NET_RAW,
    caps::Capability::CAP_SETGID,
    caps::Capability::CAP_SETUID,
    caps::Capability::CAP_SETFCAP,
    caps::Capability::CAP_SETPCAP,
    caps::Capability::CAP_NET_BIND_SERVICE,
    caps::Capability::CAP_SYS_CHROOT,
    caps::Capability::CAP_KILL,
    caps::Capability::CAP_AUDIT_WRITE,
];

const ADD: &str = "linux.security_context.capabilities.add_capabilities";
const DROP: &str = "linux.security_context.capabilities.drop_capabilities";
const ADD_AMBIENT: &str = "linux.security_context.capabilities.add_ambient_capabilities";

const NO_MKNOD: &str = "CAP_MKNOD is not given: device rules are not enforced on this host, \
    so the container could make and open a node of any device";

/// The sets of a container, and what it does not get because the daemon itself lacks it.
pub(super) fn capabilities(
    security: &ContainerSecurity,
    host: &HostFacts,
) -> Result<(LinuxCapabilities, Vec<String>), OciError> {
    let bounding_of_daemon = host.capabilities;
    let asked = &security.capabilities;
    // Checked for a privileged container too: a wrong name is a wrong request.
    let added = names(ADD, &asked.add)?;
    let dropped = names(DROP, &asked.drop)?;
    let ambient = names(ADD_AMBIENT, &asked.add_ambient)?;
    let wanted = if security.privileged {
        every()
    } else {
        let start = match (dropped.all, added.all) {
            (true, _) => 0,
            (false, true) => every(),
            (false, false) => DEFAULT.iter().fold(0, |bits, one| bits | one.bitmask()),
        };
        (start | added.bits) & !dropped.bits
    };
    let ambient_wanted = if ambient.all { every() } else { ambient.bits };
    let mknod = caps::Capability::CAP_MKNOD.bitmask();
    let withheld = match host.device_rules {
        DeviceRules::Unavailable if !security.privileged => mknod,
        _ => 0,
    };
    let asked_and_there = (wanted | ambient_wanted) & bounding_of_daemon;
    let given = asked_and_there & !withheld;
    let ambient_given = ambient_wanted & bounding_of_daemon & !withheld;
    // Privileged and ALL mean "what there is"; only a capability asked for by name is worth a word.
    let missing = (added.bits | ambient.bits) & !dropped.bits & !bounding_of_daemon;
    let mut lowered: Vec<String> = caps::all()
        .into_iter()
        .filter(|one| missing & one.bitmask() != 0)
        .map(|one| format!("{one} is not given: it is not in the daemon's own bounding set"))
        .collect();
    if asked_and_there & withheld != 0 {
        lowered.push(NO_MKNOD.to_owned());
    }

    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(to_specification(given)));
    sets.set_effective(Some(to_specification(given)));
    sets.set_permitted(Some(to_specification(given)));
    // Inheritable stays empty but for what is ambient (CVE-2022-24769).
    sets.set_inheritable(Some(to_specification(ambient_given)));
    sets.set_ambient(Some(to_specification(ambient_given)));
    Ok((sets, lowered))
}

/// A set of the specification as one bit a capability, by number: what the shim and capset(2) take.
pub fn capability_bits(set: &HashSet<SpecCapability>) -> u64 {
    caps::all()
        .into_iter()
        .filter(|one| in_specification(*one).is_some_and(|spec| set.contains(&spec)))
        .fold(0, |bits, one| bits | one.bitmask())
}

struct Names {
    all: bool,
    bits: u64,
}

fn names(field: &'static str, names: &[String]) -> Result<Names, OciError> {
    let mut parsed = Names {
        all: false,
        bits: 0,
    };
    for name in names {
        if name.eq_ignore_ascii_case("ALL") {
            parsed.all = true;
            continue;
        }
        let one = caps::Capability::from_str(&caps::to_canonical(name))
            .ok()
            .ok_or_else(|| OciError::value(field, name, "no such capability"))?;
        parsed.bits |= one.bitmask();
    }
    Ok(parsed)
}

fn every() -> u64 {
    caps::all()
        .into_iter()
        .fold(0, |bits, one| bits | one.bitmask())
}

fn to_specification(bits: u64) -> HashSet<SpecCapability> {
    caps::all()
        .into_iter()
        .filter(|one| bits & one.bitmask() != 0)
        .filter_map(in_specification)
        .collect()
}

fn in_specification(one: caps::Capability) -> Option<SpecCapability> {
    let name = one.to_string();
    SpecCapability::from_str(name.strip_prefix("CAP_").unwrap_or(&name)).ok()
}

#[cfg(test)]
mod tests {
    use super::{NO_MKNOD, capabilities, capability_bits, every, in_specification};
    use crate::oci::{Capabilities, ContainerSecurity, DeviceRules, HostFacts};

    const CHOWN: u64 = 1;
    const NET_RAW: u64 = 1 << 13;
    const NET_ADMIN: u64 = 1 << 12;
    const SYS_RESOURCE: u64 = 1 << 24;
    const MKNOD: u64 = 1 << 27;

    fn host(bounding: u64, device_rules: DeviceRules) -> HostFacts {
        HostFacts {
            capabilities: bounding,
            device_rules,
            ..HostFacts::default()
        }
    }

    fn given(add: &[&str], drop: &[&str], bounding: u64) -> (u64, u64, Vec<String>) {
        let security = ContainerSecurity {
            capabilities: Capabilities {
                add: add.iter().map(|name| (*name).to_owned()).collect(),
                drop: drop.iter().map(|name| (*name).to_owned()).collect(),
                add_ambient: Vec::new(),
            },
            ..Default::default()
        };
        let (sets, lowered) =
            capabilities(&security, &host(bounding, DeviceRules::Enforced)).unwrap();
        let bounding = capability_bits(sets.bounding().as_ref().unwrap());
        let inheritable = capability_bits(sets.inheritable().as_ref().unwrap());
        (bounding, inheritable, lowered)
    }

    #[test]
    fn both_crates_know_the_same_capabilities() {
        for one in caps::all() {
            assert!(in_specification(one).is_some(), "{one}");
        }
        assert_eq!(every(), (1 << 41) - 1);
    }

    #[test]
    fn the_default_set_is_dockers() {
        // CapBnd of a container of Docker or containerd.
        assert_eq!(given(&[], &[], u64::MAX), (0xa804_25fb, 0, Vec::new()));
    }

    #[test]
    fn names_are_added_and_dropped_with_and_without_prefix() {
        let (bits, ..) = given(&["net_admin"], &["CAP_NET_RAW"], u64::MAX);
        assert_eq!(bits, (0xa804_25fb | NET_ADMIN) & !NET_RAW);
    }

    #[test]
    fn all_is_taken_before_single_names() {
        assert_eq!(given(&["CHOWN"], &["ALL"], u64::MAX).0, CHOWN);
        assert_eq!(given(&["all"], &["CHOWN"], u64::MAX).0, every() & !CHOWN);
        assert_eq!(given(&["ALL"], &["ALL"], u64::MAX).0, 0);
    }

    #[test]
    fn what_the_daemon_lacks_is_not_given_and_said() {
        let (bits, _, lowered) = given(&["SYS_RESOURCE"], &["ALL"], !SYS_RESOURCE);
        assert_eq!(bits, 0);
        assert_eq!(
            lowered,
            ["CAP_SYS_RESOURCE is not given: it is not in the daemon's own bounding set"]
        );
        assert_eq!(given(&["ALL"], &[], !SYS_RESOURCE).2, Vec::<String>::new());
    }

    #[test]
    fn ambient_capabilities_are_in_all_sets() {
        let security = ContainerSecurity {
            capabilities: Capabilities {
                add_ambient: vec!["NET_ADMIN".to_owned()],
                drop: vec!["ALL".to_owned()],
                ..Default::default()
            },
            ..Default::default()
        };
        let host = host(u64::MAX, DeviceRules::Enforced);
        let (sets, _) = capabilities(&security, &host).unwrap();
        for set in [
            sets.bounding(),
            sets.effective(),
            sets.permitted(),
            sets.inheritable(),
            sets.ambient(),
        ] {
            assert_eq!(capability_bits(set.as_ref().unwrap()), NET_ADMIN);
        }
    }

    #[test]
    fn without_device_rules_nobody_but_privileged_containers_makes_devices() {
        for (add, drop, told) in [
            (&[][..], &[][..], true),
            (&["MKNOD"], &["ALL"], true),
            (&["ALL"], &[], true),
            (&[], &["MKNOD"], false),
            (&[], &["ALL"], false),
        ] {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let security = ContainerSecurity {
                capabilities: Capabilities {
                    add: owned(add),
                    drop: owned(drop),
                    add_ambient: Vec::new(),
                },
                ..Default::default()
            };
            let host = host(u64::MAX, DeviceRules::Unavailable);
            let (sets, lowered) = capabilities(&security, &host).unwrap();
            let bits = capability_bits(sets.bounding().as_ref().unwrap());
            assert_eq!(bits & MKNOD, 0, "{add:?} {drop:?}");
            assert_eq!(
                lowered.contains(&NO_MKNOD.to_owned()),
                told,
                "{add:?} {drop:?}"
            );
        }
    }

    #[test]
    fn privileged_gets_what_the_daemon_has() {
        let security = ContainerSecurity {
            privileged: true,
            ..Default::default()
        };
        let host = host(!SYS_RESOURCE, DeviceRules::Unavailable);
        let (sets, lowered) = capabilities(&security, &host).unwrap();
        assert_eq!(
            capability_bits(sets.effective().as_ref().unwrap()),
            every() & !SYS_RESOURCE
        );
        assert_eq!(lowered, Vec::<String>::new());
    }

    #[test]
    fn an_unknown_name_is_refused_with_its_field() {
        let security = ContainerSecurity {
            capabilities: Capabilities {
                drop: vec!["NET_NOTHING".to_owned()],
                ..Default::default()
            },
            ..Default::default()
        };
        assert_eq!(
            capabilities(&security, &HostFacts::default())
                .unwrap_err()
                .to_string(),
            "linux.security_context.capabilities.drop_capabilities: \"NET_NOTHING\": no such capability"
        );
    }
}
