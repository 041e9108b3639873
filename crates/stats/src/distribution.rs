//! A distribution of durations: what a [`Histogram`](crate::Histogram) had recorded when read.
//!
//! Buckets are log-linear: 16 per power of two from 64 ns to 71 minutes, one for what is shorter
//! and one for what is longer. A quantile is at most 1/16 above the exact value (of the last
//! bucket: the longest value) and never below it. The standard export bounds lie inside buckets,
//! so what is above a bound within its bucket is counted apart: the export is exact.
//!
//! Invariant: the count is the sum of the buckets; it is never stored beside them.
//! Not here: atomics and recording (`histogram.rs`).

use core::time::Duration;

/// Upper bounds of the exported buckets, in seconds; `+Inf` follows.
pub const BOUNDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// [`BOUNDS`] in nanoseconds.
pub const BOUNDS_NANOS: [u64; 16] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

const SUB_BITS: u32 = 4;
const FIRST_BITS: u32 = 6;
const LAST_BITS: u32 = 42;

/// How many buckets there are.
pub(crate) const BUCKETS: usize = (((LAST_BITS - FIRST_BITS) << SUB_BITS) + 1) as usize;

/// For each bucket the number of the export bound within it, or 255.
pub(crate) static BOUND_OF_BUCKET: [u8; BUCKETS] = bound_of_bucket();
pub(crate) const NO_BOUND: u8 = u8::MAX;

const fn bound_of_bucket() -> [u8; BUCKETS] {
    let mut table = [NO_BOUND; BUCKETS];
    let mut i = 0;
    while i < BOUNDS_NANOS.len() {
        let bucket = bucket_of(BOUNDS_NANOS[i]);
        assert!(table[bucket] == NO_BOUND, "two bounds in one bucket");
        table[bucket] = i as u8;
        i += 1;
    }
    table
}

/// Returns the bucket that counts a duration of `nanos`.
#[inline]
pub(crate) const fn bucket_of(nanos: u64) -> usize {
    if nanos < 1 << FIRST_BITS {
        return 0;
    }
    let max = (1 << LAST_BITS) - 1;
    let nanos = if nanos > max { max } else { nanos };
    let exponent = u64::BITS - 1 - nanos.leading_zeros();
    // 16..=31: the leading one and the four bits after it.
    let leading = (nanos >> (exponent - SUB_BITS)) as usize;
    (((exponent - FIRST_BITS) as usize) << SUB_BITS) + leading - (1 << SUB_BITS) + 1
}

/// Returns the longest duration that the bucket counts.
const fn longest_in(bucket: usize) -> u64 {
    if bucket == 0 {
        return (1 << FIRST_BITS) - 1;
    }
    let octave = (bucket - 1) >> SUB_BITS;
    let leading = ((bucket - 1) & ((1 << SUB_BITS) - 1)) as u64 + (1 << SUB_BITS);
    let shift = FIRST_BITS + octave as u32 - SUB_BITS;
    ((leading + 1) << shift) - 1
}

/// Holds how often which duration occurred; plain numbers, to be merged and asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Distribution {
    pub(crate) buckets: Box<[u64; BUCKETS]>,
    /// Per export bound: how many of its bucket are longer than the bound.
    pub(crate) above: [u64; BOUNDS.len()],
    pub(crate) sum: u64,
    pub(crate) max: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self::new()
    }
}

impl Distribution {
    /// Returns an empty distribution.
    pub fn new() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), above: [0; BOUNDS.len()], sum: 0, max: 0 }
    }

    /// Counts one duration of `nanos` nanoseconds.
    pub fn record(&mut self, nanos: u64) {
        self.record_many(nanos, 1);
    }

    /// Counts `times` durations of `nanos` nanoseconds each.
    pub fn record_many(&mut self, nanos: u64, times: u64) {
        if times == 0 {
            return;
        }
        let bucket = bucket_of(nanos);
        self.buckets[bucket] = self.buckets[bucket].wrapping_add(times);
        let bound = BOUND_OF_BUCKET[bucket];
        if bound != NO_BOUND && nanos > BOUNDS_NANOS[usize::from(bound)] {
            let above = &mut self.above[usize::from(bound)];
            *above = above.wrapping_add(times);
        }
        self.sum = self.sum.wrapping_add(nanos.wrapping_mul(times));
        self.max = self.max.max(nanos);
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *mine = mine.wrapping_add(*theirs);
        }
        for (mine, theirs) in self.above.iter_mut().zip(other.above.iter()) {
            *mine = mine.wrapping_add(*theirs);
        }
        self.sum = self.sum.wrapping_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// Returns what was counted since `earlier`, an older reading of the same histogram.
    ///
    /// The longest value is that of the whole time, at most the end of the last filled bucket.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut window = self.clone();
        for (now, then) in window.buckets.iter_mut().zip(earlier.buckets.iter()) {
            *now = now.wrapping_sub(*then);
        }
        for (now, then) in window.above.iter_mut().zip(earlier.above.iter()) {
            *now = now.wrapping_sub(*then);
        }
        window.sum = self.sum.wrapping_sub(earlier.sum);
        window.max = match window.buckets.iter().rposition(|n| *n > 0) {
            // The last bucket has no end of its own.
            Some(last) if last + 1 < BUCKETS => self.max.min(longest_in(last)),
            Some(_) => self.max,
            None => 0,
        };
        window
    }

    /// Returns how many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }

    /// Returns the sum of all durations in nanoseconds (wraps after 584 years).
    pub fn sum_nanos(&self) -> u64 {
        self.sum
    }

    /// Returns the sum of all durations in seconds.
    pub fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.sum).as_secs_f64()
    }

    /// Returns the longest duration in nanoseconds, exactly; zero if none was counted.
    pub fn max_nanos(&self) -> u64 {
        self.max
    }

    /// Returns the duration in nanoseconds that the share `q` of all does not exceed.
    ///
    /// The answer is never below the exact one and at most 1/16 above it (below 64 ns: at most
    /// 63 ns). `None` if nothing was counted. `q` is taken within 0..=1.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        // Truncation wanted: a rank is a whole number, and `as` keeps it within u64.
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = 0u64;
        for (bucket, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= rank {
                let longest = if bucket + 1 < BUCKETS { longest_in(bucket) } else { self.max };
                return Some(longest.min(self.max));
            }
        }
        None
    }

    /// Returns for each of [`BOUNDS`] how many durations are not longer: cumulative and exact.
    pub fn at_bounds(&self) -> [u64; BOUNDS.len()] {
        let mut counts = [0; BOUNDS.len()];
        let mut seen = 0u64;
        for (bucket, n) in self.buckets.iter().enumerate() {
            if let Some(bound) = counts.get_mut(usize::from(BOUND_OF_BUCKET[bucket])) {
                // A reading races with the writer: `above` may be newer than its bucket.
                let above = self.above[usize::from(BOUND_OF_BUCKET[bucket])].min(*n);
                *bound = seen + (n - above);
            }
            seen = seen.wrapping_add(*n);
        }
        counts
    }
}

impl core::fmt::Debug for Distribution {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Distribution")
            .field("count", &self.count())
            .field("sum_nanos", &self.sum)
            .field("max_nanos", &self.max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
