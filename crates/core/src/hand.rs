//! Who gets which connection, and what is opened or checked for those who get none yet.
//!
//! Invariant: a connection that becomes free goes to a waiter in the same call; one is opened or
//! checked only for a waiter that has none coming, for `min`, or as a probe.
//! Left out: the verbs that lead here (`pool.rs`), and time passing (`expire.rs`).

use crate::command::{Acquire, CloseReason, Command, ConnectFailure, Fate, Handover, Refusal};
use crate::limits::{Policy, Replacement};
use crate::pool::{Allowance, Fill, Gate, Keeping, PoolCore};
use crate::slot::{Lane, State};
use crate::time::{Timestamp, nanos};
use crate::waiter::{Waiter, WaiterId};

/// How long refused callers are remembered as demand: so long after the last of them, a server
/// that does not answer is still probed on their behalf. Later the next caller is the probe.
const DEMAND_WINDOW: core::time::Duration = core::time::Duration::from_secs(60);

/// How long a connection that is too old waits for its replacement.
const REPLACEMENT_TIME: core::time::Duration = core::time::Duration::from_secs(10);

/// The best idle connection for a caller.
enum Pick {
    /// It may be granted as it is.
    Fresh(u32),
    /// It must be checked first.
    Stale(u32),
    Nothing,
}

impl PoolCore {
    /// Grants an idle connection to a newcomer, if nobody waits before it and one needs no check.
    pub(crate) fn grant_at_once(&mut self, now: Timestamp, waiter: &Waiter) -> Option<Acquire> {
        if !waiter.again && !self.waiters.is_empty() {
            return None;
        }
        let Pick::Fresh(index) = self.pick(now, waiter.lane) else { return None };
        self.idle.remove(index);
        self.slots.turn(index, State::InUse, now);
        self.counters.granted += 1;
        let home = core::mem::replace(&mut self.slots.at_mut(index).home, waiter.lane);
        Some(Acquire::Granted { conn: self.slots.id(index), home })
    }

    /// Decides what becomes of a connection that nobody has any more.
    pub(crate) fn settle(&mut self, now: Timestamp, index: u32, fate: Fate) {
        let reason = self.retirement(now, index, self.slots.at(index).uses);
        if reason == Some(CloseReason::Lifetime) && self.outlives(now, index) {
            self.offer(now, index);
        } else if let Some(reason) = reason {
            self.close_slot(now, index, reason);
        } else if fate == Fate::Reset {
            self.slots.turn(index, State::Resetting, now);
            self.counters.resets += 1;
            let lane = self.slots.at(index).home;
            self.commands.push_back(Command::Reset { conn: self.slots.id(index), lane });
        } else {
            self.offer(now, index);
        }
        if !self.waiters.is_empty() {
            self.advance(now);
        }
    }

    /// Lets a connection live on until another is open in its place, if `min` needs one and there
    /// may be one more. Returns whether it does.
    pub(crate) fn outlives(&mut self, now: Timestamp, index: u32) -> bool {
        let needed = self.slots.live() <= self.limits.kept();
        let room = self.slots.total() < self.limits.regular();
        let slot = self.slots.at(index);
        let wanted = self.policy.replacement == Replacement::OpenFirst
            && !slot.outliving
            && slot.epoch == self.epoch
            && self.keeping == Keeping::Idle
            && (needed && room && is_due(self.connector_at(), now));
        if wanted {
            let slot = self.slots.at_mut(index);
            slot.outliving = true;
            slot.expires = now + REPLACEMENT_TIME;
            self.open(now);
        }
        wanted
    }

    /// Closes connections that lived on until another was open in their place.
    pub(crate) fn close_replaced(&mut self, now: Timestamp) {
        if self.policy.replacement == Replacement::CloseFirst {
            return;
        }
        while self.waiters.is_empty() && self.slots.live() > self.limits.kept() {
            let old = self.idle.iter().find(|index| self.slots.at(*index).outliving);
            let Some(old) = old else { break };
            self.close_idle(now, old, CloseReason::Lifetime);
        }
    }

    /// Draws the lifetime of a connection that has just been opened.
    pub(crate) fn welcome(&mut self, now: Timestamp, index: u32) {
        self.counters.opened += 1;
        let live = self.slots.live() + 1;
        if self.fill == Fill::Hurried && live >= self.limits.kept() {
            self.fill = Fill::Wanted;
        }
        self.connector.succeeded(now, live, (&self.policy, &mut self.random));
        let slot = self.slots.at_mut(index);
        slot.born = now;
        // The high half is the better half of the draw.
        slot.luck = (self.random.next_u64() >> 32) as u32;
        slot.expires = expiry(now, slot.luck, &self.policy);
    }

    /// Takes note of a failed attempt, and sends away those for whom waiting is pointless.
    pub(crate) fn connect_failed(
        &mut self,
        now: Timestamp,
        started: Timestamp,
        cause: ConnectFailure,
    ) {
        if self.fill == Fill::Hurried {
            self.fill = Fill::Wanted;
        }
        let live = self.slots.live();
        self.connector.failed(now, started, cause, live, (&self.policy, &mut self.random));
        // While paused callers are held on purpose; connections that others have will come back
        // and serve; and one refused connect of several is no verdict on the rest.
        let hopeful =
            live > 0 || self.slots.count(State::Opening) > 0 && cause != ConnectFailure::Rejected;
        if self.gate == Gate::Open
            && !hopeful
            && let Some(refusal) = self.connector.eviction(now, &self.policy)
        {
            self.refuse_all(refusal);
        }
    }

    /// Refuses everyone who waits.
    pub(crate) fn refuse_all(&mut self, refusal: Refusal) {
        while let Some((id, waiter)) = self.waiters.front() {
            self.waiters.remove(id);
            self.refuse_waiter(id, &waiter, refusal);
        }
    }

    /// Tells a waiter, who has left the queue, that it gets nothing.
    pub(crate) fn refuse_waiter(&mut self, id: WaiterId, waiter: &Waiter, refusal: Refusal) {
        self.counters.refused_waiting += 1;
        self.counters.refuse(refusal);
        let Waiter { caller, lane, .. } = *waiter;
        self.commands.push_back(Command::Refuse { waiter: id, caller, lane, refusal });
    }

    /// Does for the waiters whatever can be done, and arms the timer for what can be done later.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        if self.is_exhausted() {
            return;
        }
        self.feed(now);
        self.arm_openings(now);
    }

    /// Grants, checks and opens until every waiter has something coming or nothing more may be
    /// begun.
    pub(crate) fn feed(&mut self, now: Timestamp) {
        if self.gate != Gate::Open {
            return;
        }
        while let Some((id, waiter)) = self.waiters.front() {
            match self.pick(now, waiter.lane) {
                Pick::Fresh(index) => {
                    self.idle.remove(index);
                    self.grant(now, id, index);
                }
                Pick::Stale(index) if self.is_anyone_unserved() => self.check(now, index),
                Pick::Nothing if self.is_anyone_unserved() && is_due(self.open_at(), now) => {
                    self.open(now);
                }
                Pick::Stale(_) | Pick::Nothing => break,
            }
        }
    }

    /// Returns whether more callers wait than connections are on their way.
    pub(crate) fn is_anyone_unserved(&self) -> bool {
        self.waiters.len() > self.slots.coming()
    }

    /// Begins to open a connection.
    pub(crate) fn open(&mut self, now: Timestamp) {
        let index = self.slots.open(now, self.epoch);
        self.counters.opens += 1;
        self.commands.push_back(Command::Open { conn: self.slots.id(index) });
    }

    /// Closes an idle connection.
    pub(crate) fn close_idle(&mut self, now: Timestamp, index: u32, reason: CloseReason) {
        self.idle.remove(index);
        self.close_slot(now, index, reason);
    }

    /// Begins to close a connection that nobody has and that is not listed as idle.
    pub(crate) fn close_slot(&mut self, now: Timestamp, index: u32, reason: CloseReason) {
        self.slots.turn(index, State::Closing, now);
        self.counters.closed[reason as usize] += 1;
        let lane = self.slots.at(index).home;
        self.commands.push_back(Command::Close { conn: self.slots.id(index), lane, reason });
        // One less may mean too few, or none at all while callers are being refused.
        self.arm_openings(now);
    }

    /// Returns when one more connection may be opened for a waiter; `None`: not before something
    /// else happens.
    pub(crate) fn open_at(&self) -> Option<Timestamp> {
        let total = self.slots.total();
        if total >= self.limits.hard(&self.policy) {
            return None;
        }
        let from = self.connector_at()?;
        if total < self.limits.regular() {
            return Some(from);
        }
        let reserve_at = self.waiters.oldest_since()? + self.policy.reserve_after?;
        Some(from.max(reserve_at))
    }

    /// Returns when one more connection may be opened because fewer than `min` are.
    pub(crate) fn fill_at(&self) -> Option<Timestamp> {
        let enough = self.slots.live() + self.slots.count(State::Opening) >= self.limits.kept();
        if enough || self.fill == Fill::Dormant || self.keeping == Keeping::Nothing {
            return None;
        }
        let room = self.slots.total() < self.limits.regular();
        let from = self.connector_at().filter(|_| room)?;
        Some(if self.fill == Fill::Hurried { from } else { from.max(self.fill_after) })
    }

    /// Returns when a connection may be opened on behalf of callers who were refused because the
    /// server cannot be reached.
    pub(crate) fn probe_at(&self) -> Option<Timestamp> {
        let needed = self.slots.live() == 0
            && self.slots.count(State::Opening) == 0
            && self.slots.total() < self.limits.regular()
            && self.keeping == Keeping::Idle
            && self.connector.probes(&self.policy);
        if !needed {
            return None;
        }
        let from = self.connector_at()?;
        (from <= self.last_asked + DEMAND_WINDOW).then_some(from)
    }

    /// Chooses the idle connection for a caller on `lane`, closing those that are too old.
    fn pick(&mut self, now: Timestamp, lane: Lane) -> Pick {
        'again: while !self.idle.is_empty() {
            let mut stale = None;
            for index in self.idle.candidates(lane, self.policy.order).into_iter().flatten() {
                if self.slots.at(index).expires <= now {
                    self.close_idle(now, index, CloseReason::Lifetime);
                    continue 'again;
                }
                if self.is_fresh(now, index) {
                    return Pick::Fresh(index);
                }
                stale = stale.or(Some(index));
            }
            return stale.map_or(Pick::Nothing, Pick::Stale);
        }
        Pick::Nothing
    }

    /// Returns whether an idle connection needs no check.
    pub(crate) fn is_fresh(&self, now: Timestamp, index: u32) -> bool {
        let age = now.since(self.slots.at(index).since);
        self.policy.check_after.is_none_or(|check_after| age < check_after)
    }

    /// Returns why a connection nobody has is to be closed, or `None` when it may be used again.
    pub(crate) fn retirement(&self, now: Timestamp, index: u32, uses: u64) -> Option<CloseReason> {
        let slot = self.slots.at(index);
        let wanted = self.gate == Gate::Open && !self.waiters.is_empty();
        if self.keeping == Keeping::Nothing && (slot.epoch != self.epoch || !wanted) {
            return Some(self.emptying());
        }
        if slot.epoch != self.epoch {
            return Some(CloseReason::Renewed);
        }
        if slot.expires <= now {
            return Some(CloseReason::Lifetime);
        }
        if self.policy.uses_max.is_some_and(|max| uses >= max) {
            return Some(CloseReason::Uses);
        }
        self.is_over_limit().then_some(CloseReason::TooMany)
    }

    /// Returns why connections are closed while none is kept.
    pub(crate) fn emptying(&self) -> CloseReason {
        if self.gate == Gate::Paused { CloseReason::Paused } else { CloseReason::Drained }
    }

    /// Returns whether there are more connections than may be; those being closed do not count.
    pub(crate) fn is_over_limit(&self) -> bool {
        let staying = self.slots.total() - self.slots.count(State::Closing);
        staying > self.limits.hard(&self.policy)
    }

    /// Gives a connection to whoever is next, or lays it aside.
    fn offer(&mut self, now: Timestamp, index: u32) {
        let home = self.slots.at(index).home;
        let next = match self.gate {
            Gate::Open => self.waiters.choose(now, home, self.policy.local_first),
            Gate::Paused | Gate::Closed => None,
        };
        if let Some(id) = next {
            self.grant(now, id, index);
            return;
        }
        self.slots.turn(index, State::Idle, now);
        self.idle.push(index, home);
        self.arm(self.slots.at(index).expires);
        if let Some(idle_timeout) = self.policy.idle_timeout {
            self.arm(now + idle_timeout);
        }
    }

    fn grant(&mut self, now: Timestamp, id: WaiterId, index: u32) {
        let Handover { waiter, caller, lane, home, waited } = self.serve(now, id, index);
        let conn = self.slots.id(index);
        self.commands.push_back(Command::Grant { waiter, caller, lane, conn, home, waited });
    }

    pub(crate) fn check(&mut self, now: Timestamp, index: u32) {
        self.idle.remove(index);
        self.slots.turn(index, State::Checking, now);
        self.slots.at_mut(index).kept_alive = false;
        self.counters.checks += 1;
        let lane = self.slots.at(index).home;
        self.commands.push_back(Command::Check { conn: self.slots.id(index), lane });
    }

    /// Returns when the connector lets one more connection be opened, limits aside.
    fn connector_at(&self) -> Option<Timestamp> {
        if self.gate != Gate::Open || self.budget == Allowance::Exhausted {
            return None;
        }
        self.connector.next_open(self.slots.count(State::Opening), &self.policy)
    }
}

/// Returns whether something due at `at`, if ever, is due now.
pub(crate) fn is_due(at: Option<Timestamp>, now: Timestamp) -> bool {
    at.is_some_and(|at| at <= now)
}

/// Returns when a connection born at `born` is too old, given its draw in parts of 2^32.
pub(crate) fn expiry(born: Timestamp, luck: u32, policy: &Policy) -> Timestamp {
    let Some(lifetime) = policy.lifetime else { return Timestamp::MAX };
    let jitter = u128::from(policy.lifetime_jitter.min(1000));
    let shorter = (u128::from(nanos(lifetime)) * jitter * u128::from(luck) / 1000) >> 32;
    // At most the lifetime itself, so it fits again.
    let shorter = u64::try_from(shorter).unwrap_or(u64::MAX);
    born + lifetime.saturating_sub(core::time::Duration::from_nanos(shorter))
}
