//! How long to pause before each further attempt.
//!
//! Invariant: a pause is at least [`FLOOR`] and at most the cap (or that floor).
//! Left out: counting attempts and watching the clock (`retry.rs`).

use std::time::Duration;

use headpond_core::Random;

/// The shortest pause: a draw of zero would be no pause at all.
pub const FLOOR: Duration = Duration::from_millis(1);

/// How pauses are spread, so that callers who failed together do not come back together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Jitter {
    /// Not at all.
    None,
    /// Between half of the pause and the pause.
    Equal,
    /// Between nothing and the pause.
    #[default]
    Full,
    /// Between the base and three times the pause before.
    Decorrelated,
}

/// How pauses grow.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Backoff {
    /// The first pause, before jitter.
    /// Default: 100 ms, because a restart takes longer and a lost packet less.
    pub base: Duration,
    /// What each pause is multiplied by to give the next; below 1 counts as 1.
    /// Default: 1.5, because a few retries should all come before a caller loses patience.
    pub factor: f64,
    /// The longest pause.
    /// Default: 10 s, because nobody wants to wait longer after a recovery.
    pub cap: Duration,
    /// How pauses are spread.
    /// Default: full, because it empties a crowd fastest.
    pub jitter: Jitter,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(100),
            factor: 1.5,
            cap: Duration::from_secs(10),
            jitter: Jitter::Full,
        }
    }
}

impl Backoff {
    /// Returns the pause before the `n`-th retry, counted from 0, without jitter.
    #[must_use]
    pub fn ceiling(&self, n: u32) -> Duration {
        let factor = if self.factor > 1.0 { self.factor } else { 1.0 };
        let grown = self.base.as_secs_f64() * factor.powf(f64::from(n));
        let cap = self.cap.max(FLOOR);
        // An overflow, or no number at all, is above every cap.
        Duration::try_from_secs_f64(grown).unwrap_or(cap).clamp(FLOOR, cap)
    }

    /// Returns the pauses, one after another without end, drawn from `seed`.
    ///
    /// # Examples
    /// ```
    /// # use headpond::retry::{Backoff, Jitter};
    /// let backoff = Backoff { jitter: Jitter::None, ..Backoff::default() };
    /// let pauses: Vec<u128> = backoff.pauses(7).take(4).map(|pause| pause.as_millis()).collect();
    /// assert_eq!(pauses, [100, 150, 225, 337]);
    /// ```
    #[must_use]
    pub const fn pauses(&self, seed: u64) -> Pauses {
        Pauses { backoff: *self, random: Random::new(seed), n: 0, last: self.base }
    }
}

/// The pauses of one operation; made by [`Backoff::pauses`].
#[derive(Clone, Debug)]
pub struct Pauses {
    backoff: Backoff,
    random: Random,
    n: u32,
    last: Duration,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let backoff = self.backoff;
        let ceiling = backoff.ceiling(self.n);
        self.n = self.n.saturating_add(1);
        let pause = match backoff.jitter {
            Jitter::None => ceiling,
            Jitter::Equal => ceiling / 2 + self.random.duration_up_to(ceiling / 2),
            Jitter::Full => self.random.duration_up_to(ceiling),
            Jitter::Decorrelated => {
                let base = backoff.base.min(backoff.cap);
                let top = self.last.saturating_mul(3).clamp(base, backoff.cap.max(base));
                base + self.random.duration_up_to(top - base)
            }
        };
        self.last = pause.clamp(FLOOR, backoff.cap.max(FLOOR));
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JITTERS: [Jitter; 4] = [Jitter::None, Jitter::Equal, Jitter::Full, Jitter::Decorrelated];

    #[test]
    fn full_jitter_spreads_over_the_whole_range() {
        let first = |seed| Backoff::default().pauses(seed).next().unwrap();
        let late = (0..1000).filter(|seed| first(*seed) > Duration::from_millis(50)).count();
        assert!((400..600).contains(&late), "{late} of 1000 in the upper half");
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses() {
        let pauses = |seed| Backoff::default().pauses(seed).take(9).collect::<Vec<_>>();
        assert_eq!(pauses(3), pauses(3));
        assert_ne!(pauses(3), pauses(4));
    }

    proptest! {
        #[test]
        fn a_pause_is_between_the_floor_and_its_bounds(
            base in 0_u64..100_000, factor in -2.0_f64..50.0, cap in 0_u64..100_000,
            jitter in 0_usize..4, seed: u64,
        ) {
            let backoff = Backoff {
                base: Duration::from_millis(base),
                factor,
                cap: Duration::from_millis(cap),
                jitter: JITTERS[jitter],
            };
            let most = backoff.cap.max(FLOOR);
            let mut last = backoff.base;
            for (n, pause) in (0..40).zip(backoff.pauses(seed)) {
                prop_assert!(pause >= FLOOR && pause <= most, "{pause:?}");
                let ceiling = backoff.ceiling(n);
                match backoff.jitter {
                    Jitter::None => prop_assert_eq!(pause, ceiling),
                    Jitter::Equal => prop_assert!(pause <= ceiling && pause >= ceiling / 2),
                    Jitter::Full => prop_assert!(pause <= ceiling),
                    Jitter::Decorrelated => {
                        prop_assert!(pause <= (last * 3).max(backoff.base).max(FLOOR));
                    }
                }
                last = pause;
            }
        }

        #[test]
        fn ceilings_never_shrink(factor in 0.0_f64..1e300, n in 0_u32..1000) {
            let backoff = Backoff { factor, ..Backoff::default() };
            prop_assert!(backoff.ceiling(n) <= backoff.ceiling(n + 1));
            prop_assert!(backoff.ceiling(u32::MAX) <= backoff.cap);
        }
    }
}
