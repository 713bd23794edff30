//! Ages as kubectl writes them: `5s`, `3m12s`, `47m`, `5h2m`, `3d`.

use serde_json::Value;

use super::api::text;
use crate::cli::time;

const SECOND: i128 = 1_000_000_000;

/// Kubernetes, `duration.HumanDuration`.
pub(super) fn human(seconds: i128) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let with = |large: i128, unit: &str, small: i128, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{small_unit}"),
    };
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => with(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => with(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => with(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => with(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// Since a point in time; `<unknown>` if it is none.
pub(super) fn since(time_text: &str) -> String {
    match time::rfc3339(time_text) {
        Some(then) => human((time::now() - then) / SECOND),
        None => "<unknown>".to_owned(),
    }
}

/// Of an object.
pub(super) fn of(object: &Value) -> String {
    since(text(object, "/metadata/creationTimestamp"))
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn ages_are_those_of_kubectl() {
        let cases = [
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (185, "3m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_860, "3h1m"),
            (30_000, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (864_000, "10d"),
            (63_072_000, "2y"),
        ];
        for (seconds, wanted) in cases {
            assert_eq!(human(seconds), wanted, "{seconds}");
        }
    }
}
