//! The time of day as others read and write it.
//!
//! Invariant: UTC, to the millisecond, in the form of RFC 3339.

/// Writes seconds since 1970 as `2026-11-27T10:00:00.000Z`; what is before 1970 is 1970.
#[must_use]
pub fn rfc3339(wall: f64) -> String {
    let millis = if wall.is_finite() && wall > 0.0 { (wall * 1000.0).round() as u64 } else { 0 };
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Days since 1970 to year, month and day, by eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// Reads a moment in the form of RFC 3339, such as `2026-11-27T10:00:00Z` or
/// `2026-11-27T11:00:00+01:00`, as seconds since 1970; none if it is not one, or is before 1970.
/// A space before the offset counts as its `+`, which is what an address makes of it.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<f64> {
    let (date, rest) = text.split_once(['T', 't'])?;
    let at = rest.find(['Z', 'z', '+', '-', ' '])?;
    let (clock, offset) = rest.split_at(at);
    let [year, month, day] = digits(date, '-', [4, 2, 2])?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = digits(clock, ':', [2, 2, 2])?;
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    // A leap second is the first one of the next minute.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days(year, month, day)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let wall = seconds as f64 + fraction - offset_seconds(offset)?;
    (wall >= 0.0).then_some(wall)
}

/// Reads three numbers with so many digits each.
fn digits(text: &str, between: char, widths: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut numbers = [0; 3];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Reads `Z`, or hours and minutes east of Greenwich.
fn offset_seconds(text: &str) -> Option<f64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0.0);
    }
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let clock = text.strip_prefix(['+', '-', ' '])?;
    let [hour, minute, _] = digits(&format!("{clock}:00"), ':', [2, 2, 2])?;
    (hour < 24 && minute < 60).then(|| sign * (hour * 3600 + minute * 60) as f64)
}

/// Year, month and day to days since 1970; none if there is no such day.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year.
    let (year_of, month_of) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month_of + 2) / 5 + day.checked_sub(1)?;
    let days = (year_of * 365 + year_of / 4 - year_of / 100 + year_of / 400 + of_year)
        .checked_sub(719_468)?;
    // Written back it must be the same: the thirtieth of February is not.
    (civil(days) == (year, month, day)).then_some(days)
}

/// Returns the time of day in seconds since 1970.
pub(crate) fn wall() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // Before 1970 the clock is wrong, and nothing here depends on it.
    since.map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_everybody_writes_them() {
        for (wall, text) in [
            (0.0, "1970-01-01T00:00:00.000Z"),
            (951_782_400.0, "2000-02-29T00:00:00.000Z"),
            (1_709_210_096.5, "2024-02-29T12:34:56.500Z"),
            (1_767_225_599.999_6, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400.0, "2100-03-01T00:00:00.000Z"),
            (-5.0, "1970-01-01T00:00:00.000Z"),
            (f64::NAN, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(wall), text);
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        for (text, wall) in [
            ("1970-01-01T00:00:00.000Z", 0.0),
            ("2000-02-29T00:00:00Z", 951_782_400.0),
            ("2024-02-29T12:34:56.500Z", 1_709_210_096.5),
            ("2024-02-29t13:34:56.5+01:00", 1_709_210_096.5),
            ("2024-02-29T13:34:56.5 01:00", 1_709_210_096.5),
            ("2024-02-29T07:04:56.5-05:30", 1_709_210_096.5),
            ("2026-12-31T23:59:60Z", 1_798_761_600.0),
            ("2100-03-01T00:00:00z", 4_107_542_400.0),
        ] {
            assert_eq!(parse_rfc3339(text), Some(wall), "{text}");
        }
        for day in (0..60_000u32).map(|day| f64::from(day) * 86_400.0) {
            assert_eq!(parse_rfc3339(&rfc3339(day)), Some(day), "{}", rfc3339(day));
        }
        for text in [
            "",
            "T",
            "2026-11-27",
            "2026-11-27T10:00:00",
            "2026-11-27 10:00:00Z",
            "2026-02-30T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-00-01T10:00:00Z",
            "2026-01-00T10:00:00Z",
            "2026-11-27T24:00:00Z",
            "2026-11-27T10:60:00Z",
            "2026-11-27T10:00Z",
            "2026-11-27T10:00:00.Z",
            "2026-11-27T10:00:00.5e3Z",
            "2026-11-27T10:00:00+1",
            "2026-11-27T10:00:00+24:00",
            "2026-11-27T10:00:00Zz",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:30:00+01:00",
            "+026-11-27T10:00:00Z",
            "99999-01-01T00:00:00Z",
            "２026-11-27T10:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
