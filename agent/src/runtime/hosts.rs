//! The /etc/hosts that the agent writes for a pod, as the kubelet does.

use k8s_openapi::api::core::v1::Pod;

use super::hostname;

/// For a pod with its own network.
const MANAGED: &str = "# Kubernetes-managed hosts file.\n";

/// For a pod in the host's network: the host's file follows.
const MANAGED_HOST: &str = "# Kubernetes-managed hosts file (host network).\n";

const OWN_NETWORK: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
";

/// The file's text. `of_host` is the host's own file, for pods in its network.
pub(crate) fn hosts_file(
    pod: &Pod,
    pod_ips: &[String],
    cluster_domain: &str,
    of_host: &str,
) -> String {
    let spec = pod.spec.as_ref();
    let mut text = String::new();
    if spec.is_some_and(|spec| spec.host_network == Some(true)) {
        text.push_str(MANAGED_HOST);
        text.push_str(of_host);
    } else {
        text.push_str(MANAGED);
        text.push_str(OWN_NETWORK);
        let names = hostname::names(pod, cluster_domain).unwrap_or_default();
        for ip in pod_ips {
            match names.domain.is_empty() {
                true => text.push_str(&format!("{ip}\t{}\n", names.short)),
                false => text.push_str(&format!(
                    "{ip}\t{short}.{}\t{short}\n",
                    names.domain,
                    short = names.short
                )),
            }
        }
    }
    let aliases = spec.and_then(|spec| spec.host_aliases.as_deref());
    if let Some(aliases) = aliases.filter(|aliases| !aliases.is_empty()) {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.as_deref().unwrap_or_default();
            text.push_str(&format!("{}\t{}\n", alias.ip, names.join("\t")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn aliases_come_after_the_pods_own_addresses() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default" },
            "spec": {
                "containers": [],
                "hostAliases": [{ "ip": "10.1.2.3", "hostnames": ["foo.remote", "bar.remote"] }],
            },
        }))
        .unwrap();
        let text = hosts_file(&pod, &["10.88.0.7".to_owned()], "cluster.local", "");
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(
            text.ends_with(
                "10.88.0.7\tweb\n\n# Entries added by HostAliases.\n10.1.2.3\tfoo.remote\tbar.remote\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn in_the_hosts_network_the_hosts_file_is_kept() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default" },
            "spec": { "containers": [], "hostNetwork": true },
        }))
        .unwrap();
        let text = hosts_file(&pod, &[], "cluster.local", "127.0.0.1 localhost\n");
        assert_eq!(
            text,
            "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
        );
    }
}
