//! What is known of the logs of a pod's containers: lines that could not be written, and why they cannot be.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The log of one container, as far as it is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogState {
    /// Lines that could not be written, since this daemon has heard of the container; all of them once it has ended.
    pub lost_lines: u64,
    /// Why lines are being lost now, as an error number; 0: they are not.
    pub errno: i32,
}

/// The logs of a pod, by the ids of their containers. A log that is as it should be has no entry.
#[derive(Debug, Default)]
pub(super) struct LogStates(Mutex<HashMap<String, LogState>>);

/// What a piece of news has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// Lines lost since the news before.
    pub(super) lost_lines: u64,
    /// Whether the reason is another one.
    pub(super) is_new: bool,
}

impl LogStates {
    /// The shim tells of a log: all lines lost so far, and why more are being lost.
    pub(super) fn tell(&self, container_id: &str, lost_lines: u64, errno: i32) -> Change {
        let mut states = self.locked();
        if lost_lines == 0 && errno == 0 && !states.contains_key(container_id) {
            return Change {
                lost_lines: 0,
                is_new: false,
            };
        }
        let state = states.entry(container_id.to_owned()).or_default();
        let change = Change {
            lost_lines: lost_lines.saturating_sub(state.lost_lines),
            is_new: errno != state.errno,
        };
        state.lost_lines = lost_lines.max(state.lost_lines);
        state.errno = errno;
        change
    }

    /// What is known of the log of a container.
    pub(super) fn of(&self, container_id: &str) -> LogState {
        self.locked().get(container_id).cloned().unwrap_or_default()
    }

    /// The container is no more.
    pub(super) fn forget(&self, container_id: &str) {
        self.locked().remove(container_id);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, LogState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_once_and_a_reason_is_new_once() {
        let states = LogStates::default();
        let tell = |lost, errno| {
            let change = states.tell("c", lost, errno);
            (change.lost_lines, change.is_new)
        };
        assert_eq!(tell(0, 0), (0, false));
        assert_eq!(tell(0, 28), (0, true));
        assert_eq!(tell(10, 28), (10, false));
        assert_eq!(tell(15, 0), (5, true));
        // A count that goes back is of another writer: nothing is counted twice.
        assert_eq!(tell(3, 0), (0, false));
        assert_eq!(states.of("c").lost_lines, 15);
        states.forget("c");
        assert_eq!(states.of("c"), LogState::default());
    }
}
