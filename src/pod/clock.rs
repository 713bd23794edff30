//! Wall-clock time as the CRI has it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::view::Timestamp;

/// Nanoseconds since the epoch.
pub(super) fn now() -> Timestamp {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| {
            Timestamp::try_from(time.as_nanos()).unwrap_or(Timestamp::MAX)
        })
}
