//! How long to pause after the n-th failure in a row: exponential, with jitter.
//!
//! Invariant: a pause is at least a millisecond and at most `max` (or that millisecond).
//! Left out: counting failures and keeping the time (`connect.rs`, `breaker.rs`).

use core::time::Duration;

use crate::random::Random;

/// The shortest pause: a full-jitter draw of zero would be no pause at all.
const FLOOR: Duration = Duration::from_millis(1);

/// An exponential pause with full jitter: anything from a millisecond to `first * 2^n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// The longest pause after the first failure.
    pub first: Duration,
    /// The longest pause after any failure.
    pub max: Duration,
}

impl Backoff {
    /// Returns the longest pause after `failures` failures in a row.
    #[must_use]
    pub fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1);
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max).max(FLOOR)
    }

    /// Draws the pause after `failures` failures in a row from the upper half of what `draw` draws
    /// from: longer on average, but never much longer than usual (equal jitter).
    pub fn draw_upper(&self, failures: u32, random: &mut Random) -> Duration {
        let ceiling = self.ceiling(failures);
        let half = (ceiling / 2).max(FLOOR);
        half + random.duration_up_to(ceiling.saturating_sub(half))
    }

    /// Draws the pause after `failures` failures in a row.
    pub fn draw(&self, failures: u32, random: &mut Random) -> Duration {
        FLOOR + random.duration_up_to(self.ceiling(failures) - FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(100), max: Duration::from_secs(10) };

    #[test]
    fn the_ceiling_doubles_until_the_maximum() {
        let ceilings: [u128; 5] =
            [1, 2, 3, 7, 8].map(|failures| BACKOFF.ceiling(failures).as_millis());
        assert_eq!(ceilings, [100, 200, 400, 6400, 10_000]);
        assert_eq!(BACKOFF.ceiling(u32::MAX), BACKOFF.max);
    }

    #[test]
    fn a_pause_is_between_a_millisecond_and_its_ceiling() {
        let mut random = Random::new(5);
        for failures in 1..40 {
            let pause = BACKOFF.draw(failures, &mut random);
            assert!(pause >= FLOOR && pause <= BACKOFF.ceiling(failures), "{failures}: {pause:?}");
            let upper = BACKOFF.draw_upper(failures, &mut random);
            let ceiling = BACKOFF.ceiling(failures);
            assert!(upper >= ceiling / 2 && upper <= ceiling, "{failures}: {upper:?}");
        }
    }

    #[test]
    fn a_backoff_of_zero_still_pauses() {
        let none = Backoff { first: Duration::ZERO, max: Duration::ZERO };
        assert_eq!(none.draw(9, &mut Random::new(1)), FLOOR);
    }

    #[test]
    fn pauses_spread_over_the_whole_range() {
        let mut random = Random::new(3);
        let late =
            (0..1000).filter(|_| BACKOFF.draw(1, &mut random) > Duration::from_millis(50)).count();
        assert!((400..600).contains(&late), "{late} of 1000 in the upper half");
    }
}
