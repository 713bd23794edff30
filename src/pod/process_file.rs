//! How a container's first process was started, kept for its execs: environment (which need not be UTF-8, as JSON wants
//! it), working directory, capabilities. A message of the shim's protocol in `<bundle>/process`, on /run.

use std::io;

use carpel_shim_protocol::message::Process;

use super::record::PodDirectories;
use crate::persist::{self, Durability, PersistError};

/// Writes it.
///
/// # Errors
/// As [`persist::replace`].
pub(super) fn write(
    directories: &PodDirectories,
    container_id: &str,
    process: &Process,
) -> Result<(), PersistError> {
    persist::replace(
        &directories.bundle(container_id).join("process"),
        &carpel_shim_protocol::to_bytes(process),
        Durability::Rename,
    )
}

/// Reads it.
///
/// # Errors
/// If it is missing or torn.
pub(super) fn read(directories: &PodDirectories, container_id: &str) -> io::Result<Process> {
    let bytes = std::fs::read(directories.bundle(container_id).join("process"))?;
    carpel_shim_protocol::from_bytes(&bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
