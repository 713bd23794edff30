//! The time as the CRI log format writes it: `2016-10-06T00:17:09.669794202Z`. UTC, always nine digits.

/// Bytes of a timestamp.
pub(crate) const LENGTH: usize = 30;

/// Writes timestamps; the date and the second are kept from one to the next.
#[derive(Debug)]
pub(crate) struct TimestampWriter {
    second: i64,
    text: [u8; LENGTH],
}

impl TimestampWriter {
    pub(crate) fn new() -> Self {
        let mut writer = Self {
            second: 0,
            text: *b"1970-01-01T00:00:00.000000000Z",
        };
        writer.set_second(0);
        writer
    }

    /// The time in seconds and nanoseconds since 1970, as text. Years past 9999 do not fit and are not expected.
    pub(crate) fn write(&mut self, second: i64, nanosecond: i64) -> &[u8; LENGTH] {
        if second != self.second {
            self.set_second(second);
        }
        self.put(20, 9, nanosecond);
        &self.text
    }

    fn set_second(&mut self, second: i64) {
        self.second = second;
        let (day, rest) = (second.div_euclid(86_400), second.rem_euclid(86_400));
        let (year, month, day) = date_of_day(day);
        self.put(0, 4, year);
        self.put(5, 2, month);
        self.put(8, 2, day);
        self.put(11, 2, rest.div_euclid(3600));
        self.put(14, 2, rest.div_euclid(60).rem_euclid(60));
        self.put(17, 2, rest.rem_euclid(60));
    }

    /// `value` in decimal, right-aligned in the given place.
    fn put(&mut self, start: usize, digits: usize, mut value: i64) {
        let place = self.text.iter_mut().skip(start).take(digits).rev();
        for byte in place {
            let digit = u8::try_from(value.rem_euclid(10)).unwrap_or(0);
            *byte = b'0'.saturating_add(digit);
            value = value.div_euclid(10);
        }
    }
}

/// Year, month and day of a day since 1970-01-01, by the Gregorian calendar.
fn date_of_day(day: i64) -> (i64, i64, i64) {
    let (mut year, mut day) = (1970_i64, day.max(0));
    loop {
        let days = if is_leap(year) { 366 } else { 365 };
        if day < days {
            break;
        }
        day = day.saturating_sub(days);
        year = year.saturating_add(1);
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1_i64;
    for days in months {
        if day < days {
            break;
        }
        day = day.saturating_sub(days);
        month = month.saturating_add(1);
    }
    (year, month, day.saturating_add(1))
}

fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(second: i64, nanosecond: i64) -> String {
        let mut writer = TimestampWriter::new();
        String::from_utf8(writer.write(second, nanosecond).to_vec()).unwrap()
    }

    #[test]
    fn timestamps_are_those_of_containerd() {
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(
            text(1_475_713_029, 669_794_202),
            "2016-10-06T00:17:09.669794202Z"
        );
        assert_eq!(
            text(951_782_399, 999_999_999),
            "2000-02-28T23:59:59.999999999Z"
        );
        assert_eq!(text(951_782_400, 1), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(text(1_798_761_599, 0), "2026-12-31T23:59:59.000000000Z");
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
        assert_eq!(text(253_402_300_799, 0), "9999-12-31T23:59:59.000000000Z");
    }

    #[test]
    fn the_kept_second_is_replaced_when_the_clock_goes_either_way() {
        let mut writer = TimestampWriter::new();
        assert_eq!(writer.write(59, 5), b"1970-01-01T00:00:59.000000005Z");
        assert_eq!(
            writer.write(59, 123_456_789),
            b"1970-01-01T00:00:59.123456789Z"
        );
        assert_eq!(writer.write(60, 7), b"1970-01-01T00:01:00.000000007Z");
        assert_eq!(writer.write(59, 8), b"1970-01-01T00:00:59.000000008Z");
    }
}
