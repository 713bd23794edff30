//! Whom the first process runs as, as far as it can be said before the container's user database is read.

use super::container_config::RunAsUser;
use super::error::OciError;
use super::input::Input;
use super::sandbox_config::SupplementalGroupsPolicy;

/// The largest id: 4294967295 means "no id" to the kernel.
const LARGEST: i64 = u32::MAX as i64 - 1;

/// What the shim's child resolves in the container's own /etc/passwd and /etc/group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserRequest {
    /// `user`, `uid`, `user:group` or `uid:gid`: never empty. A number that the database does not know is right, a name
    /// that it does not know is an error.
    pub name: String,
    /// The uid, if `name` is a number; else 0.
    pub uid: u32,
    /// The gid, if `gid_given`; else 0.
    pub gid: u32,
    /// `gid` replaces the group that the database gives.
    pub gid_given: bool,
    /// The request's supplemental groups, and those of CDI devices.
    pub additional_gids: Vec<u32>,
    /// Add the groups of /etc/group that name the user.
    pub merge_groups: bool,
}

/// The user of the request, else of the image, else root.
pub(super) fn user(input: &Input<'_>) -> Result<UserRequest, OciError> {
    let security = &input.container.security;
    let name = match &security.run_as_user {
        RunAsUser::Uid(uid) => id("linux.security_context.run_as_user", *uid)?.to_string(),
        RunAsUser::Name(name) if name.is_empty() || name.contains([':', '\0', '\n']) => {
            return Err(OciError::value(
                "linux.security_context.run_as_username",
                name,
                "not a user name",
            ));
        }
        RunAsUser::Name(name) => name.clone(),
        RunAsUser::Image if security.run_as_group.is_some() => {
            return Err(OciError::value(
                "linux.security_context.run_as_group",
                security.run_as_group.unwrap_or_default(),
                "a group without run_as_user or run_as_username",
            ));
        }
        RunAsUser::Image if input.image.user.is_empty() => "0".to_owned(),
        RunAsUser::Image => input.image.user.clone(),
    };
    let gid = security
        .run_as_group
        .map(|gid| id("linux.security_context.run_as_group", gid))
        .transpose()?;
    let mut additional_gids = security
        .supplemental_groups
        .iter()
        .map(|gid| id("linux.security_context.supplemental_groups", *gid))
        .collect::<Result<Vec<u32>, _>>()?;
    for gid in &input.edits.additional_gids {
        if !additional_gids.contains(gid) {
            additional_gids.push(*gid);
        }
    }
    let uid = name.split(':').next().and_then(|uid| uid.parse().ok());
    Ok(UserRequest {
        uid: uid.unwrap_or(0),
        gid: gid.unwrap_or(0),
        gid_given: gid.is_some(),
        additional_gids,
        merge_groups: security.supplemental_groups_policy == SupplementalGroupsPolicy::Merge,
        name,
    })
}

fn id(field: &'static str, value: i64) -> Result<u32, OciError> {
    u32::try_from(value)
        .ok()
        .filter(|_| value <= LARGEST)
        .ok_or_else(|| OciError::value(field, value, "not between 0 and 4294967294"))
}
