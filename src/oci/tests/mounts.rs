//! Mounts, their order and their options.

use super::super::*;
use super::request::{Request, bind, linux_of, mount_at, mounts_of, strings};

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

fn image_mount(change: impl FnOnce(&mut Mount)) -> Mount {
    let mut mount = Mount {
        container_path: "/model".to_owned(),
        readonly: true,
        image: Some(ImageSpec {
            image: "model:1".to_owned(),
            ..ImageSpec::default()
        }),
        ..Mount::default()
    };
    change(&mut mount);
    mount
}

#[test]
fn an_image_is_mounted_by_its_id_read_only_and_private() {
    let mounted = |change: fn(&mut Mount)| {
        let mut request = Request::default().with_mount(image_mount(change));
        request.sources.insert(0, "sha256:1".to_owned());
        mount_at(&request.right(), "/model").unwrap()
    };
    assert_eq!(mounted(|_| {}), "sha256:1 ro,rprivate");
    let part = |mount: &mut Mount| mount.image_sub_path = "a,b/c".to_owned();
    assert_eq!(mounted(part), "sha256:1 ro,rprivate,subpath=a,b/c");
    let options = |mount: &mut Mount| {
        mount.mount_options = strings(&["noexec"]);
        mount.recursive_read_only = true;
        mount.propagation = MountPropagation::Private;
    };
    assert_eq!(mounted(options), "sha256:1 ro,rprivate,noexec");
}

#[test]
fn a_mount_of_an_image_that_cannot_be_is_an_error_of_its_own_kind() {
    let wrong = |change: fn(&mut Mount)| {
        let request = Request::default().with_mount(image_mount(change));
        request.wrong()
    };
    let kind = OciErrorKind::ImageVolume;
    let text = "mounts[0].host_path: \"/x\": must be empty with an image".to_owned();
    assert_eq!(
        wrong(|mount| mount.host_path = "/x".to_owned()),
        (kind, text)
    );
    let text = "mounts[0].readonly: \"false\": must be true with an image".to_owned();
    assert_eq!(wrong(|mount| mount.readonly = false), (kind, text));
    let text = "mounts[0].image: \"model:1\": is not on this node: pull it first".to_owned();
    assert_eq!(wrong(|_| {}), (kind, text));
}
