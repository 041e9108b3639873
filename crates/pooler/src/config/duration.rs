//! Times as they are written: a number in the setting's own unit, or a number with a unit.
//!
//! Invariant: what is shown reads back as the same time, to the microsecond, and no time is
//! longer than [`MAX`], so that sums of a few of them never overflow.

use std::time::Duration;

use super::kind::Invalid;

/// What a time in seconds looks like.
pub const SECONDS: &str = "a number of seconds such as 15 or 0.5, or a time such as 500ms or 2m";
/// What a time in milliseconds looks like.
pub const MILLISECONDS: &str = "a number of milliseconds, or a time such as 500ms or 2m";

/// The longest time, a hundred years of 365 days.
pub const MAX: Duration = Duration::from_secs(MAX_SECONDS);
const MAX_SECONDS: u64 = 100 * 365 * 24 * 3600;

/// What a number without a unit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Second,
    /// Milliseconds.
    Millisecond,
}

/// Reads a time.
///
/// # Errors
/// The text is no number, has an unknown unit, is negative or longer than [`MAX`].
pub fn parse(text: &str, bare: Unit) -> Result<Duration, Invalid> {
    let expected = Invalid::Expected(match bare {
        Unit::Second => SECONDS,
        Unit::Millisecond => MILLISECONDS,
    });
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let unit_nanos: u128 = match (unit.trim_start(), bare) {
        ("", Unit::Second) | ("s", _) => 1_000_000_000,
        ("", Unit::Millisecond) | ("ms", _) => 1_000_000,
        ("us", _) => 1_000,
        ("m" | "min", _) => 60_000_000_000,
        ("h", _) => 3_600_000_000_000,
        ("d", _) => 86_400_000_000_000,
        _ => return Err(expected),
    };
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(expected);
    }
    let nanos =
        whole_nanos(whole, unit_nanos)?.saturating_add(fraction_nanos(fraction, unit_nanos));
    if negative && nanos > 0 {
        return Err(Invalid::Negative);
    }
    let nanos = u64::try_from(nanos).map_err(|_| Invalid::TooLarge(MAX_SECONDS))?;
    let value = Duration::from_nanos(nanos);
    if value > MAX {
        return Err(Invalid::TooLarge(MAX_SECONDS));
    }
    Ok(value)
}

fn whole_nanos(digits: &str, unit_nanos: u128) -> Result<u128, Invalid> {
    if digits.is_empty() {
        return Ok(0);
    }
    let number: u128 = digits.parse().map_err(|_| Invalid::TooLarge(MAX_SECONDS))?;
    number.checked_mul(unit_nanos).ok_or(Invalid::TooLarge(MAX_SECONDS))
}

/// The fraction to the microsecond, the resolution PgBouncer keeps; smaller parts are dropped.
fn fraction_nanos(digits: &str, unit_nanos: u128) -> u128 {
    let mut nanos: u128 = 0;
    let mut weight = unit_nanos;
    for digit in digits.bytes().take(18) {
        weight /= 10;
        nanos += u128::from(digit - b'0') * weight;
    }
    nanos / 1_000 * 1_000
}

/// Returns the time as a number of seconds: `3600`, `0.5`.
pub fn show_seconds(value: Duration) -> String {
    show(value.as_secs(), value.subsec_micros(), 6)
}

/// Returns the time as a number of milliseconds: `500`, `0.25`.
pub fn show_milliseconds(value: Duration) -> String {
    let micros = value.as_micros();
    let whole = u64::try_from(micros / 1_000).unwrap_or(u64::MAX);
    let rest = u32::try_from(micros % 1_000).unwrap_or(0);
    show(whole, rest, 3)
}

fn show(whole: u64, fraction: u32, digits: usize) -> String {
    if fraction == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{fraction:0digits$}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_in_the_unit_of_its_setting() {
        for (text, unit, micros) in [
            ("15", Unit::Second, 15_000_000),
            ("0.5", Unit::Second, 500_000),
            (".5", Unit::Second, 500_000),
            ("3.", Unit::Second, 3_000_000),
            ("250", Unit::Millisecond, 250_000),
            ("500ms", Unit::Second, 500_000),
            ("2m", Unit::Second, 120_000_000),
            ("2m", Unit::Millisecond, 120_000_000),
            ("1.5 h", Unit::Second, 5_400_000_000),
            ("1d", Unit::Second, 86_400_000_000),
            ("7us", Unit::Second, 7),
            ("-0", Unit::Second, 0),
            ("0.0000019", Unit::Second, 1),
        ] {
            assert_eq!(parse(text, unit), Ok(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let huge = "9".repeat(60);
        for text in ["", ".", "-1", "1e3", "inf", "nan", "1w", "1.2.3", "--1", "٣", &huge] {
            assert!(parse(text, Unit::Second).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_shown_reads_back() {
        for micros in [0, 1, 10, 999_999, 1_000_000, 1_500_000, 3_600_000_000] {
            let value = Duration::from_micros(micros);
            assert_eq!(parse(&show_seconds(value), Unit::Second), Ok(value));
            assert_eq!(parse(&show_milliseconds(value), Unit::Millisecond), Ok(value));
        }
    }
}
