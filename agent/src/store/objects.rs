//! The objects in memory, and what may be done with them. Whatever changes one changes its record first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodStatus, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::broadcast;

use super::StoreError;
use super::applied::{self, Applied};
use super::record::Records;
use crate::manifest::{Key, Kind, Object};

/// Changes that a slow watcher may be behind before it has to list again.
const EVENTS_MAX: usize = 1024;
/// The service account that every namespace has.
pub const DEFAULT_ACCOUNT: &str = "default";

/// A change of an object.
#[derive(Debug, Clone)]
pub struct Event {
    /// What changed.
    pub key: Key,
    /// How.
    pub change: Change,
    /// The object after it; before it, if it was removed.
    pub object: Arc<Object>,
}

/// How an object changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Created,
    /// It says something else than before.
    Modified,
    /// Its status says something else than before.
    Status,
    /// It is gone.
    Removed,
}

/// The objects of one node.
#[derive(Debug)]
pub struct Store {
    records: Records,
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Key, Arc<Object>>,
    version: u64,
}

impl Store {
    /// Opens the store in a folder, which is made if it is not there. A record that makes no sense is left where it is and
    /// logged: it is not an object, and it is not lost either.
    ///
    /// # Errors
    /// If the folder cannot be made or read, or the key of the Secrets cannot.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let records = Records::open(directory)?;
        let objects = records.read_all()?;
        let version = objects.values().map(version_of).max();
        Ok(Self {
            records,
            state: Mutex::new(State {
                objects: objects
                    .into_iter()
                    .map(|(key, object)| (key, Arc::new(object)))
                    .collect(),
                version: version.unwrap_or_default(),
            }),
            events: broadcast::Sender::new(EVENTS_MAX),
        })
    }

    /// Makes the object be what is applied, durably. Metadata that only a server sets (uid, creation time, versions) is
    /// carried on from the object that is there.
    ///
    /// # Errors
    /// `Immutable` and `BeingDeleted` if the object that is there may not be changed so; `File` if it cannot be kept.
    pub fn apply(&self, object: Object) -> Result<Applied, StoreError> {
        self.apply_at(object, Timestamp::now())
    }

    /// As [`Store::apply`], at a time.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn apply_at(&self, mut object: Object, now: Timestamp) -> Result<Applied, StoreError> {
        let key = object.key();
        let mut state = self.state();
        let current = state.objects.get(&key).cloned();
        let applied = match &current {
            Some(current) => applied::over(current, &mut object)?,
            None => applied::anew(&mut object, now)?,
        };
        if applied == Applied::Unchanged {
            return Ok(applied);
        }
        let change = match applied {
            Applied::Created => Change::Created,
            Applied::Configured | Applied::Unchanged => Change::Modified,
        };
        self.put(&mut state, object, change)?;
        Ok(applied)
    }

    /// What [`Store::apply`] would do, and the object as it would be then; nothing is kept.
    ///
    /// # Errors
    /// As [`Store::apply`], but for `File`.
    pub fn preview(&self, mut object: Object) -> Result<(Applied, Object), StoreError> {
        let current = self.get(&object.key());
        let applied = match &current {
            Some(current) => applied::over(current, &mut object)?,
            None => applied::anew(&mut object, Timestamp::now())?,
        };
        Ok((applied, object))
    }

    /// The object of a key, with a pod's status in it.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.state().objects.get(key).cloned()
    }

    /// A pod.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Pod> {
        let object = self.get(&key(Kind::Pod, namespace, name))?;
        object.as_pod().cloned()
    }

    /// A Secret.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        let object = self.get(&key(Kind::Secret, namespace, name))?;
        object.as_secret().cloned()
    }

    /// A `ConfigMap`.
    #[must_use]
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap> {
        let object = self.get(&key(Kind::ConfigMap, namespace, name))?;
        object.as_config_map().cloned()
    }

    /// A service account. Every namespace has one named [`DEFAULT_ACCOUNT`], which is made when it is first asked for.
    ///
    /// # Errors
    /// `File` if the default account cannot be kept.
    pub fn service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ServiceAccount>, StoreError> {
        let key = key(Kind::ServiceAccount, namespace, name);
        if name == DEFAULT_ACCOUNT && self.get(&key).is_none() {
            let mut account = ServiceAccount::default();
            account.metadata.name = Some(name.to_owned());
            account.metadata.namespace = Some(namespace.to_owned());
            self.apply(Object::ServiceAccount(Box::new(account)))?;
        }
        let object = self.get(&key);
        Ok(object.and_then(|object| object.as_service_account().cloned()))
    }

    /// The objects of a kind, in the order of their names; of one namespace, or of all.
    #[must_use]
    pub fn list(&self, kind: Kind, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let state = self.state();
        let of_kind = state.objects.iter().filter(|(key, _)| key.kind == kind);
        of_kind
            .filter(|(key, _)| namespace.is_none_or(|namespace| namespace == key.namespace))
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// Removes an object for good, with a pod's status. The object, if there was one.
    ///
    /// # Errors
    /// `File` if its record cannot be removed; the object is then still there.
    pub fn delete(&self, key: &Key) -> Result<Option<Arc<Object>>, StoreError> {
        let mut state = self.state();
        let Some(object) = state.objects.get(key).cloned() else {
            return Ok(None);
        };
        self.records.remove(key)?;
        state.objects.remove(key);
        self.tell(key.clone(), Change::Removed, &object);
        Ok(Some(object))
    }

    /// Says durably that a pod is to end: sets its deletion time and grace period, as the API server does. A later call may
    /// shorten the grace period and never lengthens it. Whoever ends the pod calls [`Store::delete`] afterwards.
    ///
    /// # Errors
    /// `File` if this cannot be kept.
    pub fn mark_deleted(
        &self,
        key: &Key,
        grace_seconds: i64,
        now: Timestamp,
    ) -> Result<Option<Arc<Object>>, StoreError> {
        let mut state = self.state();
        let Some(current) = state.objects.get(key).cloned() else {
            return Ok(None);
        };
        let mut object = current.as_ref().clone();
        let metadata = object.metadata_mut();
        if !shorten(metadata, grace_seconds, now) {
            return Ok(Some(current));
        }
        if metadata.generation.is_some() {
            metadata.generation = metadata.generation.map(|generation| generation + 1);
        }
        self.put(&mut state, object, Change::Modified).map(Some)
    }

    /// Keeps the status of a pod, unless the pod is gone or another one of the same name (`uid`) has taken its place.
    /// Whether it was kept. It survives the death of the agent, not a power cut: a worker finds out again.
    ///
    /// # Errors
    /// `File` if it cannot be kept.
    pub fn put_status(&self, key: &Key, uid: &str, status: PodStatus) -> Result<bool, StoreError> {
        let mut state = self.state();
        let Some(current) = state.objects.get(key) else {
            return Ok(false);
        };
        let Object::Pod(pod) = current.as_ref() else {
            return Ok(false);
        };
        if pod.metadata.uid.as_deref() != Some(uid) {
            return Ok(false);
        }
        if pod.status.as_ref() == Some(&status) {
            return Ok(true);
        }
        let mut pod = pod.clone();
        state.version = next_version(state.version);
        pod.metadata.resource_version = Some(state.version.to_string());
        self.records.write_status(key, uid, &status)?;
        pod.status = Some(status);
        let object = Arc::new(Object::Pod(pod));
        state.objects.insert(key.clone(), Arc::clone(&object));
        self.tell(key.clone(), Change::Status, &object);
        Ok(true)
    }

    /// Hears of every change from now on. A receiver that is told it lagged has missed some: it lists again.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The objects of a kind and the changes from then on, with none between them.
    #[must_use]
    pub fn list_and_watch(
        &self,
        kind: Kind,
        namespace: Option<&str>,
    ) -> (Vec<Arc<Object>>, broadcast::Receiver<Event>) {
        // A change may be in both, which does no harm; none is in neither.
        let receiver = self.watch();
        (self.list(kind, namespace), receiver)
    }

    /// The version of the last change of all: of a list of objects.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// Where the objects are kept.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.records.directory().to_owned()
    }

    fn put(
        &self,
        state: &mut State,
        mut object: Object,
        change: Change,
    ) -> Result<Arc<Object>, StoreError> {
        let key = object.key();
        let version = next_version(state.version);
        object.metadata_mut().resource_version = Some(version.to_string());
        self.records.write(&key, &object)?;
        state.version = version;
        let object = Arc::new(object);
        state.objects.insert(key.clone(), Arc::clone(&object));
        self.tell(key, change, &object);
        Ok(object)
    }

    fn tell(&self, key: Key, change: Change, object: &Arc<Object>) {
        let event = Event {
            key,
            change,
            object: Arc::clone(object),
        };
        // Nobody watching is fine.
        drop(self.events.send(event));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is in memory is replaced only after the disk was: there is no half-made state to protect from.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of a kind, a namespace and a name.
#[must_use]
pub fn key(kind: Kind, namespace: &str, name: &str) -> Key {
    Key {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// Sets or shortens the time that is left. Whether anything changed.
fn shorten(metadata: &mut ObjectMeta, grace_seconds: i64, now: Timestamp) -> bool {
    let grace_seconds = grace_seconds.max(0);
    let is_shorter = metadata
        .deletion_grace_period_seconds
        .is_none_or(|current| grace_seconds < current);
    if is_shorter {
        metadata.deletion_grace_period_seconds = Some(grace_seconds);
        // When it will be over at the latest, not when it was asked for (ObjectMeta.deletionTimestamp).
        let at = now.as_second().saturating_add(grace_seconds);
        metadata.deletion_timestamp = Timestamp::from_second(at).ok().or(Some(now)).map(Time);
    }
    is_shorter
}

pub(super) fn version_of(object: &Object) -> u64 {
    let version = object.metadata().resource_version.as_deref();
    version.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Versions rise over restarts too, when the objects with the highest ones may be gone: so they are at least the time.
fn next_version(version: u64) -> u64 {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
    now.max(version.saturating_add(1))
}
