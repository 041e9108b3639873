//! What time alone brings about: deadlines of waiters, old and idle connections, the reserve,
//! the next probe, the next connection for `min`.
//!
//! One point in time, `next`, is kept: a lower bound of everything that is due. It is lowered
//! where something with a date comes into being, never raised when something goes away, and
//! worked out anew when it passes. So it may be early and is never late.
//!
//! Invariant: after `handle_timeout(now)` nothing is due at or before `now`.
//! Left out: what is done when it is due to open or close (`hand.rs`).

use core::time::Duration;

use crate::command::{CloseReason, Refusal};
use crate::hand::is_due;
use crate::pool::{Gate, PoolCore};
use crate::time::Timestamp;
use crate::waiter::Waiters;

/// How often at most a connection is opened to reach `min`: three times a second, like PgBouncer.
const FILL_EVERY: Duration = Duration::from_millis(333);

impl PoolCore {
    /// Returns when `handle_timeout` must be called next, if nothing else happens. O(1). It may
    /// be earlier than necessary, even in the past, but is never late.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        (self.next != Timestamp::MAX).then_some(self.next)
    }

    /// Does what is due. Calling it early costs one comparison.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let now = self.tick(now);
        if now < self.next {
            return;
        }
        self.refuse_late_waiters(now);
        self.close_old(now);
        self.close_unused(now);
        self.feed(now);
        while is_due(self.fill_at(), now) {
            self.open(now);
            self.fill_after = now + FILL_EVERY;
        }
        if is_due(self.probe_at(), now) {
            self.open(now);
        }
        // Worked out anew: what was armed until here may have been done since.
        self.next = Timestamp::MAX;
        self.arm(self.waiters.next_deadline());
        self.arm_lifetimes();
        self.arm_idle_timeout();
        self.arm_openings(now);
    }

    /// Has idle connections checked that have been silent for `silent` or longer: a keep-alive.
    ///
    /// A check does not count as a use: a connection that passes and that nobody has used for the
    /// idle timeout is closed, if it may be.
    pub fn check_idle(&mut self, now: Timestamp, silent: Duration) {
        let now = self.tick(now);
        if self.gate != Gate::Open {
            return;
        }
        while let Some(index) = self.idle.oldest() {
            if now.since(self.slots.at(index).since) < silent {
                break;
            }
            self.check(now, index);
            self.slots.at_mut(index).kept_alive = true;
        }
    }

    /// Returns whether a connection that was kept alive has been unused for too long.
    pub(crate) fn is_unwanted(&self, now: Timestamp, index: u32) -> bool {
        if !self.slots.at(index).kept_alive {
            return false;
        }
        let Some(idle_timeout) = self.policy.idle_timeout else { return false };
        let unused = now.since(self.slots.at(index).unused);
        let spare = self.slots.live() > self.limits.kept();
        spare && unused >= idle_timeout && self.waiters.is_empty()
    }

    /// Lowers the bound to `at`.
    pub(crate) fn arm(&mut self, at: Timestamp) {
        self.next = self.next.min(at);
    }

    /// Lowers the bound to when something may be opened that is wanted now.
    pub(crate) fn arm_openings(&mut self, now: Timestamp) {
        let for_waiters = if self.is_anyone_unserved() { self.open_at() } else { None };
        for at in [for_waiters, self.fill_at(), self.probe_at()].into_iter().flatten() {
            self.arm(at.max(now));
        }
    }

    /// Lowers the bound to when the oldest idle connection times out, if it may be closed.
    pub(crate) fn arm_idle_timeout(&mut self) {
        if let Some(at) = self.idle_timeout_at() {
            self.arm(at);
        }
    }

    /// Returns when the oldest idle connection times out; `None` while it is one of `min`.
    pub(crate) fn idle_timeout_at(&self) -> Option<Timestamp> {
        let spare = self.slots.live() > self.limits.kept();
        let oldest = self.idle.oldest().filter(|_| spare)?;
        Some(self.slots.at(oldest).since + self.policy.idle_timeout?)
    }

    fn arm_lifetimes(&mut self) {
        let earliest = self.idle.iter().map(|index| self.slots.at(index).expires).min();
        self.arm(earliest.unwrap_or(Timestamp::MAX));
    }

    fn refuse_late_waiters(&mut self, now: Timestamp) {
        // The queue is lent out so that each waiter can be refused while it is walked.
        let mut waiters = core::mem::replace(&mut self.waiters, Waiters::new());
        waiters.take_late(now, |id, waiter, position| {
            let refusal = Refusal::Timeout { waited: now.since(waiter.since), position };
            self.refuse_waiter(id, &waiter, refusal);
        });
        self.waiters = waiters;
    }

    fn close_old(&mut self, now: Timestamp) {
        let mut next = self.idle.oldest();
        while let Some(index) = next {
            next = self.idle.younger(index);
            if self.slots.at(index).expires <= now && !self.outlives(now, index) {
                self.close_idle(now, index, CloseReason::Lifetime);
            }
        }
    }

    fn close_unused(&mut self, now: Timestamp) {
        while is_due(self.idle_timeout_at(), now) {
            let oldest = self.idle.oldest().expect("something idle is due");
            self.close_idle(now, oldest, CloseReason::IdleTimeout);
        }
    }
}
