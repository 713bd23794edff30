//! Memory that a piece of work has left behind goes back to the kernel when the work is over.
//!
//! What is mapped of the program's code comes in pieces of 64 KiB, so that a start, or a burst of pods, leaves most of the
//! program mapped. This looks from time to time whether the daemon has become larger than it is in its usual rest, and, if it
//! does little at the moment, gives back what the rest does not need (decision 0064).

use std::time::Duration;

/// From one look to the next.
const PERIOD: Duration = Duration::from_secs(5);

/// Until networks are made ahead and the agent has looked at its manifests, if it has few.
const START: Duration = Duration::from_secs(1);

/// A process that uses more time of a processor than this in a period is at work: 5 %.
const AT_REST: Duration = Duration::from_millis(250);

/// Growth that is worth the faults that follow.
const WORTHWHILE_KIB: u64 = 1024;

/// So often in a row memory is given back that is needed again a period later.
const TRIES: u32 = 2;

/// After so many looks, five minutes, what was needed is tried again.
const LOOKS: u32 = 60;

/// Until the runtime ends.
pub(super) async fn run() {
    tokio::time::sleep(START).await;
    give_back().await;
    let mut watch = Watch::new(Look::now());
    loop {
        tokio::time::sleep(PERIOD).await;
        if watch.is_worthwhile(Look::now()) {
            give_back().await;
        }
    }
}

async fn give_back() {
    let given = tokio::task::spawn_blocking(carpel_linux::memory::give_back).await;
    if let Err(error) = given {
        tracing::debug!(%error, "give memory back");
    }
}

/// What the process is at a moment.
#[derive(Debug, Clone, Copy)]
struct Look {
    resident_kib: u64,
    /// Since its start.
    processor_time: Duration,
}

impl Look {
    fn now() -> Self {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages: Option<u64> = statm
            .split(' ')
            .nth(1)
            .and_then(|number| number.parse().ok());
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Self {
            resident_kib: pages.unwrap_or(0) * page / 1024,
            processor_time: Duration::try_from(used).unwrap_or_default(),
        }
    }
}

/// What has been seen.
#[derive(Debug)]
struct Watch {
    last: Look,
    /// Its size when nothing was asked of it.
    least_kib: u64,
    /// What it needs for what it does in its rest.
    usual_kib: u64,
    /// How often in a row memory was given back.
    tries: u32,
    /// Since the usual size was found to be more than the least.
    looks: u32,
}

impl Watch {
    /// Memory has just been given back.
    fn new(now: Look) -> Self {
        Self {
            last: now,
            least_kib: now.resident_kib,
            usual_kib: now.resident_kib,
            tries: 0,
            looks: 0,
        }
    }

    /// Whether memory is to be given back now.
    fn is_worthwhile(&mut self, now: Look) -> bool {
        let used = now.processor_time.saturating_sub(self.last.processor_time);
        self.last = now;
        if used > AT_REST {
            return false;
        }
        self.looks = self.looks.saturating_add(1);
        if self.looks > LOOKS {
            self.looks = 0;
            self.usual_kib = self.least_kib;
        }
        if now.resident_kib < self.usual_kib.saturating_add(WORTHWHILE_KIB) {
            self.tries = 0;
            return false;
        }
        self.tries += 1;
        if self.tries <= TRIES {
            return true;
        }
        self.tries = 0;
        self.looks = 0;
        self.usual_kib = now.resident_kib;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds looks of (KiB, milliseconds used in the period) and returns after which of them memory was given back.
    fn given_after(looks: &[(u64, u64)]) -> Vec<usize> {
        let look = |resident_kib, milliseconds| Look {
            resident_kib,
            processor_time: Duration::from_millis(milliseconds),
        };
        let mut watch = Watch::new(look(5000, 0));
        let mut used = 0;
        let mut given = Vec::new();
        for (number, (kib, milliseconds)) in looks.iter().enumerate() {
            used += milliseconds;
            if watch.is_worthwhile(look(*kib, used)) {
                given.push(number);
            }
        }
        given
    }

    #[test]
    fn after_a_burst_once_and_when_it_is_over() {
        let looks = [(5100, 1), (20_000, 2000), (20_000, 1), (5000, 1), (5100, 1)];
        assert_eq!(given_after(&looks), [2]);
        // A small one, at once after a start.
        assert_eq!(given_after(&[(14_000, 60), (5100, 1), (5100, 1)]), [0]);
    }

    #[test]
    fn what_is_needed_again_and_again_is_the_new_usual() {
        // A client that asks every second.
        assert_eq!(given_after(&[(9000, 20); 60]), [0, 1]);
        // Five minutes later it may have gone.
        assert_eq!(given_after(&[(9000, 20); 70]), [0, 1, 63, 64]);
    }

    #[test]
    fn a_small_growth_is_left() {
        assert_eq!(given_after(&[(6023, 1)]), Vec::<usize>::new());
        assert_eq!(given_after(&[(6024, 1)]), [0]);
    }

    #[test]
    fn this_process_has_a_size_and_has_worked() {
        let look = Look::now();
        assert!(look.resident_kib > 1000, "{look:?}");
        assert!(look.processor_time > Duration::ZERO);
    }
}
