//! What a pod asks of its network, as the domain tells it.

use std::collections::BTreeMap;

use super::port::HostPort;

/// A pod that is to be attached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodRequest {
    /// The pod's name.
    pub name: String,
    /// The Kubernetes namespace of the pod.
    pub namespace: String,
    /// The pod's uid.
    pub uid: String,
    /// Its annotations, which are where bandwidth is asked for.
    pub annotations: BTreeMap<String, String>,
    /// Ports of the node that lead to the pod.
    pub ports: Vec<HostPort>,
    /// What its resolv.conf says; `None` if it has the node's.
    pub dns: Option<Resolver>,
    /// The parent of its cgroups, in cgroupfs syntax; may be empty.
    pub cgroup_parent: String,
}

/// The lines of a resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// `nameserver`
    pub servers: Vec<String>,
    /// `search`
    pub searches: Vec<String>,
    /// `options`
    pub options: Vec<String>,
}
