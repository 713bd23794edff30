//! The files that the agent makes for a pod beside its volumes: /etc/hosts, and one for each container's last words.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::node::Node;
use crate::runtime::hosts_file;
use crate::runtime::wire::Mount;

const HOSTS: &str = "/etc/hosts";

/// Kubernetes, `TerminationMessagePathDefault`.
const TERMINATION: &str = "/dev/termination-log";

/// Makes the pod's folder.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    // Others must reach the files that are mounted from it: the pod's user namespace has other ids.
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// Where a container's last words are kept.
pub(super) fn termination_file(pod_directory: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_directory
        .join("containers")
        .join(container)
        .join(attempt.to_string())
}

/// The mounts of a container's own files.
pub(super) fn mounts(
    node: &Node,
    pod: &Pod,
    container: &Container,
    (attempt, pod_ips): (u32, &[String]),
) -> io::Result<Vec<Mount>> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let directory = node.pod_directory(uid);
    let is_mounted = |path: &str| {
        let mut mounts = container.volume_mounts.iter().flatten();
        mounts.any(|mount| mount.mount_path.trim_end_matches('/') == path)
    };
    let mut mounts = Vec::new();
    if !is_mounted(HOSTS) {
        let path = directory.join("etc-hosts");
        let of_host = fs::read_to_string(HOSTS).unwrap_or_default();
        let text = hosts_file(pod, pod_ips, &node.cluster_domain, &of_host);
        write(&path, &text, 0o644)?;
        mounts.push(mount(&path, HOSTS));
    }
    let inside = container.termination_message_path.as_deref();
    let inside = inside
        .filter(|path| !path.is_empty())
        .unwrap_or(TERMINATION);
    if !is_mounted(inside) {
        let path = termination_file(&directory, &container.name, attempt);
        if let Some(folder) = path.parent() {
            make_directory(folder)?;
        }
        write(&path, "", 0o666)?;
        mounts.push(mount(&path, inside));
    }
    Ok(mounts)
}

fn mount(host_path: &Path, container_path: &str) -> Mount {
    Mount {
        container_path: container_path.to_owned(),
        host_path: host_path.display().to_string(),
        ..Mount::default()
    }
}

/// In place: a container that runs has this very file mounted.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    let mut file: File = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    // Whatever the umask says.
    file.set_permissions(Permissions::from_mode(mode))
}

/// Takes away what the pod had.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
