//! Times as they are written: `30s`, `500ms`, `1h30m`; a bare number only where its unit is known.
//!
//! Invariant: what is shown reads back as the same time, to the nanosecond for whole milliseconds.

use std::time::Duration;

use super::invalid::Invalid;

/// What a number without a unit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    /// Nothing: a time needs a unit.
    Refused,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// The longest time: a hundred years, so that sums never overflow.
const MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Words for a rule that is turned off.
const OFF: [&str; 3] = ["off", "none", "never"];

/// Reads a time.
pub(crate) fn parse(text: &str, bare: Bare) -> Result<Duration, Invalid> {
    let text = text.trim();
    let unitless = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
    let time = if unitless {
        let number: u64 = text.parse().map_err(|_| Invalid::TooLarge)?;
        match (bare, number) {
            (_, 0) => Duration::ZERO,
            (Bare::Refused, _) => return Err(Invalid::NoUnit),
            (Bare::Seconds, _) => Duration::from_secs(number),
            (Bare::Milliseconds, _) => Duration::from_millis(number),
        }
    } else {
        parts(text)?
    };
    if time > MAX { Err(Invalid::TooLarge) } else { Ok(time) }
}

/// Reads a time that may be turned off. A bare zero turns it off where others write it so.
pub(crate) fn parse_optional(text: &str, bare: Bare) -> Result<Option<Duration>, Invalid> {
    let text = text.trim();
    if OFF.iter().any(|off| text.eq_ignore_ascii_case(off)) {
        return Ok(None);
    }
    if bare != Bare::Refused && text == "0" {
        return Ok(None);
    }
    parse(text, bare).map(Some)
}

/// Reads one or more numbers, each with its unit.
fn parts(mut text: &str) -> Result<Duration, Invalid> {
    let mut sum = Duration::ZERO;
    if text.is_empty() {
        return Err(Invalid::Time);
    }
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(Invalid::Time)?;
        let (number, rest) = text.split_at(digits);
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(end);
        let seconds = match unit.trim() {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(Invalid::Time),
        };
        let number: f64 = number.parse().map_err(|_| Invalid::Time)?;
        // Whole microseconds: floating point must not turn 10 ms into 9.999999.
        let micros = (number * seconds * 1e6).round();
        let part = Duration::try_from_secs_f64(micros / 1e6).map_err(|_| Invalid::TooLarge)?;
        let part =
            Duration::from_micros(u64::try_from((part.as_nanos() + 500) / 1000).unwrap_or(0));
        sum = sum.checked_add(part).ok_or(Invalid::TooLarge)?;
        text = rest;
    }
    Ok(sum)
}

/// Writes a time in the largest unit that leaves no fraction.
pub(crate) fn show(time: Duration) -> String {
    let micros = time.as_micros();
    let units: [(u128, &str); 6] = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1000, "ms"),
        (1, "us"),
    ];
    if micros == 0 {
        return "0s".to_owned();
    }
    let fits = units.iter().find(|(unit, _)| micros.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{micros}us"), |(unit, name)| format!("{}{name}", micros / unit))
}

/// Writes a time that may be turned off.
pub(crate) fn show_optional(time: Option<Duration>) -> String {
    time.map_or_else(|| "off".to_owned(), show)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, bare, micros) in [
            ("30s", Bare::Refused, Ok(30_000_000)),
            ("500ms", Bare::Refused, Ok(500_000)),
            ("1h30m", Bare::Refused, Ok(5_400_000_000)),
            ("0.5s", Bare::Refused, Ok(500_000)),
            (" 2 m ", Bare::Refused, Ok(120_000_000)),
            ("1d", Bare::Refused, Ok(86_400_000_000)),
            ("0", Bare::Refused, Ok(0)),
            ("30", Bare::Refused, Err(Invalid::NoUnit)),
            ("30", Bare::Seconds, Ok(30_000_000)),
            ("30000", Bare::Milliseconds, Ok(30_000_000)),
            ("-1s", Bare::Seconds, Err(Invalid::Time)),
            ("", Bare::Seconds, Err(Invalid::Time)),
            ("1.2.3s", Bare::Seconds, Err(Invalid::Time)),
            ("5 parsecs", Bare::Seconds, Err(Invalid::Time)),
            ("99999999999999999999", Bare::Seconds, Err(Invalid::TooLarge)),
            ("9999999d", Bare::Seconds, Err(Invalid::TooLarge)),
        ] {
            let read = parse(text, bare).map(|time| time.as_micros());
            assert_eq!(read, micros, "{text}");
        }
        assert_eq!(parse_optional("off", Bare::Refused), Ok(None));
        assert_eq!(parse_optional("0", Bare::Milliseconds), Ok(None));
        assert_eq!(parse_optional("0", Bare::Refused), Ok(Some(Duration::ZERO)));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(micros in 0_u64..3_000_000_000_000) {
            let time = Duration::from_micros(micros);
            prop_assert_eq!(parse(&show(time), Bare::Refused), Ok(time));
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = parse(&text, Bare::Refused);
        }
    }
}
