//! What sandboxes and containers have in common of their security contexts: namespaces, profiles, labels, groups.

use super::{InvalidField, known, user_or_group};
use crate::cri::wire::runtime as wire;
use crate::oci::{
    IdMapping, NamespaceMode, NamespaceOptions, SecurityProfile, SelinuxOptions,
    SupplementalGroupsPolicy, UserNamespaceOptions,
};

/// Namespaces; each has its own legal modes (CRI api.proto, NamespaceOption).
pub(super) fn namespace_options(
    options: wire::NamespaceOption,
    at: &str,
) -> Result<NamespaceOptions, InvalidField> {
    use NamespaceMode::{Container, Node, Pod, Target};
    let at = format!("{at}.namespace_options");
    let options = NamespaceOptions {
        network: mode(options.network, &[Pod, Node], &format!("{at}.network"))?,
        pid: mode(
            options.pid,
            &[Pod, Container, Node, Target],
            &format!("{at}.pid"),
        )?,
        ipc: mode(options.ipc, &[Pod, Node], &format!("{at}.ipc"))?,
        target_id: options.target_id,
        user: options
            .userns_options
            .map(|user| user_namespace(user, &format!("{at}.userns_options")))
            .transpose()?,
    };
    if options.pid == Target && options.target_id.is_empty() {
        return Err(InvalidField::new(
            format!("{at}.target_id"),
            "missing, and pid is TARGET",
        ));
    }
    Ok(options)
}

fn mode(value: i32, legal: &[NamespaceMode], field: &str) -> Result<NamespaceMode, InvalidField> {
    let wire_mode: wire::NamespaceMode = known(value, field)?;
    let mode = match wire_mode {
        wire::NamespaceMode::Pod => NamespaceMode::Pod,
        wire::NamespaceMode::Container => NamespaceMode::Container,
        wire::NamespaceMode::Node => NamespaceMode::Node,
        wire::NamespaceMode::Target => NamespaceMode::Target,
    };
    if legal.contains(&mode) {
        Ok(mode)
    } else {
        let problem = format!("{} is not possible here", wire_mode.as_str_name());
        Err(InvalidField::new(field, problem))
    }
}

/// A user namespace: the host's, or one mapping that maps root (critest, user namespaces).
fn user_namespace(
    options: wire::UserNamespace,
    at: &str,
) -> Result<UserNamespaceOptions, InvalidField> {
    let legal = [NamespaceMode::Pod, NamespaceMode::Node];
    let mode = mode(options.mode, &legal, &format!("{at}.mode"))?;
    let user = UserNamespaceOptions {
        mode,
        uids: id_mappings(options.uids),
        gids: id_mappings(options.gids),
    };
    for (name, mappings) in [("uids", &user.uids), ("gids", &user.gids)] {
        let problem = match (mode, mappings.as_slice()) {
            (NamespaceMode::Node, []) => continue,
            (NamespaceMode::Node, _) => "mappings are not possible with mode NODE",
            (_, [only]) if only.container_id == 0 && only.length > 0 => continue,
            (_, [_]) => "the mapping must begin with container_id 0 and not be empty",
            (_, _) => "exactly one mapping is needed",
        };
        return Err(InvalidField::new(format!("{at}.{name}"), problem));
    }
    Ok(user)
}

pub(super) fn id_mappings(mappings: Vec<wire::IdMapping>) -> Vec<IdMapping> {
    mappings
        .into_iter()
        .map(|mapping| IdMapping {
            host_id: mapping.host_id,
            container_id: mapping.container_id,
            length: mapping.length,
        })
        .collect()
}

/// A seccomp or AppArmor profile. The message wins over the deprecated text, which old clients still send beside it.
pub(super) fn profile(
    message: Option<wire::SecurityProfile>,
    text: &str,
    [message_field, text_field]: [&str; 2],
) -> Result<Option<SecurityProfile>, InvalidField> {
    use wire::security_profile::ProfileType;
    let Some(message) = message else {
        return profile_from_text(text, text_field);
    };
    let type_field = format!("{message_field}.profile_type");
    let path_field = format!("{message_field}.localhost_ref");
    let path = message.localhost_ref;
    match (known(message.profile_type, &type_field)?, path.is_empty()) {
        (ProfileType::RuntimeDefault, true) => Ok(Some(SecurityProfile::RuntimeDefault)),
        (ProfileType::Unconfined, true) => Ok(Some(SecurityProfile::Unconfined)),
        (ProfileType::Localhost, false) => Ok(Some(SecurityProfile::Localhost(path))),
        (ProfileType::Localhost, true) => Err(InvalidField::new(path_field, "missing")),
        (ProfileType::RuntimeDefault | ProfileType::Unconfined, false) => Err(InvalidField::new(
            path_field,
            "is set, and profile_type is not Localhost",
        )),
    }
}

fn profile_from_text(text: &str, field: &str) -> Result<Option<SecurityProfile>, InvalidField> {
    Ok(match text {
        "" => None,
        "runtime/default" | "docker/default" => Some(SecurityProfile::RuntimeDefault),
        "unconfined" => Some(SecurityProfile::Unconfined),
        _ => match text.strip_prefix("localhost/") {
            Some(path) if !path.is_empty() => Some(SecurityProfile::Localhost(path.to_owned())),
            _ => {
                let problem = format!("{text:?} is not a profile");
                return Err(InvalidField::new(field, problem));
            }
        },
    })
}

pub(super) fn selinux(options: wire::SeLinuxOption) -> SelinuxOptions {
    SelinuxOptions {
        user: options.user,
        role: options.role,
        type_: options.r#type,
        level: options.level,
    }
}

pub(super) fn supplemental_groups(
    groups: Vec<i64>,
    policy: i32,
    at: &str,
) -> Result<(Vec<i64>, SupplementalGroupsPolicy), InvalidField> {
    let policy_field = format!("{at}.supplemental_groups_policy");
    let policy = match known(policy, &policy_field)? {
        wire::SupplementalGroupsPolicy::Merge => SupplementalGroupsPolicy::Merge,
        wire::SupplementalGroupsPolicy::Strict => SupplementalGroupsPolicy::Strict,
    };
    let groups_field = format!("{at}.supplemental_groups");
    for group in &groups {
        user_or_group(*group, &groups_field)?;
    }
    Ok((groups, policy))
}
