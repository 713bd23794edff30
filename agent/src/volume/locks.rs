//! One pod, one caller at a time: containers of a pod are made at once, and each wants its volumes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A lock for each pod that has been asked for.
#[derive(Debug, Default)]
pub(super) struct Locks {
    by_uid: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

impl Locks {
    /// Does something while nobody else does something for the same pod.
    pub(super) fn hold<T>(&self, uid: &str, work: impl FnOnce() -> T) -> T {
        let lock = self.of(uid);
        // A panic ends the program; what a half-made volume looks like is known to whoever finds it.
        let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    /// Forgets a pod that is gone. Who still waits for it keeps the lock.
    pub(super) fn forget(&self, uid: &str) {
        let mut locks = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        if locks
            .get(uid)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            locks.remove(uid);
        }
    }

    fn of(&self, uid: &str) -> Arc<Mutex<()>> {
        let mut locks = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(uid.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_callers_for_one_pod_come_after_each_other() {
        let locks = Locks::default();
        let inside = Mutex::new(0_u32);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        locks.hold("a", || {
                            *inside.lock().unwrap() += 1;
                            std::thread::yield_now();
                            let mut count = inside.lock().unwrap();
                            assert_eq!(*count, 1);
                            *count -= 1;
                        });
                    }
                });
            }
        });
        // Another pod does not wait for this one.
        locks.hold("a", || locks.hold("b", || ()));
        locks.forget("a");
        locks.forget("b");
        assert!(locks.by_uid.lock().unwrap().is_empty());
    }
}
