//! What the node does for pods beyond the bridge: it forwards packets, and it has the table of masquerade and host
//! ports.

use std::fs;
use std::path::Path;

use rustix::io::Errno;

use super::bridge::{Changes, table_name};
use super::config::NetworkConfig;
use super::error::NetworkError;
use super::nftables::{self, NatTable};
use super::node_settings::NodeSettings;
use super::port::Redirect;
use super::subnet::Subnet;

/// Forwarding on, and the table. A node without nf_tables keeps pods that reach each other and the node, so that is a
/// warning and no error; it is returned.
pub(super) fn ensure_forwarding(
    config: &NetworkConfig,
    redirects: &[Redirect],
    changes: &mut Changes,
) -> Result<Option<String>, NetworkError> {
    let settings = NodeSettings::below(&config.state_directory);
    if settings.set("net/ipv4/ip_forward", "1")? {
        changes.push("set net.ipv4.ip_forward to 1: the node now forwards IPv4 packets".to_owned());
    }
    if config.subnet_v6.is_some() {
        forward_ipv6(&settings, &config.bridge, changes)?;
    }
    let name = table_name(&config.bridge);
    let existed = nftables::table_exists(&name);
    match existed.and_then(|existed| ensure_table(config, redirects).map(|()| existed)) {
        Ok(true) => Ok(None),
        Ok(false) => {
            changes.push(format!(
                "created the nf_tables table inet {name}, which masquerades {}",
                listed(&config.subnets())
            ));
            Ok(None)
        }
        // The kernel has no nf_tables, or not the family inet (CONFIG_NF_TABLES_INET; Debian's user-mode-linux).
        Err(errno @ (Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT)) => {
            Ok(Some(format!(
                "pods reach each other and the node but nothing beyond, and have no host ports: the kernel has no \
                 nf_tables for IPv4 and IPv6 ({errno}), so there is no masquerade"
            )))
        }
        Err(errno) => Ok(Some(format!(
            "pods reach each other and the node but nothing beyond, and have no host ports: creating the nf_tables \
             table inet {name} failed: {errno}"
        ))),
    }
}

/// Makes the table be what it should be.
pub(super) fn ensure_table(config: &NetworkConfig, redirects: &[Redirect]) -> Result<(), Errno> {
    nftables::ensure_table(&NatTable {
        name: &table_name(&config.bridge),
        subnets: &config.subnets(),
        bridge: &config.bridge,
        redirects,
    })
}

/// A node that forwards IPv6 stops to believe its own routers, unless `accept_ra` is 2: interfaces that believed them
/// go on to.
fn forward_ipv6(
    settings: &NodeSettings,
    bridge: &str,
    changes: &mut Changes,
) -> Result<(), NetworkError> {
    const FORWARDING: &str = "net/ipv6/conf/all/forwarding";
    let interfaces =
        fs::read_dir("/proc/sys/net/ipv6/conf").map_err(|source| NetworkError::Sysctl {
            name: FORWARDING.to_owned(),
            value: "1".to_owned(),
            source,
        })?;
    for interface in interfaces.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        if interface == bridge || ["all", "lo"].contains(&interface.as_str()) {
            continue;
        }
        let value = |name| {
            let path = Path::new("/proc/sys/net/ipv6/conf").join(&interface);
            fs::read_to_string(path.join(name)).unwrap_or_default()
        };
        if value("accept_ra").trim() == "1" && value("forwarding").trim() == "0" {
            settings.set(&format!("net/ipv6/conf/{interface}/accept_ra"), "2")?;
        }
    }
    if settings.set(FORWARDING, "1")? {
        changes.push(
            "set net.ipv6.conf.all.forwarding to 1: the node now forwards IPv6 packets, and its interfaces go on to \
             listen to routers (accept_ra 2)"
                .to_owned(),
        );
    }
    Ok(())
}

fn listed(subnets: &[Subnet]) -> String {
    let texts: Vec<String> = subnets.iter().map(ToString::to_string).collect();
    texts.join(" and ")
}
