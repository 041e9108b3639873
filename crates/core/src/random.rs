//! A small seeded generator for jitter.
//!
//! Invariant: the same seed gives the same sequence on every machine.
//! Left out: secrecy. Nothing that must not be guessed is drawn from here.

use core::time::Duration;

use crate::time::nanos;

/// A splitmix64 sequence.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Starts the sequence that belongs to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns the next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to `max`, both included.
    pub const fn up_to(&mut self, max: u64) -> u64 {
        // The high half of a 64 x 65 bit product: unbiased enough for jitter, and no division.
        ((self.next_u64() as u128 * (max as u128 + 1)) >> 64) as u64
    }

    /// Returns a duration from zero to `max`, both included.
    pub fn duration_up_to(&mut self, max: Duration) -> Duration {
        Duration::from_nanos(self.up_to(nanos(max)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_stays_within_its_bounds_and_reaches_both_ends() {
        let mut random = Random::new(11);
        let mut seen = [false; 4];
        for _ in 0..200 {
            seen[usize::try_from(random.up_to(3)).expect("at most 3")] = true;
        }
        assert_eq!(seen, [true; 4]);
        assert_eq!(random.up_to(0), 0);
        let _any = random.up_to(u64::MAX);
    }
}
