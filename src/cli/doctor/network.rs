//! What the pod network needs, and what of the host may be in its way.

use super::finding::Finding;
use super::firewall;
use super::host::Host;
use crate::config::{Config, NetworkMode, NetworkSection};
use crate::daemon;
use crate::network::{self, NetworkError};

pub(super) fn findings(host: &Host, config: &Config) -> Vec<Finding> {
    let section = &config.network;
    let cni = || network::cni_configuration(&section.cni_configuration_directories);
    match section.mode {
        NetworkMode::None => {
            return vec![
                Finding::ok("pod network", "network.mode is \"none\"")
                    .meaning("only pods in the host's network run"),
            ];
        }
        NetworkMode::Cni => return vec![by_cni(cni())],
        NetworkMode::Auto if config.kubernetes => return vec![by_cni(cni())],
        NetworkMode::Auto => {
            if let found @ (Ok(_) | Err(network::CniAbsence::Broken(_))) = cni() {
                return vec![by_cni(found)];
            }
        }
        NetworkMode::BuiltIn => {}
    }
    let answer = firewall::answers();
    let drops = match &answer {
        Ok(()) => network::foreign_drops(section.bridge.as_str()),
        Err(_) => Vec::new(),
    };
    let mut findings = vec![nftables(answer), forwarding(host), bridge_filter(host)];
    findings.extend(foreign_firewall(drops));
    let settings = daemon::network_config(config);
    findings.push(subnet(section, network::look_for_conflicts(&settings)));
    findings
}

fn by_cni(found: Result<String, network::CniAbsence>) -> Finding {
    match found {
        Ok(found) => Finding::ok("pod network", found),
        Err(absence) => Finding::warn(
            "pod network",
            absence.to_string(),
            "only pods in the host's network run, until there is a configuration",
            "install a CNI plugin; the daemon takes its configuration up without a restart",
        ),
    }
}

fn subnet(section: &NetworkSection, looked: Result<(), NetworkError>) -> Finding {
    match looked {
        Ok(()) => Finding::ok(
            "pod subnet",
            format!(
                "nothing else has {} or the name {}",
                section.subnet,
                section.bridge.as_str()
            ),
        ),
        Err(error) => Finding::warn(
            "pod subnet",
            error.to_string(),
            "pods with a network do not run until the way is free",
            "take the other out of the way, or choose another subnet or bridge in the configuration",
        ),
    }
}

fn nftables(answer: std::io::Result<()>) -> Finding {
    match answer {
        Ok(()) => Finding::ok("nftables", "the kernel answers"),
        Err(error) => Finding::warn(
            "nftables",
            format!("the kernel does not answer: {error}"),
            "pods reach each other and the node, but nothing beyond it: no masquerade",
            "modprobe nf_tables nft_masq nft_ct",
        ),
    }
}

fn forwarding(host: &Host) -> Finding {
    match host.sysctl("net/ipv4/ip_forward") {
        Some(1) => Finding::ok("IP forwarding", "on"),
        Some(_) => Finding::ok("IP forwarding", "off")
            .meaning("the daemon switches it on when it starts, and says so"),
        None => Finding::warn(
            "IP forwarding",
            "no net.ipv4.ip_forward in /proc/sys",
            "pods reach each other, but nothing beyond the node",
            "mount /proc/sys writable",
        ),
    }
}

fn bridge_filter(host: &Host) -> Finding {
    match host.sysctl("net/bridge/bridge-nf-call-iptables") {
        Some(1) => Finding::ok("br_netfilter", "on")
            .meaning("traffic between pods of this node passes the host's firewall rules"),
        Some(_) => Finding::ok("br_netfilter", "loaded, off"),
        None => Finding::ok("br_netfilter", "not loaded")
            .meaning("kube-proxy needs it for services whose pods are on this node"),
    }
}

/// `drops`: sentences of `network::foreign_drops`.
fn foreign_firewall(drops: Vec<String>) -> Vec<Finding> {
    if drops.is_empty() {
        return vec![Finding::ok(
            "host firewall",
            "no foreign chain drops what is forwarded for pods",
        )];
    }
    drops
        .into_iter()
        .map(|sentence| {
            Finding::warn(
                "host firewall",
                sentence,
                "pods do not reach what is beyond the node",
                "as the line says; Carpel does not change the rules of others",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::super::host::tests::host_with;
    use super::*;

    #[test]
    fn a_kernel_without_nftables_costs_the_masquerade() {
        let finding = nftables(Err(std::io::ErrorKind::Unsupported.into()));
        assert_eq!(finding.level, Level::Warn);
    }

    #[test]
    fn a_missing_or_broken_cni_configuration_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.network.cni_configuration_directories = vec![directory.path().to_owned()];
        let (_root, host) = host_with(&[]);
        let first = |config: &Config| findings(&host, config).remove(0);
        assert_ne!(first(&config).subject, "pod network");
        config.kubernetes = true;
        assert_eq!(first(&config).level, Level::Warn);
        config.kubernetes = false;
        std::fs::File::create(directory.path().join("10-empty.conflist")).unwrap();
        let broken = first(&config);
        assert_eq!(broken.level, Level::Warn);
        assert!(broken.fact.contains("10-empty.conflist"), "{broken:?}");
    }

    #[test]
    fn what_has_the_subnet_is_named() {
        let section = NetworkSection::default();
        let taken = NetworkError::InterfaceTaken {
            name: "carpel0".into(),
            kind: "veth".into(),
        };
        let finding = subnet(&section, Err(taken));
        assert_eq!(finding.level, Level::Warn);
        assert!(
            finding.fact.contains("interface carpel0 exists"),
            "{finding:?}"
        );
        let finding = subnet(&section, Ok(()));
        assert_eq!(
            finding.fact,
            "nothing else has 10.63.0.0/16 or the name carpel0"
        );
    }

    #[test]
    fn each_foreign_chain_is_a_finding() {
        let levels = |drops: &[&str]| -> Vec<Level> {
            let drops = drops.iter().map(|drop| (*drop).to_owned()).collect();
            let findings = foreign_firewall(drops);
            findings.iter().map(|finding| finding.level).collect()
        };
        assert_eq!(levels(&[]), [Level::Ok]);
        assert_eq!(levels(&["one", "two"]), [Level::Warn, Level::Warn]);
    }

    #[test]
    fn a_filter_on_the_bridge_is_told() {
        let (_directory, host) =
            host_with(&[("proc/sys/net/bridge/bridge-nf-call-iptables", "1\n")]);
        assert!(bridge_filter(&host).consequence.is_some());
    }
}
