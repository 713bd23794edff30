//! Clocks: wall time for records, monotonic time for deadlines.

use rustix::time::ClockId;

const NANOSECONDS: u64 = 1_000_000_000;

/// Nanoseconds since 1970.
pub(crate) fn wall_nanoseconds() -> u64 {
    nanoseconds(ClockId::Realtime)
}

/// Nanoseconds of a clock that never jumps.
pub(crate) fn monotonic_nanoseconds() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let rest = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(NANOSECONDS).saturating_add(rest)
}
