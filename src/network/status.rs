//! Whether pods can have a network, and what on this node gets in their way.

use std::fs;
use std::path::PathBuf;

use super::bridge::table_name;
use super::cni::{self, Scan};
use super::nftables::{self, ForeignDrop};

/// The network's part of the runtime's status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkStatus {
    /// Whether pods can be attached.
    pub ready: bool,
    /// Why not, as the CRI names it: `NetworkPluginNotReady`; empty if ready.
    pub reason: String,
    /// Why not, for people; empty if ready.
    pub message: String,
    /// What works badly on this node, each a sentence that says what to do.
    pub warnings: Vec<String>,
    /// What the start changed on this node, each a sentence.
    pub changes: Vec<String>,
}

impl NetworkStatus {
    /// Ready by a CNI configuration.
    pub(super) fn cni(scan: &Scan) -> Self {
        let mut warnings = Vec::new();
        let skipped = scan.broken_files();
        if !skipped.is_empty() {
            warnings.push(format!("CNI configurations are skipped: {skipped}"));
        }
        Self {
            ready: true,
            warnings,
            ..Self::default()
        }
    }

    /// Not ready, for this reason.
    pub(super) fn not_ready(self, message: String) -> Self {
        Self {
            ready: false,
            reason: NOT_READY.to_owned(),
            message,
            ..self
        }
    }
}

/// The CRI's reason for a network that is not ready; the kubelet shows it.
pub(super) const NOT_READY: &str = "NetworkPluginNotReady";

/// Why there is no CNI network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CniAbsence {
    /// No configuration at all.
    #[error("{0}")]
    Nothing(String),
    /// Only configurations that cannot be used.
    #[error("{0}")]
    Broken(String),
}

/// The CNI network that is configured, for people.
///
/// # Errors
///
/// Why there is none.
pub fn cni_configuration(directories: &[PathBuf]) -> Result<String, CniAbsence> {
    let scan = cni::scan(directories);
    if scan.network().is_some() {
        return Ok(format!("CNI: {}", scan.describe()));
    }
    Err(match scan.is_empty() {
        true => CniAbsence::Nothing(scan.describe()),
        false => CniAbsence::Broken(scan.describe()),
    })
}

/// Who else on this node drops what it forwards for the pods of `bridge`: a sentence each, with what to do.
pub fn foreign_drops(bridge: &str) -> Vec<String> {
    foreign_drop_warnings(&table_name(bridge), bridge)
}

/// Who else drops packets that the node forwards for pods.
pub(super) fn foreign_drop_warnings(table: &str, bridge: &str) -> Vec<String> {
    let mut warnings = match nftables::foreign_drops(table) {
        Ok(drops) => drops.iter().map(|drop| describe(drop, bridge)).collect(),
        Err(errno) => vec![format!(
            "nf_tables cannot be listed ({errno}), so it is unknown whether another program drops pods' packets"
        )],
    };
    // The kernel lists a table of legacy iptables once any program has used it; what is in it is not listed.
    let legacy = fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap_or_default();
    if legacy.lines().any(|name| name == "filter") {
        warnings.push(format!(
            "legacy iptables has a filter table; if `iptables-legacy -S FORWARD` says DROP, pods reach each other and \
             the node but nothing beyond: allow them with `iptables-legacy -I FORWARD -i {bridge} -j ACCEPT` and \
             `iptables-legacy -I FORWARD -o {bridge} -j ACCEPT`"
        ));
    }
    if !warnings.is_empty() && bridged_packets_are_filtered() {
        warnings.push(
            "net.bridge.bridge-nf-call-iptables is 1, so those rules drop packets between pods of this node too"
                .to_owned(),
        );
    }
    warnings
}

fn describe(drop: &ForeignDrop, bridge: &str) -> String {
    let ForeignDrop {
        family,
        table,
        chain,
        how,
    } = drop;
    let advice = match (table.as_str(), chain.as_str()) {
        ("firewalld", _) => {
            format!(
                "`firewall-cmd --permanent --zone=trusted --add-interface={bridge}` and `firewall-cmd --reload`"
            )
        }
        ("filter", "FORWARD") => format!(
            "`iptables -I FORWARD -i {bridge} -j ACCEPT` and `iptables -I FORWARD -o {bridge} -j ACCEPT` \
             (chain DOCKER-USER where Docker is the owner)"
        ),
        _ => format!("a rule there that accepts packets from and to {bridge}"),
    };
    format!(
        "the nf_tables chain {family} {table} {chain} ({how}) drops what the node forwards for pods: they reach each \
         other and the node but nothing beyond; allow them with {advice}"
    )
}

fn bridged_packets_are_filtered() -> bool {
    fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables")
        .is_ok_and(|value| value.trim() == "1")
}
