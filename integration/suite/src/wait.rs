//! Waiting for a condition, with a deadline: what a test does instead of
//! sleeping for a time that somebody guessed.

use std::time::Duration;
use std::time::Instant;

/// The pause between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks at `condition` until it gives a value, or the deadline passes.
pub fn try_for<T>(deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let value = condition();
        if value.is_some() || start.elapsed() >= deadline {
            return value;
        }
        pause();
    }
}

/// Looks at `condition` until it gives a value.
///
/// # Panics
///
/// When the deadline passes; `what` says what was waited for.
pub fn wait_for<T>(what: &str, deadline: Duration, condition: impl FnMut() -> Option<T>) -> T {
    try_for(deadline, condition).unwrap_or_else(|| panic!("waited {deadline:?} in vain for {what}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that polls: what is waited for is another program's doing"
)]
fn pause() {
    std::thread::sleep(INTERVAL);
}
