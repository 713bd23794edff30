//! The host name of a pod, and its name in the DNS of a cluster.

use k8s_openapi::api::core::v1::Pod;

/// Linux, `HOST_NAME_MAX` of limits.h: a longer name cannot be set.
const HOSTNAME_MAX: usize = 64;

/// A DNS label: the kubelet cuts names of pods to it.
const LABEL_MAX: usize = 63;

/// The pod's full name is too long to be its host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long ({HOSTNAME_MAX} characters is the max, {length} characters requested)"
)]
pub(crate) struct LongName {
    name: String,
    length: usize,
}

/// A pod's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// What `hostname` says in the pod; empty in the host's network.
    pub(super) hostname: String,
    /// For /etc/hosts: the name alone.
    pub(super) short: String,
    /// The part after the name; empty without a subdomain.
    pub(super) domain: String,
}

/// The names of a pod: kubelet, `GeneratePodHostNameAndDomain`.
///
/// # Errors
/// When `setHostnameAsFQDN` asks for a name that Linux does not take.
pub(super) fn names(pod: &Pod, cluster_domain: &str) -> Result<Names, LongName> {
    let Some(spec) = &pod.spec else {
        return Ok(Names::default());
    };
    let wanted = spec.hostname.as_deref().filter(|name| !name.is_empty());
    let own = pod.metadata.name.as_deref().unwrap_or_default();
    let mut short = cut(wanted.unwrap_or(own)).to_owned();
    let subdomain = spec.subdomain.as_deref().filter(|name| !name.is_empty());
    let mut domain = subdomain.map_or_else(String::new, |subdomain| {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        format!("{subdomain}.{namespace}.svc.{cluster_domain}")
    });
    if let Some(name) = spec.hostname_override.as_deref() {
        short = name.to_owned();
        domain.clear();
    }
    let is_host_network = spec.host_network == Some(true);
    let hostname = match spec.set_hostname_as_fqdn {
        _ if is_host_network && spec.hostname_override.is_none() => String::new(),
        Some(true) if !domain.is_empty() => {
            let name = format!("{short}.{domain}");
            if name.len() > HOSTNAME_MAX {
                return Err(LongName {
                    length: name.len(),
                    name,
                });
            }
            name
        }
        _ => short.clone(),
    };
    Ok(Names {
        hostname,
        short,
        domain,
    })
}

/// At most a DNS label, which does not end with a dash or a dot.
fn cut(name: &str) -> &str {
    match name.get(..LABEL_MAX) {
        Some(start) if name.len() > LABEL_MAX => start.trim_end_matches(['-', '.']),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": spec,
        }))
        .unwrap()
    }

    fn named(spec: serde_json::Value) -> (String, String) {
        let names = names(&pod(spec), "cluster.local").unwrap();
        (names.hostname, names.domain)
    }

    #[test]
    fn a_pod_is_called_by_its_name_unless_it_says_otherwise() {
        let none = String::new;
        assert_eq!(named(json!({})), ("web".to_owned(), none()));
        assert_eq!(
            named(json!({ "hostname": "front" })),
            ("front".to_owned(), none())
        );
        assert_eq!(named(json!({ "hostNetwork": true })), (none(), none()));
        assert_eq!(
            named(json!({ "subdomain": "s" })),
            ("web".to_owned(), "s.shop.svc.cluster.local".to_owned())
        );
        assert_eq!(
            named(json!({ "subdomain": "s", "setHostnameAsFQDN": true })).0,
            "web.s.shop.svc.cluster.local"
        );
    }

    #[test]
    fn a_long_name_is_cut_or_refused() {
        let long = "a".repeat(62) + "-b";
        assert_eq!(cut(&long), "a".repeat(62));
        let spec =
            json!({ "hostname": "a".repeat(60), "subdomain": "s", "setHostnameAsFQDN": true });
        let error = names(&pod(spec), "cluster.local").unwrap_err();
        assert!(error.to_string().contains("is too long"), "{error}");
    }
}
