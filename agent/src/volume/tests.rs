//! Volumes of pods as containers and the host see them. Those that mount need root, in a mount namespace of their own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::*;
use crate::facts::Facts;
use crate::manifest;
use crate::store::Store;
use crate::token::Issuer;

const OBJECTS: &str = "
apiVersion: v1
kind: Secret
metadata: {name: user}
stringData: {username: admin}
---
apiVersion: v1
kind: Secret
metadata: {name: pass}
stringData: {password: hunter2, other: x}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: map}
data: {one: '1', two: '2'}
binaryData: {binary: /w==}
";

struct Fixture {
    folder: tempfile::TempDir,
    store: Arc<Store>,
    volumes: Volumes,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&folder.path().join("store")).unwrap());
        let issuer = Arc::new(Issuer::open(&folder.path().join("token"), "https://node").unwrap());
        let settings = Settings {
            directory: folder.path().join("pods"),
        };
        let fixture = Self {
            volumes: Volumes::new(settings, Arc::clone(&store), issuer),
            folder,
            store,
        };
        fixture.apply(OBJECTS);
        fixture
    }

    fn apply(&self, text: &str) {
        for object in manifest::parse(text, "test").unwrap_or_else(|error| panic!("{error}")) {
            self.store.apply(object).unwrap();
        }
    }

    /// Sets up a pod of one container with the given volumes, mounts and other fields of its spec.
    fn prepare(&self, pod: &Pod) -> Prepared {
        let prepared = self.volumes.prepare(pod, &facts());
        prepared.unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    fn error(&self, pod: &Pod) -> String {
        chain(&self.volumes.prepare(pod, &facts()).unwrap_err())
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let left = mounts::unmount_below(self.folder.path()).unwrap();
        assert!(left.is_empty() || std::thread::panicking(), "{left:?}");
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

fn facts() -> Facts {
    Facts {
        node_name: "node".to_owned(),
        allocatable_memory: 64 << 20,
        allocatable_cpu_milli: 2000,
        ..Facts::default()
    }
}

fn pod(spec: &str) -> Pod {
    let text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: web, labels: {{app: shop}}}}, spec: {{containers: [{{name: a, image: 'x:1'}}], {spec}}}}}"
    );
    let mut objects = manifest::parse(&text, "test").unwrap_or_else(|error| panic!("{error}"));
    let mut pod = objects.remove(0).as_pod().unwrap().clone();
    pod.metadata.uid = Some("1234".to_owned());
    pod
}

/// The pod with mounts in its container.
fn with_mounts(mut pod: Pod, mounts: &str) -> Pod {
    let text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: m}}, spec: {{containers: [{{name: a, image: 'x:1', volumeMounts: [{mounts}]}}], volumes: [{{name: v}}, {{name: w}}]}}}}"
    );
    let objects = manifest::parse(&text, "test").unwrap_or_else(|error| panic!("{error}"));
    let container = objects[0]
        .as_pod()
        .unwrap()
        .spec
        .as_ref()
        .unwrap()
        .containers[0]
        .clone();
    pod.spec.as_mut().unwrap().containers = vec![container];
    pod
}

fn mounts_of(prepared: &Prepared, pod: &Pod) -> Vec<VolumeMountPlan> {
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let plans = prepared.mounts_for(container, &[("POD".to_owned(), "web".to_owned())]);
    plans.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

fn path_of(plan: &VolumeMountPlan) -> PathBuf {
    match &plan.source {
        MountSource::Path(path) => path.clone(),
        MountSource::Image { .. } => panic!("{plan:?}"),
    }
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = folder.join(&name);
        match fs::metadata(&path).unwrap().is_dir() {
            _ if name.starts_with("..") => {}
            true => found.extend(
                files(&path)
                    .into_iter()
                    .map(|(inner, text)| (format!("{name}/{inner}"), text)),
            ),
            false => {
                let text = fs::read(&path).unwrap();
                found.insert(name, String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
    found
}

fn volume_path(prepared: &Prepared, name: &str) -> PathBuf {
    match &prepared.volumes[name] {
        prepared::Source::Path { path, .. } => path.clone(),
        prepared::Source::Image { .. } => panic!("{name} is an image"),
    }
}

/// Puts this thread, and so the test, into a mount namespace of its own. Whether that was possible.
fn in_own_namespace(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP {test}: needs root");
        return false;
    }
    #[expect(
        deprecated,
        reason = "the mount namespace of one thread is unshared, and no descriptors are"
    )]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).unwrap();
    mount_change(
        "/",
        MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
    )
    .unwrap();
    true
}

#[test]
fn config_maps_and_fields_become_files() {
    let fixture = Fixture::new();
    let pod = pod(
        "volumes: [{name: v, configMap: {name: map, defaultMode: 0400, items: [{key: one, path: a/b, mode: 0600}, {key: two, path: c}]}},
           {name: w, configMap: {name: map}}, {name: none, configMap: {name: nope, optional: true}},
           {name: down, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}},
             {path: cpu, resourceFieldRef: {containerName: a, resource: limits.cpu, divisor: 1m}}]}}]",
    );
    let prepared = fixture.prepare(&pod);
    let folder = |name: &str| volume_path(&prepared, name);
    assert_eq!(
        files(&folder("v")),
        [("a/b", "1"), ("c", "2")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    );
    assert_eq!(
        fs::metadata(folder("v").join("a/b")).unwrap().mode() & 0o7777,
        0o600
    );
    assert_eq!(
        fs::metadata(folder("v").join("c")).unwrap().mode() & 0o7777,
        0o400
    );
    assert_eq!(files(&folder("w")).len(), 3);
    assert_eq!(fs::read(folder("w").join("binary")).unwrap(), [0xff]);
    assert!(files(&folder("none")).is_empty());
    assert_eq!(
        files(&folder("down")),
        [("labels", "app=\"shop\""), ("cpu", "2000")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    );
    fixture.volumes.teardown("1234").unwrap();
    assert!(!fixture.folder.path().join("pods/1234").exists());
}

#[test]
fn what_is_not_there_is_said_as_the_kubelet_says_it() {
    let fixture = Fixture::new();
    for (volume, message) in [
        (
            "configMap: {name: nope}",
            "MountVolume.SetUp failed for volume \"v\": configmap \"nope\" not found",
        ),
        (
            "configMap: {name: map, items: [{key: k, path: p}]}",
            "MountVolume.SetUp failed for volume \"v\": configmap references non-existent config key: k",
        ),
        (
            "secret: {secretName: nope}",
            "MountVolume.SetUp failed for volume \"v\": secret \"nope\" not found",
        ),
        (
            "secret: {secretName: user, items: [{key: k, path: p}]}",
            "MountVolume.SetUp failed for volume \"v\": references non-existent secret key: k",
        ),
        (
            "hostPath: {path: /nonexistent, type: Directory}",
            "MountVolume.SetUp failed for volume \"v\": hostPath type check failed: /nonexistent is not a directory",
        ),
    ] {
        assert_eq!(
            fixture.error(&pod(&format!("volumes: [{{name: v, {volume}}}]"))),
            message
        );
    }
    let robot = pod(
        "serviceAccountName: robot, volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]",
    );
    assert_eq!(
        fixture.error(&robot),
        "MountVolume.SetUp failed for volume \"v\": failed to fetch token: serviceaccounts \"robot\" not found"
    );
    fixture.volumes.teardown("1234").unwrap();
}

#[test]
fn images_and_paths_of_the_host_are_handed_on() {
    let fixture = Fixture::new();
    let pod = pod(
        "volumes: [{name: v, hostPath: {path: /dev/null, type: CharDevice}}, {name: w, image: {reference: 'x:1'}}]",
    );
    let pod = with_mounts(
        pod,
        "{name: v, mountPath: /a, mountPropagation: HostToContainer}, {name: w, mountPath: /b, subPath: etc}, {name: v, mountPath: /c, readOnly: true, recursiveReadOnly: IfPossible}",
    );
    let prepared = fixture.prepare(&pod);
    assert_eq!(
        prepared.images().collect::<Vec<_>>(),
        [("x:1", "IfNotPresent")]
    );
    let plans = mounts_of(&prepared, &pod);
    assert_eq!(path_of(&plans[0]), Path::new("/dev/null"));
    assert_eq!(
        (plans[0].is_read_only, plans[0].propagation),
        (false, Propagation::HostToContainer)
    );
    assert_eq!(
        plans[1].source,
        MountSource::Image {
            reference: "x:1".to_owned(),
            pull_policy: "IfNotPresent".to_owned(),
            sub_path: "etc".to_owned(),
        }
    );
    assert_eq!(
        (plans[2].is_read_only, plans[2].recursive_read_only),
        (true, RecursiveReadOnly::IfPossible)
    );
    assert_eq!(plans[2].container_path, "/c");
    fixture.volumes.teardown("1234").unwrap();
}

#[test]
fn a_change_of_a_config_map_reaches_its_volume_and_nothing_else() {
    let fixture = Fixture::new();
    let pod = pod(
        "volumes: [{name: v, configMap: {name: map}}, {name: w, configMap: {name: map, items: [{key: two, path: two}]}}, {name: e}]",
    );
    let prepared = fixture.prepare(&pod);
    assert_eq!(
        fixture.volumes.refresh(&pod, &facts()).unwrap(),
        Refreshed::default()
    );
    fixture.apply(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: map}, data: {one: changed, two: '2'}}",
    );
    let refreshed = fixture.volumes.refresh(&pod, &facts()).unwrap();
    assert_eq!(refreshed.changed, ["v"]);
    let files = files(&volume_path(&prepared, "v"));
    assert_eq!(files["one"], "changed");
    assert!(!files.contains_key("binary"));

    // While it is gone, its files stay.
    fixture
        .store
        .delete(&crate::store::key(
            manifest::Kind::ConfigMap,
            "default",
            "map",
        ))
        .unwrap();
    assert!(fixture.volumes.refresh(&pod, &facts()).is_err());
    assert_eq!(self::files(&volume_path(&prepared, "v")), files);
    // Also for a container that starts again, and not for another pod.
    fixture.prepare(&pod);
    assert_eq!(self::files(&volume_path(&prepared, "v")), files);
    let mut other = pod.clone();
    other.metadata.uid = Some("5678".to_owned());
    assert!(
        fixture
            .error(&other)
            .ends_with("configmap \"map\" not found")
    );
    fixture.volumes.teardown("5678").unwrap();
    fixture.volumes.teardown("1234").unwrap();
}

#[test]
fn an_empty_dir_on_the_disk_keeps_its_files_and_says_when_there_are_too_many() {
    let fixture = Fixture::new();
    let pod = pod("volumes: [{name: v, emptyDir: {sizeLimit: 100Ki}}, {name: w, emptyDir: {}}]");
    let folder = volume_path(&fixture.prepare(&pod), "v");
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o777);
    crate::file::replace(
        &folder.join("file"),
        &[1; 50_000],
        crate::file::Durability::Synced,
    )
    .unwrap();
    assert_eq!(fixture.volumes.exceeded(&pod).unwrap(), None);
    fixture.prepare(&pod);
    assert!(folder.join("file").exists());
    crate::file::replace(
        &folder.join("more"),
        &[1; 100_000],
        crate::file::Durability::Synced,
    )
    .unwrap();
    let exceeded = fixture.volumes.exceeded(&pod).unwrap().unwrap();
    assert_eq!(
        (exceeded.volume.as_str(), exceeded.limit.as_str()),
        ("v", "100Ki")
    );
    let usage = fixture.volumes.usage(&pod).unwrap();
    assert_eq!(usage[0].limit_bytes, Some(102_400));
    assert!(
        usage[0].used_bytes > 150_000 && usage[1].used_bytes < 10_000,
        "{usage:?}"
    );
    fixture.volumes.teardown("1234").unwrap();
}

#[test]
fn a_uid_names_one_folder() {
    let fixture = Fixture::new();
    for uid in ["", ".", "..", "a/b", "/etc", "a/"] {
        assert!(
            matches!(fixture.volumes.teardown(uid), Err(VolumeError::Uid(_))),
            "{uid:?}"
        );
    }
    fixture.volumes.teardown("never-there").unwrap();
}

#[test]
fn root_secrets_and_tokens_are_in_memory_and_gone_afterwards() {
    if !in_own_namespace("root_secrets_and_tokens_are_in_memory_and_gone_afterwards") {
        return;
    }
    let fixture = Fixture::new();
    let pod = pod(
        "volumes: [{name: secret, secret: {secretName: user}}, {name: all, projected: {sources: [
           {secret: {name: user}}, {secret: {name: pass, items: [{key: password, path: deep/pass, mode: 0400}]}},
           {configMap: {name: map, items: [{key: one, path: one}]}},
           {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}},
           {serviceAccountToken: {path: token, audience: vault, expirationSeconds: 600}}]}}]",
    );
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let prepared = fixture.volumes.prepare_at(&pod, &facts(), now).unwrap();
    let (secret, all) = (
        volume_path(&prepared, "secret"),
        volume_path(&prepared, "all"),
    );
    for folder in [&secret, &all] {
        assert!(mounts::is_tmpfs(folder).unwrap(), "{}", folder.display());
    }
    assert_eq!(
        files(&secret),
        [("username".to_owned(), "admin".to_owned())].into()
    );
    let mut found = files(&all);
    let token = found.remove("token").unwrap();
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(
        found,
        [
            ("username", "admin"),
            ("deep/pass", "hunter2"),
            ("one", "1"),
            ("name", "web")
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
    );
    assert_eq!(
        fs::metadata(all.join("deep/pass")).unwrap().mode() & 0o7777,
        0o400
    );
    assert_eq!(prepared.next_refresh.unwrap().as_second(), 1_700_000_480);

    // Not before its time, and then it is another one.
    let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
    assert!(
        fixture
            .volumes
            .refresh_at(&pod, &facts(), at(479))
            .unwrap()
            .changed
            .is_empty()
    );
    let refreshed = fixture.volumes.refresh_at(&pod, &facts(), at(480)).unwrap();
    assert_eq!(refreshed.changed, ["all"]);
    assert_eq!(refreshed.next_refresh, Some(at(960)));
    assert_ne!(files(&all)["token"], token);

    // Again, as after a restart of the agent; then away, twice.
    fixture.volumes.prepare_at(&pod, &facts(), at(481)).unwrap();
    assert_eq!(fixture.volumes.uids().unwrap(), ["1234"]);
    fixture.volumes.teardown("1234").unwrap();
    fixture.volumes.teardown("1234").unwrap();
    assert!(fixture.volumes.uids().unwrap().is_empty());
}

#[test]
fn root_containers_that_start_at_once_find_one_volume() {
    if !in_own_namespace("root_containers_that_start_at_once_find_one_volume") {
        return;
    }
    let fixture = Fixture::new();
    let pod = pod(
        "volumes: [{name: s, secret: {secretName: user}}, {name: e, emptyDir: {medium: Memory}}]",
    );
    // Threads that start now are in this thread's namespace.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| fixture.prepare(&pod));
        }
    });
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let pods = fixture.folder.path().join("pods");
    assert_eq!(table.matches(pods.to_str().unwrap()).count(), 2, "{table}");
    fixture.volumes.teardown("1234").unwrap();
}

#[test]
fn root_after_a_boot_what_was_in_memory_is_made_again() {
    if !in_own_namespace("root_after_a_boot_what_was_in_memory_is_made_again") {
        return;
    }
    let fixture = Fixture::new();
    let pod = pod(
        "volumes: [{name: secret, secret: {secretName: user}}, {name: m, emptyDir: {medium: Memory, sizeLimit: 1Mi}}, {name: d}]",
    );
    let prepared = fixture.prepare(&pod);
    let (memory, disk) = (volume_path(&prepared, "m"), volume_path(&prepared, "d"));
    fs::File::create(memory.join("lost")).unwrap();
    fs::File::create(disk.join("kept")).unwrap();
    let size = rustix::fs::statvfs(&memory).unwrap();
    assert_eq!(size.f_blocks * size.f_frsize, 1 << 20);
    fixture.prepare(&pod);
    assert!(memory.join("lost").exists());

    assert!(
        mounts::unmount_below(&fixture.folder.path().join("pods"))
            .unwrap()
            .is_empty()
    );
    let prepared = fixture.prepare(&pod);
    assert!(mounts::is_tmpfs(&memory).unwrap());
    assert!(!memory.join("lost").exists() && disk.join("kept").exists());
    assert_eq!(
        files(&volume_path(&prepared, "secret"))["username"],
        "admin"
    );
    fixture.volumes.teardown("1234").unwrap();
}

#[test]
fn root_the_group_of_a_pod_owns_its_files() {
    if !in_own_namespace("root_the_group_of_a_pod_owns_its_files") {
        return;
    }
    let fixture = Fixture::new();
    let pod = pod(
        "securityContext: {fsGroup: 2000, runAsUser: 1000},
         volumes: [{name: e}, {name: s, secret: {secretName: user, defaultMode: 0400}}, {name: t, projected: {sources: [{serviceAccountToken: {path: token}}]}}]",
    );
    let prepared = fixture.prepare(&pod);
    let stat = |path: &Path| {
        let metadata = fs::metadata(path).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    let folder = |name: &str| volume_path(&prepared, name);
    assert_eq!(stat(&folder("e")), (0, 2000, 0o2777));
    assert_eq!(stat(&folder("s").join("username")), (0, 2000, 0o440));
    assert_eq!(stat(&folder("t").join("token")), (1000, 2000, 0o640));
    assert_eq!(stat(&folder("t")).1, 2000);
    // Containers make the files of an emptyDir: another container's start does not take them away.
    let own = folder("e").join("own");
    crate::file::replace(&own, b"x", crate::file::Durability::Rename).unwrap();
    std::os::unix::fs::chown(&own, None, Some(0)).unwrap();
    fixture.prepare(&pod);
    assert_eq!(stat(&own), (0, 0, 0o600));
    // The bits of the group are no change of the files.
    assert!(
        fixture
            .volumes
            .refresh(&pod, &facts())
            .unwrap()
            .changed
            .is_empty()
    );
    fixture.volumes.teardown("1234").unwrap();
}

#[test]
fn root_a_token_without_a_group_belongs_to_the_user() {
    if !in_own_namespace("root_a_token_without_a_group_belongs_to_the_user") {
        return;
    }
    let fixture = Fixture::new();
    let pod = pod(
        "securityContext: {runAsUser: 1000}, volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: token}}]}}]",
    );
    let token = volume_path(&fixture.prepare(&pod), "t").join("token");
    let metadata = fs::metadata(token).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (1000, 0o600));
    fixture.volumes.teardown("1234").unwrap();
}

#[test]
fn root_giving_a_folder_to_a_group_follows_no_link() {
    use super::ownership::{Access, Policy, give};
    if !in_own_namespace("root_giving_a_folder_to_a_group_follows_no_link") {
        return;
    }
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret");
    crate::file::replace(&secret, b"x", crate::file::Durability::Rename).unwrap();
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    crate::file::replace(
        &folder.path().join("a/b/file"),
        b"x",
        crate::file::Durability::Rename,
    )
    .unwrap();
    symlink(&secret, folder.path().join("a/link")).unwrap();
    symlink(outside.path(), folder.path().join("a/folder")).unwrap();
    let stat = |path: &Path| {
        let metadata = fs::symlink_metadata(path).unwrap();
        (metadata.gid(), metadata.mode() & 0o7777)
    };
    let before = (stat(outside.path()), stat(&secret));
    give(folder.path(), 2000, Access::ReadWrite, Policy::Always).unwrap();
    assert_eq!((stat(outside.path()), stat(&secret)), before);
    assert_eq!(stat(&folder.path().join("a/b")), (2000, 0o2775));
    assert_eq!(stat(&folder.path().join("a/b/file")), (2000, 0o660));
    assert_eq!(stat(&folder.path().join("a/link")).0, 2000);

    // If the folder is the group's already, what is in it is left alone, unless the policy says otherwise.
    std::os::unix::fs::chown(folder.path().join("a/b/file"), None, Some(0)).unwrap();
    give(
        folder.path(),
        2000,
        Access::ReadWrite,
        Policy::OnRootMismatch,
    )
    .unwrap();
    assert_eq!(stat(&folder.path().join("a/b/file")).0, 0);
    give(folder.path(), 2000, Access::ReadWrite, Policy::Always).unwrap();
    assert_eq!(stat(&folder.path().join("a/b/file")).0, 2000);
}

#[test]
fn root_a_sub_path_is_bound_and_goes_with_the_pod_without_its_source() {
    if !in_own_namespace("root_a_sub_path_is_bound_and_goes_with_the_pod_without_its_source") {
        return;
    }
    let fixture = Fixture::new();
    let host = tempfile::tempdir().unwrap();
    fs::create_dir(host.path().join("data")).unwrap();
    crate::file::replace(
        &host.path().join("data/file"),
        b"precious",
        crate::file::Durability::Rename,
    )
    .unwrap();
    let volumes = format!(
        "volumes: [{{name: v, hostPath: {{path: {}}}}}, {{name: w}}]",
        host.path().display()
    );
    let pod = with_mounts(
        pod(&volumes),
        "{name: v, mountPath: /a, subPath: data}, {name: v, mountPath: /b, subPath: data/file}, {name: w, mountPath: /c, subPathExpr: logs/$(POD)}",
    );
    let prepared = fixture.prepare(&pod);
    for _ in 0..2 {
        let plans = mounts_of(&prepared, &pod);
        assert_eq!(
            fs::read_to_string(path_of(&plans[0]).join("file")).unwrap(),
            "precious"
        );
        assert_eq!(fs::read_to_string(path_of(&plans[1])).unwrap(), "precious");
        assert!(volume_path(&prepared, "w").join("logs/web").is_dir());
        fs::File::create(path_of(&plans[2]).join("log")).unwrap();
    }
    assert!(volume_path(&prepared, "w").join("logs/web/log").exists());

    let container = &pod.spec.as_ref().unwrap().containers[0];
    let error = prepared.mounts_for(container, &[]).unwrap_err();
    assert!(
        chain(&error).contains("invalid path \"logs/$(POD)\""),
        "{}",
        chain(&error)
    );

    fixture.volumes.teardown("1234").unwrap();
    assert_eq!(
        fs::read_to_string(host.path().join("data/file")).unwrap(),
        "precious"
    );
}

#[test]
fn root_what_is_mounted_is_unmounted_and_never_removed() {
    if !in_own_namespace("root_what_is_mounted_is_unmounted_and_never_removed") {
        return;
    }
    let fixture = Fixture::new();
    let host = tempfile::tempdir().unwrap();
    fs::File::create(host.path().join("precious")).unwrap();
    let place = fixture.folder.path().join("pods/1234/volumes/x");
    fs::create_dir_all(&place).unwrap();
    let bind = || mount(host.path(), &place, "", MountFlags::BIND, None).unwrap();
    bind();
    let refused = removal::remove(&fixture.folder.path().join("pods/1234")).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::CrossesDevices);
    bind();
    fixture.volumes.teardown("1234").unwrap();
    assert!(host.path().join("precious").exists());
    assert!(!place.exists());
}
