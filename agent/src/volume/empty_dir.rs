//! Folders that begin empty with a pod and go with it: on the disk or in memory, and how much is in them.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};

use super::{Reason, mounts};
use crate::facts::Facts;
use crate::manifest::quoted;
use crate::quantity::Quantity;

/// The medium of a folder in memory.
pub(super) const MEMORY: &str = "Memory";
/// What `du` counts: blocks of this size.
const BLOCK_BYTES: u64 = 512;
/// How deep folders are followed when they are measured.
const DEPTH_MAX: usize = 256;

/// How much a volume holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The volume.
    pub volume: String,
    /// Bytes on the disk or in memory.
    pub used_bytes: u64,
    /// What it may hold, if it says so.
    pub limit_bytes: Option<u64>,
}

/// A volume that holds more than it may: its pod is evicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// The volume.
    pub volume: String,
    /// The limit, as the manifest writes it.
    pub limit: String,
}

impl std::fmt::Display for Exceeded {
    /// The message of the eviction, as the kubelet writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Usage of EmptyDir volume {} exceeds the limit {}. ",
            quoted(&self.volume),
            quoted(&self.limit)
        )
    }
}

/// Makes the folder, if it is not there.
pub(super) fn set_up(
    folder: &Path,
    source: &EmptyDirVolumeSource,
    pod: &Pod,
    facts: &Facts,
) -> Result<(), Reason> {
    create_open(folder)?;
    if source.medium.as_deref() == Some(MEMORY) {
        mounts::mount_tmpfs(folder, size_bytes(source, pod, facts)?)?;
    }
    Ok(())
}

/// A folder for everybody: containers run as who they like (kubelet, `emptyDir.setupDir`).
pub(super) fn create_open(folder: &Path) -> Result<(), Reason> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(Reason::at("create", folder))?;
    fs::set_permissions(folder, Permissions::from_mode(0o777)).map_err(Reason::at("chmod", folder))
}

/// What a folder may hold, if the manifest says so. Zero is as nothing said.
pub(super) fn limit(source: &EmptyDirVolumeSource) -> Result<Option<u64>, Reason> {
    let Some(text) = source.size_limit.as_ref().map(|limit| limit.0.as_str()) else {
        return Ok(None);
    };
    let limit = text
        .parse::<Quantity>()
        .map_err(|_error| Reason::Size(text.to_owned()))?;
    Ok(u64::try_from(limit.value()).ok().filter(|bytes| *bytes > 0))
}

/// How large a folder in memory may become: its own limit, the memory of the pod's containers if all of them are limited, and
/// what the node has; whichever is smallest (kubelet, `calculateEmptyDirMemorySize`).
fn size_bytes(
    source: &EmptyDirVolumeSource,
    pod: &Pod,
    facts: &Facts,
) -> Result<Option<u64>, Reason> {
    let of_node = Some(facts.allocatable_memory).filter(|bytes| *bytes > 0);
    let sizes = [limit(source)?, memory_of(pod), of_node];
    Ok(sizes.into_iter().flatten().min())
}

/// The memory of all containers together, if every one of them has a limit.
fn memory_of(pod: &Pod) -> Option<u64> {
    let spec = pod.spec.as_ref()?;
    let mut sum = 0_u64;
    for container in &spec.containers {
        let limits = container.resources.as_ref()?.limits.as_ref()?;
        let limit = limits.get("memory")?.0.parse::<Quantity>().ok()?;
        sum = sum.saturating_add(u64::try_from(limit.value()).ok()?);
    }
    Some(sum).filter(|bytes| *bytes > 0)
}

/// What is in a folder, in bytes that its file system has given for it. A file with two names counts once; what goes away
/// meanwhile does not count.
pub(super) fn used_bytes(folder: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    measure(folder, 0, &mut seen)
}

fn measure(folder: &Path, depth: usize, seen: &mut BTreeSet<(u64, u64)>) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let mut sum = 0_u64;
    for path in paths {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let is_counted = metadata.nlink() > 1
            && !metadata.is_dir()
            && !seen.insert((metadata.dev(), metadata.ino()));
        if !is_counted {
            sum = sum.saturating_add(metadata.blocks() * BLOCK_BYTES);
        }
        if metadata.is_dir() && depth < DEPTH_MAX {
            sum = sum.saturating_add(measure(&path, depth + 1, seen));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

    fn source(limit: &str) -> EmptyDirVolumeSource {
        EmptyDirVolumeSource {
            size_limit: (!limit.is_empty()).then(|| Text(limit.to_owned())),
            ..EmptyDirVolumeSource::default()
        }
    }

    #[test]
    fn a_folder_in_memory_is_as_large_as_the_smallest_limit() {
        let pod = |limits: &str| {
            let text = format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{{name: a, image: x, resources: {{limits: {{{limits}}}}}}}]}}\n"
            );
            let objects = crate::manifest::parse(&text, "x");
            let objects = objects.unwrap_or_else(|error| panic!("{error}"));
            objects[0].as_pod().unwrap().clone()
        };
        let size = |limit: &str, limits: &str, node: u64| {
            let facts = Facts {
                allocatable_memory: node,
                ..Facts::default()
            };
            size_bytes(&source(limit), &pod(limits), &facts).unwrap()
        };
        assert_eq!(size("1Mi", "memory: 2Mi", 3 << 20), Some(1 << 20));
        assert_eq!(size("", "memory: 2Mi", 3 << 20), Some(2 << 20));
        assert_eq!(size("0", "cpu: 1", 3 << 20), Some(3 << 20));
        assert_eq!(size("", "", 0), None);
    }

    #[test]
    fn blocks_are_counted_once_for_each_file() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let before = used_bytes(folder.path());
        let file = inner.join("file");
        crate::file::replace(&file, &[1; 100_000], crate::file::Durability::Synced).unwrap();
        fs::hard_link(&file, folder.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("root")).unwrap();
        let used = used_bytes(folder.path()) - before;
        assert!((100_000..120_000).contains(&used), "{used}");
    }

    #[test]
    fn an_eviction_says_which_volume_and_limit() {
        let exceeded = Exceeded {
            volume: "cache".to_owned(),
            limit: "1Mi".to_owned(),
        };
        assert_eq!(
            exceeded.to_string(),
            "Usage of EmptyDir volume \"cache\" exceeds the limit \"1Mi\". "
        );
    }
}
