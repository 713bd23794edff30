//! How long to wait before a request is made again.

use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;

/// What a refusal asks us to wait (RFC 9110 §10.2.3): seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    // A date that has passed means at once.
    Some(date.duration_since(now).unwrap_or_default())
}

/// The pause after so many failures in a row: twice as long each time, of which at least a half, so that many nodes
/// that failed together do not come back together. `random` is any number.
pub(super) fn back_off(first: Duration, failures: u32, random: u32) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let half = doubled / 2;
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// A number nobody can guess; a constant if the kernel gives none, which only makes the pauses equal.
pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(_) => u32::from_ne_bytes(bytes),
        Err(_not_yet) => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn seconds_and_dates_are_understood() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            let found = retry_after(&headers, now);
            assert_eq!(found, expected.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn pauses_double_and_spread_over_their_upper_half() {
        let first = Duration::from_millis(200);
        for (failures, least, most) in [(1, 100, 200), (2, 200, 400), (4, 800, 1600)] {
            assert_eq!(back_off(first, failures, 0).as_millis(), least);
            assert_eq!(back_off(first, failures, u32::MAX).as_millis(), most);
        }
        assert!(back_off(first, 1000, 7) < Duration::from_secs(200_000));
    }
}
