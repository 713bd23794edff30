//! What a pod's resolv.conf says, by its dnsPolicy and dnsConfig: kubelet, `pkg/kubelet/network/dns`.

use std::fs;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};

use super::wire::DnsConfig;

/// Glibc reads no more: resolv.conf(5), `MAXNS`.
const SERVERS_MAX: usize = 3;

/// Kubernetes, `MaxDNSSearchPaths`.
const SEARCHES_MAX: usize = 32;

/// Where systemd-resolved writes the servers that it asks: the file that resolv.conf names has only its own address,
/// which a pod's network does not reach.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// What the node's resolv.conf says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeResolver {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl NodeResolver {
    /// Reads the host's file; one that is not there says nothing.
    pub(crate) fn read() -> Self {
        let of = |path| Self::parse(&fs::read_to_string(path).unwrap_or_default());
        let found = of("/etc/resolv.conf");
        let is_stub = !found.servers.is_empty() && found.servers.iter().all(|ip| is_loopback(ip));
        match is_stub {
            true => Some(of(BEHIND_STUB))
                .filter(|behind| !behind.servers.is_empty())
                .unwrap_or(found),
            false => found,
        }
    }

    /// resolv.conf(5): the last `search` counts, options add up.
    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let keyword = words.next();
            let values = words.map(str::to_owned);
            match keyword {
                Some("nameserver") => found.servers.extend(values.take(1)),
                Some("search") => {
                    found.searches = values.filter(|search| search != ".").collect();
                }
                Some("options") => found.options.extend(values),
                _ => {}
            }
        }
        found
    }
}

fn is_loopback(address: &str) -> bool {
    address
        .parse()
        .is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The configuration of a pod. There is no DNS of a cluster: ClusterFirst falls back to Default, as on a kubelet
/// without `--cluster-dns`.
pub(super) fn config(pod: &Pod, node: &NodeResolver) -> DnsConfig {
    let spec = pod.spec.as_ref();
    let mut config = match spec.and_then(|spec| spec.dns_policy.as_deref()) {
        Some("None") => DnsConfig::default(),
        _ => DnsConfig {
            servers: node.servers.clone(),
            searches: node.searches.clone(),
            options: node.options.clone(),
        },
    };
    if let Some(own) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        add(&mut config, own);
    }
    config.servers.truncate(SERVERS_MAX);
    config.searches.truncate(SEARCHES_MAX);
    config
}

fn add(config: &mut DnsConfig, own: &PodDNSConfig) {
    merge(&mut config.servers, own.nameservers.as_deref());
    merge(&mut config.searches, own.searches.as_deref());
    for option in own.options.iter().flatten() {
        let Some(name) = option.name.as_deref() else {
            continue;
        };
        // The pod's own value stands over the node's.
        config
            .options
            .retain(|known| known.split(':').next() != Some(name));
        config
            .options
            .push(match option.value.as_deref().filter(|it| !it.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name.to_owned(),
            });
    }
}

fn merge(known: &mut Vec<String>, more: Option<&[String]>) {
    for value in more.unwrap_or_default() {
        if !known.contains(value) {
            known.push(value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(policy: &str, config: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "web" },
            "spec": { "containers": [], "dnsPolicy": policy, "dnsConfig": config },
        }))
        .unwrap()
    }

    fn node() -> NodeResolver {
        NodeResolver::parse(
            "# comment\nnameserver 192.0.2.1\nsearch old\nsearch a.example b.example\noptions ndots:2 rotate\n",
        )
    }

    #[test]
    fn the_nodes_file_is_taken_and_added_to() {
        let own = json!({
            "nameservers": ["192.0.2.1", "192.0.2.9"],
            "searches": ["c.example"],
            "options": [{ "name": "ndots", "value": "5" }, { "name": "edns0" }],
        });
        let config = config(&pod("ClusterFirst", own), &node());
        assert_eq!(config.servers, ["192.0.2.1", "192.0.2.9"]);
        assert_eq!(config.searches, ["a.example", "b.example", "c.example"]);
        assert_eq!(config.options, ["rotate", "ndots:5", "edns0"]);
    }

    #[test]
    fn none_takes_nothing_of_the_node() {
        let own = json!({ "nameservers": ["192.0.2.5"] });
        let config = config(&pod("None", own), &node());
        assert_eq!(config.servers, ["192.0.2.5"]);
        assert!(config.searches.is_empty() && config.options.is_empty());
    }

    #[test]
    fn three_servers_are_enough() {
        let own = json!({ "nameservers": ["192.0.2.2", "192.0.2.3", "192.0.2.4"] });
        let config = config(&pod("Default", own), &node());
        assert_eq!(config.servers, ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    }
}
