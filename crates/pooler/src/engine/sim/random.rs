//! The dice of the simulation.
//!
//! Invariant: the same seed rolls the same numbers, on every machine.

/// A splitmix64 generator: one word of state, no weak seeds.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// Returns a place in a sequence of `len`, which is not zero.
    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub(super) fn chance(&mut self, of: u32, total: u32) -> bool {
        of > 0 && self.below(u64::from(total)) < u64::from(of)
    }

    /// Returns zero half of the time, else any rate: a fault absent is a condition of its own.
    pub(super) fn per_mille_or_none(&mut self) -> u32 {
        if self.chance(1, 2) { 0 } else { self.below(1_000) as u32 }
    }
}
