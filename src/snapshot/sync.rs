//! One sync for everyone who wants one at the same time.
//!
//! A sync costs the disk a flush, whoever asked for it, and covers all that was written before it began. Layers of one
//! image are ready together: whoever comes while one runs waits for the next, which is made once for all of them.
//!
//! The kernel reports an error of writing to whoever syncs next, whose bytes need not be those that were lost. So an
//! error counts for everyone who had begun to write by then.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Syncs on behalf of several threads.
#[derive(Debug, Default)]
pub(super) struct SharedSync {
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

/// The rounds are numbered from 1.
#[derive(Debug, Default)]
struct Rounds {
    /// How many have begun; the last one runs still if fewer have ended.
    begun: u64,
    ended: u64,
    /// The last one that failed.
    failed: Option<(u64, io::ErrorKind, String)>,
}

/// When somebody began to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl SharedSync {
    /// To be taken before the first byte is written.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.lock().ended)
    }

    /// Returns after a `sync` that began after this call, one's own or another caller's: an error if that one, or any
    /// since `mark`, failed.
    pub(super) fn run(&self, mark: Mark, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut rounds = self.lock();
        // The one that runs may have begun too early.
        let wanted = rounds.begun + 1;
        while rounds.ended < wanted {
            if rounds.begun > rounds.ended {
                let waited = self.ended.wait(rounds);
                rounds = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            rounds.begun += 1;
            drop(rounds);
            let outcome = sync();
            rounds = self.lock();
            rounds.ended += 1;
            if let Err(error) = outcome {
                rounds.failed = Some((rounds.ended, error.kind(), error.to_string()));
            }
            self.ended.notify_all();
            break;
        }
        match &rounds.failed {
            Some((round, kind, text)) if *round > mark.0 => {
                Err(io::Error::new(*kind, text.clone()))
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn those_who_come_meanwhile_share_the_next_one() {
        let shared = SharedSync::default();
        let mark = shared.mark();
        let (shared, syncs) = (&shared, &AtomicUsize::new(0));
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                let sync = || {
                    syncs.fetch_add(1, Ordering::SeqCst);
                    begun.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    Ok(())
                };
                shared.run(mark, sync).unwrap();
            });
            has_begun.recv().unwrap();
            let waiting: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(move || {
                        let sync = || {
                            syncs.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        };
                        shared.run(mark, sync).unwrap();
                        // Never with the one that had begun before.
                        assert!(syncs.load(Ordering::SeqCst) >= 2);
                    })
                })
                .collect();
            go_on.send(()).unwrap();
            for thread in waiting {
                thread.join().unwrap();
            }
        });
        let syncs = syncs.load(Ordering::SeqCst);
        assert!((2..=9).contains(&syncs), "{syncs}");
        let rounds = shared.lock();
        assert_eq!(rounds.begun, rounds.ended);
    }

    #[test]
    fn an_error_counts_for_everyone_who_had_begun_by_then() {
        let shared = SharedSync::default();
        let before = shared.mark();
        let full = || Err(io::Error::from(io::ErrorKind::StorageFull));
        let told = shared.run(before, full).unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::StorageFull);
        // Its bytes may be the ones that were lost, whatever later syncs say.
        let other = shared.run(before, || Ok(())).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::StorageFull);
        shared.run(shared.mark(), || Ok(())).unwrap();
    }
}
