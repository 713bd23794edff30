//! Rights of pods and containers.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};

use super::found::{Found, id, relative_path};

/// How a type says that a profile is a file of the node.
const LOCALHOST: &str = "Localhost";
const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
const SYSCTL: &str = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const USER_NAMESPACE: &str = "when `hostUsers` is false";

pub(super) fn validate_pod(found: &mut Found, spec: &PodSpec) {
    let path = "spec";
    let is = |flag: Option<bool>| flag == Some(true);
    if is(spec.share_process_namespace) && is(spec.host_pid) {
        found.invalid(
            format!("{path}.shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
    if spec.host_users == Some(false) {
        let host_modes = [
            ("hostNetwork", spec.host_network),
            ("hostPID", spec.host_pid),
            ("hostIPC", spec.host_ipc),
        ];
        for (field, _) in host_modes.iter().filter(|(_, flag)| is(*flag)) {
            found.forbidden(format!("{path}.{field}"), USER_NAMESPACE);
        }
    }
    if let Some(context) = &spec.security_context {
        pod_context(found, spec, context);
    }
}

fn pod_context(found: &mut Found, spec: &PodSpec, context: &PodSecurityContext) {
    let path = "spec.securityContext";
    id(found, format!("{path}.fsGroup"), context.fs_group);
    id(found, format!("{path}.runAsUser"), context.run_as_user);
    id(found, format!("{path}.runAsGroup"), context.run_as_group);
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(
            found,
            format!("{path}.supplementalGroups[{index}]"),
            Some(*group),
        );
    }
    found.one_of(
        format!("{path}.fsGroupChangePolicy"),
        context.fs_group_change_policy.as_deref(),
        &["Always", "OnRootMismatch"],
    );
    found.one_of(
        format!("{path}.supplementalGroupsPolicy"),
        context.supplemental_groups_policy.as_deref(),
        &["Merge", "Strict"],
    );
    seccomp(found, path, context.seccomp_profile.as_ref());
    app_armor(found, path, context.app_armor_profile.as_ref());
    sysctls(found, spec, context);
}

fn sysctls(found: &mut Found, spec: &PodSpec, context: &PodSecurityContext) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, sysctl) in context.sysctls.iter().flatten().enumerate() {
        let path = format!("spec.securityContext.sysctls[{index}].name");
        let name = sysctl.name.replace('/', ".");
        match () {
            () if name.is_empty() => found.required(path.clone(), ""),
            () if !is_sysctl(&name) => found.invalid(path.clone(), &sysctl.name, SYSCTL),
            () => {}
        }
        let is_of_ipc = name.starts_with("fs.mqueue.")
            || (name.starts_with("kernel.msg")
                || name.starts_with("kernel.shm")
                || name == "kernel.sem");
        if name.starts_with("net.") && spec.host_network == Some(true) {
            found.invalid(
                path.clone(),
                &sysctl.name,
                "may not be specified when 'hostNetwork' is set to true",
            );
        }
        if is_of_ipc && spec.host_ipc == Some(true) {
            found.invalid(
                path.clone(),
                &sysctl.name,
                "may not be specified when 'hostIPC' is set to true",
            );
        }
        found.unique(path, &mut seen, &name);
    }
}

fn is_sysctl(name: &str) -> bool {
    let is_end = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        is_end(bytes.first())
            && is_end(bytes.last())
            && bytes.iter().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(byte)
            })
    };
    name.len() <= 253 && name.split('.').all(is_part)
}

pub(super) fn validate_container(
    found: &mut Found,
    path: &str,
    spec: &PodSpec,
    context: &SecurityContext,
) {
    let path = &format!("{path}.securityContext");
    id(found, format!("{path}.runAsUser"), context.run_as_user);
    id(found, format!("{path}.runAsGroup"), context.run_as_group);
    seccomp(found, path, context.seccomp_profile.as_ref());
    app_armor(found, path, context.app_armor_profile.as_ref());
    let proc_mount = context.proc_mount.as_deref();
    found.one_of(
        format!("{path}.procMount"),
        proc_mount,
        &["Default", "Unmasked"],
    );
    if proc_mount == Some("Unmasked") && spec.host_users != Some(false) {
        let detail = "`hostUsers` must be false to use `Unmasked`";
        found.invalid(format!("{path}.procMount"), "Unmasked", detail);
    }
    if context.allow_privilege_escalation == Some(false) {
        let field = format!("{path}.allowPrivilegeEscalation");
        if context.privileged == Some(true) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            found.invalid(field.clone(), false, detail);
        }
        let added = context
            .capabilities
            .as_ref()
            .and_then(|capabilities| capabilities.add.as_ref());
        if added
            .into_iter()
            .flatten()
            .any(|name| name == "CAP_SYS_ADMIN" || name == "SYS_ADMIN")
        {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            found.invalid(field, false, detail);
        }
    }
}

fn seccomp(found: &mut Found, path: &str, profile: Option<&SeccompProfile>) {
    if let Some(profile) = profile {
        let path = format!("{path}.seccompProfile");
        let file = profile.localhost_profile.as_deref();
        profile_of(found, &path, &profile.type_, file);
        if let Some(file) = file {
            relative_path(found, &format!("{path}.localhostProfile"), file);
        }
    }
}

fn app_armor(found: &mut Found, path: &str, profile: Option<&AppArmorProfile>) {
    if let Some(profile) = profile {
        let path = format!("{path}.appArmorProfile");
        profile_of(
            found,
            &path,
            &profile.type_,
            profile.localhost_profile.as_deref(),
        );
    }
}

fn profile_of(found: &mut Found, path: &str, kind: &str, file: Option<&str>) {
    match kind {
        "" => found.required(
            format!("{path}.type"),
            "type is required when profile is set",
        ),
        _ => found.one_of(format!("{path}.type"), Some(kind), PROFILES),
    }
    match (kind == LOCALHOST, file.unwrap_or_default().is_empty()) {
        (true, true) => found.required(
            format!("{path}.localhostProfile"),
            "must be set when profile type is Localhost",
        ),
        (false, false) => found.invalid(
            format!("{path}.localhostProfile"),
            file,
            "can only be set when profile type is Localhost",
        ),
        _ => {}
    }
}
