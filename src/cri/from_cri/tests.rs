//! Every check of a request, and that nothing of it is lost.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::cri::wire::runtime as wire;
use crate::oci::{NamespaceMode, RunAsUser, SecurityProfile};
use wire::security_profile::ProfileType;

fn sandbox() -> wire::PodSandboxConfig {
    wire::PodSandboxConfig {
        metadata: Some(wire::PodSandboxMetadata {
            name: "web".to_owned(),
            uid: "u-1".to_owned(),
            namespace: "default".to_owned(),
            attempt: 2,
        }),
        ..wire::PodSandboxConfig::default()
    }
}

fn container() -> wire::ContainerConfig {
    wire::ContainerConfig {
        metadata: Some(wire::ContainerMetadata {
            name: "main".to_owned(),
            attempt: 1,
        }),
        image: Some(wire::ImageSpec {
            image: "busybox".to_owned(),
            ..wire::ImageSpec::default()
        }),
        ..wire::ContainerConfig::default()
    }
}

fn sandbox_security(config: &mut wire::PodSandboxConfig) -> &mut wire::LinuxSandboxSecurityContext {
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
}

fn container_security(
    config: &mut wire::ContainerConfig,
) -> &mut wire::LinuxContainerSecurityContext {
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
}

fn number(value: i64) -> Option<wire::Int64Value> {
    Some(wire::Int64Value { value })
}

fn mount() -> wire::Mount {
    wire::Mount {
        container_path: "/data".to_owned(),
        host_path: "/srv".to_owned(),
        ..wire::Mount::default()
    }
}

fn mapping(container_id: u32, length: u32) -> wire::IdMapping {
    wire::IdMapping {
        host_id: 65536,
        container_id,
        length,
    }
}

#[track_caller]
fn sandbox_refused(change: impl FnOnce(&mut wire::PodSandboxConfig), expected: &str) {
    let mut config = sandbox();
    change(&mut config);
    assert_eq!(
        sandbox_config(Some(config)).unwrap_err().to_string(),
        expected
    );
}

#[track_caller]
fn container_refused(change: impl FnOnce(&mut wire::ContainerConfig), expected: &str) {
    let mut config = container();
    change(&mut config);
    assert_eq!(
        container_config(Some(config)).unwrap_err().to_string(),
        expected
    );
}

#[test]
fn a_sandbox_needs_a_configuration_with_metadata() {
    assert_eq!(
        sandbox_config(None).unwrap_err().to_string(),
        "config: missing"
    );
    sandbox_refused(|config| config.metadata = None, "config.metadata: missing");
    sandbox_refused(
        |config| config.metadata.as_mut().unwrap().name.clear(),
        "config.metadata.name: missing",
    );
}

#[test]
fn sandbox_paths_cannot_lead_out() {
    sandbox_refused(
        |config| config.log_directory = "logs".to_owned(),
        "config.log_directory: is not absolute",
    );
    sandbox_refused(
        |config| config.log_directory = "/var/log/../..".to_owned(),
        "config.log_directory: \"/var/log/../..\" contains \"..\"",
    );
    sandbox_refused(
        |config| config.linux.get_or_insert_default().cgroup_parent = "/a/../../b".to_owned(),
        "config.linux.cgroup_parent: \"/a/../../b\" contains \"..\"",
    );
}

#[test]
fn each_namespace_has_its_legal_modes() {
    use wire::NamespaceMode as Mode;
    for (field, mode, is_legal) in [
        ("network", Mode::Node, true),
        ("network", Mode::Container, false),
        ("network", Mode::Target, false),
        ("ipc", Mode::Node, true),
        ("ipc", Mode::Container, false),
        ("pid", Mode::Container, true),
        ("pid", Mode::Node, true),
        ("pid", Mode::Target, false),
    ] {
        let mut config = sandbox();
        let options = sandbox_security(&mut config)
            .namespace_options
            .get_or_insert_default();
        options.target_id = "other".to_owned();
        match field {
            "network" => options.network = mode as i32,
            "ipc" => options.ipc = mode as i32,
            _ => options.pid = mode as i32,
        }
        let outcome = sandbox_config(Some(config)).map_err(|error| error.field);
        match is_legal {
            true => assert!(outcome.is_ok(), "{field} {mode:?}"),
            false => assert_eq!(
                outcome.unwrap_err(),
                format!("config.linux.security_context.namespace_options.{field}")
            ),
        }
    }
}

#[test]
fn a_target_needs_an_id() {
    container_refused(
        |config| {
            let options = wire::NamespaceOption {
                pid: wire::NamespaceMode::Target as i32,
                ..wire::NamespaceOption::default()
            };
            container_security(config).namespace_options = Some(options);
        },
        "config.linux.security_context.namespace_options.target_id: missing, and pid is TARGET",
    );
}

#[test]
fn an_unknown_enumeration_value_is_refused() {
    container_refused(
        |config| config.stop_signal = 99,
        "config.stop_signal: 99 is not a value of this enumeration",
    );
}

#[test]
fn a_user_namespace_needs_one_mapping_of_root() {
    for (mode, uids, is_legal) in [
        (wire::NamespaceMode::Pod, vec![mapping(0, 65536)], true),
        (wire::NamespaceMode::Pod, vec![], false),
        (wire::NamespaceMode::Pod, vec![mapping(1, 65536)], false),
        (wire::NamespaceMode::Pod, vec![mapping(0, 0)], false),
        (
            wire::NamespaceMode::Pod,
            vec![mapping(0, 1), mapping(1, 1)],
            false,
        ),
        (wire::NamespaceMode::Node, vec![], true),
        (wire::NamespaceMode::Node, vec![mapping(0, 65536)], false),
        (
            wire::NamespaceMode::Container,
            vec![mapping(0, 65536)],
            false,
        ),
    ] {
        let mut config = sandbox();
        sandbox_security(&mut config).namespace_options = Some(wire::NamespaceOption {
            userns_options: Some(wire::UserNamespace {
                mode: mode as i32,
                uids: uids.clone(),
                gids: uids.clone(),
            }),
            ..wire::NamespaceOption::default()
        });
        let outcome = sandbox_config(Some(config));
        assert_eq!(outcome.is_ok(), is_legal, "{mode:?} {uids:?}: {outcome:?}");
    }
}

#[test]
fn a_group_needs_a_user() {
    sandbox_refused(
        |config| sandbox_security(config).run_as_group = number(5),
        "config.linux.security_context.run_as_group: is set without run_as_user",
    );
    container_refused(
        |config| container_security(config).run_as_group = number(5),
        "config.linux.security_context.run_as_group: is set without run_as_user or run_as_username",
    );
    let mut config = container();
    container_security(&mut config).run_as_group = number(5);
    container_security(&mut config).run_as_username = "www".to_owned();
    let security = container_config(Some(config)).unwrap().security;
    assert_eq!(security.run_as_user, RunAsUser::Name("www".to_owned()));
    assert_eq!(security.run_as_group, Some(5));
}

#[test]
fn users_and_groups_fit_the_kernel() {
    for bad in [-1, i64::from(u32::MAX), i64::MAX] {
        container_refused(
            |config| container_security(config).run_as_user = number(bad),
            &format!("config.linux.security_context.run_as_user: {bad} is not a user or group id"),
        );
    }
    container_refused(
        |config| container_security(config).supplemental_groups = vec![1, -7],
        "config.linux.security_context.supplemental_groups: -7 is not a user or group id",
    );
}

#[test]
fn the_new_profile_field_wins_over_the_old_text() {
    let message = |profile_type: ProfileType, localhost_ref: &str| {
        Some(wire::SecurityProfile {
            profile_type: profile_type as i32,
            localhost_ref: localhost_ref.to_owned(),
        })
    };
    let localhost = |path: &str| Some(SecurityProfile::Localhost(path.to_owned()));
    for (message, text, expected) in [
        (None, "", Ok(None)),
        (None, "unconfined", Ok(Some(SecurityProfile::Unconfined))),
        (
            None,
            "runtime/default",
            Ok(Some(SecurityProfile::RuntimeDefault)),
        ),
        (
            None,
            "docker/default",
            Ok(Some(SecurityProfile::RuntimeDefault)),
        ),
        (None, "localhost//p.json", Ok(localhost("/p.json"))),
        (None, "localhost/", Err("seccomp_profile_path")),
        (None, "nonsense", Err("seccomp_profile_path")),
        (
            message(ProfileType::Unconfined, ""),
            "runtime/default",
            Ok(Some(SecurityProfile::Unconfined)),
        ),
        (
            message(ProfileType::Localhost, "/q"),
            "nonsense",
            Ok(localhost("/q")),
        ),
        (
            message(ProfileType::Localhost, ""),
            "",
            Err("seccomp.localhost_ref"),
        ),
        (
            message(ProfileType::RuntimeDefault, "/q"),
            "",
            Err("seccomp.localhost_ref"),
        ),
    ] {
        let mut config = container();
        container_security(&mut config).seccomp = message;
        container_security(&mut config).seccomp_profile_path = text.to_owned();
        let outcome = container_config(Some(config));
        match expected {
            Ok(profile) => assert_eq!(outcome.unwrap().security.seccomp, profile, "{text}"),
            Err(field) => assert_eq!(
                outcome.unwrap_err().field,
                format!("config.linux.security_context.{field}")
            ),
        }
    }
}

#[test]
fn a_container_needs_metadata_and_an_image() {
    assert_eq!(
        container_config(None).unwrap_err().to_string(),
        "config: missing"
    );
    container_refused(|config| config.metadata = None, "config.metadata: missing");
    container_refused(|config| config.image = None, "config.image: missing");
    container_refused(
        |config| config.image.as_mut().unwrap().image.clear(),
        "config.image.image: missing",
    );
}

#[test]
fn a_log_path_stays_in_the_log_directory() {
    container_refused(
        |config| config.log_path = "a/../../b".to_owned(),
        "config.log_path: \"a/../../b\" contains \"..\"",
    );
    container_refused(
        |config| config.log_path = "/etc/passwd".to_owned(),
        "config.log_path: is absolute, and must be relative to the sandbox's log_directory",
    );
}

#[test]
fn mounts_that_contradict_themselves_are_refused() {
    type Change = fn(&mut wire::Mount);
    let cases: [(Change, &str); 11] = [
        (|mount| mount.container_path.clear(), "container_path"),
        (
            |mount| mount.container_path = "data".to_owned(),
            "container_path",
        ),
        (|mount| mount.host_path.clear(), "host_path"),
        (|mount| mount.host_path = "srv".to_owned(), "host_path"),
        (
            |mount| mount.image = Some(wire::ImageSpec::default()),
            "image.image",
        ),
        (
            |mount| mount.image_sub_path = "a".to_owned(),
            "image_sub_path",
        ),
        (
            |mount| mount.recursive_read_only = true,
            "recursive_read_only",
        ),
        (
            |mount| {
                mount.recursive_read_only = true;
                mount.readonly = true;
                mount.propagation = wire::MountPropagation::PropagationHostToContainer as i32;
            },
            "recursive_read_only",
        ),
        (|mount| mount.propagation = 7, "propagation"),
        (
            |mount| mount.uid_mappings = vec![mapping(0, 1)],
            "uidMappings",
        ),
        (
            |mount| mount.mount_options = vec!["suid".to_owned()],
            "mount_options",
        ),
    ];
    for (change, field) in cases {
        let mut config = container();
        let mut second = mount();
        change(&mut second);
        config.mounts = vec![mount(), second];
        let error = container_config(Some(config)).unwrap_err();
        assert_eq!(error.field, format!("config.mounts[1].{field}"), "{error}");
    }
}

#[test]
fn an_image_mount_needs_no_host_path() {
    let image = wire::ImageSpec {
        image: "data:1".to_owned(),
        ..wire::ImageSpec::default()
    };
    let mut config = container();
    config.mounts = vec![wire::Mount {
        host_path: String::new(),
        image: Some(image),
        ..mount()
    }];
    let converted = container_config(Some(config)).unwrap();
    assert_eq!(converted.mounts[0].image.as_ref().unwrap().image, "data:1");
}

#[test]
fn environment_values_are_bytes() {
    let mut config = container();
    config.envs = vec![wire::KeyValue {
        key: "RAW".to_owned(),
        value: vec![0xff, 0xfe, b'x'],
    }];
    let converted = container_config(Some(config)).unwrap();
    assert_eq!(converted.environment[0].value, [0xff, 0xfe, b'x']);
    for (key, value, field) in [("", "v", "key"), ("A=B", "v", "key"), ("A", "\0", "value")] {
        let mut config = container();
        config.envs = vec![wire::KeyValue {
            key: key.to_owned(),
            value: value.as_bytes().to_vec(),
        }];
        let error = container_config(Some(config)).unwrap_err();
        assert_eq!(error.field, format!("config.envs[0].{field}"));
    }
}

#[test]
fn resources_are_checked() {
    for (name, resources) in [
        (
            "oom_score_adj",
            wire::LinuxContainerResources {
                oom_score_adj: 1001,
                ..Default::default()
            },
        ),
        (
            "cpu_shares",
            wire::LinuxContainerResources {
                cpu_shares: -2,
                ..Default::default()
            },
        ),
        (
            "unified",
            wire::LinuxContainerResources {
                unified: BTreeMap::from([("../memory.max".to_owned(), "1".to_owned())]),
                ..Default::default()
            },
        ),
    ] {
        let error = linux_resources(resources, "linux").unwrap_err();
        assert_eq!(error.field, format!("linux.{name}"));
    }
}

#[test]
fn signals_have_their_linux_numbers() {
    use wire::Signal;
    for (signal, number) in [
        (Signal::RuntimeDefault, None),
        (Signal::Sigterm, Some(15)),
        (Signal::Sigkill, Some(9)),
        (Signal::Sigusr1, Some(10)),
        (Signal::Sigwinch, Some(28)),
        (Signal::Sigrtmin, Some(34)),
        (Signal::Sigrtminplus15, Some(49)),
        (Signal::Sigrtmaxminus14, Some(50)),
        (Signal::Sigrtmaxminus1, Some(63)),
        (Signal::Sigrtmax, Some(64)),
    ] {
        assert_eq!(linux_signal(signal as i32, "stop_signal").unwrap(), number);
    }
}

#[test]
fn every_signal_survives_the_way_there_and_back() {
    for value in 0..=65 {
        let Some(number) = linux_signal(value, "stop_signal").unwrap() else {
            assert_eq!(value, 0);
            continue;
        };
        let back = linux_signal(wire_signal(number), "stop_signal").unwrap();
        assert_eq!(back, Some(number), "signal {value}");
    }
    assert_eq!(wire_signal(0), 0);
    assert_eq!(wire_signal(33), 0);
    assert_eq!(wire_signal(65), 0);
}

#[test]
fn an_unknown_state_in_a_filter_is_refused() {
    let filter = wire::PodSandboxFilter {
        state: Some(wire::PodSandboxStateValue { state: 2 }),
        ..wire::PodSandboxFilter::default()
    };
    assert_eq!(
        sandbox_filter(Some(filter)).unwrap_err().field,
        "filter.state"
    );
}

proptest! {
    #[test]
    fn labels_and_annotations_are_kept_byte_for_byte(
        labels in prop::collection::btree_map(".{0,20}", ".{0,20}", 0..5),
        annotations in prop::collection::btree_map(".{0,20}", ".{0,60}", 0..5),
    ) {
        let mut of_sandbox = sandbox();
        of_sandbox.labels = labels.clone();
        of_sandbox.annotations = annotations.clone();
        let converted = sandbox_config(Some(of_sandbox)).unwrap();
        prop_assert_eq!(&converted.labels, &labels);
        prop_assert_eq!(&converted.annotations, &annotations);
        let mut of_container = container();
        of_container.labels = labels.clone();
        of_container.annotations = annotations.clone();
        let converted = container_config(Some(of_container)).unwrap();
        prop_assert_eq!(converted.labels, labels);
        prop_assert_eq!(converted.annotations, annotations);
    }

    #[test]
    fn no_bytes_make_the_conversion_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        use prost::Message;
        if let Ok(config) = wire::ContainerConfig::decode(bytes.as_slice()) {
            let _outcome = container_config(Some(config));
        }
        if let Ok(config) = wire::PodSandboxConfig::decode(bytes.as_slice()) {
            let _outcome = sandbox_config(Some(config));
        }
    }

    #[test]
    fn a_kept_log_path_has_no_parent_component(path in "(/|[a.]|\\.\\.){0,8}") {
        let mut config = container();
        config.log_path = path;
        if let Ok(config) = container_config(Some(config)) {
            let joined = std::path::Path::new("/log").join(&config.log_path);
            prop_assert!(joined.starts_with("/log"));
            prop_assert!(!config.log_path.split('/').any(|part| part == ".."));
        }
    }
}

#[test]
fn the_default_namespaces_are_the_pods() {
    let config = sandbox_config(Some(sandbox())).unwrap();
    assert_eq!(config.security.namespaces.network, NamespaceMode::Pod);
    assert_eq!(config.security.namespaces.user, None);
    assert_eq!(config.metadata.attempt, 2);
}
