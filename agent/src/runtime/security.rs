//! What a container may: the pod's and its own security context, merged as the kubelet does.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, Pod, PodSecurityContext, SELinuxOptions, SeccompProfile,
    SecurityContext,
};

use super::namespaces::{self, UserRange};
use super::wire::security_profile::ProfileType;
use super::wire::{
    Capability, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext,
    SeLinuxOption, SecurityProfile, SupplementalGroupsPolicy,
};

/// Kubernetes, `defaultMaskedPaths` of procMount Default.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Kubernetes, `defaultReadonlyPaths` of procMount Default.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Where Localhost seccomp profiles are: kubelet, `--root-dir`/seccomp.
const PROFILES: &str = "/var/lib/kubelet/seccomp";

/// As whom an image wants to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ImageUser {
    /// Its number, if it is one.
    pub(crate) uid: Option<i64>,
    /// Its name otherwise.
    pub(crate) name: String,
}

/// `runAsNonRoot` and a user that is root, or may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RootUser {
    /// The manifest says 0.
    #[error(
        "container's runAsUser breaks non-root policy (pod: \"{pod}\", container: {container})"
    )]
    RunAsUser {
        /// `name_namespace(uid)`
        pod: String,
        /// Its name.
        container: String,
    },
    /// The image says 0.
    #[error(
        "container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})"
    )]
    Image {
        /// `name_namespace(uid)`
        pod: String,
        /// Its name.
        container: String,
    },
    /// The image has a name.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: \"{pod}\", container: {container})"
    )]
    Name {
        /// The image's user.
        user: String,
        /// `name_namespace(uid)`
        pod: String,
        /// Its name.
        container: String,
    },
}

/// kubelet, `verifyRunAsNonRoot`.
pub(crate) fn verify_non_root(
    pod: &Pod,
    container: &Container,
    image: &ImageUser,
) -> Result<(), RootUser> {
    let merged = Merged::of(pod, container);
    if !merged.run_as_non_root {
        return Ok(());
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let metadata = &pod.metadata;
    let pod = format!(
        "{}_{}({})",
        text(&metadata.name),
        text(&metadata.namespace),
        text(&metadata.uid)
    );
    let container = container.name.clone();
    match (merged.run_as_user, image.uid) {
        (Some(0), _) => Err(RootUser::RunAsUser { pod, container }),
        (Some(_), _) => Ok(()),
        (None, None) if !image.name.is_empty() => Err(RootUser::Name {
            user: image.name.clone(),
            pod,
            container,
        }),
        // An image that says nothing runs as root (kubelet, `getImageUser`).
        (None, Some(0) | None) => Err(RootUser::Image { pod, container }),
        (None, Some(_)) => Ok(()),
    }
}

/// Of both contexts, the container's first.
struct Merged<'a> {
    own: Option<&'a SecurityContext>,
    run_as_user: Option<i64>,
    run_as_group: Option<i64>,
    run_as_non_root: bool,
    seccomp: Option<&'a SeccompProfile>,
    app_armor: Option<&'a AppArmorProfile>,
    selinux: Option<&'a SELinuxOptions>,
}

impl<'a> Merged<'a> {
    fn of(pod: &'a Pod, container: &'a Container) -> Self {
        let of_pod = of_pod(pod);
        let own = container.security_context.as_ref();
        macro_rules! first {
            ($field:ident) => {
                own.and_then(|it| it.$field.as_ref())
                    .or(of_pod.and_then(|it| it.$field.as_ref()))
            };
        }
        Self {
            own,
            run_as_user: first!(run_as_user).copied(),
            run_as_group: first!(run_as_group).copied(),
            run_as_non_root: first!(run_as_non_root).copied().unwrap_or(false),
            seccomp: first!(seccomp_profile),
            app_armor: first!(app_armor_profile),
            selinux: first!(se_linux_options),
        }
    }
}

fn of_pod(pod: &Pod) -> Option<&PodSecurityContext> {
    pod.spec.as_ref()?.security_context.as_ref()
}

/// What the sandbox itself may.
pub(super) fn sandbox(pod: &Pod, range: Option<UserRange>) -> LinuxSandboxSecurityContext {
    let context = of_pod(pod);
    LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces::options(pod, range)),
        selinux_options: context
            .and_then(|it| it.se_linux_options.as_ref())
            .map(selinux),
        run_as_user: value(context.and_then(|it| it.run_as_user)),
        run_as_group: value(context.and_then(|it| it.run_as_group)),
        supplemental_groups: supplemental_groups(pod),
        supplemental_groups_policy: groups_policy(pod).into(),
        privileged: has_privileged(pod),
        // kubelet: the sandbox has the runtime's profile, whatever its containers have.
        seccomp: Some(SecurityProfile {
            profile_type: ProfileType::RuntimeDefault.into(),
            localhost_ref: String::new(),
        }),
        ..Default::default()
    }
}

/// What a container may.
pub(super) fn container(
    pod: &Pod,
    container: &Container,
    image: &ImageUser,
    range: Option<UserRange>,
) -> LinuxContainerSecurityContext {
    let merged = Merged::of(pod, container);
    let own = merged.own;
    let uid = merged.run_as_user.or(image.uid);
    let is_unmasked = own.and_then(|it| it.proc_mount.as_deref()) == Some("Unmasked");
    let paths = |paths: &[&str]| match is_unmasked {
        true => Vec::new(),
        false => paths.iter().map(|&path| path.to_owned()).collect(),
    };
    LinuxContainerSecurityContext {
        capabilities: own
            .and_then(|it| it.capabilities.as_ref())
            .map(|it| Capability {
                add_capabilities: it.add.clone().unwrap_or_default(),
                drop_capabilities: it.drop.clone().unwrap_or_default(),
                add_ambient_capabilities: Vec::new(),
            }),
        privileged: own.and_then(|it| it.privileged).unwrap_or(false),
        namespace_options: Some(namespaces::options(pod, range)),
        selinux_options: merged.selinux.map(selinux),
        run_as_user: value(uid),
        run_as_group: value(merged.run_as_group),
        run_as_username: if uid.is_none() {
            image.name.clone()
        } else {
            String::new()
        },
        readonly_rootfs: own
            .and_then(|it| it.read_only_root_filesystem)
            .unwrap_or(false),
        supplemental_groups: supplemental_groups(pod),
        supplemental_groups_policy: groups_policy(pod).into(),
        no_new_privs: own.and_then(|it| it.allow_privilege_escalation) == Some(false),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(seccomp(merged.seccomp)),
        apparmor: merged.app_armor.map(|it| SecurityProfile {
            profile_type: profile_type(&it.type_).into(),
            localhost_ref: it.localhost_profile.clone().unwrap_or_default(),
        }),
        ..Default::default()
    }
}

fn value(value: Option<i64>) -> Option<Int64Value> {
    value.map(|value| Int64Value { value })
}

fn supplemental_groups(pod: &Pod) -> Vec<i64> {
    let context = of_pod(pod);
    let groups = context.and_then(|it| it.supplemental_groups.clone());
    let own = context.and_then(|it| it.fs_group);
    own.into_iter()
        .chain(groups.into_iter().flatten())
        .collect()
}

fn groups_policy(pod: &Pod) -> SupplementalGroupsPolicy {
    match of_pod(pod).and_then(|it| it.supplemental_groups_policy.as_deref()) {
        Some("Strict") => SupplementalGroupsPolicy::Strict,
        _ => SupplementalGroupsPolicy::Merge,
    }
}

fn has_privileged(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let mut containers = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers);
    containers.any(|container| {
        let own = container.security_context.as_ref();
        own.and_then(|it| it.privileged) == Some(true)
    })
}

/// Without a profile there is no filter: the kubelet without `--seccomp-default`.
fn seccomp(profile: Option<&SeccompProfile>) -> SecurityProfile {
    let Some(profile) = profile else {
        return SecurityProfile {
            profile_type: ProfileType::Unconfined.into(),
            localhost_ref: String::new(),
        };
    };
    SecurityProfile {
        profile_type: profile_type(&profile.type_).into(),
        localhost_ref: match &profile.localhost_profile {
            Some(file) if profile.type_ == "Localhost" => format!("{PROFILES}/{file}"),
            _ => String::new(),
        },
    }
}

fn profile_type(name: &str) -> ProfileType {
    match name {
        "RuntimeDefault" => ProfileType::RuntimeDefault,
        "Localhost" => ProfileType::Localhost,
        _ => ProfileType::Unconfined,
    }
}

fn selinux(options: &SELinuxOptions) -> SeLinuxOption {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    SeLinuxOption {
        user: text(&options.user),
        role: text(&options.role),
        r#type: text(&options.type_),
        level: text(&options.level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(of_pod: Value, own: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "1-2" },
            "spec": {
                "securityContext": of_pod,
                "containers": [{ "name": "main", "securityContext": own }],
            },
        }))
        .unwrap()
    }

    fn first(pod: &Pod) -> &Container {
        &pod.spec.as_ref().unwrap().containers[0]
    }

    #[test]
    fn the_containers_own_context_comes_first() {
        let pod = pod(
            json!({ "runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4],
                    "seccompProfile": { "type": "RuntimeDefault" } }),
            json!({ "runAsUser": 9, "allowPrivilegeEscalation": false, "procMount": "Unmasked",
                    "seccompProfile": { "type": "Localhost", "localhostProfile": "a/b.json" } }),
        );
        let context = container(&pod, first(&pod), &ImageUser::default(), None);
        assert_eq!(context.run_as_user, value(Some(9)));
        assert_eq!(context.run_as_group, value(Some(2)));
        assert_eq!(context.supplemental_groups, [3, 4]);
        assert!(context.no_new_privs && context.masked_paths.is_empty());
        let seccomp = context.seccomp.unwrap();
        assert_eq!(seccomp.localhost_ref, "/var/lib/kubelet/seccomp/a/b.json");
    }

    #[test]
    fn the_images_user_is_taken_if_nothing_else_is_said() {
        let pod = pod(json!({}), json!({}));
        let named = ImageUser {
            uid: None,
            name: "nobody".to_owned(),
        };
        let context = container(&pod, first(&pod), &named, None);
        assert_eq!(
            (context.run_as_user, context.run_as_username),
            (None, "nobody".to_owned())
        );
    }

    #[test]
    fn who_must_not_be_root_is_not() {
        let image = |uid, name: &str| ImageUser {
            uid,
            name: name.to_owned(),
        };
        let refused = |own: Value, image: &ImageUser| {
            let pod = pod(json!({ "runAsNonRoot": true }), own);
            verify_non_root(&pod, first(&pod), image)
                .map_err(|error| error.to_string())
                .err()
        };
        let of = "(pod: \"web_default(1-2)\", container: main)";
        assert_eq!(
            refused(json!({ "runAsUser": 0 }), &image(None, "")).unwrap(),
            format!("container's runAsUser breaks non-root policy {of}")
        );
        for uid in [Some(0), None] {
            assert_eq!(
                refused(json!({}), &image(uid, "")).unwrap(),
                format!("container has runAsNonRoot and image will run as root {of}")
            );
        }
        assert_eq!(refused(json!({}), &image(Some(7), "")), None);
        assert_eq!(
            refused(json!({}), &image(None, "app")).unwrap(),
            format!(
                "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root {of}"
            )
        );
        assert_eq!(
            refused(json!({ "runAsUser": 7 }), &image(Some(0), "")),
            None
        );
        assert_eq!(
            refused(json!({ "runAsNonRoot": false }), &image(Some(0), "")),
            None
        );
    }
}
