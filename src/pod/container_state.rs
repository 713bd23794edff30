//! The states of a container, and how its end is told. Pure.
//!
//! ```text
//!            made            start asked        exec'd             exited
//! Creating ────────▶ Created ───────────▶ Starting ──────▶ Running ──────▶ Exited ──▶ (removed)
//!    │ could not            │                  │ could not execute            ▲
//!    ▼                      └──────────────────┴──────────────────────────────┘
//! (removed)                   killed before its start, StartError, shim lost
//! ```
//!
//! A removal is an intent beside the state (`Container::removing`), since the last state stays to be seen until the
//! container is gone.

use carpel_shim_protocol::message;
use serde::{Deserialize, Serialize};

use super::view::{ContainerState, Timestamp, UserView};

/// Reason of an exit with code 0, as the kubelet expects it.
pub(super) const COMPLETED: &str = "Completed";
/// Reason of any other exit.
pub(super) const ERROR: &str = "Error";
/// Reason of an exit by the kernel's out-of-memory killer.
pub(super) const OOM_KILLED: &str = "OOMKilled";
/// Reason of a container whose program could not be executed.
pub(super) const START_ERROR: &str = "StartError";
/// Reason of an end that nobody saw.
pub(super) const UNKNOWN: &str = "Unknown";

/// Exit code of a container whose program could not be executed, as containerd's.
pub(super) const START_ERROR_CODE: i32 = 128;
/// Exit code of an end that nobody saw, as containerd's.
pub(super) const UNKNOWN_CODE: i32 = 255;

/// `oom_kill` must have risen within this time before the exit to be its cause (DESIGN.md, OOMKilled).
const OOM_WINDOW_NANOSECONDS: u64 = 1_000_000_000;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Exit {
    /// Exit code; 128 + signal of a killed one.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError` or `Unknown`.
    pub reason: String,
    /// More about it.
    pub message: String,
    /// When.
    pub finished_at: Timestamp,
    /// When it had been started; 0 if it had not.
    pub started_at: Timestamp,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ContainerPhase {
    /// Being made: an unfinished one is undone by recovery.
    Creating,
    /// Its first process waits before execve.
    Created {
        /// Pid on the host.
        pid: i32,
    },
    /// Execve has been asked for: after a crash the shim says whether it happened.
    Starting {
        /// Pid on the host.
        pid: i32,
    },
    /// Its first process runs.
    Running {
        /// Pid on the host.
        pid: i32,
        /// Since when.
        started_at: Timestamp,
    },
    /// Its first process is no more.
    Exited(Exit),
}

impl ContainerPhase {
    /// The state that the CRI shows. One that is being made is not shown at all; one that starts is still created.
    pub(super) fn state(&self) -> ContainerState {
        match self {
            Self::Creating | Self::Created { .. } | Self::Starting { .. } => {
                ContainerState::Created
            }
            Self::Running { .. } => ContainerState::Running,
            Self::Exited(_) => ContainerState::Exited,
        }
    }

    /// Pid of the first process on the host, if there is one.
    pub(super) fn pid(&self) -> Option<i32> {
        match self {
            Self::Created { pid } | Self::Starting { pid } | Self::Running { pid, .. } => {
                Some(*pid)
            }
            Self::Creating | Self::Exited(_) => None,
        }
    }

    /// Since when its first process has run; 0 if it has not.
    pub(super) fn started_at(&self) -> Timestamp {
        match self {
            Self::Running { started_at, .. } => *started_at,
            Self::Exited(exit) => exit.started_at,
            Self::Creating | Self::Created { .. } | Self::Starting { .. } => 0,
        }
    }

    /// How it ended, if it has.
    pub(super) fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Exited(exit) => Some(exit),
            Self::Creating
            | Self::Created { .. }
            | Self::Starting { .. }
            | Self::Running { .. } => None,
        }
    }

    /// Has the first process ended?
    pub(super) fn is_exited(&self) -> bool {
        matches!(self, Self::Exited(_))
    }
}

/// The user that a container was made with, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct ResolvedUser {
    /// uid.
    pub uid: u32,
    /// gid.
    pub gid: u32,
    /// Supplemental groups.
    pub supplemental_groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

impl From<message::ResolvedUser> for ResolvedUser {
    fn from(user: message::ResolvedUser) -> Self {
        Self {
            uid: user.uid,
            gid: user.gid,
            supplemental_groups: user.additional_gids,
            home: user.home,
        }
    }
}

impl From<&ResolvedUser> for UserView {
    fn from(user: &ResolvedUser) -> Self {
        Self {
            uid: user.uid,
            gid: user.gid,
            supplemental_groups: user.supplemental_groups.clone(),
        }
    }
}

/// How the end of a first process, as the shim recorded it, is told.
pub(super) fn exit_of(exited: &message::ContainerExited, started_at: Timestamp) -> Exit {
    let killed_by_oom = is_oom_kill(exited);
    let reason = if killed_by_oom {
        OOM_KILLED
    } else if exited.exit_code == 0 {
        COMPLETED
    } else {
        ERROR
    };
    let mut message = if killed_by_oom {
        limit_that_was_hit(exited)
    } else {
        String::new()
    };
    if exited.lost_log_lines > 0 {
        if !message.is_empty() {
            message.push_str("; ");
        }
        message.push_str(&format!(
            "{} lines of output could not be logged",
            exited.lost_log_lines
        ));
    }
    Exit {
        code: exited.exit_code,
        reason: reason.to_owned(),
        message,
        finished_at: nanoseconds(exited.exited_at_nanoseconds),
        started_at,
    }
}

/// The end of a container that nobody saw: its shim died, or the machine.
pub(super) fn unknown_exit(message: &str, now: Timestamp, started_at: Timestamp) -> Exit {
    Exit {
        code: UNKNOWN_CODE,
        reason: UNKNOWN.to_owned(),
        message: message.to_owned(),
        finished_at: now,
        started_at,
    }
}

/// The end of a container whose program could not be executed.
pub(super) fn start_error(message: &str, now: Timestamp) -> Exit {
    Exit {
        code: START_ERROR_CODE,
        reason: START_ERROR.to_owned(),
        message: message.to_owned(),
        finished_at: now,
        started_at: 0,
    }
}

/// Killed by SIGKILL that Carpel did not send, and the counters of the cgroup say that the kernel did.
fn is_oom_kill(exited: &message::ContainerExited) -> bool {
    const SIGKILL: i32 = 9;
    if exited.signal != SIGKILL || exited.killed_on_request {
        return false;
    }
    let recent = exited.last_oom_at_nanoseconds != 0
        && exited
            .exited_at_nanoseconds
            .saturating_sub(exited.last_oom_at_nanoseconds)
            <= OOM_WINDOW_NANOSECONDS;
    exited.oom_group_kill > 0 || (exited.oom_kill > 0 && recent)
}

/// At which level there was no memory left. The sandbox's cgroup is one above the container's, and the one that the request
/// named as the pod's parent is above that: both limit the pod.
fn limit_that_was_hit(exited: &message::ContainerExited) -> String {
    const OF_THE_POD: u32 = 2;
    let cgroup = &exited.oom_cgroup;
    match exited.oom_levels_above {
        _ if cgroup.is_empty() => {
            "the machine was out of memory, or a limit that is not known was hit".to_owned()
        }
        0 => "the memory limit of the container was hit".to_owned(),
        1..=OF_THE_POD => format!("the memory limit of the pod was hit, that of cgroup {cgroup}"),
        _ => format!("the memory limit of cgroup {cgroup}, which is above the pod, was hit"),
    }
}

/// The CRI's signed nanoseconds.
pub(super) fn nanoseconds(unsigned: u64) -> Timestamp {
    Timestamp::try_from(unsigned).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited() -> message::ContainerExited {
        message::ContainerExited {
            container_id: "c".into(),
            exited_at_nanoseconds: 10_000_000_000,
            ..Default::default()
        }
    }

    fn killed() -> message::ContainerExited {
        message::ContainerExited {
            exit_code: 137,
            signal: 9,
            oom_kill: 1,
            last_oom_at_nanoseconds: 9_900_000_000,
            ..exited()
        }
    }

    #[test]
    fn code_zero_is_completed_and_any_other_an_error() {
        assert_eq!(exit_of(&exited(), 1).reason, COMPLETED);
        let failed = message::ContainerExited {
            exit_code: 3,
            ..exited()
        };
        let exit = exit_of(&failed, 1);
        assert_eq!((exit.reason.as_str(), exit.code), (ERROR, 3));
        assert_eq!((exit.started_at, exit.finished_at), (1, 10_000_000_000));
    }

    #[test]
    fn a_kill_right_after_the_counter_rose_is_oom() {
        let exit = exit_of(&killed(), 1);
        assert_eq!((exit.reason.as_str(), exit.code), (OOM_KILLED, 137));
    }

    #[test]
    fn the_message_says_at_which_level_the_limit_was_hit() {
        let message = |oom_cgroup: &str, oom_levels_above: u32| {
            let exited = message::ContainerExited {
                oom_cgroup: oom_cgroup.into(),
                oom_levels_above,
                ..killed()
            };
            exit_of(&exited, 1).message
        };
        let own = message("/sys/fs/cgroup/kubepods/pod1/s/c", 0);
        assert_eq!(own, "the memory limit of the container was hit");
        for (cgroup, levels) in [("/kubepods/pod1/s", 1), ("/kubepods/pod1", 2)] {
            let expected = format!("the memory limit of the pod was hit, that of cgroup {cgroup}");
            assert_eq!(message(cgroup, levels), expected);
        }
        let above = message("/kubepods", 3);
        assert!(
            above.contains("/kubepods, which is above the pod"),
            "{above}"
        );
        assert!(message("", 0).contains("machine"));
    }

    #[test]
    fn a_kill_on_request_or_long_after_is_not_oom() {
        let on_request = message::ContainerExited {
            killed_on_request: true,
            ..killed()
        };
        let long_after = message::ContainerExited {
            last_oom_at_nanoseconds: 1,
            ..killed()
        };
        let terminated = message::ContainerExited {
            signal: 15,
            exit_code: 143,
            ..killed()
        };
        for other in [on_request, long_after, terminated] {
            assert_eq!(exit_of(&other, 1).reason, ERROR);
        }
    }

    #[test]
    fn a_kill_of_the_whole_group_is_oom_whenever_it_was() {
        let group = message::ContainerExited {
            oom_group_kill: 1,
            last_oom_at_nanoseconds: 0,
            ..killed()
        };
        assert_eq!(exit_of(&group, 1).reason, OOM_KILLED);
    }
}
