//! CRI `PodSandboxConfig` to `SandboxConfig`.

use super::security::{namespace_options, profile, selinux, supplemental_groups};
use super::{
    InvalidField, known, linux_resources, required, required_text, user_or_group, without_parent,
};
use crate::cri::wire::runtime as wire;
use crate::oci::{
    DnsConfig, NamespaceMode, PortMapping, Protocol, SandboxConfig, SandboxMetadata,
    SandboxSecurity,
};

/// The configuration of RunPodSandbox.
pub(in crate::cri) fn sandbox_config(
    config: Option<wire::PodSandboxConfig>,
) -> Result<SandboxConfig, InvalidField> {
    let config = required(config, "config")?;
    let linux = config.linux.unwrap_or_default();
    let log_directory = without_parent(config.log_directory, "config.log_directory")?;
    if !log_directory.is_empty() && !log_directory.starts_with('/') {
        return Err(InvalidField::new("config.log_directory", "is not absolute"));
    }
    Ok(SandboxConfig {
        metadata: metadata(config.metadata)?,
        hostname: config.hostname,
        log_directory,
        dns: config.dns_config.map(dns).transpose()?,
        port_mappings: config
            .port_mappings
            .into_iter()
            .enumerate()
            .map(|(index, mapping)| port_mapping(index, mapping))
            .collect::<Result<_, _>>()?,
        labels: config.labels,
        annotations: config.annotations,
        cgroup_parent: without_parent(linux.cgroup_parent, "config.linux.cgroup_parent")?,
        sysctls: linux.sysctls,
        overhead: linux
            .overhead
            .map(|overhead| linux_resources(overhead, "config.linux.overhead"))
            .transpose()?,
        resources: linux
            .resources
            .map(|resources| linux_resources(resources, "config.linux.resources"))
            .transpose()?,
        security: security(linux.security_context.unwrap_or_default())?,
    })
}

/// Each value becomes a part of a line of resolv.conf.
fn dns(dns: wire::DnsConfig) -> Result<DnsConfig, InvalidField> {
    for (name, values) in [
        ("servers", &dns.servers),
        ("searches", &dns.searches),
        ("options", &dns.options),
    ] {
        if let Some(value) = values.iter().find(|value| value.contains(char::is_control)) {
            return Err(InvalidField::new(
                format!("config.dns_config.{name}"),
                format!("{value:?} has a control character"),
            ));
        }
    }
    Ok(DnsConfig {
        servers: dns.servers,
        searches: dns.searches,
        options: dns.options,
    })
}

fn metadata(metadata: Option<wire::PodSandboxMetadata>) -> Result<SandboxMetadata, InvalidField> {
    let metadata = required(metadata, "config.metadata")?;
    Ok(SandboxMetadata {
        name: required_text(metadata.name, "config.metadata.name")?,
        uid: metadata.uid,
        namespace: metadata.namespace,
        attempt: metadata.attempt,
    })
}

fn port_mapping(index: usize, mapping: wire::PortMapping) -> Result<PortMapping, InvalidField> {
    let field = |name: &str| format!("config.port_mappings[{index}].{name}");
    let port = |value: i32, name: &str| match u16::try_from(value) {
        Ok(_) => Ok(value),
        Err(_) => Err(InvalidField::new(
            field(name),
            format!("{value} is not a port"),
        )),
    };
    let protocol = match known(mapping.protocol, &field("protocol"))? {
        wire::Protocol::Tcp => Protocol::Tcp,
        wire::Protocol::Udp => Protocol::Udp,
        wire::Protocol::Sctp => Protocol::Sctp,
    };
    if !mapping.host_ip.is_empty() && mapping.host_ip.parse::<std::net::IpAddr>().is_err() {
        let problem = format!("{:?} is not an address", mapping.host_ip);
        return Err(InvalidField::new(field("host_ip"), problem));
    }
    if mapping.host_port != 0 && mapping.container_port == 0 {
        return Err(InvalidField::new(
            field("container_port"),
            "is 0 with a host_port",
        ));
    }
    Ok(PortMapping {
        protocol,
        container_port: port(mapping.container_port, "container_port")?,
        host_port: port(mapping.host_port, "host_port")?,
        host_ip: mapping.host_ip,
    })
}

fn security(context: wire::LinuxSandboxSecurityContext) -> Result<SandboxSecurity, InvalidField> {
    const AT: &str = "config.linux.security_context";
    let namespaces = namespace_options(context.namespace_options.unwrap_or_default(), AT)?;
    if namespaces.pid == NamespaceMode::Target {
        return Err(InvalidField::new(
            format!("{AT}.namespace_options.pid"),
            "TARGET is for containers only",
        ));
    }
    if context.run_as_group.is_some() && context.run_as_user.is_none() {
        return Err(InvalidField::new(
            format!("{AT}.run_as_group"),
            "is set without run_as_user",
        ));
    }
    let id = |value: Option<wire::Int64Value>, name: &str| {
        value
            .map(|value| user_or_group(value.value, &format!("{AT}.{name}")))
            .transpose()
    };
    let (groups, policy) = supplemental_groups(
        context.supplemental_groups,
        context.supplemental_groups_policy,
        AT,
    )?;
    Ok(SandboxSecurity {
        namespaces,
        selinux: context.selinux_options.map(selinux),
        run_as_user: id(context.run_as_user, "run_as_user")?,
        run_as_group: id(context.run_as_group, "run_as_group")?,
        readonly_rootfs: context.readonly_rootfs,
        supplemental_groups: groups,
        supplemental_groups_policy: policy,
        privileged: context.privileged,
        seccomp: profile(
            context.seccomp,
            &context.seccomp_profile_path,
            [
                &format!("{AT}.seccomp"),
                &format!("{AT}.seccomp_profile_path"),
            ],
        )?,
        apparmor: profile(context.apparmor, "", [&format!("{AT}.apparmor"), ""])?,
    })
}
