//! Host ports of sandboxes: two that live must not claim the same. Pure.
//!
//! A pod in the host's network opens its ports itself, so what it declares is a claim like another's; that the host
//! itself listens on a port is not looked at, as with other runtimes.

use std::net::IpAddr;

use super::error::{PodError, PodErrorKind, Subject};
use super::sandbox_state::{Pod, SandboxPhase};
use crate::oci::{NamespaceMode, PortMapping, Protocol, SandboxConfig};

/// A port of the host that a sandbox wants for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claim {
    protocol: Protocol,
    port: i32,
    /// Nothing means all addresses.
    address: Option<IpAddr>,
    /// Where it leads.
    container_port: i32,
}

impl Claim {
    fn of(mapping: &PortMapping) -> Option<Self> {
        (mapping.host_port != 0).then(|| Self {
            protocol: mapping.protocol,
            port: mapping.host_port,
            address: mapping.host_ip.parse().ok(),
            container_port: mapping.container_port,
        })
    }

    /// Whether a packet can be meant for both.
    fn overlaps(&self, other: &Self) -> bool {
        let addresses = match (self.address, other.address) {
            (None, _) | (_, None) => true,
            (Some(one), Some(two)) => {
                one.is_ipv4() == two.is_ipv4()
                    && (one == two || one.is_unspecified() || two.is_unspecified())
            }
        };
        addresses && self.protocol == other.protocol && self.port == other.port
    }

    fn describe(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        };
        match self.address {
            Some(address) => format!("{protocol} {} of {address}", self.port),
            None => format!("{protocol} {}", self.port),
        }
    }
}

/// Refuses a sandbox that maps one host port to two places.
///
/// # Errors
/// What is wrong with the request, as prose.
pub(super) fn check(config: &SandboxConfig) -> Result<(), String> {
    let claims = claims(config);
    for (position, claim) in claims.iter().enumerate() {
        let clash = claims
            .iter()
            .skip(position + 1)
            .find(|other| claim.overlaps(other) && claim.container_port != other.container_port);
        if let Some(other) = clash
            && config.security.namespaces.network != NamespaceMode::Node
        {
            return Err(format!(
                "port_mappings: host port {} leads to container ports {} and {}",
                claim.describe(),
                claim.container_port,
                other.container_port
            ));
        }
    }
    Ok(())
}

/// Refuses a sandbox that claims a host port of one of these pods.
///
/// # Errors
/// `FailedPrecondition`, with the port and the pod that has it.
pub(super) fn check_free<'a>(
    sandbox_id: &str,
    config: &SandboxConfig,
    pods: impl Iterator<Item = &'a Pod>,
) -> Result<(), PodError> {
    let wanted = claims(config);
    if wanted.is_empty() {
        return Ok(());
    }
    for pod in pods.filter(|pod| holds_ports(pod)) {
        let held = claims(&pod.config);
        let taken = wanted
            .iter()
            .find(|claim| held.iter().any(|other| claim.overlaps(other)));
        if let Some(claim) = taken {
            return Err(refused(sandbox_id, claim, pod));
        }
    }
    Ok(())
}

fn refused(sandbox_id: &str, claim: &Claim, holder: &Pod) -> PodError {
    let metadata = &holder.config.metadata;
    let how = if holder.has_host_network() {
        ", which is in the host's network,"
    } else {
        ""
    };
    PodError::new(
        PodErrorKind::FailedPrecondition,
        Subject::Sandbox(sandbox_id.to_owned()),
        format!(
            "host port {} is taken by pod {:?} in namespace {:?}{how} (sandbox {}): stop it first, or choose another port",
            claim.describe(),
            metadata.name,
            metadata.namespace,
            holder.id
        ),
    )
}

fn claims(config: &SandboxConfig) -> Vec<Claim> {
    config.port_mappings.iter().filter_map(Claim::of).collect()
}

/// From the moment when it is asked for until nothing of it runs. A stopped one has no infra process any more; that it
/// is being removed does not give it its ports back.
fn holds_ports(pod: &Pod) -> bool {
    match pod.phase {
        SandboxPhase::Creating
        | SandboxPhase::Ready
        | SandboxPhase::InfraLost
        | SandboxPhase::Stopping => true,
        SandboxPhase::Removing => pod.infra_pid != 0,
        SandboxPhase::Stopped { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::oci::SandboxMetadata;

    fn mapping(protocol: Protocol, host_port: i32, host_ip: &str) -> PortMapping {
        PortMapping {
            protocol,
            container_port: 80,
            host_port,
            host_ip: host_ip.into(),
        }
    }

    fn config(mappings: &[PortMapping]) -> SandboxConfig {
        SandboxConfig {
            metadata: SandboxMetadata {
                name: "web".into(),
                namespace: "shop".into(),
                ..SandboxMetadata::default()
            },
            port_mappings: mappings.to_vec(),
            ..SandboxConfig::default()
        }
    }

    fn pod(phase: SandboxPhase, mappings: &[PortMapping]) -> Pod {
        Pod {
            id: "aaaa".into(),
            config: Arc::new(config(mappings)),
            resources: crate::oci::PodResources::default(),
            runtime_handler: String::new(),
            created_at: 0,
            phase,
            addresses: Vec::new(),
            network_namespace: PathBuf::new(),
            infra_pid: if phase == SandboxPhase::Ready { 7 } else { 0 },
            containers: BTreeMap::new(),
        }
    }

    fn free(wanted: &PortMapping, holder: &Pod) -> bool {
        let wanted = config(std::slice::from_ref(wanted));
        check_free("bbbb", &wanted, std::iter::once(holder)).is_ok()
    }

    #[test]
    fn a_port_of_a_living_pod_is_refused_and_the_pod_is_named() {
        let port = mapping(Protocol::Tcp, 8080, "");
        let holder = pod(SandboxPhase::Ready, std::slice::from_ref(&port));
        let wanted = config(std::slice::from_ref(&port));
        let error = check_free("bbbb", &wanted, std::iter::once(&holder)).unwrap_err();
        assert_eq!(error.kind(), PodErrorKind::FailedPrecondition);
        assert_eq!(
            error.to_string(),
            "sandbox bbbb: host port TCP 8080 is taken by pod \"web\" in namespace \"shop\" (sandbox aaaa): stop it \
             first, or choose another port"
        );
    }

    #[test]
    fn two_pods_in_the_hosts_network_cannot_declare_one_port() {
        let port = mapping(Protocol::Udp, 53, "");
        let mut holder = pod(SandboxPhase::Ready, std::slice::from_ref(&port));
        let mut wanted = config(std::slice::from_ref(&port));
        wanted.security.namespaces.network = NamespaceMode::Node;
        holder.config = Arc::new(wanted.clone());
        let error = check_free("bbbb", &wanted, std::iter::once(&holder)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("which is in the host's network, (sandbox aaaa)"),
            "{text}"
        );
        // Port 0 is none: what such a pod declares beside it is information.
        let none = mapping(Protocol::Udp, 0, "");
        assert!(free(
            &none,
            &pod(SandboxPhase::Ready, std::slice::from_ref(&none))
        ));
    }

    #[test]
    fn only_the_same_protocol_port_and_address_clash() {
        let holder = pod(
            SandboxPhase::Ready,
            &[mapping(Protocol::Tcp, 80, "192.0.2.1")],
        );
        for (other, expected) in [
            (mapping(Protocol::Tcp, 80, ""), false),
            (mapping(Protocol::Tcp, 80, "0.0.0.0"), false),
            (mapping(Protocol::Tcp, 80, "192.0.2.1"), false),
            (mapping(Protocol::Tcp, 80, "192.0.2.2"), true),
            (mapping(Protocol::Tcp, 80, "::"), true),
            (mapping(Protocol::Udp, 80, ""), true),
            (mapping(Protocol::Tcp, 81, ""), true),
        ] {
            assert_eq!(free(&other, &holder), expected, "{other:?}");
        }
    }

    #[test]
    fn a_pod_that_is_stopped_has_no_ports_any_more() {
        let port = mapping(Protocol::Sctp, 80, "");
        for (phase, expected) in [
            (SandboxPhase::Creating, false),
            (SandboxPhase::InfraLost, false),
            (SandboxPhase::Stopping, false),
            (SandboxPhase::Stopped { leftovers: true }, true),
            (SandboxPhase::Removing, true),
        ] {
            let holder = pod(phase, std::slice::from_ref(&port));
            assert_eq!(free(&port, &holder), expected, "{phase:?}");
        }
        let mut running = pod(SandboxPhase::Removing, std::slice::from_ref(&port));
        running.infra_pid = 7;
        assert!(!free(&port, &running));
    }

    #[test]
    fn one_host_port_leads_to_one_place() {
        let one = mapping(Protocol::Tcp, 80, "");
        let mut two = mapping(Protocol::Tcp, 80, "192.0.2.1");
        assert_eq!(check(&config(&[one.clone(), two.clone()])), Ok(()));
        two.container_port = 81;
        let error = check(&config(&[one.clone(), two.clone()])).unwrap_err();
        assert_eq!(
            error,
            "port_mappings: host port TCP 80 leads to container ports 80 and 81"
        );
        two.protocol = Protocol::Udp;
        assert_eq!(check(&config(&[one, two])), Ok(()));
    }
}
