//! Rights, namespaces, devices, and what is refused for now.

use std::path::Path;

use super::super::*;
use super::request::{Request, bind, linux_of, mount_at, process_of, strings};
use crate::cdi::{CdiMount, Edits};

#[test]
fn security_flags_are_passed_on() {
    let mut request = Request::default();
    let plain = request.right();
    assert_eq!(process_of(&plain).no_new_privileges(), Some(false));
    assert_eq!(process_of(&plain).rlimits(), &None);
    let root = plain.specification.root().as_ref().unwrap();
    assert_eq!(root.readonly(), Some(false));
    request.container.security.no_new_privileges = true;
    request.container.security.readonly_rootfs = true;
    let guarded = request.right();
    assert_eq!(process_of(&guarded).no_new_privileges(), Some(true));
    let root = guarded.specification.root().as_ref().unwrap();
    assert_eq!(root.readonly(), Some(true));
    // The pod's files follow the root; shared memory does not.
    assert!(mount_at(&guarded, "/etc/hosts").unwrap().ends_with(",ro"));
    assert!(mount_at(&guarded, "/dev/shm").unwrap().ends_with(",rw"));
}

#[test]
fn masked_and_readonly_paths_are_the_requests() {
    let mut request = Request::default();
    let empty = Some(Vec::new());
    assert_eq!(linux_of(&request.right()).masked_paths(), &empty);
    request.container.security.masked_paths = strings(&["/proc/kcore"]);
    request.container.security.readonly_paths = strings(&["/proc/sys"]);
    let calculated = request.right();
    let linux = linux_of(&calculated);
    assert_eq!(linux.masked_paths(), &Some(strings(&["/proc/kcore"])));
    assert_eq!(linux.readonly_paths(), &Some(strings(&["/proc/sys"])));
    request.container.security.privileged = true;
    request.sandbox.security.privileged = true;
    let calculated = request.right();
    assert_eq!(linux_of(&calculated).masked_paths(), &empty);
    assert_eq!(linux_of(&calculated).readonly_paths(), &empty);
}

#[test]
fn privileged_needs_a_privileged_sandbox() {
    let mut request = Request::default();
    request.container.security.privileged = true;
    assert_eq!(
        request.wrong(),
        (
            OciErrorKind::Invalid,
            "linux.security_context.privileged: sandbox p1 is not privileged".to_owned()
        )
    );
    request.sandbox.security.privileged = true;
    let calculated = request.right();
    assert!(mount_at(&calculated, "/sys").unwrap().ends_with(",rw"));
    assert!(
        mount_at(&calculated, "/sys/fs/cgroup")
            .unwrap()
            .ends_with(",rw")
    );
}

fn pid(
    sandbox: NamespaceMode,
    container: NamespaceMode,
    target: &str,
) -> Result<NamespaceOrigin, String> {
    let mut request = Request::default();
    request.sandbox.security.namespaces.pid = sandbox;
    request.container.security.namespaces.pid = container;
    request.namespaces.target_pid = target.to_owned();
    match request.calculate() {
        Ok(calculated) => Ok(calculated.namespaces.pid),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn the_pid_namespace_is_what_the_sandbox_has() {
    use NamespaceMode::{Container, Node, Pod, Target};
    assert_eq!(pid(Pod, Pod, ""), Ok(NamespaceOrigin::Pod));
    assert_eq!(pid(Pod, Container, ""), Ok(NamespaceOrigin::New));
    assert_eq!(pid(Node, Pod, ""), Ok(NamespaceOrigin::Host));
    assert_eq!(pid(Node, Node, ""), Ok(NamespaceOrigin::Host));
    assert_eq!(
        pid(Pod, Target, "/proc/5/ns/pid"),
        Ok(NamespaceOrigin::Target)
    );
    assert_eq!(
        pid(Pod, Target, "").unwrap_err(),
        "linux.security_context.namespace_options.pid: Target is asked for, but the target container does not run"
    );
    assert!(pid(Container, Pod, "").is_err());
    assert!(pid(Pod, Node, "").is_err());
}

#[test]
fn the_hosts_network_implies_the_hosts_uts_namespace() {
    let mut request = Request::default();
    request.sandbox.security.namespaces.network = NamespaceMode::Node;
    let calculated = request.right();
    assert_eq!(calculated.namespaces.network, NamespaceOrigin::Host);
    assert_eq!(calculated.namespaces.uts, NamespaceOrigin::Host);
    request.sandbox.security.namespaces.network = NamespaceMode::Container;
    assert_eq!(request.wrong().0, OciErrorKind::Invalid);
}

fn node(path: &str, minor: u32) -> DeviceNode {
    DeviceNode {
        path: path.to_owned(),
        device_type: DeviceType::Character,
        major: 10,
        minor,
        mode: 0o660,
        uid: 0,
        gid: 6,
    }
}

#[test]
fn devices_of_the_host_are_for_privileged_containers_only() {
    let mut request = Request::default();
    request.host.devices = vec![node("/dev/kvm", 232), node("/dev/null", 3)];
    let count = |request: &Request| {
        let calculated = request.right();
        linux_of(&calculated).devices().as_ref().unwrap().len()
    };
    assert_eq!(count(&request), 6);
    request.container.security.privileged = true;
    request.sandbox.security.privileged = true;
    // /dev/null is there once.
    assert_eq!(count(&request), 7);
}

#[test]
fn requested_devices_are_made_and_allowed() {
    let mut request = Request {
        devices: vec![RequestedDevice {
            node: node("/dev/fuse", 229),
            permissions: "rw".to_owned(),
            host_path: "/dev/other".to_owned(),
        }],
        ..Request::default()
    };
    let calculated = request.right();
    let linux = linux_of(&calculated);
    let device = linux.devices().as_ref().unwrap().last().unwrap();
    assert_eq!(device.path(), Path::new("/dev/fuse"));
    assert_eq!((device.major(), device.minor()), (10, 229));
    let resources = linux.resources().as_ref().unwrap();
    let rules = resources.devices().as_ref().unwrap();
    let last = rules.last().unwrap();
    assert_eq!((rules[0].allow(), last.allow()), (false, true));
    assert_eq!((last.major(), last.minor()), (Some(10), Some(229)));
    assert_eq!(last.access(), &Some("rw".to_owned()));
    request.devices[0].permissions = "x".to_owned();
    assert_eq!(
        request.wrong().1,
        "devices.permissions: \"x\": not a subset of rwm"
    );
}

#[test]
fn labels_are_of_the_process_and_of_what_the_container_writes() {
    let mut request = Request::default();
    let none = request.right();
    assert_eq!(process_of(&none).selinux_label(), &None);
    assert_eq!(linux_of(&none).mount_label(), &None);
    assert!(!mount_at(&none, "/dev").unwrap().contains("context"));
    request.labels = crate::selinux::Labels {
        process: "u:r:t:s0:c1,c2".to_owned(),
        mount: "u:object_r:f:s0:c1,c2".to_owned(),
    };
    let labelled = request.right();
    let process = process_of(&labelled).selinux_label().as_deref();
    assert_eq!(process, Some("u:r:t:s0:c1,c2"));
    let files = linux_of(&labelled).mount_label().as_deref();
    assert_eq!(files, Some("u:object_r:f:s0:c1,c2"));
    // Whoever builds the container says it to its file systems (OCI config-linux.md, mountLabel).
    assert!(!mount_at(&labelled, "/dev").unwrap().contains("context"));
}

#[test]
fn the_apparmor_profile_is_the_one_that_was_found_loaded() {
    let mut request = Request::default();
    assert_eq!(process_of(&request.right()).apparmor_profile(), &None);
    request.apparmor = Some("web".to_owned());
    assert_eq!(
        process_of(&request.right()).apparmor_profile().as_deref(),
        Some("web")
    );
}

#[test]
fn the_seccomp_profile_is_none_our_own_or_the_files() {
    use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};
    let mut request = Request::default();
    let profile = |request: &Request| linux_of(&request.right()).seccomp().clone();
    assert_eq!(profile(&request), None);
    request.container.security.seccomp = Some(SecurityProfile::RuntimeDefault);
    let allows = |request: &Request, name: &str| {
        let profile = profile(request).unwrap();
        let entries = profile.syscalls().as_ref().unwrap();
        entries[0].names().iter().any(|allowed| allowed == name)
    };
    assert_eq!(
        (allows(&request, "read"), allows(&request, "mount")),
        (true, false)
    );
    request.container.security.capabilities.add = strings(&["SYS_ADMIN"]);
    assert!(allows(&request, "mount"));
    let mut file = LinuxSeccomp::default();
    file.set_default_action(LinuxSeccompAction::ScmpActLog);
    request.seccomp = Some(file.clone());
    request.container.security.seccomp = Some(SecurityProfile::Localhost("/p".to_owned()));
    assert_eq!(profile(&request), Some(file));
    request.container.security.privileged = true;
    request.sandbox.security.privileged = true;
    assert_eq!(profile(&request), None);
}

#[test]
fn unconfined_is_fine_and_privileged_ignores_confinement() {
    let mut request = Request::default();
    request.container.security.seccomp = Some(SecurityProfile::Unconfined);
    request.container.security.apparmor = Some(SecurityProfile::Unconfined);
    request.container.security.selinux = Some(SelinuxOptions::default());
    assert!(request.calculate().is_ok());
    request.container.security.privileged = true;
    request.sandbox.security.privileged = true;
    request.container.security.seccomp = Some(SecurityProfile::RuntimeDefault);
    request.container.security.apparmor = Some(SecurityProfile::RuntimeDefault);
    assert!(request.calculate().is_ok());
}

#[test]
fn a_device_of_cdi_brings_its_environment_mounts_and_groups() {
    let mut request = Request::default();
    request.container.environment = vec![EnvironmentVariable {
        name: "GPU".to_owned(),
        value: b"asked".to_vec(),
    }];
    request.container.security.supplemental_groups = vec![44];
    request.edits = Edits {
        environment: strings(&["GPU=0", "LIBRARY=/usr/lib/gpu"]),
        mounts: vec![
            CdiMount {
                host_path: "/opt/gpu/lib".to_owned(),
                container_path: "/usr/lib/gpu/".to_owned(),
                options: strings(&["ro", "nosuid"]),
                kind: None,
            },
            CdiMount {
                host_path: "tmpfs".to_owned(),
                container_path: "/run/gpu".to_owned(),
                options: strings(&["size=64k"]),
                kind: Some("tmpfs".to_owned()),
            },
        ],
        additional_gids: vec![44, 45],
        ..Edits::default()
    };
    let calculated = request.right();
    let environment = process_of(&calculated).env().clone().unwrap();
    assert!(environment.contains(&"GPU=0".to_owned()), "{environment:?}");
    assert!(environment.contains(&"LIBRARY=/usr/lib/gpu".to_owned()));
    assert!(!environment.contains(&"GPU=asked".to_owned()));
    assert_eq!(calculated.user.additional_gids, [44, 45]);
    let library = mount_at(&calculated, "/usr/lib/gpu").unwrap();
    assert!(
        library.contains("/opt/gpu/lib") && library.ends_with("rbind,ro,nosuid"),
        "{library}"
    );
    assert!(
        mount_at(&calculated, "/run/gpu")
            .unwrap()
            .ends_with("size=64k")
    );
    for wrong in ["NAME", "=x"] {
        request.edits.environment = strings(&[wrong]);
        assert_eq!(request.wrong().0, OciErrorKind::Invalid);
    }
    request.edits.environment.clear();
    request.edits.mounts[0].host_path = "relative".to_owned();
    assert_eq!(request.wrong().0, OciErrorKind::Invalid);
}

fn mapped(host_id: u32) -> Vec<IdMapping> {
    vec![IdMapping {
        container_id: 0,
        host_id,
        length: 65_536,
    }]
}

fn with_user_namespace() -> Request {
    let mut request = Request::default();
    request.sandbox.security.namespaces.user = Some(UserNamespaceOptions {
        mode: NamespaceMode::Pod,
        uids: mapped(100_000),
        gids: mapped(200_000),
    });
    request.sandbox.security.namespaces.pid = NamespaceMode::Container;
    request.container.security.namespaces.pid = NamespaceMode::Container;
    request
}

#[test]
fn the_user_namespace_is_the_pods() {
    let mut request = with_user_namespace();
    let calculated = request.right();
    let linux = linux_of(&calculated);
    let gids = linux.gid_mappings().as_ref().unwrap();
    assert_eq!(
        (gids[0].container_id(), gids[0].host_id(), gids[0].size()),
        (0, 200_000, 65_536)
    );
    let paths: Vec<_> = linux
        .namespaces()
        .iter()
        .flatten()
        .map(|one| one.path().clone())
        .collect();
    assert!(
        paths.contains(&Some("/proc/77/ns/user".into())),
        "{paths:?}"
    );
    request.container.security.namespaces.user = request.sandbox.security.namespaces.user.clone();
    assert!(request.calculate().is_ok());
    request
        .container
        .security
        .namespaces
        .user
        .as_mut()
        .unwrap()
        .uids = mapped(1);
    assert_eq!(request.wrong().0, OciErrorKind::Invalid);
    request.sandbox.security.namespaces.user = None;
    assert_eq!(request.wrong().0, OciErrorKind::Invalid);
}

#[test]
fn a_mount_is_mapped_as_its_pod_or_not_at_all() {
    let mut request = with_user_namespace();
    let mut mount = bind("/x", "/y");
    mount.uid_mappings = mapped(100_000);
    mount.gid_mappings = mapped(200_000);
    request.container.mounts = vec![bind("/plain", "/y"), mount];
    let calculated = request.right();
    assert!(mount_at(&calculated, "/x").unwrap().ends_with(",idmap"));
    assert!(!mount_at(&calculated, "/plain").unwrap().contains("idmap"));
    request.container.mounts[1].gid_mappings = mapped(100_000);
    assert_eq!(
        request.wrong().1,
        "mounts[1].gidMappings: \"/x\": not those of the pod"
    );
    request.container.mounts[1].gid_mappings.clear();
    assert!(request.wrong().1.contains("missing"));
    request.container.mounts[1].gid_mappings = mapped(200_000);
    request.sandbox.security.namespaces.user = None;
    assert!(request.wrong().1.contains("the pod has no user namespace"));
}

#[test]
fn the_group_of_terminals_needs_an_id() {
    let mut request = with_user_namespace();
    assert!(
        mount_at(&request.right(), "/dev/pts")
            .unwrap()
            .ends_with(",gid=5")
    );
    request
        .sandbox
        .security
        .namespaces
        .user
        .as_mut()
        .unwrap()
        .gids[0]
        .length = 5;
    assert!(
        !mount_at(&request.right(), "/dev/pts")
            .unwrap()
            .contains("gid=")
    );
}

#[test]
fn a_sandbox_with_a_user_namespace_is_in_no_namespace_of_the_node() {
    let mut sandbox = with_user_namespace().sandbox;
    assert_eq!(check_user_namespace(&sandbox), Ok(()));
    for change in [
        |namespaces: &mut NamespaceOptions| namespaces.network = NamespaceMode::Node,
        |namespaces: &mut NamespaceOptions| namespaces.pid = NamespaceMode::Node,
        |namespaces: &mut NamespaceOptions| namespaces.ipc = NamespaceMode::Node,
    ] {
        let mut wrong = sandbox.clone();
        change(&mut wrong.security.namespaces);
        assert_eq!(
            check_user_namespace(&wrong).unwrap_err().kind(),
            OciErrorKind::Invalid
        );
    }
    sandbox.security.namespaces.user.as_mut().unwrap().mode = NamespaceMode::Node;
    sandbox.security.namespaces.network = NamespaceMode::Node;
    assert_eq!(check_user_namespace(&sandbox), Ok(()));
}
