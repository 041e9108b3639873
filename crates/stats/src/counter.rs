//! Single numbers: what only grows, and what goes up and down.
//!
//! Invariant: reading is possible from any thread at any time and never disturbs the writer.
//! Not here: padding. Give each thread a struct of its own, allocated on its own, so that no two
//! writers share a cache line.

use core::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Counts events of one owning thread.
///
/// Only the owner may add: an addition is a load and a store, not a locked instruction. Two
/// threads adding at once would lose counts (never more than that).
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Returns a counter at zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`; wraps at 2^64, as Prometheus counters may.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Returns the present count.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counts events of several threads.
#[derive(Debug, Default)]
pub struct SharedCounter(AtomicU64);

impl SharedCounter {
    /// Returns a counter at zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`; wraps at 2^64, as Prometheus counters may.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Returns the present count.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Holds a value that goes up and down; any thread may change it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Returns a gauge at zero.
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// Replaces the value.
    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// Adds `change`, which may be negative.
    #[inline]
    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Relaxed);
    }

    /// Returns the present value.
    #[inline]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_counter_of_one_thread_is_read_by_another() {
        let counter = Counter::new();
        thread::scope(|s| {
            s.spawn(|| (0..10_000).for_each(|_| counter.increment()));
        });
        assert_eq!(counter.get(), 10_000);
    }

    #[test]
    fn a_shared_counter_loses_nothing() {
        let counter = SharedCounter::new();
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| (0..10_000).for_each(|_| counter.add(3)));
            }
        });
        assert_eq!(counter.get(), 120_000);
    }

    #[test]
    fn a_gauge_goes_below_zero_and_back() {
        let gauge = Gauge::new();
        gauge.add(-5);
        assert_eq!(gauge.get(), -5);
        gauge.add(7);
        assert_eq!(gauge.get(), 2);
        gauge.set(40);
        assert_eq!(gauge.get(), 40);
    }
}
