//! What operators ask of a pool as a whole: other limits, a pause, new connections, an end.
//!
//! Invariant: none of these takes a connection away from a caller who has it.
//! Left out: waiting until it is done; the shell watches `counts`.

use crate::command::{CloseReason, Refusal};
use crate::hand::expiry;
use crate::limits::{Limits, Policy};
use crate::pool::{Fill, Gate, Keeping, PoolCore};
use crate::slot::ConnId;
use crate::time::Timestamp;

impl PoolCore {
    /// Changes limits and rules. Connections above a lowered limit are closed: idle ones now, the
    /// oldest first, others when they come back. Lifetimes and timeouts apply to connections that
    /// exist already. Callers who wait stay, even if fewer may wait now.
    pub fn configure(&mut self, now: Timestamp, limits: Limits, policy: Policy) {
        let now = self.tick(now);
        self.limits = limits;
        self.policy = policy;
        for slot in self.slots.iter_mut().filter(|slot| slot.is_open()) {
            slot.expires = expiry(slot.born, slot.luck, &policy);
        }
        while self.is_over_limit() {
            let Some(oldest) = self.idle.oldest() else { break };
            self.close_idle(now, oldest, CloseReason::TooMany);
        }
        // Everything may be due earlier than before: the next timeout works it out.
        self.arm(now);
        self.advance(now);
    }

    /// Keeps `min` connections open from now on (`true`), or only once somebody asks (`false`).
    pub fn keep_min(&mut self, now: Timestamp, always: bool) {
        let now = self.tick(now);
        self.fill = if always { Fill::Wanted } else { Fill::Dormant };
        self.arm_openings(now);
    }

    /// Opens what is missing to `min` as fast as connections may be opened at all, and keeps it
    /// open from now on. An attempt that fails ends the hurry.
    pub fn warm_up(&mut self, now: Timestamp) {
        let now = self.tick(now);
        self.fill = Fill::Hurried;
        self.arm_openings(now);
    }

    /// Holds all callers who have no connection: they wait, and nothing is granted, checked or
    /// opened. Deadlines go on.
    pub fn pause(&mut self, now: Timestamp) {
        self.tick(now);
        if self.gate == Gate::Open {
            self.gate = Gate::Paused;
        }
    }

    /// Ends a pause and a drain. If the server was failing, it is tried again at once.
    pub fn resume(&mut self, now: Timestamp) {
        let now = self.tick(now);
        if self.gate == Gate::Closed {
            return;
        }
        self.gate = Gate::Open;
        self.keeping = Keeping::Idle;
        self.connector.retry_now(now);
        self.advance(now);
    }

    /// Returns whether callers are being held.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.gate == Gate::Paused
    }

    /// Empties the pool and keeps it empty: idle connections close now, others when they come
    /// back. Callers are still served, with connections that are closed after them, until
    /// `resume`. While paused the close reason is the pause.
    pub fn drain(&mut self, now: Timestamp) {
        let now = self.tick(now);
        self.keeping = Keeping::Nothing;
        self.epoch += 1;
        self.close_all_idle(now, self.emptying());
        self.advance(now);
    }

    /// Replaces every connection that exists now: idle ones close now, others when they come back.
    pub fn renew(&mut self, now: Timestamp) {
        let now = self.tick(now);
        self.epoch += 1;
        self.close_all_idle(now, CloseReason::Renewed);
        self.advance(now);
    }

    /// Returns whether a connection is older than the last `renew` or `drain`: it is closed as soon
    /// as nobody has it, if it is not gone already.
    #[must_use]
    pub fn is_outdated(&self, conn: ConnId) -> bool {
        self.slots.find(conn).is_some_and(|index| self.slots.at(index).epoch != self.epoch)
    }

    /// Returns how many connections older than the last `renew` or `drain` are not gone yet.
    #[must_use]
    pub fn outdated(&self) -> u32 {
        self.slots.count_of_other_epochs(self.epoch)
    }

    /// Replaces one connection: at once if it is idle, otherwise when it comes back.
    pub fn renew_conn(&mut self, now: Timestamp, conn: ConnId) {
        let now = self.tick(now);
        let Some(index) = self.find(conn) else { return };
        // No pool is ever in epoch zero.
        self.slots.at_mut(index).epoch = 0;
        if self.slots.is_idle(index) {
            self.close_idle(now, index, CloseReason::Renewed);
            self.advance(now);
        }
    }

    /// Closes the connection that has been idle longest, to make room in a shared budget.
    pub fn evict_oldest_idle(&mut self, now: Timestamp) -> Option<ConnId> {
        let now = self.tick(now);
        let oldest = self.idle.oldest()?;
        let conn = self.slots.id(oldest);
        self.close_idle(now, oldest, CloseReason::Evicted);
        self.advance(now);
        Some(conn)
    }

    /// Ends the pool: everyone who waits, and everyone who asks from now on, is refused. Idle
    /// connections close now, others when they come back. There is no way back.
    pub fn close(&mut self, now: Timestamp) {
        let now = self.tick(now);
        self.gate = Gate::Closed;
        self.keeping = Keeping::Nothing;
        self.epoch += 1;
        self.refuse_all(Refusal::Closed);
        self.close_all_idle(now, CloseReason::Drained);
    }

    /// Refuses everybody who waits, because the shell knows that nothing will come for them.
    pub fn turn_away(&mut self, now: Timestamp, refusal: Refusal) {
        let now = self.tick(now);
        self.refuse_all(refusal);
        self.advance(now);
    }

    /// Returns whether the pool was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.gate == Gate::Closed
    }

    fn close_all_idle(&mut self, now: Timestamp, reason: CloseReason) {
        while let Some(oldest) = self.idle.oldest() {
            self.close_idle(now, oldest, reason);
        }
    }
}
