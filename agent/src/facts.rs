//! What is known of the node and of a pod's network when its containers are made. Plain values: who asks the runtime
//! or the kernel for them is the pod worker.

use std::net::IpAddr;

/// Facts that environments and Downward API files are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The node's name, as `spec.nodeName` says it.
    pub node_name: String,
    /// The node's addresses, the primary one first.
    pub host_ips: Vec<IpAddr>,
    /// The pod's addresses, the primary one first; none before its sandbox is ready.
    pub pod_ips: Vec<IpAddr>,
    /// What the node has for pods, in thousandths of a CPU: what `limits.cpu` says where no limit is set.
    pub allocatable_cpu_milli: u64,
    /// What the node has for pods, in bytes: what `limits.memory` says where no limit is set.
    pub allocatable_memory: u64,
}
