//! What became of the pushes, in numbers.
//!
//! Invariant: a push is counted once, by its outcome; nothing is told where nothing is pushed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use headpond_stats::Snapshot;

/// Counts pushes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    in_use: AtomicBool,
    pub delivered: AtomicU64,
    pub partial: AtomicU64,
    pub failed: AtomicU64,
    /// Points that a receiver did not take.
    pub rejected: AtomicU64,
}

impl Tally {
    /// Begins to be told.
    pub fn begin(&self) {
        self.in_use.store(true, Ordering::Relaxed);
    }

    pub fn collect(&self, into: &mut Snapshot) {
        if !self.in_use.load(Ordering::Relaxed) {
            return;
        }
        for (outcome, count) in
            [("delivered", &self.delivered), ("partial", &self.partial), ("failed", &self.failed)]
        {
            into.counter("headpond_otlp_exports_total", "Pushes of metrics by OTLP, by outcome.")
                .add(&[("outcome", outcome)], count.load(Ordering::Relaxed));
        }
        into.counter("headpond_otlp_rejected_points_total", "Points that a receiver refused.")
            .add(&[], self.rejected.load(Ordering::Relaxed));
    }
}
