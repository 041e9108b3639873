//! Recording durations, at about a nanosecond each.
//!
//! Invariant: one thread records; any thread reads. A reading may miss what is being recorded at
//! that moment, never more.
//! Not here: quantiles and merging (`distribution.rs`).

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;

use crate::distribution::{
    BOUND_OF_BUCKET, BOUNDS, BOUNDS_NANOS, BUCKETS, Distribution, NO_BOUND, bucket_of,
};

/// Counts durations of one owning thread in fixed buckets; 4.8 kB, no allocation ever.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    above: [AtomicU64; BOUNDS.len()],
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// Returns an empty histogram.
    pub const fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            above: [const { AtomicU64::new(0) }; BOUNDS.len()],
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }

    /// Counts one duration of `nanos` nanoseconds. Only the owning thread may call this.
    #[inline]
    pub fn record_nanos(&self, nanos: u64) {
        let bucket = bucket_of(nanos);
        add(&self.buckets[bucket], 1);
        let bound = BOUND_OF_BUCKET[bucket];
        if bound != NO_BOUND && nanos > BOUNDS_NANOS[usize::from(bound)] {
            add(&self.above[usize::from(bound)], 1);
        }
        add(&self.sum, nanos);
        if nanos > self.max.load(Relaxed) {
            self.max.store(nanos, Relaxed);
        }
    }

    /// Counts one duration. Only the owning thread may call this.
    #[inline]
    pub fn record(&self, duration: Duration) {
        self.record_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns what was recorded so far.
    pub fn read(&self) -> Distribution {
        let mut all = Distribution::new();
        self.add_to(&mut all);
        all
    }

    /// Adds what was recorded so far to `sum`, to merge the histograms of several threads.
    pub fn add_to(&self, sum: &mut Distribution) {
        for (total, above) in sum.above.iter_mut().zip(&self.above) {
            *total = total.wrapping_add(above.load(Relaxed));
        }
        for (total, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total = total.wrapping_add(bucket.load(Relaxed));
        }
        sum.sum = sum.sum.wrapping_add(self.sum.load(Relaxed));
        sum.max = sum.max.max(self.max.load(Relaxed));
    }
}

/// Adds without a locked instruction: the caller is the only writer.
#[inline]
fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_fits_in_six_kibibytes() {
        assert!(size_of::<Histogram>() <= 6 * 1024, "{}", size_of::<Histogram>());
    }

    #[test]
    fn a_reading_equals_what_was_recorded() {
        let histogram = Histogram::new();
        let mut expected = Distribution::new();
        for n in 0..50_000u64 {
            let nanos = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (n % 64);
            histogram.record_nanos(nanos);
            expected.record(nanos);
        }
        assert!(histogram.read() == expected);
    }

    #[test]
    fn a_duration_beyond_the_range_is_still_counted() {
        let histogram = Histogram::new();
        histogram.record(Duration::MAX);
        let all = histogram.read();
        assert_eq!((all.count(), all.max_nanos()), (1, u64::MAX));
        assert_eq!(all.quantile(0.5), Some(u64::MAX));
    }
}
