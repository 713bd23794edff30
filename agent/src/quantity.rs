//! Kubernetes quantities: `100m`, `1.5Gi`, `2e3`. Exact to a billionth, which is as small as the API server keeps them;
//! what is smaller is rounded up, what is larger than 2^63 − 1 is that, as there (apimachinery, `resource.Quantity`).

use std::fmt;
use std::str::FromStr;

/// Billionths in one.
const NANO: i128 = 1_000_000_000;
/// The largest quantity that the API server keeps.
const VALUE_MAX: i128 = i64::MAX as i128;

/// A parsed quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity {
    nano: i128,
}

/// A text that is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
pub struct QuantityError;

impl Quantity {
    /// So many whole units.
    #[must_use]
    pub fn from_units(units: u64) -> Self {
        Self {
            nano: i128::from(units).min(VALUE_MAX) * NANO,
        }
    }

    /// So many thousandths.
    #[must_use]
    pub fn from_milli(milli: u64) -> Self {
        Self {
            nano: i128::from(milli) * (NANO / 1000),
        }
    }

    /// In whole units, rounded up (`Quantity.Value()`).
    #[must_use]
    pub fn value(self) -> i64 {
        clamp(ceil_div(self.nano, NANO))
    }

    /// In thousandths, rounded up (`Quantity.MilliValue()`).
    #[must_use]
    pub fn milli_value(self) -> i64 {
        clamp(ceil_div(self.nano, NANO / 1000))
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Whether it is a whole number of units.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.nano % NANO == 0
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (is_negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError);
        }
        let nano = scaled(whole, fraction, Scale::of(suffix)?).min(VALUE_MAX * NANO);
        Ok(Self {
            nano: if is_negative { -nano } else { nano },
        })
    }
}

impl fmt::Display for Quantity {
    /// In whole units, or with a fraction where it is none: a canonical decimal, without a suffix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.nano < 0 { "-" } else { "" };
        let (units, rest) = (self.nano.abs() / NANO, self.nano.abs() % NANO);
        if rest == 0 {
            return write!(f, "{sign}{units}");
        }
        let digits = format!("{rest:09}");
        write!(f, "{sign}{units}.{}", digits.trim_end_matches('0'))
    }
}

/// What a suffix multiplies by.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// A power of 1024.
    Binary(u32),
    /// A power of ten.
    Decimal(i32),
}

impl Scale {
    fn of(suffix: &str) -> Result<Self, QuantityError> {
        Ok(match suffix {
            "n" => Self::Decimal(-9),
            "u" => Self::Decimal(-6),
            "m" => Self::Decimal(-3),
            "" => Self::Decimal(0),
            "k" => Self::Decimal(3),
            "M" => Self::Decimal(6),
            "G" => Self::Decimal(9),
            "T" => Self::Decimal(12),
            "P" => Self::Decimal(15),
            "E" => Self::Decimal(18),
            "Ki" => Self::Binary(1),
            "Mi" => Self::Binary(2),
            "Gi" => Self::Binary(3),
            "Ti" => Self::Binary(4),
            "Pi" => Self::Binary(5),
            "Ei" => Self::Binary(6),
            _ => Self::Decimal(exponent(suffix)?),
        })
    }
}

/// `e3`, `E-6`: scientific notation.
fn exponent(suffix: &str) -> Result<i32, QuantityError> {
    let digits = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError)?;
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(QuantityError);
    }
    digits.parse::<i32>().map_err(|_out_of_range| QuantityError)
}

/// The number in billionths, rounded up; `i128::MAX` if it is too large.
fn scaled(whole: &str, fraction: &str, scale: Scale) -> i128 {
    let fraction = fraction.trim_end_matches('0');
    let digits: String = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    // 38 digits fit into 127 bits; more is past the largest quantity unless they are mostly behind the point.
    let places = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let Some(mantissa) = mantissa(digits) else {
        return i128::MAX;
    };
    let (power, factor) = match scale {
        Scale::Decimal(power) => (power, 1),
        Scale::Binary(power) => (0, 1024_i128.pow(power)),
    };
    let Some(mantissa) = mantissa.checked_mul(factor) else {
        return i128::MAX;
    };
    let power = power.saturating_sub(places).saturating_add(9);
    if mantissa == 0 {
        return 0;
    }
    match u32::try_from(power) {
        Ok(power) => 10_i128
            .checked_pow(power)
            .and_then(|factor| mantissa.checked_mul(factor))
            .unwrap_or(i128::MAX),
        Err(_negative) => match 10_i128.checked_pow(power.unsigned_abs()) {
            Some(divisor) => ceil_div(mantissa, divisor),
            None => 1,
        },
    }
}

fn mantissa(digits: &str) -> Option<i128> {
    match digits.is_empty() {
        true => Some(0),
        false => digits.parse::<i128>().ok(),
    }
}

/// Rounded away from zero, as the API server rounds.
fn ceil_div(dividend: i128, divisor: i128) -> i128 {
    let quotient = dividend / divisor;
    match dividend % divisor {
        0 => quotient,
        rest => quotient + rest.signum(),
    }
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Quantity {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn suffixes_and_exponents_multiply() {
        for (text, value, milli) in [
            ("0", 0, 0),
            ("1", 1, 1000),
            ("+5", 5, 5000),
            ("-5", -5, -5000),
            ("100m", 1, 100),
            ("1500m", 2, 1500),
            ("0.5", 1, 500),
            (".5", 1, 500),
            ("5.", 5, 5000),
            ("1k", 1000, 1_000_000),
            ("1Ki", 1024, 1_024_000),
            ("1.5Gi", 1_610_612_736, 1_610_612_736_000),
            ("2e3", 2000, 2_000_000),
            ("2E3", 2000, 2_000_000),
            ("2E", 2_000_000_000_000_000_000, i64::MAX),
            ("25e-1", 3, 2500),
            ("1n", 1, 1),
            ("1u", 1, 1),
            ("0.0000000001", 1, 1),
            ("8Ei", i64::MAX, i64::MAX),
            (
                "99999999999999999999999999999999999999999999999",
                i64::MAX,
                i64::MAX,
            ),
            ("1e99", i64::MAX, i64::MAX),
            ("0e99", 0, 0),
        ] {
            let quantity = parse(text);
            assert_eq!(
                (quantity.value(), quantity.milli_value()),
                (value, milli),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "1..2",
            "1.2.3",
            "Gi",
            "1KI",
            "1ki",
            "1 Gi",
            "1e",
            "1e+",
            "1ee3",
            "1mm",
            "0x1",
            "１",
            "1e99999999999",
        ] {
            assert_eq!(text.parse::<Quantity>(), Err(QuantityError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_whole_number_is_its_own_value(number in -1_000_000_000_000_i64..1_000_000_000_000) {
            prop_assert_eq!(parse(&number.to_string()).value(), number);
        }

        #[test]
        fn what_is_displayed_is_the_same_quantity(milli in any::<u32>()) {
            let quantity = Quantity::from_milli(u64::from(milli));
            prop_assert_eq!(parse(&quantity.to_string()), quantity);
            prop_assert_eq!(parse(&format!("{milli}m")), quantity);
        }

        #[test]
        fn order_is_that_of_the_numbers(one in any::<u32>(), other in any::<u32>()) {
            prop_assert_eq!(parse(&format!("{one}u")).cmp(&parse(&format!("{other}u"))), one.cmp(&other));
        }

        #[test]
        fn no_text_panics(text in "[+-]?[0-9.]{0,50}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,12}") {
            if let Ok(quantity) = text.parse::<Quantity>() {
                prop_assert!(quantity.value().unsigned_abs() <= quantity.milli_value().unsigned_abs());
            }
        }
    }
}
