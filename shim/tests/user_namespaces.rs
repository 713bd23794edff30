//! Containers in a user namespace of their pod: what they are inside, and what the host sees of them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use std::os::unix::fs::MetadataExt as _;

use carpel_shim_protocol::message::CapabilitySets;
use carpel_shim_protocol::message::ContainerNamespace;
use carpel_shim_protocol::message::CreateContainer;
use carpel_shim_protocol::message::CreateSandbox;
use carpel_shim_protocol::message::IdMapping;
use carpel_shim_protocol::message::NamespaceSource;
use support::Pod;
use support::obstacle;

const HOST_ID: u32 = 100_000;

fn mapped(sandbox: &mut CreateSandbox) {
    let mapping = IdMapping {
        container_id: 0,
        host_id: HOST_ID,
        length: 65_536,
    };
    sandbox.uid_mappings = vec![mapping];
    sandbox.gid_mappings = vec![mapping];
    sandbox.sysctls.clear();
}

fn inside(mut create: CreateContainer) -> CreateContainer {
    create.user_namespace = true;
    create
}

/// Runs a pod with a user namespace, if this machine can.
fn pod(change: impl FnOnce(&mut CreateSandbox)) -> Option<Pod> {
    obstacle().is_none().then(|| {
        Pod::with(|sandbox| {
            mapped(sandbox);
            change(sandbox);
        })
    })
}

#[test]
fn root_a_container_is_root_of_the_pod_alone() {
    let Some(mut pod) = pod(|_| {}) else {
        println!("SKIP {}", obstacle().unwrap_or_default());
        return;
    };
    let share = pod.share();
    let mut create = inside(pod.container(
        "a",
        "id -u >/share/id; cat /proc/self/uid_map >>/share/id; \
         touch /made /share/made; stat -c %u:%g /bin/busybox /made /dev /proc/1 >/share/owners; \
         hostname other; hostname >/share/hostname; mkdir /m; mount -t tmpfs x /m && echo mounted >/share/mounted; \
         echo x >/dev/null && echo null >/share/null",
    ));
    let all = (1 << 41) - 1;
    create.process.as_mut().unwrap().capabilities = Some(CapabilitySets {
        bounding: all,
        effective: all,
        permitted: all,
        ..CapabilitySets::default()
    });
    for mount in &mut create.mounts {
        mount.idmapped = mount.destination == "/share";
    }
    pod.run_to_end(create);
    let words: Vec<String> = pod
        .shared("id")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(words, ["0", "0", "100000", "65536"]);
    assert_eq!(pod.shared("owners"), "0:0\n0:0\n0:0\n0:0\n");
    assert_eq!(pod.shared("hostname"), "other\n");
    assert_eq!(pod.shared("mounted"), "mounted\n");
    assert_eq!(pod.shared("null"), "null\n");
    // Through its own mapping the volume has what root made as root's.
    assert_eq!(std::fs::metadata(share.join("made")).unwrap().uid(), 0);
    pod.shut_down();
}

#[test]
fn root_execs_join_the_user_namespace() {
    let Some(mut pod) = pod(|sandbox| sandbox.pid = NamespaceSource::New.into()) else {
        println!("SKIP {}", obstacle().unwrap_or_default());
        return;
    };
    let mut create = inside(pod.container("a", "echo x >/tmp/ready; sleep 1000"));
    create.set_pid(ContainerNamespace::NamespacePod);
    let pid = pod.create(create).unwrap().pid;
    pod.start("a").unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t100000\t"), "{status}");
    let result = pod
        .exec(support::exec_of(
            "a",
            "e",
            &["sh", "-c", "id -u; cat /proc/self/uid_map; touch /by-exec"],
        ))
        .unwrap();
    let words: Vec<&str> = result.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "100000", "65536"]);
    let made = std::fs::metadata(format!("/proc/{pid}/root/by-exec")).unwrap();
    assert_eq!(made.uid(), HOST_ID);
    pod.shut_down();
}

#[test]
fn root_a_failure_outside_or_inside_is_told_and_leaves_nothing() {
    let Some(mut pod) = pod(|_| {}) else {
        println!("SKIP {}", obstacle().unwrap_or_default());
        return;
    };
    let mut missing = inside(pod.container("outside", "true"));
    missing
        .mounts
        .push(support::bind("/no/such/source", "/x", &["rbind"]));
    let failure = pod.create(missing).unwrap_err();
    assert!(failure.step.contains("/no/such/source"), "{failure:?}");
    let mut wrong = inside(pod.container("inside", "true"));
    wrong.mounts.push(support::mount("ext4", "/x", &[]));
    let failure = pod.create(wrong).unwrap_err();
    assert!(failure.step.contains("ext4"), "{failure:?}");
    let outside = pod.container("host", "true");
    let failure = pod.create(outside).unwrap_err();
    assert!(failure.step.contains("user namespace"), "{failure:?}");
    pod.run_to_end(inside(pod.container("after", "true")));
    pod.shut_down();
}
