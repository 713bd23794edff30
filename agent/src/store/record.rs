//! Records of objects on the disk: where they are and what is in them. Their layout is in `docs/state-on-disk.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::PodStatus;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::seal::Seal;
use crate::file::{self, Durability};
use crate::manifest::{Key, Kind, Object};

/// The key that seals Secrets, in the agent's directory.
pub(crate) const SECRETS_KEY: &str = "secrets.key";

/// The layout of a record.
const VERSION: u32 = 1;

/// A record of an object, or what is sealed of a Secret.
#[derive(Debug, Serialize, Deserialize)]
struct ObjectRecord<T> {
    version: u32,
    object: T,
}

/// A record of a pod's status.
#[derive(Debug, Serialize, Deserialize)]
struct StatusRecord<T> {
    version: u32,
    /// Of the pod that it is the status of: not of another one that has its name now.
    uid: String,
    status: T,
}

/// The folder with all records.
#[derive(Debug)]
pub(super) struct Records {
    directory: PathBuf,
    seal: Seal,
}

impl Records {
    pub(super) fn open(directory: &Path) -> Result<Self, StoreError> {
        file::create_private_folder(directory)?;
        Ok(Self {
            seal: Seal::open(&directory.join(SECRETS_KEY))?,
            directory: directory.to_owned(),
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Every object that can be read, pods with their status.
    pub(super) fn read_all(&self) -> Result<BTreeMap<Key, Object>, StoreError> {
        let mut objects = BTreeMap::new();
        for kind in Kind::ALL {
            let folder = self.objects_of(kind);
            for namespace in file::names(&folder)? {
                for name in file::names(&folder.join(&namespace))? {
                    let key = super::key(kind, &namespace, &name);
                    match self.read(&key)? {
                        Some(object) => drop(objects.insert(key, object)),
                        None => {
                            tracing::error!(%key, "a record of an object makes no sense and is left alone")
                        }
                    }
                }
            }
        }
        Ok(objects)
    }

    pub(super) fn write(&self, key: &Key, object: &Object) -> Result<(), StoreError> {
        let encode_error = |source| StoreError::Encode {
            key: key.clone(),
            source,
        };
        let mut value = serde_json::to_value(object).map_err(encode_error)?;
        if let Some(fields) = value.as_object_mut() {
            // It has a record of its own.
            fields.remove("status");
        }
        let record = ObjectRecord {
            version: VERSION,
            object: value,
        };
        let mut bytes = serde_json::to_vec(&record).map_err(encode_error)?;
        if key.kind == Kind::Secret {
            bytes = self.seal.seal(key, &bytes)?;
        }
        let path = self.path(key);
        create_parent(&path)?;
        file::replace(&path, &bytes, Durability::Synced)?;
        Ok(())
    }

    pub(super) fn write_status(
        &self,
        key: &Key,
        uid: &str,
        status: &PodStatus,
    ) -> Result<(), StoreError> {
        let record = StatusRecord {
            version: VERSION,
            uid: uid.to_owned(),
            status,
        };
        let bytes = serde_json::to_vec(&record).map_err(|source| StoreError::Encode {
            key: key.clone(),
            source,
        })?;
        let path = self.status_path(key);
        create_parent(&path)?;
        file::replace(&path, &bytes, Durability::Rename)?;
        Ok(())
    }

    /// Removes an object's record and status.
    pub(super) fn remove(&self, key: &Key) -> Result<(), StoreError> {
        file::remove(&self.path(key))?;
        if key.kind == Kind::Pod {
            file::remove(&self.status_path(key))?;
        }
        Ok(())
    }

    fn read(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let Some(mut bytes) = file::read(&self.path(key))? else {
            return Ok(None);
        };
        if key.kind == Kind::Secret {
            let Some(plain) = self.seal.open_record(key, &bytes) else {
                return Ok(None);
            };
            bytes = plain;
        }
        let record = serde_json::from_slice::<ObjectRecord<Object>>(&bytes).ok();
        let object = record
            .filter(|record| record.version == VERSION && record.object.key() == *key)
            .map(|record| record.object);
        Ok(match object {
            Some(Object::Pod(mut pod)) => {
                pod.status = self.read_status(key, pod.metadata.uid.as_deref())?;
                Some(Object::Pod(pod))
            }
            other => other,
        })
    }

    /// The status of the pod with this uid. One that a power cut tore is as none: a worker finds out again.
    fn read_status(&self, key: &Key, uid: Option<&str>) -> Result<Option<PodStatus>, StoreError> {
        let Some(bytes) = file::read(&self.status_path(key))? else {
            return Ok(None);
        };
        let record = serde_json::from_slice::<StatusRecord<PodStatus>>(&bytes).ok();
        Ok(record
            .filter(|record| record.version == VERSION && Some(record.uid.as_str()) == uid)
            .map(|record| record.status))
    }

    fn objects_of(&self, kind: Kind) -> PathBuf {
        self.directory.join("objects").join(kind.plural())
    }

    fn path(&self, key: &Key) -> PathBuf {
        let folder = self.objects_of(key.kind);
        folder.join(&key.namespace).join(&key.name)
    }

    fn status_path(&self, key: &Key) -> PathBuf {
        let folder = self.directory.join("statuses");
        folder.join(&key.namespace).join(&key.name)
    }
}

fn create_parent(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(folder) => Ok(file::create_private_folder(folder)?),
        None => Ok(()),
    }
}
