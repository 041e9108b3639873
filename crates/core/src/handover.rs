//! The short way from one user of a connection to the next, while callers wait.
//!
//! Invariant: a handover does what a release for reuse would do, with the same outcome, and there
//! is nothing else to be done: no command and no deadline follows from it.
//! Left out: everything that is not the plain case; `release` is for that.

use crate::command::Handover;
use crate::pool::{Gate, PoolCore};
use crate::slot::{ConnId, Lane, State};
use crate::time::Timestamp;
use crate::waiter::WaiterId;

impl PoolCore {
    /// Takes a connection back for reuse from its user, who is on `lane` by now and had been lent
    /// it `uses` times since the pool was last told, and gives it to whoever is next.
    ///
    /// Returns `None`, and has done nothing, unless that is all there is to do: somebody waits,
    /// nothing more can be opened for anybody, and the connection may live on. Then `release` is
    /// the verb.
    pub fn hand_over(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        lane: Lane,
        uses: u64,
    ) -> Option<Handover> {
        // A name that is worth nothing is for `release` to count.
        let index = self.slots.find(conn)?;
        let plain = self.gate == Gate::Open
            && self.slots.state(index) == State::InUse
            && self.is_exhausted();
        if !plain {
            return None;
        }
        let now = self.tick(now);
        let id = self.waiters.choose(now, lane, self.policy.local_first)?;
        let uses = self.slots.at(index).uses.saturating_add(uses);
        if self.retirement(now, index, uses).is_some() {
            return None;
        }
        self.counters.returned += 1;
        let slot = self.slots.at_mut(index);
        slot.uses = uses;
        slot.home = lane;
        slot.unused = now;
        Some(self.serve(now, id, index))
    }

    /// Gives a connection to a waiter, who leaves the queue.
    pub(crate) fn serve(&mut self, now: Timestamp, waiter: WaiterId, index: u32) -> Handover {
        let served = self.waiters.remove(waiter).expect("chosen from the queue just now");
        let waited = now.since(served.since);
        self.slots.turn(index, State::InUse, now);
        self.counters.granted += 1;
        self.counters.granted_after_wait += 1;
        self.counters.waited = self.counters.waited.saturating_add(waited);
        let home = core::mem::replace(&mut self.slots.at_mut(index).home, served.lane);
        Handover { waiter, caller: served.caller, lane: served.lane, home, waited }
    }

    /// Returns whether there is nothing idle and no room for more: then all that waiters can hope
    /// for is what others give back.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.idle.is_empty() && self.slots.total() >= self.limits.hard(&self.policy)
    }
}
