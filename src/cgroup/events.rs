//! Waiting for a cgroup to become empty, frozen or thawed: by cgroup.events, which wakes a poll when it changes.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::directory::Cgroup;
use super::error::{CgroupError, CgroupErrorKind};

const EVENTS: &str = "cgroup.events";

/// A wait looks again after this time even if it was not woken.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Between two attempts to remove a cgroup that has no processes any more and is busy all the same.
const SHORT: Duration = Duration::from_millis(2);

impl Cgroup {
    /// Is there a process in this cgroup or below it? A cgroup that is gone has none.
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        match self
            .open_events()
            .and_then(|events| self.event(&events, "populated"))
        {
            Ok(value) => Ok(value != "0"),
            Err(error) if error.kind() == CgroupErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits, blocking this thread, until no process is left here and below.
    ///
    /// # Errors
    ///
    /// The deadline, with the pids that are left, or a failed system call.
    pub fn wait_until_empty(&self, patience: Duration) -> Result<(), CgroupError> {
        match self.wait_for("populated", "0", "empty", patience) {
            Err(error) if error.kind() == CgroupErrorKind::NotFound => Ok(()),
            waited => waited,
        }
    }

    /// Kills all processes here and below, and waits until they are gone. A cgroup that is gone is fine.
    ///
    /// # Errors
    ///
    /// The deadline, with the pids that are left, or a failed system call.
    pub async fn kill_and_wait(&self, patience: Duration) -> Result<(), CgroupError> {
        let killed = async {
            self.kill()?;
            self.empty_async(patience).await
        };
        match killed.await {
            Err(error) if error.kind() == CgroupErrorKind::NotFound => Ok(()),
            killed => killed,
        }
    }

    async fn empty_async(&self, patience: Duration) -> Result<(), CgroupError> {
        let deadline = Instant::now() + patience;
        let failed = |source| CgroupError::system("watch", self.host_path().join(EVENTS), source);
        #[expect(
            deprecated,
            reason = "its replacement is unsafe for types that change their descriptor; an OwnedFd never does"
        )]
        let events =
            AsyncFd::with_interest(self.open_events()?, Interest::PRIORITY).map_err(failed)?;
        loop {
            if self.event(events.get_ref(), "populated")? == "0" {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.too_late("empty", patience));
            }
            let woken =
                tokio::time::timeout(left.min(LOOK_AGAIN), events.ready(Interest::PRIORITY)).await;
            // Not woken: look again.
            if let Ok(ready) = woken {
                ready.map_err(failed)?.clear_ready();
            }
        }
    }

    /// Waits, blocking this thread, until `key` of cgroup.events is `value`.
    pub(super) fn wait_for(
        &self,
        key: &'static str,
        value: &str,
        state: &'static str,
        patience: Duration,
    ) -> Result<(), CgroupError> {
        let deadline = Instant::now() + patience;
        let events = self.open_events()?;
        loop {
            if self.event(&events, key)? == value {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.too_late(state, patience));
            }
            self.poll(&events, left.min(LOOK_AGAIN))?;
        }
    }

    /// Waits a little, before another attempt to remove this cgroup: until it is empty, or two milliseconds.
    pub(super) fn pause(&self, deadline: Instant) -> Result<(), CgroupError> {
        let events = match self.open_events() {
            Err(error) if error.kind() == CgroupErrorKind::NotFound => return Ok(()),
            events => events?,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match self.event(&events, "populated") {
            // Only the time helps: reading has cleared the event.
            Ok("0") => self.poll(&events, left.min(SHORT)),
            Ok(_) => self.poll(&events, left.min(LOOK_AGAIN)),
            Err(error) if error.kind() == CgroupErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn poll(&self, events: &OwnedFd, patience: Duration) -> Result<(), CgroupError> {
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(patience.min(LOOK_AGAIN).subsec_nanos()),
        };
        let mut watched = [PollFd::new(events, PollFlags::PRI)];
        match rustix::event::poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(CgroupError::system(
                "watch",
                self.host_path().join(EVENTS),
                errno,
            )),
        }
    }

    fn too_late(&self, state: &'static str, waited: Duration) -> CgroupError {
        CgroupError::Deadline {
            path: self.host_path(),
            state,
            waited,
            pids: self.all_pids().unwrap_or_default(),
        }
    }

    fn open_events(&self) -> Result<OwnedFd, CgroupError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(self.directory(), EVENTS, flags, Mode::empty())
            .map_err(|errno| CgroupError::system("open", self.host_path().join(EVENTS), errno))
    }

    /// One value of cgroup.events: `0` or `1`. Reading it makes poll wait for the next change.
    fn event(&self, events: &OwnedFd, key: &'static str) -> Result<&'static str, CgroupError> {
        let path = || self.host_path().join(EVENTS);
        let mut buffer = [0_u8; 128];
        let length = rustix::io::retry_on_intr(|| rustix::io::pread(events, &mut buffer, 0))
            .map_err(|errno| CgroupError::system("read", path(), errno))?;
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        match value {
            Some("0") => Ok("0"),
            Some("1") => Ok("1"),
            _ => Err(CgroupError::Content { path: path(), key }),
        }
    }
}
