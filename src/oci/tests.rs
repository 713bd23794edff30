//! Golden files (request → config.json) and a small test for each field.
//!
//! `CARPEL_REGENERATE=1 cargo test -p carpel --lib oci::tests` writes the golden files anew.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::*;

/// A request file: what differs from the defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Request {
    sandbox: SandboxConfig,
    container: ContainerConfig,
    image: ImageDefaults,
    files: PodFiles,
    namespaces: NamespacePaths,
    devices: Vec<RequestedDevice>,
    sources: BTreeMap<usize, String>,
    host: HostFacts,
}

impl Default for Request {
    fn default() -> Self {
        let path = |name: &str| format!("/run/carpel/pods/p1/{name}");
        Self {
            sandbox: SandboxConfig::default(),
            container: ContainerConfig {
                command: vec!["/bin/true".to_owned()],
                ..ContainerConfig::default()
            },
            image: ImageDefaults::default(),
            files: PodFiles {
                hosts: path("hosts"),
                hostname: path("hostname"),
                resolv_conf: path("resolv.conf"),
                shm: path("shm"),
            },
            namespaces: NamespacePaths {
                network: "/run/netns/carpel-p1".to_owned(),
                ipc: "/proc/77/ns/ipc".to_owned(),
                uts: "/proc/77/ns/uts".to_owned(),
                pid: "/proc/77/ns/pid".to_owned(),
                target_pid: String::new(),
            },
            devices: Vec::new(),
            sources: BTreeMap::new(),
            host: HostFacts {
                capabilities: (1 << 41) - 1,
                lowest_oom_score_adj: -1000,
                devices: Vec::new(),
            },
        }
    }
}

impl Request {
    fn calculate(&self) -> Result<Calculated, OciError> {
        specification(&Input {
            container_id: "c1",
            sandbox_id: "p1",
            sandbox: &self.sandbox,
            container: &self.container,
            image: &self.image,
            root: "/run/carpel/pods/p1/containers/c1/rootfs",
            hostname: "web-0",
            files: &self.files,
            namespaces: &self.namespaces,
            cgroup: "/carpel/p1/c1",
            devices: &self.devices,
            sources: &self.sources,
            volumes_directory: "/run/carpel/pods/p1/containers/c1/volumes",
            host: &self.host,
        })
    }

    fn right(&self) -> Calculated {
        self.calculate().unwrap()
    }

    fn wrong(&self) -> (OciErrorKind, String) {
        let error = self.calculate().unwrap_err();
        (error.kind(), error.to_string())
    }

    fn with_mount(mut self, mount: Mount) -> Self {
        self.container.mounts.push(mount);
        self
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The arguments of request and image, each as words.
fn arguments(command: &str, arguments: &str, entrypoint: &str, cmd: &str) -> Vec<String> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let mut request = Request::default();
    request.container.command = words(command);
    request.container.arguments = words(arguments);
    request.image.entrypoint = words(entrypoint);
    request.image.command = words(cmd);
    process_of(&request.right()).args().clone().unwrap()
}

fn process_of(calculated: &Calculated) -> &oci_spec::runtime::Process {
    calculated.specification.process().as_ref().unwrap()
}

fn linux_of(calculated: &Calculated) -> &oci_spec::runtime::Linux {
    calculated.specification.linux().as_ref().unwrap()
}

/// `destination ← source options` of each mount.
fn mounts_of(calculated: &Calculated) -> Vec<String> {
    let mounts = calculated.specification.mounts().as_ref().unwrap();
    mounts
        .iter()
        .map(|mount| {
            format!(
                "{} ← {} {}",
                mount.destination().display(),
                mount.source().as_ref().unwrap().display(),
                mount.options().as_ref().unwrap().join(",")
            )
        })
        .collect()
}

fn mount_at(calculated: &Calculated, destination: &str) -> Option<String> {
    let start = format!("{destination} ← ");
    mounts_of(calculated)
        .into_iter()
        .find_map(|mount| Some(mount.strip_prefix(&start)?.to_owned()))
}

fn bind(container_path: &str, host_path: &str) -> Mount {
    Mount {
        container_path: container_path.to_owned(),
        host_path: host_path.to_owned(),
        ..Mount::default()
    }
}

fn golden_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/oci")
}

/// As JSON that does not depend on the order of a hash table.
fn canonical(calculated: &Calculated) -> String {
    let mut value = serde_json::to_value(&calculated.specification).unwrap();
    let sets = value["process"]["capabilities"].as_object_mut().unwrap();
    for set in sets.values_mut() {
        let Value::Array(names) = set else { continue };
        names.sort_by_key(|name| name.as_str().map(str::to_owned));
    }
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}

#[test]
fn requests_give_the_golden_specifications() {
    let regenerate = std::env::var_os("CARPEL_REGENERATE").is_some();
    let mut seen = 0;
    for entry in fs::read_dir(golden_directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(name) = name.strip_suffix(".request.json") else {
            continue;
        };
        seen += 1;
        let text = fs::read_to_string(&path).unwrap();
        let request: Request =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let calculated = canonical(&request.right());
        let golden = path.with_file_name(format!("{name}.config.json"));
        if regenerate {
            let mut file = fs::File::create(&golden).unwrap();
            file.write_all(calculated.as_bytes()).unwrap();
        }
        let expected = fs::read_to_string(&golden)
            .unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
        assert_eq!(calculated, expected, "{name}");
    }
    assert!(
        seen >= 4,
        "only {seen} requests in {:?}",
        golden_directory()
    );
}

#[test]
fn command_and_arguments_follow_the_images() {
    assert_eq!(arguments("", "", "e", "c d"), ["e", "c", "d"]);
    assert_eq!(arguments("", "x", "e", "c"), ["e", "x"]);
    assert_eq!(arguments("r", "", "e", "c"), ["r"]);
    assert_eq!(arguments("r", "x y", "e", "c"), ["r", "x", "y"]);
    assert_eq!(arguments("", "x", "", ""), ["x"]);
    assert_eq!(arguments("", "", "", "c"), ["c"]);
}

#[test]
fn nothing_to_run_is_an_error_that_names_the_image() {
    let mut request = Request::default();
    request.container.command.clear();
    request.container.image.image = "empty:1".to_owned();
    assert_eq!(
        request.wrong(),
        (
            OciErrorKind::Invalid,
            "no command: neither the request nor image \"empty:1\" has a command, an entrypoint or arguments".to_owned()
        )
    );
}

#[test]
fn the_environment_is_defaults_image_request_in_this_order() {
    let mut request = Request::default();
    request.image.environment = strings(&["A=image", "PATH=/image", "B=image", "nothing"]);
    request.container.tty = true;
    request.container.environment = vec![
        EnvironmentVariable {
            name: "B".to_owned(),
            value: b"request".to_vec(),
        },
        EnvironmentVariable {
            name: "C".to_owned(),
            value: b"=x\xff".to_vec(),
        },
    ];
    let calculated = request.right();
    let expected: [&[u8]; 6] = [
        b"PATH=/image",
        b"TERM=xterm",
        b"HOSTNAME=web-0",
        b"A=image",
        b"B=request",
        b"C==x\xff",
    ];
    assert_eq!(calculated.environment, expected);
    let lossy = process_of(&calculated).env().as_ref().unwrap();
    assert_eq!(lossy.last().unwrap(), "C==x\u{fffd}");
}

#[test]
fn without_a_terminal_there_is_no_term_and_path_has_a_default() {
    assert_eq!(
        Request::default().right().environment,
        [
            b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_vec(),
            b"HOSTNAME=web-0".to_vec()
        ]
    );
}

#[test]
fn a_variable_without_a_name_or_with_a_nul_is_refused() {
    for (name, value) in [("", "x"), ("A=B", "x"), ("A", "x\0")] {
        let mut request = Request::default();
        request.container.environment = vec![EnvironmentVariable {
            name: name.to_owned(),
            value: value.as_bytes().to_vec(),
        }];
        assert_eq!(request.wrong().0, OciErrorKind::Invalid, "{name:?}");
    }
}

#[test]
fn the_working_directory_is_the_requests_then_the_images_then_the_root() {
    let mut request = Request::default();
    let directory = |request: &Request| process_of(&request.right()).cwd().clone();
    assert_eq!(directory(&request), Path::new("/"));
    request.image.working_directory = "srv".to_owned();
    assert_eq!(directory(&request), Path::new("/srv"));
    request.container.working_directory = "/data/./x".to_owned();
    assert_eq!(directory(&request), Path::new("/data/x"));
    request.container.working_directory = "data".to_owned();
    assert_eq!(
        request.wrong().1,
        "working_dir: \"data\": not an absolute path"
    );
}

#[test]
fn the_stop_signal_is_the_requests_then_the_images_then_term() {
    let mut request = Request::default();
    assert_eq!(request.right().stop_signal, 15);
    request.image.stop_signal = "SIGQUIT".to_owned();
    assert_eq!(request.right().stop_signal, 3);
    request.container.stop_signal = Some(12);
    assert_eq!(request.right().stop_signal, 12);
    request.container.stop_signal = Some(0);
    assert_eq!(
        request.wrong().1,
        "stop_signal: \"0\": not a signal of Linux"
    );
}

fn user(security: ContainerSecurity, image_user: &str) -> Result<UserRequest, OciError> {
    let mut request = Request::default();
    request.container.security = security;
    request.image.user = image_user.to_owned();
    Ok(request.calculate()?.user)
}

#[test]
fn the_user_is_the_requests_then_the_images_then_root() {
    let asked = |run_as_user| ContainerSecurity {
        run_as_user,
        ..ContainerSecurity::default()
    };
    let name = |security, image: &str| user(security, image).unwrap().name;
    assert_eq!(name(asked(RunAsUser::Image), ""), "0");
    assert_eq!(name(asked(RunAsUser::Image), "www:staff"), "www:staff");
    assert_eq!(name(asked(RunAsUser::Uid(1000)), "www"), "1000");
    assert_eq!(
        name(asked(RunAsUser::Name("nobody".to_owned())), "www"),
        "nobody"
    );
    let numeric = user(asked(RunAsUser::Image), "33:44").unwrap();
    assert_eq!((numeric.uid, numeric.gid_given), (33, false));
    assert!(numeric.merge_groups);
    assert!(user(asked(RunAsUser::Uid(-1)), "").is_err());
    assert!(user(asked(RunAsUser::Uid(4_294_967_295)), "").is_err());
    assert!(user(asked(RunAsUser::Name("a:b".to_owned())), "").is_err());
}

#[test]
fn a_group_needs_a_user() {
    let security = ContainerSecurity {
        run_as_group: Some(5),
        ..ContainerSecurity::default()
    };
    assert_eq!(
        user(security.clone(), "www").unwrap_err().to_string(),
        "linux.security_context.run_as_group: \"5\": a group without run_as_user or run_as_username"
    );
    let with_user = ContainerSecurity {
        run_as_user: RunAsUser::Uid(7),
        ..security
    };
    let user = user(with_user, "www").unwrap();
    assert_eq!(
        (user.name.as_str(), user.gid, user.gid_given),
        ("7", 5, true)
    );
}

#[test]
fn supplemental_groups_are_merged_or_strict() {
    let security = ContainerSecurity {
        supplemental_groups: vec![10, 20],
        supplemental_groups_policy: SupplementalGroupsPolicy::Strict,
        ..ContainerSecurity::default()
    };
    let strict = user(security, "").unwrap();
    assert_eq!(strict.additional_gids, [10, 20]);
    assert!(!strict.merge_groups);
}

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

#[test]
fn a_requests_own_mount_replaces_ours() {
    for path in [
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
        "/dev/shm",
        "/sys",
    ] {
        let request = Request::default().with_mount(bind(&format!("{path}/"), "/own"));
        let calculated = request.right();
        let start = format!("{path} ← ");
        let mounts = mounts_of(&calculated);
        let there: Vec<_> = mounts
            .iter()
            .filter(|mount| mount.starts_with(&start))
            .collect();
        assert_eq!(there, [&format!("{path} ← /own rbind,rprivate,rw")]);
    }
}

#[test]
fn a_dev_of_the_requests_own_gets_no_nodes_and_keeps_its_inner_mounts() {
    let calculated = Request::default().with_mount(bind("/dev", "/dev")).right();
    assert_eq!(linux_of(&calculated).devices(), &Some(Vec::new()));
    assert_eq!(mount_at(&calculated, "/dev/pts"), None);
    assert_eq!(mount_at(&calculated, "/dev/mqueue"), None);
    assert!(mount_at(&calculated, "/dev/shm").is_some());
    let mut shared = bind("/dev", "/dev");
    shared.propagation = MountPropagation::Bidirectional;
    let calculated = Request::default().with_mount(shared).right();
    // It would be mounted over the host's.
    assert_eq!(mount_at(&calculated, "/dev/shm"), None);
}

#[test]
fn mounts_are_sorted_by_depth_and_stay_in_order_otherwise() {
    let calculated = Request::default()
        .with_mount(bind("/a/b/c", "/1"))
        .with_mount(bind("/a", "/2"))
        .with_mount(bind("/a/b", "/3"))
        .with_mount(bind("/a", "/4"))
        .right();
    let own: Vec<_> = mounts_of(&calculated)
        .into_iter()
        .filter(|mount| mount.starts_with("/a"))
        .collect();
    assert_eq!(
        own,
        [
            "/a ← /2 rbind,rprivate,rw",
            "/a ← /4 rbind,rprivate,rw",
            "/a/b ← /3 rbind,rprivate,rw",
            "/a/b/c ← /1 rbind,rprivate,rw"
        ]
    );
}

#[test]
fn mount_options_follow_the_request() {
    let options = |change: fn(&mut Mount)| {
        let mut mount = bind("/x", "/host");
        change(&mut mount);
        let calculated = Request::default().with_mount(mount).calculate();
        calculated.map(|calculated| {
            let propagation = linux_of(&calculated).rootfs_propagation().clone();
            (mount_at(&calculated, "/x").unwrap(), propagation)
        })
    };
    let text = |options: &str| format!("/host rbind,{options}");
    assert_eq!(options(|_| {}).unwrap(), (text("rprivate,rw"), None));
    assert_eq!(
        options(|mount| mount.readonly = true).unwrap().0,
        text("rprivate,ro")
    );
    assert_eq!(
        options(|mount| mount.propagation = MountPropagation::HostToContainer).unwrap(),
        (text("rslave,rw"), Some("rslave".to_owned()))
    );
    assert_eq!(
        options(|mount| mount.propagation = MountPropagation::Bidirectional).unwrap(),
        (text("rshared,rw"), Some("rshared".to_owned()))
    );
    let recursive = |mount: &mut Mount| {
        mount.readonly = true;
        mount.recursive_read_only = true;
    };
    assert_eq!(options(recursive).unwrap().0, text("rprivate,rro"));
    assert!(options(|mount| mount.recursive_read_only = true).is_err());
    assert!(
        options(|mount| {
            mount.readonly = true;
            mount.recursive_read_only = true;
            mount.propagation = MountPropagation::HostToContainer;
        })
        .is_err()
    );
    let noexec = |mount: &mut Mount| mount.mount_options = strings(&["noexec", "nosuid"]);
    assert_eq!(
        options(noexec).unwrap().0,
        text("rprivate,rw,noexec,nosuid")
    );
    let error = options(|mount| mount.mount_options = strings(&["suid"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "mounts[0].mount_options: \"suid\": not one of noexec, nodev, nosuid"
    );
}

#[test]
fn mounts_without_a_place_or_a_source_are_refused() {
    for (container_path, host_path, field) in [
        ("/", "/x", "container_path"),
        ("", "/x", "container_path"),
        ("/a/..", "/x", "container_path"),
        ("/x", "", "host_path"),
        ("/x", "relative", "host_path"),
    ] {
        let request = Request::default().with_mount(bind(container_path, host_path));
        let (kind, text) = request.wrong();
        assert_eq!(kind, OciErrorKind::Invalid);
        assert!(text.starts_with(&format!("mounts[0].{field}: ")), "{text}");
    }
}

#[test]
fn a_resolved_source_stands_for_the_requests() {
    let mut request = Request::default().with_mount(bind("/x", "/link"));
    request.sources.insert(0, "/target".to_owned());
    assert_eq!(
        mount_at(&request.right(), "/x").unwrap(),
        "/target rbind,rprivate,rw"
    );
}

#[test]
fn volumes_of_the_image_are_mounted_unless_the_request_has_a_mount_there() {
    let mut request = Request::default().with_mount(bind("/data", "/own"));
    request.image.volumes = strings(&["/data", "/cache/", "/cache", "/"]);
    let calculated = request.right();
    let source = "/run/carpel/pods/p1/containers/c1/volumes/1";
    assert_eq!(
        calculated.image_volumes,
        [ImageVolume {
            destination: "/cache".to_owned(),
            source: source.to_owned()
        }]
    );
    assert_eq!(
        mount_at(&calculated, "/cache").unwrap(),
        format!("{source} rbind,rprivate,rw")
    );
}

#[test]
fn shared_memory_is_the_hosts_with_the_hosts_ipc() {
    let mut request = Request::default();
    request.sandbox.security.namespaces.ipc = NamespaceMode::Node;
    let calculated = request.right();
    assert_eq!(
        mount_at(&calculated, "/dev/shm").unwrap(),
        "/dev/shm rbind,rprivate,rw"
    );
    assert_eq!(calculated.namespaces.ipc, NamespaceOrigin::Host);
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
    assert_eq!((rules[0].allow(), rules[1].allow()), (false, true));
    assert_eq!(rules[1].access(), &Some("rw".to_owned()));
    request.devices[0].permissions = "x".to_owned();
    assert_eq!(
        request.wrong().1,
        "devices.permissions: \"x\": not a subset of rwm"
    );
}

#[test]
fn oom_score_adj_is_bounded_by_the_daemons_right() {
    let mut request = Request::default();
    request.container.resources.oom_score_adj = -998;
    assert_eq!(process_of(&request.right()).oom_score_adj(), Some(-998));
    request.host.lowest_oom_score_adj = 0;
    let raised = request.right();
    assert_eq!(process_of(&raised).oom_score_adj(), Some(0));
    assert_eq!(
        raised.lowered,
        ["oom_score_adj -998 is raised to 0: the daemon lacks CAP_SYS_RESOURCE"]
    );
    request.container.resources.oom_score_adj = 1001;
    assert_eq!(request.wrong().0, OciErrorKind::Invalid);
}

fn limits(change: fn(&mut LinuxResources)) -> Result<Value, OciError> {
    let mut resources = LinuxResources::default();
    change(&mut resources);
    linux_resources(&resources).map(|limits| serde_json::to_value(limits).unwrap())
}

#[test]
fn limits_become_oci_resources() {
    assert_eq!(limits(|_| {}).unwrap(), serde_json::json!({}));
    assert_eq!(
        limits(|limits| limits.memory_limit_bytes = 4096).unwrap(),
        serde_json::json!({"memory": {"limit": 4096, "swap": 4096}})
    );
    assert_eq!(
        limits(|limits| limits.memory_limit_bytes = -1).unwrap(),
        serde_json::json!({"memory": {"limit": -1, "swap": -1}})
    );
    assert!(
        limits(|limits| {
            limits.memory_limit_bytes = 4096;
            limits.memory_swap_limit_bytes = 100;
        })
        .is_err()
    );
    assert!(limits(|limits| limits.cpu_shares = -2).is_err());
    assert!(limits(|limits| limits.cpu_period = -2).is_err());
    assert_eq!(
        limits(|limits| {
            limits.hugepage_limits = vec![HugepageLimit {
                page_size: "2MB".to_owned(),
                limit_bytes: u64::MAX,
            }];
        })
        .unwrap(),
        serde_json::json!({"hugepageLimits": [{"pageSize": "2MB", "limit": i64::MAX}]})
    );
}

/// Changes a request into one that is refused for now.
type Change = fn(&mut Request);

#[test]
fn what_is_not_built_yet_is_refused_by_name() {
    let refused: [(Change, &str); 7] = [
        (
            |request| request.container.security.seccomp = Some(SecurityProfile::RuntimeDefault),
            "linux.security_context.seccomp: RuntimeDefault is not supported yet",
        ),
        (
            |request| {
                let profile = SecurityProfile::Localhost("web".to_owned());
                request.container.security.apparmor = Some(profile);
            },
            "linux.security_context.apparmor: Localhost \"web\" is not supported yet",
        ),
        (
            |request| {
                request.container.security.selinux = Some(SelinuxOptions {
                    level: "s0:c1,c2".to_owned(),
                    ..SelinuxOptions::default()
                });
            },
            "linux.security_context.selinux_options: label \":::s0:c1,c2\" is not supported yet",
        ),
        (
            |request| {
                request.container.security.namespaces.user = Some(UserNamespaceOptions::default());
            },
            "linux.security_context.namespace_options.userns_options: a user namespace (Pod) is not supported yet",
        ),
        (
            |request| request.container.cdi_devices = strings(&["example.com/gpu=0"]),
            "CDI_devices: example.com/gpu=0 is not supported yet",
        ),
        (
            |request| {
                let mut mount = bind("/x", "/y");
                mount.uid_mappings = vec![IdMapping::default()];
                request.container.mounts.push(mount);
            },
            "mounts[0].uidMappings: an idmapped mount at \"/x\" is not supported yet",
        ),
        (
            |request| {
                let mut mount = bind("/x", "");
                mount.image = Some(ImageSpec {
                    image: "files:1".to_owned(),
                    ..ImageSpec::default()
                });
                mount.readonly = true;
                request.container.mounts.push(mount);
            },
            "mounts[0].image: image \"files:1\" at \"/x\" is not supported yet",
        ),
    ];
    for (change, text) in refused {
        let mut request = Request::default();
        change(&mut request);
        assert_eq!(
            request.wrong(),
            (OciErrorKind::Unimplemented, text.to_owned())
        );
    }
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
fn a_sandbox_with_a_user_namespace_is_refused() {
    let mut sandbox = SandboxConfig::default();
    assert_eq!(refuse_sandbox(&sandbox), Ok(()));
    sandbox.security.seccomp = Some(SecurityProfile::RuntimeDefault);
    assert_eq!(refuse_sandbox(&sandbox), Ok(()));
    sandbox.security.namespaces.user = Some(UserNamespaceOptions::default());
    assert_eq!(
        refuse_sandbox(&sandbox).unwrap_err().kind(),
        OciErrorKind::Unimplemented
    );
}
