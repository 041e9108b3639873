//! What happens to a simulated system while it runs.
//!
//! Invariant: an incident has a begin and an end, and the end is not before the begin.

use crate::duration;

/// What happens.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum What {
    /// So many times as many requests as usual.
    Burst(f64),
    /// The server is gone: every connection breaks and none can be opened.
    Failover,
    /// Every request takes so many times as long.
    Slow(f64),
}

/// Something that happens, in seconds since requests count.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Incident {
    /// What.
    pub what: What,
    /// From when on.
    pub from_s: f64,
    /// Until when.
    pub until_s: f64,
}

impl Incident {
    /// Reads `burst 3x at 10s for 5s`, `failover at 20s for 3s` or `slow 4x at 1m for 10s`.
    ///
    /// # Errors
    /// With what would have been right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?}: expected \"burst 3x at 10s for 5s\", \"failover at 20s for 3s\" or \
                 \"slow 4x at 1m for 10s\""
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let factor = |word: &str| {
            let factor: f64 =
                word.strip_suffix('x').unwrap_or(word).parse().map_err(|_| wrong())?;
            if factor > 0.0 && factor.is_finite() { Ok(factor) } else { Err(wrong()) }
        };
        let (what, rest) = match words.as_slice() {
            ["burst", by, rest @ ..] => (What::Burst(factor(by)?), rest),
            ["slow", by, rest @ ..] => (What::Slow(factor(by)?), rest),
            ["failover", rest @ ..] => (What::Failover, rest),
            _ => return Err(wrong()),
        };
        let ["at", from, "for", length] = rest else { return Err(wrong()) };
        let from_s = duration::parse(from)?.as_secs_f64();
        let until_s = from_s + duration::parse(length)?.as_secs_f64();
        Ok(Self { what, from_s, until_s })
    }

    /// Whether it goes on at a time.
    #[must_use]
    pub fn covers(&self, at_s: f64) -> bool {
        (self.from_s..self.until_s).contains(&at_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_are_read_as_people_write_them() {
        let burst = Incident { what: What::Burst(3.0), from_s: 10.0, until_s: 15.0 };
        assert_eq!(Incident::parse("burst 3x at 10s for 5s"), Ok(burst));
        let failover = Incident { what: What::Failover, from_s: 60.0, until_s: 63.0 };
        assert_eq!(Incident::parse("failover at 1m for 3s"), Ok(failover));
        for text in ["", "burst", "burst -1x at 1s for 1s", "fire at 1s for 1s", "failover at 1s"] {
            assert!(Incident::parse(text).is_err(), "{text}");
        }
    }
}
