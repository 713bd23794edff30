//! Names and addresses of a pod.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::PodSpec;

use super::found::Found;
use crate::manifest::error::Problem;
use crate::manifest::names;

/// What resolvers take.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
/// What the kernel takes as a host name.
const HOSTNAME_BYTES_MAX: usize = 64;

pub(super) fn validate(found: &mut Found, spec: &PodSpec) {
    for (path, name) in [
        ("spec.hostname", &spec.hostname),
        ("spec.subdomain", &spec.subdomain),
    ] {
        if let Some(name) = name.as_deref().filter(|name| !name.is_empty()) {
            found.check(path, name, names::label);
        }
    }
    hostname_override(found, spec);
    host_aliases(found, spec);
    dns(found, spec);
    ports(found, spec);
}

fn hostname_override(found: &mut Found, spec: &PodSpec) {
    let Some(name) = spec.hostname_override.as_deref() else {
        return;
    };
    let path = "spec.hostnameOverride";
    found.check(path, name, names::subdomain);
    if name.len() > HOSTNAME_BYTES_MAX {
        found.note(path, Problem::TooLong(HOSTNAME_BYTES_MAX));
    }
    if spec.set_hostname_as_fqdn == Some(true) {
        found.forbidden(
            path,
            "setHostnameAsFQDN and hostnameOverride are mutually exclusive",
        );
    }
    if spec.host_network == Some(true) {
        found.forbidden(
            path,
            "hostnameOverride may not be set when `hostNetwork` is true",
        );
    }
}

fn host_aliases(found: &mut Found, spec: &PodSpec) {
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = format!("spec.hostAliases[{index}]");
        address(found, format!("{path}.ip"), &alias.ip);
        for (index, name) in alias.hostnames.iter().flatten().enumerate() {
            found.check(format!("{path}.hostnames[{index}]"), name, names::subdomain);
        }
    }
}

fn address(found: &mut Found, path: String, text: &str) {
    if text.parse::<IpAddr>().is_err() {
        found.invalid(
            path,
            text,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    }
}

fn dns(found: &mut Found, spec: &PodSpec) {
    let policy = spec.dns_policy.as_deref();
    found.one_of(
        "spec.dnsPolicy",
        policy,
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
    let config = spec.dns_config.as_ref();
    let nameservers: Vec<&String> = config
        .iter()
        .flat_map(|config| config.nameservers.iter().flatten())
        .collect();
    if policy == Some("None") && nameservers.is_empty() {
        found.required(
            "spec.dnsConfig.nameservers",
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        );
    }
    if nameservers.len() > NAMESERVERS_MAX {
        let detail = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        found.invalid("spec.dnsConfig.nameservers", &nameservers, detail);
    }
    for (index, nameserver) in nameservers.iter().enumerate() {
        let path = format!("spec.dnsConfig.nameservers[{index}]");
        address(found, path, nameserver);
    }
    let searches = config.and_then(|config| config.searches.as_deref());
    let searches = searches.unwrap_or_default();
    if searches.len() > SEARCHES_MAX {
        let detail = format!("must not have more than {SEARCHES_MAX} search paths");
        found.invalid("spec.dnsConfig.searches", searches, detail);
    }
    for (index, search) in searches.iter().enumerate() {
        // A name may end with a dot, be one, and have underscores in it (KEP 4427).
        let name = search.strip_suffix('.').unwrap_or(search);
        if search != "." {
            let path = format!("spec.dnsConfig.searches[{index}]");
            found.check(path, search, |_| names::subdomain(&name.replace('_', "a")));
        }
    }
    let options = config
        .iter()
        .flat_map(|config| config.options.iter().flatten());
    for (index, option) in options.enumerate() {
        if option.name.as_deref().unwrap_or_default().is_empty() {
            found.required(
                format!("spec.dnsConfig.options[{index}]"),
                "must not be empty",
            );
        }
    }
}

/// Ports of the host are taken once in a pod, and are those of the containers where both have one network.
fn ports(found: &mut Found, spec: &PodSpec) {
    let is_host_network = spec.host_network == Some(true);
    let mut taken = BTreeSet::new();
    let init_containers = spec.init_containers.iter().flatten();
    // Init containers run before: only those that stay take ports beside the others.
    let staying = init_containers
        .enumerate()
        .filter(|(_, container)| container.restart_policy.as_deref() == Some("Always"))
        .map(|(index, container)| (format!("spec.initContainers[{index}]"), container));
    let main = spec.containers.iter().enumerate();
    let main = main.map(|(index, container)| (format!("spec.containers[{index}]"), container));
    for (path, container) in main.chain(staying) {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(host_port) = port.host_port.filter(|port| *port != 0) else {
                continue;
            };
            let path = format!("{path}.ports[{index}]");
            if is_host_network && host_port != port.container_port {
                let path = format!("{path}.containerPort");
                let detail = "must match `hostPort` when `hostNetwork` is true";
                found.invalid(path, port.container_port, detail);
            }
            let protocol = port.protocol.as_deref().unwrap_or_default();
            let host_ip = port.host_ip.as_deref().unwrap_or_default();
            let place = format!("{protocol}/{host_ip}/{host_port}");
            found.unique(format!("{path}.hostPort"), &mut taken, &place);
        }
    }
}
