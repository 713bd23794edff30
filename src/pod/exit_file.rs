//! `exit.json`, which the shim writes before it tells of an exit: what is known of it when nobody was there to hear.

use std::path::Path;

use carpel_shim_protocol::message::ContainerExited;
use serde::Deserialize;

/// The fields of `ContainerExited` (proto/shim/shim.proto); a reader takes what a newer shim adds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ExitFile {
    container_id: String,
    exit_code: i32,
    signal: i32,
    exited_at_nanoseconds: u64,
    killed_on_request: bool,
    oom_kill: u64,
    oom_group_kill: u64,
    last_oom_at_nanoseconds: u64,
    lost_log_lines: u64,
    oom_cgroup: String,
    oom_levels_above: u32,
}

/// What the shim recorded; `None` if it did not, or if the record is torn (which is logged).
pub(super) fn read(path: &Path) -> Option<ContainerExited> {
    match crate::persist::read_json::<ExitFile>(path) {
        Ok(found) => found.map(|file| ContainerExited {
            container_id: file.container_id,
            exit_code: file.exit_code,
            signal: file.signal,
            exited_at_nanoseconds: file.exited_at_nanoseconds,
            killed_on_request: file.killed_on_request,
            oom_kill: file.oom_kill,
            oom_group_kill: file.oom_group_kill,
            last_oom_at_nanoseconds: file.last_oom_at_nanoseconds,
            lost_log_lines: file.lost_log_lines,
            oom_cgroup: file.oom_cgroup,
            oom_levels_above: file.oom_levels_above,
        }),
        Err(error) => {
            tracing::warn!(error = %super::error::chain(&error), "an exit record is discarded");
            None
        }
    }
}
