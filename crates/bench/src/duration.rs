//! Durations and shares as people write them.
//!
//! Invariant: what [`text`] writes, [`parse`] reads back to the same three digits.

use std::time::Duration;

/// Units, longest first, in seconds.
const UNITS: [(&str, f64); 7] = [
    ("ms", 1e-3),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("h", 3600.0),
    ("m", 60.0),
    ("s", 1.0),
    ("d", 86_400.0),
];

/// Reads `2m`, `1.5s`, `500ms`, `8h`; a bare number is in milliseconds.
///
/// # Errors
/// With what would have been right.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let unit = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (number, seconds) = unit.unwrap_or((text, 1e-3));
    let number: f64 = number.trim().parse().map_err(|_| expected(text))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| expected(text))
}

fn expected(text: &str) -> String {
    format!("{text:?} is no time; 120000 (milliseconds), 500ms, 90s, 2m and 8h are")
}

/// Writes a duration with three digits and the unit that suits it.
#[must_use]
pub fn text(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match seconds {
        s if s < 1e-3 => (s * 1e6, "us"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s if s < 120.0 => (s, "s"),
        s if s < 7200.0 => (s / 60.0, "m"),
        s => (s / 3600.0, "h"),
    };
    format!("{}{unit}", digits(value))
}

/// Writes microseconds like [`text`].
#[must_use]
pub fn micros(micros: f64) -> String {
    text(Duration::from_secs_f64((micros / 1e6).max(0.0)))
}

/// Writes a number with three digits, and thousands with separators.
#[must_use]
pub fn digits(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1000.0 {
        return thousands(value);
    }
    let decimals = match magnitude {
        m if m >= 100.0 => 0,
        m if m >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

fn thousands(value: f64) -> String {
    let whole = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_in_milliseconds_as_the_old_tool_had_it() {
        assert_eq!(parse("120000"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("8h"), Ok(Duration::from_secs(28_800)));
    }

    #[test]
    fn nonsense_is_answered_with_examples() {
        for text in ["", "fast", "-3s", "3 parsecs", "nan", "1e400s"] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("90s"), "{error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for nanos in [1_500u64, 999_000, 20_000_000, 1_250_000_000, 119_000_000_000] {
            let duration = Duration::from_nanos(nanos);
            let back = parse(&text(duration)).expect("written by us");
            let ratio = back.as_secs_f64() / duration.as_secs_f64();
            assert!((ratio - 1.0).abs() < 0.01, "{duration:?} as {}", text(duration));
        }
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(digits(1_234_567.4), "1,234,567");
        assert_eq!(digits(999.6), "1000");
        assert_eq!(digits(0.5), "0.5");
    }
}
