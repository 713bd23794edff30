//! Tests of the store as its callers see it: what is applied, what comes back, who hears of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::PodStatus;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::folder::Folder;
use super::objects::version_of;
use super::*;
use crate::manifest::{self, Key, Kind, Object};

fn objects(text: &str) -> Vec<Object> {
    manifest::parse(text, "test").unwrap_or_else(|error| panic!("{error}"))
}

fn pod(name: &str, image: &str) -> Object {
    objects(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: a, image: {image}}}]}}\n"
    ))
    .remove(0)
}

fn secret(value: &str, more: &str) -> Object {
    objects(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{k: {value}}}\n{more}\n"
    ))
    .remove(0)
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn web() -> Key {
    key(Kind::Pod, "default", "web")
}

#[test]
fn applying_again_says_what_changed() {
    let (_folder, store) = store();
    assert_eq!(store.apply(pod("web", "a:1")).unwrap(), Applied::Created);
    let created = store.pod("default", "web").unwrap().metadata;
    assert_eq!(created.generation, Some(1));
    assert!(created.uid.is_some() && created.creation_timestamp.is_some());

    assert_eq!(store.apply(pod("web", "a:1")).unwrap(), Applied::Unchanged);
    assert_eq!(store.pod("default", "web").unwrap().metadata, created);

    assert_eq!(store.apply(pod("web", "a:2")).unwrap(), Applied::Configured);
    let configured = store.pod("default", "web").unwrap().metadata;
    assert_eq!(configured.generation, Some(2));
    assert_eq!(configured.uid, created.uid);
    assert_ne!(configured.resource_version, created.resource_version);
}

#[test]
fn labels_are_no_new_generation() {
    let (_folder, store) = store();
    store.apply(pod("web", "a:1")).unwrap();
    let mut object = pod("web", "a:1");
    object.metadata_mut().labels = Some([("a".to_owned(), "b".to_owned())].into());
    assert_eq!(store.apply(object).unwrap(), Applied::Configured);
    assert_eq!(
        store.pod("default", "web").unwrap().metadata.generation,
        Some(1)
    );
}

#[test]
fn everything_is_there_after_opening_again() {
    let (folder, store) = store();
    for object in [pod("web", "a:1"), secret("hunter2", "")] {
        store.apply(object).unwrap();
    }
    store.service_account("default", DEFAULT_ACCOUNT).unwrap();
    let uid = store.pod("default", "web").unwrap().metadata.uid.unwrap();
    let status = PodStatus {
        phase: Some("Running".to_owned()),
        ..PodStatus::default()
    };
    assert!(store.put_status(&web(), &uid, status).unwrap());
    let before: Vec<_> = Kind::ALL
        .iter()
        .flat_map(|kind| store.list(*kind, None))
        .collect();
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    let after: Vec<_> = Kind::ALL
        .iter()
        .flat_map(|kind| store.list(*kind, None))
        .collect();
    assert_eq!(after.len(), 3);
    let without_version = |object: &Arc<Object>| {
        let mut object = object.as_ref().clone();
        object.metadata_mut().resource_version = None;
        object
    };
    assert_eq!(
        after.iter().map(without_version).collect::<Vec<_>>(),
        before.iter().map(without_version).collect::<Vec<_>>()
    );
    assert_eq!(
        store.apply(secret("hunter2", "")).unwrap(),
        Applied::Unchanged
    );
}

/// Golden: what version 1 of the records looks like. A change of this text needs a new version.
#[test]
fn records_of_version_1_are_read() {
    const OBJECT: &str = r#"{"version":1,"object":{"apiVersion":"v1","kind":"Pod","metadata":{"creationTimestamp":"2026-01-02T03:04:05Z","generation":2,"name":"web","namespace":"default","resourceVersion":"7","uid":"u"},"spec":{"containers":[{"image":"a:1","name":"a"}]}}}"#;
    const STATUS: &str = r#"{"version":1,"uid":"u","status":{"phase":"Running"}}"#;
    let (folder, store) = store();
    drop(store);
    for (place, text) in [
        ("objects/pods/default", OBJECT),
        ("statuses/default", STATUS),
    ] {
        let folder = folder.path().join(place);
        fs::create_dir_all(&folder).unwrap();
        put(&folder, "web", text);
    }
    let store = Store::open(folder.path()).unwrap();
    let pod = store.pod("default", "web").unwrap();
    assert_eq!(pod.metadata.generation, Some(2));
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Running"));
    assert_eq!(store.version(), 7);

    // What is written has the same shape.
    store.apply(self::pod("other", "a:1")).unwrap();
    let text = fs::read_to_string(folder.path().join("objects/pods/default/other")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["object", "version"]);
    assert_eq!(
        (&value["version"], &value["object"]["kind"]),
        (&1.into(), &"Pod".into())
    );
}

fn holds(folder: &Path, needle: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, needle),
            false => fs::read(&path)
                .unwrap()
                .windows(needle.len())
                .any(|window| window == needle),
        }
    })
}

#[test]
fn a_secret_is_not_on_the_disk_in_plain_text() {
    let (folder, store) = store();
    store.apply(secret("hunter2hunter2", "")).unwrap();
    store.apply(pod("web", "visible:1")).unwrap();
    assert!(holds(folder.path(), b"visible:1"));
    assert!(!holds(folder.path(), b"hunter2hunter2"));
    // Nor as its base64.
    assert!(!holds(folder.path(), b"aHVudGVyMmh1bnRlcjI"));
}

#[test]
fn a_record_that_makes_no_sense_is_passed_over_and_kept() {
    let (folder, store) = store();
    store.apply(pod("web", "a:1")).unwrap();
    store.apply(secret("x", "")).unwrap();
    drop(store);
    let torn = folder.path().join("objects/pods/default/web");
    fs::copy(folder.path().join("objects/secrets/default/s"), &torn).unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert!(store.list(Kind::Pod, None).is_empty());
    assert_eq!(store.list(Kind::Secret, None).len(), 1);
    assert!(torn.exists());
}

#[test]
fn what_is_immutable_stays() {
    let (_folder, store) = store();
    store.apply(secret("a", "immutable: true")).unwrap();
    for (object, message) in [
        (
            secret("b", "immutable: true"),
            "Secret \"s\" is invalid: data: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            secret("a", ""),
            "Secret \"s\" is invalid: immutable: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            secret("a", "immutable: true\ntype: other"),
            "Secret \"s\" is invalid: type: Invalid value: field is immutable",
        ),
    ] {
        let error = store.apply(object).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(
        store.apply(secret("a", "immutable: true")).unwrap(),
        Applied::Unchanged
    );
}

#[test]
fn a_pod_that_is_to_end_says_so_after_opening_again() {
    let (folder, store) = store();
    store.apply(pod("web", "a:1")).unwrap();
    let now = Timestamp::from_second(1_000_000).unwrap();
    store.mark_deleted(&web(), 30, now).unwrap().unwrap();
    // Longer changes nothing, shorter does.
    store.mark_deleted(&web(), 60, now).unwrap().unwrap();
    let metadata = |store: &Store| store.pod("default", "web").unwrap().metadata;
    assert_eq!(metadata(&store).deletion_grace_period_seconds, Some(30));
    assert_eq!(
        metadata(&store).deletion_timestamp.unwrap().0.as_second(),
        1_000_030
    );
    store.mark_deleted(&web(), 0, now).unwrap().unwrap();

    let store = Store::open(folder.path()).unwrap();
    assert_eq!(metadata(&store).deletion_grace_period_seconds, Some(0));
    let error = store.apply(pod("web", "a:2")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "object is being deleted: pods \"web\" already exists"
    );
    assert_eq!(error.kind(), ErrorKind::Conflict);
    store.delete(&web()).unwrap().unwrap();
    assert_eq!(store.delete(&web()).unwrap(), None);
    assert_eq!(store.apply(pod("web", "a:2")).unwrap(), Applied::Created);
}

#[test]
fn the_status_of_another_pod_of_the_name_is_not_kept() {
    let (folder, store) = store();
    let status = |phase: &str| PodStatus {
        phase: Some(phase.to_owned()),
        ..PodStatus::default()
    };
    assert!(!store.put_status(&web(), "gone", status("Running")).unwrap());
    store.apply(pod("web", "a:1")).unwrap();
    let uid = store.pod("default", "web").unwrap().metadata.uid.unwrap();
    assert!(!store.put_status(&web(), "gone", status("Running")).unwrap());
    assert!(store.put_status(&web(), &uid, status("Pending")).unwrap());
    store.apply(pod("web", "a:2")).unwrap();
    assert_eq!(
        store.pod("default", "web").unwrap().status,
        Some(status("Pending"))
    );

    store.delete(&web()).unwrap();
    assert!(!folder.path().join("statuses/default/web").exists());
}

#[test]
fn watchers_hear_of_every_change() {
    let (_folder, store) = store();
    let (before, mut events) = store.list_and_watch(Kind::Pod, None);
    assert!(before.is_empty());
    store.apply(pod("web", "a:1")).unwrap();
    store.apply(pod("web", "a:1")).unwrap();
    store.apply(pod("web", "a:2")).unwrap();
    let uid = store.pod("default", "web").unwrap().metadata.uid.unwrap();
    store
        .put_status(&web(), &uid, PodStatus::default())
        .unwrap();
    store
        .put_status(&web(), &uid, PodStatus::default())
        .unwrap();
    store.delete(&web()).unwrap();
    let mut heard = Vec::new();
    while let Ok(event) = events.try_recv() {
        assert_eq!(event.key, web());
        heard.push(event.change);
    }
    assert_eq!(
        heard,
        [
            Change::Created,
            Change::Modified,
            Change::Status,
            Change::Removed
        ]
    );
}

#[test]
fn every_namespace_has_a_default_account() {
    let (_folder, store) = store();
    let uid = |namespace: &str| {
        let account = store.service_account(namespace, DEFAULT_ACCOUNT).unwrap();
        account.unwrap().metadata.uid.unwrap()
    };
    assert_eq!(uid("a"), uid("a"));
    assert_ne!(uid("a"), uid("b"));
    assert_eq!(store.service_account("a", "robot").unwrap(), None);
}

const TWO: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\n";
const ONE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {k: v}\n";

fn put(folder: &Path, name: &str, text: &str) {
    crate::file::replace(
        &folder.join(name),
        text.as_bytes(),
        crate::file::Durability::Rename,
    )
    .unwrap();
}

#[test]
fn a_folder_of_manifests_is_kept_applied() {
    let (_store_folder, store) = store();
    let manifests = tempfile::tempdir().unwrap();
    let mut folder = Folder::new(manifests.path());
    put(manifests.path(), "a.yaml", TWO);
    put(manifests.path(), "notes.txt", "nothing");
    put(manifests.path(), ".hidden.yaml", "nothing");
    let scan = folder.scan(&store);
    assert_eq!(scan.applied.len(), 2, "{scan:?}");
    assert!(
        scan.errors.is_empty() && scan.vanished.is_empty(),
        "{scan:?}"
    );

    // Nothing changed: nothing is read.
    assert!(folder.scan(&store).applied.is_empty());

    // One changed, the other left the file.
    put(manifests.path(), "a.yaml", ONE);
    let scan = folder.scan(&store);
    assert_eq!(
        scan.applied,
        [(key(Kind::ConfigMap, "default", "one"), Applied::Configured)]
    );
    assert_eq!(scan.vanished, [key(Kind::ConfigMap, "default", "two")]);
    store.delete(&scan.vanished[0]).unwrap();

    // A broken file is told once and changes nothing; another goes on.
    put(manifests.path(), "a.yaml", "kind: [");
    put(
        manifests.path(),
        "b.json",
        r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "three"}}"#,
    );
    let scan = folder.scan(&store);
    assert_eq!(
        (scan.errors.len(), scan.applied.len(), scan.vanished.len()),
        (1, 1, 0)
    );
    assert!(folder.scan(&store).errors.is_empty());

    // So is one that is empty: its writer may have only begun.
    for text in ["", "# soon\n---\n"] {
        put(manifests.path(), "a.yaml", text);
        let scan = folder.scan(&store);
        assert_eq!((scan.errors.len(), scan.vanished.len()), (1, 0), "{text:?}");
    }

    // An agent that starts on this still keeps what came from the broken file, and not what is in no file.
    let mut folder = Folder::new(manifests.path());
    fs::remove_file(manifests.path().join("b.json")).unwrap();
    let scan = folder.scan(&store);
    assert_eq!(scan.vanished, [key(Kind::ConfigMap, "default", "three")]);
}

#[test]
fn objects_of_other_origin_are_no_business_of_a_folder() {
    let (_store_folder, store) = store();
    store.apply(pod("web", "a:1")).unwrap();
    let mut folder = Folder::new(Path::new("/nonexistent"));
    let scan = folder.scan(&store);
    assert!(
        scan.vanished.is_empty() && scan.errors.is_empty(),
        "{scan:?}"
    );
}

/// What a caller may do to three pods.
#[derive(Debug, Clone)]
enum Step {
    Apply(usize, usize),
    MarkDeleted(usize),
    Delete(usize),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_usize..3, 0_usize..3).prop_map(|(name, image)| Step::Apply(name, image)),
        1 => (0_usize..3).prop_map(Step::MarkDeleted),
        1 => (0_usize..3).prop_map(Step::Delete),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn versions_rise_and_uids_stay(steps in steps()) {
        let (folder, mut store) = store();
        let mut highest = 0;
        let mut uids = BTreeMap::new();
        for step in steps {
            let name = |name: usize| format!("pod-{name}");
            match step {
                Step::Apply(index, image) => {
                    drop(store.apply(pod(&name(index), &format!("a:{image}"))));
                    let metadata = store.pod("default", &name(index)).unwrap().metadata;
                    let uid = metadata.uid.clone().unwrap();
                    prop_assert_eq!(uids.entry(index).or_insert_with(|| uid.clone()), &uid);
                }
                Step::MarkDeleted(index) => {
                    drop(store.mark_deleted(&key(Kind::Pod, "default", &name(index)), 1, Timestamp::now()));
                }
                Step::Delete(index) => {
                    store.delete(&key(Kind::Pod, "default", &name(index))).unwrap();
                    uids.remove(&index);
                }
                Step::Reopen => {
                    drop(store);
                    store = Store::open(folder.path()).unwrap();
                }
            }
            let listed = store.list(Kind::Pod, None);
            prop_assert_eq!(listed.len(), uids.len());
            let version = listed.iter().map(|object| version_of(object)).max().unwrap_or(0);
            highest = highest.max(version);
            prop_assert!(store.version() >= version);
        }
    }
}
