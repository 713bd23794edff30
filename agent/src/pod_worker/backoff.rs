//! How long something that failed is left alone: 10 s, doubled each time up to 300 s, forgotten after 600 s without a
//! failure. Client-go's `flowcontrol.Backoff` as the kubelet uses it for containers and for images. Time comes in as
//! an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy)]
struct Entry {
    wait: Duration,
    updated: Timestamp,
}

impl Entry {
    /// It ran long enough to begin anew.
    fn has_expired(&self, event: Timestamp) -> bool {
        event.duration_since(self.updated).unsigned_abs() > LONGEST * 2 && event > self.updated
    }
}

/// What failed, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct BackOffs {
    entries: BTreeMap<String, Entry>,
}

impl BackOffs {
    /// When something that ended at `event` may be tried again; `None`: now.
    pub(crate) fn until(&self, name: &str, event: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let entry = self.entries.get(name)?;
        if entry.has_expired(event) {
            return None;
        }
        let until = event.checked_add(entry.wait).ok()?;
        (now < until).then_some(until)
    }

    /// When something whose last failure was told by [`Self::next`] may be tried again; `None`: now. Client-go's
    /// `IsInBackOffSinceUpdate`.
    pub(crate) fn until_since_failure(&self, name: &str, now: Timestamp) -> Option<Timestamp> {
        let failed = self.entries.get(name)?.updated;
        self.until(name, failed, now)
    }

    /// How long it waits at present.
    pub(crate) fn wait(&self, name: &str) -> Duration {
        self.entries.get(name).map_or(FIRST, |entry| entry.wait)
    }

    /// It is tried again after having ended at `event`: the next wait is longer.
    pub(crate) fn next(&mut self, name: &str, event: Timestamp, now: Timestamp) {
        let wait = match self.entries.get(name) {
            Some(entry) if !entry.has_expired(event) => (entry.wait * 2).min(LONGEST),
            _ => FIRST,
        };
        let entry = Entry { wait, updated: now };
        self.entries.insert(name.to_owned(), entry);
    }

    /// It went well.
    pub(crate) fn forget(&mut self, name: &str) {
        self.entries.remove(name);
    }
}

/// As Go writes a duration of whole seconds: `10s`, `1m20s`, `5m0s`.
pub(crate) fn shown(wait: Duration) -> String {
    match (wait.as_secs() / 60, wait.as_secs() % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    #[test]
    fn what_failed_is_tried_again_when_its_wait_since_then_is_over() {
        let mut pulls = BackOffs::default();
        assert_eq!(pulls.until_since_failure("image", at(0)), None);
        pulls.next("image", at(0), at(0));
        assert_eq!(pulls.until_since_failure("image", at(4)), Some(at(10)));
        assert_eq!(pulls.until_since_failure("image", at(10)), None);
        pulls.next("image", at(11), at(11));
        assert_eq!(pulls.until_since_failure("image", at(30)), Some(at(31)));
        assert_eq!(pulls.until_since_failure("image", at(31)), None);
    }

    #[test]
    fn the_first_failure_waits_for_nothing_and_each_one_after_it_twice_as_long() {
        let mut backoffs = BackOffs::default();
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let ended = at(now);
            if let Some(until) = backoffs.until("c", ended, ended) {
                assert!(backoffs.until("c", ended, until).is_none());
                now = until.as_second() - 1_000_000;
            }
            backoffs.next("c", ended, at(now));
            waits.push(backoffs.wait("c").as_secs());
            now += 1;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn what_ran_for_ten_minutes_begins_anew() {
        let mut backoffs = BackOffs::default();
        backoffs.next("c", at(0), at(0));
        backoffs.next("c", at(10), at(10));
        assert_eq!(backoffs.wait("c"), Duration::from_secs(20));
        assert!(backoffs.until("c", at(611), at(611)).is_none());
        backoffs.next("c", at(611), at(611));
        assert_eq!(backoffs.wait("c"), FIRST);
    }

    #[test]
    fn durations_look_as_go_writes_them() {
        assert_eq!(shown(Duration::from_secs(10)), "10s");
        assert_eq!(shown(Duration::from_secs(80)), "1m20s");
        assert_eq!(shown(Duration::from_secs(300)), "5m0s");
    }
}
