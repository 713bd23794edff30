//! Requests and the steps that they become, as golden text.

use super::*;
use carpel_shim_protocol::message::FailureKind;

fn mount(kind: &str, source: &str, destination: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        source: source.into(),
        r#type: kind.into(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

fn request() -> CreateContainer {
    CreateContainer {
        container_id: "a".into(),
        root: Some(Root {
            lower: vec!["/l/2".into(), "/l/1".into()],
            upper: "/u".into(),
            work: "/w".into(),
            readonly: false,
            ..Root::default()
        }),
        process: Some(Process {
            arguments: vec![b"/bin/true".to_vec()],
            ..Process::default()
        }),
        ..CreateContainer::default()
    }
}

fn steps(request: &CreateContainer) -> Vec<String> {
    plan(request).unwrap().iter().map(describe).collect()
}

fn options_of(request: &CreateContainer) -> Option<OverlayOptions> {
    let steps = plan(request).unwrap().into_iter();
    let mut roots = steps.filter_map(|step| match step {
        Step::OverlayRoot { options, .. } => Some(options),
        _ => None,
    });
    roots.next().unwrap()
}

#[test]
fn a_plain_container() {
    assert_eq!(
        steps(&request()),
        [
            "make all mounts slaves",
            "mount the root of 2 layers on \"/u\"",
            "look up user \"\"",
            "enter working directory \"/\"",
            "change the root",
        ]
    );
    assert_eq!(
        options_of(&request()),
        Some(OverlayOptions {
            directory: "/".into(),
            options: "lowerdir=/l/2:/l/1,upperdir=/u,workdir=/w".into(),
        })
    );
}

#[test]
fn a_container_with_everything() {
    let mut request = request();
    request.network = ContainerNamespace::NamespacePod.into();
    request.uts = ContainerNamespace::NamespacePod.into();
    request.private_cgroup_namespace = true;
    request.mounts = vec![
        mount("proc", "proc", "/proc", &["nosuid"]),
        mount("tmpfs", "", "/dev/", &["mode=755"]),
        mount("bind", "/host/shared", "/shared", &["rbind", "rshared"]),
        mount("", "/host/plain", "/plain", &["bind", "ro"]),
        Mount {
            lower: vec!["/l/4".into(), "/l/3".into()],
            sub_path: "etc".into(),
            ..mount("image", "sha256:1", "/image", &["ro", "rprivate"])
        },
    ];
    request.masked_paths = vec!["/proc/kcore".into()];
    request.readonly_paths = vec!["/proc/sys".into()];
    request.devices = vec![Device {
        path: "/dev/null".into(),
        r#type: "c".into(),
        ..Device::default()
    }];
    request.root.as_mut().unwrap().readonly = true;
    let process = request.process.as_mut().unwrap();
    process.terminal = true;
    process.oom_score_adj = Some(-5);
    process.apparmor_profile = "carpel-default".into();
    process.working_directory = "/work".into();
    process.rlimits = vec![Rlimit {
        resource: 7,
        soft: 1,
        hard: 2,
    }];
    assert_eq!(
        steps(&request),
        [
            "set AppArmor profile \"carpel-default\"",
            "set oom_score_adj to -5",
            "join the pod's namespaces (0x44000000)",
            "make a cgroup namespace",
            "take shared mount \"/host/shared\"",
            "make all mounts slaves",
            "mount the root of 2 layers on \"/u\"",
            "mount proc at \"/proc\"",
            "mount tmpfs at \"/dev/\"",
            "bind a shared mount at \"/shared\"",
            "bind \"/host/plain\" at \"/plain\"",
            "mount \"etc\" of image sha256:1 at \"/image\"",
            "make device \"/dev/null\"",
            "make the links of /dev",
            "make the terminal",
            "mask \"/proc/kcore\"",
            "make \"/proc/sys\" read-only",
            "look up user \"\"",
            "enter working directory \"/work\"",
            "make the root read-only",
            "change the root",
            "set limit 7",
        ]
    );
}

#[test]
fn a_dev_of_the_host_gets_no_devices() {
    let mut request = request();
    request.mounts = vec![mount("bind", "/dev", "/dev", &["rbind"])];
    request.devices = vec![Device::default()];
    assert!(
        !steps(&request)
            .iter()
            .any(|step| step.contains("device") || step.contains("links"))
    );
}

#[test]
fn a_label_is_of_what_the_container_writes_and_of_images() {
    let mut request = request();
    request.root.as_mut().unwrap().mount_label = "u:r:f:s0:c1,c2".into();
    request.mounts = vec![
        mount("proc", "proc", "/proc", &[]),
        mount("tmpfs", "tmpfs", "/dev", &["mode=755"]),
        mount("devpts", "devpts", "/dev/pts", &[]),
        Mount {
            lower: vec!["/a".into(), "/b".into()],
            ..mount("image", "sha256:1", "/image", &["ro"])
        },
    ];
    let label = ",context=\"u:r:f:s0:c1,c2\"";
    let root = options_of(&request).unwrap();
    assert!(root.options.ends_with(label), "{root:?}");
    let images = plan(&request).unwrap().into_iter();
    let mut images = images.filter_map(|step| match step {
        Step::Image(volume) => volume.options,
        _ => None,
    });
    let image = images.next().unwrap();
    assert_eq!(image.options, format!("lowerdir=/a:/b{label}"));
    let systems = plan(&request).unwrap().into_iter();
    let data: Vec<String> = systems
        .filter_map(|step| match step {
            Step::FileSystem { data, .. } => Some(data),
            _ => None,
        })
        .collect();
    let alone = label.trim_start_matches(',').to_owned();
    assert_eq!(data, [String::new(), format!("mode=755{label}"), alone]);
}

#[test]
fn names_that_do_not_fit_the_old_interface_go_by_the_new_one() {
    let mut long = request();
    let root = long.root.as_mut().unwrap();
    root.lower = (0..100)
        .map(|number| format!("/{}/{number}", "x".repeat(50)))
        .collect();
    let options = options_of(&long).unwrap();
    assert_eq!(options.directory, format!("/{}/", "x".repeat(50)));
    assert!(
        options.options.starts_with("lowerdir=0:1:2:"),
        "{options:?}"
    );
    let root = long.root.as_mut().unwrap();
    root.lower.push("/elsewhere".into());
    let mut special = request();
    special.root.as_mut().unwrap().upper = "/a:b".into();
    for request in [long, special] {
        assert_eq!(options_of(&request), None);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let change = |change: fn(&mut CreateContainer)| {
        let mut request = request();
        change(&mut request);
        plan(&request).unwrap_err()
    };
    let failures = [
        change(|request| request.process = None),
        change(|request| request.root = None),
        change(|request| request.process.as_mut().unwrap().arguments.clear()),
        change(|request| request.process.as_mut().unwrap().arguments = vec![b"a\0b".to_vec()]),
        change(|request| request.root.as_mut().unwrap().lower.clear()),
        change(|request| request.root.as_mut().unwrap().work.clear()),
        change(|request| request.mounts = vec![mount("bind", "/x", "relative", &[])]),
        change(|request| request.mounts = vec![mount("bind", "relative", "/x", &["rbind"])]),
        change(|request| request.mounts = vec![mount("bind", "/x", "/x", &["rbind", "size=1"])]),
        change(|request| request.masked_paths = vec!["proc".into()]),
        change(|request| request.root_propagation = "sideways".into()),
        change(|request| request.process.as_mut().unwrap().working_directory = "x".into()),
    ];
    for failure in failures {
        assert_eq!(failure.kind(), FailureKind::FailureInvalid, "{failure:?}");
    }
}
