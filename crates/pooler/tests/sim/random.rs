//! The dice of a run.
//!
//! Invariant: the same seed rolls the same numbers, on every machine.

use std::time::Duration;

use headpond_core::Random;

/// A sequence of draws.
#[derive(Clone)]
pub struct Dice(Random);

impl Dice {
    /// Starts the sequence that belongs to a seed.
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Starts another sequence, independent of what follows here.
    pub fn split(&mut self) -> Self {
        Self::new(self.bits())
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        let most = u64::try_from(bound).expect("a usize") - 1;
        usize::try_from(self.0.up_to(most)).expect("below a usize")
    }

    /// A number of a range, both ends included.
    pub fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True once in so many.
    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    /// True so many times of a hundred.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// One of a list.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A duration up to a longest one.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        self.0.duration_up_to(longest)
    }
}
