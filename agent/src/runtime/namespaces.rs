//! Which namespaces a pod has of its own, and the ids of its user namespace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;

use super::wire::{IdMapping, NamespaceMode, NamespaceOption, UserNamespace};

/// Ids of a pod: kubelet, `userNsLength`.
const LENGTH: u32 = 65536;

/// The ids on the host that belong to one pod: so many from this one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UserRange(pub(crate) u32);

impl UserRange {
    /// As the CRI has it, for a pod and for its mounts.
    pub(super) fn mapping(self) -> IdMapping {
        IdMapping {
            host_id: self.0,
            container_id: 0,
            length: LENGTH,
        }
    }
}

/// Gives every pod with a user namespace a range that no other one has.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserRanges {
    taken: Arc<Mutex<BTreeMap<String, UserRange>>>,
}

impl UserRanges {
    /// The range of a pod, the same until it is given back. The first range is the host's own and is never given.
    pub(crate) fn of(&self, uid: &str) -> Option<UserRange> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(range) = taken.get(uid) {
            return Some(*range);
        }
        let is_free = |range: &UserRange| !taken.values().any(|used| used == range);
        let free = (1..u32::MAX / LENGTH)
            .map(|number| UserRange(number * LENGTH))
            .find(is_free)?;
        taken.insert(uid.to_owned(), free);
        Some(free)
    }

    /// Notes what a sandbox of an earlier run has.
    pub(crate) fn adopt(&self, uid: &str, range: UserRange) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(uid.to_owned(), range);
    }

    /// The pod is gone.
    pub(crate) fn give_back(&self, uid: &str) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(uid);
    }
}

/// kubelet, `NamespacesForPod`.
pub(super) fn options(pod: &Pod, range: Option<UserRange>) -> NamespaceOption {
    let spec = pod.spec.clone().unwrap_or_default();
    let node_if = |asked: Option<bool>| match asked {
        Some(true) => NamespaceMode::Node,
        _ => NamespaceMode::Pod,
    };
    let pid = match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => NamespaceMode::Node,
        (_, Some(true)) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    NamespaceOption {
        network: node_if(spec.host_network).into(),
        pid: pid.into(),
        ipc: node_if(spec.host_ipc).into(),
        target_id: String::new(),
        userns_options: range.map(|range| UserNamespace {
            mode: NamespaceMode::Pod.into(),
            uids: vec![range.mapping()],
            gids: vec![range.mapping()],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_pods_share_ids() {
        let ranges = UserRanges::default();
        ranges.adopt("old", UserRange(65536));
        let (one, two) = (ranges.of("one").unwrap(), ranges.of("two").unwrap());
        assert_eq!((one, two), (UserRange(2 * 65536), UserRange(3 * 65536)));
        assert_eq!(ranges.of("one"), Some(one));
        ranges.give_back("old");
        assert_eq!(ranges.of("three"), Some(UserRange(65536)));
    }
}
