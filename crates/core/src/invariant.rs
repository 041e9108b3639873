//! What is true of a pool after every call. Always compiled, called by tests, fuzzing and the
//! simulation.
//!
//! Invariant: `check_invariants` reads only; it costs O(connections + waiters).
//! Left out: laws about sequences of calls (limits while they change, fairness): see the model in
//! the tests.

use alloc::vec::Vec;

use crate::pool::{Gate, Keeping, PoolCore};
use crate::time::Timestamp;

impl PoolCore {
    /// Checks everything that must hold between calls.
    ///
    /// # Panics
    /// When something does not hold: the pool has a bug, or memory is broken.
    pub fn check_invariants(&self) {
        let idle: Vec<u32> = self.idle.iter().collect();
        self.slots.check_invariants(&idle);
        self.idle.check_invariants();
        self.waiters.check_invariants();
        self.counters.check_sums(&self.counts());
        let since = |index: &u32| self.slots.at(*index).since;
        assert!(idle.is_sorted_by_key(since), "idle connections are in the order of their rest");
        self.check_nobody_is_forgotten(&idle);
        self.check_nothing_is_late(&idle);
        let kept = idle.iter().all(|index| self.slots.at(*index).epoch == self.epoch);
        assert!(kept, "no connection of an earlier epoch is kept");
        assert!(
            self.keeping == Keeping::Idle || idle.is_empty(),
            "a pool that keeps nothing has nothing idle"
        );
    }

    fn check_nobody_is_forgotten(&self, idle: &[u32]) {
        match self.gate {
            Gate::Closed => assert!(self.waiters.is_empty(), "nobody waits for a closed pool"),
            Gate::Paused => {}
            Gate::Open => {
                if self.is_anyone_unserved() {
                    assert!(idle.is_empty(), "somebody waits while a connection is idle");
                }
                if !self.waiters.is_empty() {
                    let fresh = idle.iter().any(|index| self.is_fresh(self.clock, *index));
                    assert!(!fresh, "somebody waits while a connection could be granted");
                }
            }
        }
    }

    fn check_nothing_is_late(&self, idle: &[u32]) {
        let unserved = self.is_anyone_unserved();
        let openings = [self.open_at().filter(|_| unserved), self.fill_at(), self.probe_at()];
        // What became due in a call is armed for the time of that call at the latest.
        let in_time = |at: Timestamp| self.next <= at.max(self.clock);
        for at in openings.into_iter().flatten() {
            assert!(in_time(at), "an opening would be late");
        }
        for index in idle {
            assert!(in_time(self.slots.at(*index).expires), "a lifetime would be late");
        }
        if let Some(at) = self.idle_timeout_at() {
            assert!(in_time(at), "an idle timeout would be late");
        }
        assert!(in_time(self.waiters.first_deadline()), "a deadline would be late");
    }
}
