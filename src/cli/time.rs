//! Points in time and spans of it, as people write and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NANOSECONDS: i128 = 1_000_000_000;

/// Where to begin: that long ago, or at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// So long before now.
    Ago(Duration),
    /// In nanoseconds since 1970.
    At(i128),
}

impl Since {
    /// The point in time, in nanoseconds since 1970.
    pub(super) fn nanoseconds(self, now: i128) -> i128 {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now - i128::try_from(span.as_nanos()).unwrap_or(i128::MAX / 2),
        }
    }
}

/// Now, in nanoseconds since 1970.
pub(super) fn now() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
    })
}

/// A duration as 10m, or a point in time as RFC 3339 has it.
///
/// # Errors
/// When it is neither.
pub(super) fn since(text: &str) -> Result<Since, String> {
    match rfc3339(text) {
        Some(at) => Ok(Since::At(at)),
        None => duration(text).map(Since::Ago).map_err(|_no_duration| {
            "a duration as 10m or 1h30m, or a time as 2026-01-02T15:04:05Z".to_owned()
        }),
    }
}

/// A point in time as RFC 3339 has it.
///
/// # Errors
/// When it is none.
pub(super) fn at(text: &str) -> Result<Since, String> {
    let at = rfc3339(text).map(Since::At);
    at.ok_or_else(|| "a time as 2026-01-02T15:04:05Z".to_owned())
}

/// A duration as Go writes it: `1h30m`, `500ms`, `1.5s`; a bare number is seconds.
///
/// # Errors
/// When it is none.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 7] = [
        ("ms", 1e-3),
        ("us", 1e-6),
        ("ns", 1e-9),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
        ("d", 86400.0),
    ];
    let wrong = || format!("{text:?} is no duration: write 10s, 5m or 1h30m");
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_no_number| wrong())?;
        let unit = UNITS.iter().find(|(name, _)| after.starts_with(name));
        let (name, factor) = unit.ok_or_else(wrong)?;
        seconds += number * factor;
        rest = &after[name.len()..];
    }
    match text.is_empty() {
        true => Err(wrong()),
        false => Duration::try_from_secs_f64(seconds).map_err(|_too_long| wrong()),
    }
}

/// `2026-01-02T15:04:05.123456789+01:00` as nanoseconds since 1970; a date alone is its midnight in UTC.
pub(super) fn rfc3339(text: &str) -> Option<i128> {
    let digits = |range: std::ops::Range<usize>| -> Option<i64> {
        let part = text.get(range)?;
        part.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    let separators_fit = text.get(4..5)? == "-" && text.get(7..8)? == "-";
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !separators_fit || !is_date {
        return None;
    }
    let days = i128::from(day_of_date(year, month, day));
    let time = text.get(10..)?;
    if time.is_empty() {
        return Some(days * 86400 * NANOSECONDS);
    }
    let clock_fits = matches!(time.get(..1)?, "T" | "t" | " ")
        && time.get(3..4)? == ":"
        && time.get(6..7)? == ":";
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    if !clock_fits || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, zone) = fraction(text.get(19..)?)?;
    let seconds = days * 86400 + i128::from(hour * 3600 + minute * 60 + second - offset(zone)?);
    Some(seconds * NANOSECONDS + fraction)
}

/// `.123` as nanoseconds, and what follows.
fn fraction(text: &str) -> Option<(i128, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = rest.find(|character: char| !character.is_ascii_digit())?;
    let (digits, zone) = rest.split_at(end);
    let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
    let is_given = !digits.is_empty();
    is_given.then_some(())?;
    Some((nine.parse().ok()?, zone))
}

/// `Z` or `+01:00` as seconds.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 60 + minutes) * 60)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar: Howard Hinnant's `days_from_civil`.
fn day_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Nanoseconds since 1970 as RFC 3339 in UTC, whole seconds; empty for 0, which the CRI has for "not yet".
pub(super) fn utc(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return String::new();
    }
    let seconds = nanoseconds.div_euclid(1_000_000_000);
    let (days, rest) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    // The inverse of the above: Howard Hinnant's `civil_from_days`.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// How long ago that was, in the largest unit that fits: `3 minutes ago`.
pub(super) fn ago(nanoseconds: i64, now: i128) -> String {
    const UNITS: [(i128, &str); 4] = [
        (86400, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let seconds = (now - i128::from(nanoseconds)) / NANOSECONDS;
    for (length, name) in UNITS {
        let count = seconds / length;
        if count > 0 {
            let plural = if count == 1 { "" } else { "s" };
            return format!("{count} {name}{plural} ago");
        }
    }
    "just now".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go_and_seconds() {
        for (text, milliseconds) in [
            ("10", 10_000),
            ("10s", 10_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("2d", 172_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)));
        }
        for text in ["", "x", "10x", "1h30", "-5s", "s", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn points_in_time_are_those_of_rfc_3339() {
        let second = |text| rfc3339(text).map(|nanoseconds| nanoseconds / NANOSECONDS);
        assert_eq!(second("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(second("2016-10-06T00:17:09Z"), Some(1_475_713_029));
        assert_eq!(second("2016-10-06T02:17:09+02:00"), Some(1_475_713_029));
        assert_eq!(second("2000-02-29T00:00:00Z"), Some(951_782_400));
        assert_eq!(second("2100-03-01"), Some(4_107_542_400));
        assert_eq!(
            rfc3339("2016-10-06T00:17:09.669794202Z"),
            Some(1_475_713_029_669_794_202)
        );
        for text in [
            "",
            "2016",
            "2016-13-01",
            "2016-10-06T",
            "2016-10-06T00:17:09",
            "2016-10-06T00:17:09.Z",
            "2016-10-06T00:17:09+0200",
            "2016-10-06T25:17:09Z",
            "ä016-10-06",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        assert_eq!(since("10m"), Ok(Since::Ago(Duration::from_secs(600))));
        assert_eq!(
            since("1970-01-01T00:00:01Z").map(|since| since.nanoseconds(7)),
            Ok(1_000_000_000)
        );
        assert!(since("yesterday").is_err());
    }

    #[test]
    fn what_is_written_can_be_read() {
        assert_eq!(utc(0), "");
        for seconds in [
            1_i64,
            951_782_400,
            951_868_799,
            1_475_713_029,
            4_107_542_400,
        ] {
            let nanoseconds = seconds * 1_000_000_000;
            assert_eq!(rfc3339(&utc(nanoseconds)), Some(nanoseconds.into()));
        }
        assert_eq!(utc(951_782_400_000_000_000), "2000-02-29T00:00:00Z");
    }

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let now = 1000 * 86400 * NANOSECONDS;
        let before = |seconds: i64| ago(1000 * 86_400_000_000_000 - seconds * 1_000_000_000, now);
        assert_eq!(before(0), "just now");
        assert_eq!(before(1), "1 second ago");
        assert_eq!(before(119), "1 minute ago");
        assert_eq!(before(7200), "2 hours ago");
        assert_eq!(before(200_000), "2 days ago");
        assert_eq!(before(-5), "just now");
    }
}
