//! The verbs: what the shell tells the pool, and what it may ask.
//!
//! Invariant: after each verb no waiter is left behind, that is, whatever can be granted is
//! granted, and whatever may be opened or checked for a waiter is being opened or checked.
//! Left out: who gets what (`hand.rs`), deadlines (`expire.rs`), pausing and renewing
//! (`control.rs`), when to open (`connect.rs`).
//!
//! Names that outlived their connection or waiter, and verbs that make no sense in a
//! connection's state, change nothing but a counter.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::command::{Acquire, CloseReason, Command, ConnectFailure, Failure, Fate, Refusal};
use crate::connect::{Connector, Health};
use crate::counters::{Counters, Counts};
use crate::idle::Idle;
use crate::limits::{Limits, Policy};
use crate::random::Random;
use crate::slot::{ConnId, Lane, Slots, State};
use crate::time::Timestamp;
use crate::waiter::{Waiter, WaiterId, Waiters};

/// Who may have which connection of one pool, and when to open, check and close them.
///
/// Time may arrive slightly out of order (each worker reads its own clock before it takes the
/// lock); the pool's time is the latest it was told.
#[derive(Clone, Debug)]
pub struct PoolCore {
    pub(crate) limits: Limits,
    pub(crate) policy: Policy,
    pub(crate) slots: Slots,
    pub(crate) idle: Idle,
    pub(crate) waiters: Waiters,
    pub(crate) commands: VecDeque<Command>,
    pub(crate) connector: Connector,
    pub(crate) random: Random,
    pub(crate) gate: Gate,
    pub(crate) keeping: Keeping,
    pub(crate) budget: Allowance,
    pub(crate) fill: Fill,
    /// No connection is opened for `min` before this.
    pub(crate) fill_after: Timestamp,
    /// When somebody last asked and could not be served at once.
    pub(crate) last_asked: Timestamp,
    /// Connections of earlier epochs are closed instead of kept.
    pub(crate) epoch: u64,
    pub(crate) clock: Timestamp,
    /// Nothing is due before this; the end of time when nothing ever is.
    pub(crate) next: Timestamp,
    pub(crate) counters: Counters,
}

/// Whether callers are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gate {
    Open,
    Paused,
    Closed,
}

/// Whether connections nobody uses are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keeping {
    Idle,
    Nothing,
}

/// Whether the shared budget had room when last heard of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Allowance {
    Free,
    Exhausted,
}

/// Whether `min` connections are kept open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fill {
    /// Not yet: nobody has asked for a connection.
    Dormant,
    Wanted,
    /// Wanted, and somebody waits for it: without pauses until it is reached or an attempt fails.
    Hurried,
}

impl PoolCore {
    /// Returns a pool without connections. The seed decides all jitter.
    #[must_use]
    pub fn new(now: Timestamp, limits: Limits, policy: Policy, seed: u64) -> Self {
        Self {
            limits,
            policy,
            slots: Slots::new(),
            idle: Idle::new(),
            waiters: Waiters::new(),
            commands: VecDeque::new(),
            connector: Connector::new(),
            random: Random::new(seed),
            gate: Gate::Open,
            keeping: Keeping::Idle,
            budget: Allowance::Free,
            fill: Fill::Dormant,
            fill_after: now,
            last_asked: now,
            epoch: 1,
            clock: now,
            next: Timestamp::MAX,
            counters: Counters::default(),
        }
    }

    /// Asks for a connection on behalf of `caller`, a number that comes back with the answer.
    ///
    /// The caller gets one at once only if nobody waits before it. A deadline that has passed
    /// already means "only if it can be had at once", and opens nothing.
    pub fn acquire(
        &mut self,
        now: Timestamp,
        lane: Lane,
        caller: u64,
        deadline: Option<Timestamp>,
    ) -> Acquire {
        self.acquire_ahead(now, lane, caller, deadline, Duration::ZERO)
    }

    /// Asks like `acquire`, for a caller that counts as having arrived earlier by `boost`: it goes
    /// before those who arrived up to so much earlier without one. That is a priority that ages.
    pub fn acquire_ahead(
        &mut self,
        now: Timestamp,
        lane: Lane,
        caller: u64,
        deadline: Option<Timestamp>,
        boost: Duration,
    ) -> Acquire {
        let now = self.tick(now);
        let deadline = deadline.unwrap_or(Timestamp::MAX);
        if self.fill == Fill::Dormant {
            self.fill = Fill::Wanted;
            self.arm_openings(now);
        }
        self.enter(now, Waiter { caller, lane, since: now, deadline, boost, again: false })
    }

    /// Asks again for a caller whose connection turned out to be dead before it was used.
    ///
    /// It goes to the front of the queue and is not overtaken. The dead connection is reported
    /// by `failed` or `release` as usual.
    pub fn regrant(
        &mut self,
        now: Timestamp,
        lane: Lane,
        caller: u64,
        deadline: Option<Timestamp>,
    ) -> Acquire {
        let now = self.tick(now);
        let deadline = deadline.unwrap_or(Timestamp::MAX);
        self.counters.regranted += 1;
        self.enter(
            now,
            Waiter { caller, lane, since: now, deadline, boost: Duration::ZERO, again: true },
        )
    }

    /// Takes a caller out of the queue. Returns `false` if it was granted or refused already:
    /// then that command is on its way, and a grant comes back by `grant_undeliverable`.
    pub fn abandon(&mut self, now: Timestamp, waiter: WaiterId) -> bool {
        self.tick(now);
        if self.waiters.remove(waiter).is_none() {
            self.counters.stale += 1;
            return false;
        }
        self.counters.abandoned += 1;
        true
    }

    /// Takes a connection back from its user, who is on `lane` by now.
    ///
    /// `Reuse` and `Reset` apply to a connection in use. `Discard` applies in any state: it also
    /// answers a Check or a Reset that failed on a connection which is still to be closed.
    pub fn release(&mut self, now: Timestamp, conn: ConnId, lane: Lane, fate: Fate) {
        let now = self.tick(now);
        let Some(index) = self.find(conn) else { return };
        match (fate, self.slots.state(index)) {
            (_, State::Free | State::Closing)
            | (Fate::Reuse | Fate::Reset, State::Opening | State::Idle)
            | (Fate::Reuse | Fate::Reset, State::Checking | State::Resetting) => {
                self.counters.misused += 1;
            }
            (Fate::Discard(reason), state) => {
                self.slots.at_mut(index).home = lane;
                match state {
                    State::InUse => self.counters.returned += 1,
                    State::Idle => self.idle.remove(index),
                    _ => {}
                }
                self.close_slot(now, index, reason);
                self.advance(now);
            }
            (Fate::Reuse | Fate::Reset, State::InUse) => {
                self.counters.returned += 1;
                let slot = self.slots.at_mut(index);
                slot.uses += 1;
                slot.home = lane;
                slot.unused = now;
                self.settle(now, index, fate);
            }
        }
    }

    /// Takes back a connection that its user, the shell, laid aside at `since` and lent `uses`
    /// times on its own account without telling the pool.
    ///
    /// Like a release for reuse, but the connection counts as idle since then, though not for
    /// longer than the youngest idle connection.
    pub fn lay_aside(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        lane: Lane,
        since: Timestamp,
        uses: u64,
    ) {
        let now = self.tick(now);
        let Some(index) = self.find(conn) else { return };
        if self.slots.state(index) != State::InUse {
            self.counters.misused += 1;
            return;
        }
        self.counters.returned += 1;
        let youngest = self.idle.youngest().map(|index| self.slots.at(index).since);
        let slot = self.slots.at_mut(index);
        slot.uses = slot.uses.saturating_add(uses);
        slot.home = lane;
        slot.unused = since.min(now);
        self.settle(now, index, Fate::Reuse);
        if self.slots.is_idle(index) {
            let floor = youngest.unwrap_or(Timestamp::ZERO);
            self.slots.at_mut(index).since = since.max(floor).min(now);
            self.arm_idle_timeout();
        }
    }

    /// Adds uses of a connection that the pool was not told of when they happened.
    pub fn note_uses(&mut self, conn: ConnId, uses: u64) {
        let Some(index) = self.find(conn) else { return };
        let slot = self.slots.at_mut(index);
        slot.uses = slot.uses.saturating_add(uses);
    }

    /// Takes back a connection whose `Grant` reached a caller that was gone: like a release for
    /// reuse, but it does not count as a use.
    pub fn grant_undeliverable(&mut self, now: Timestamp, conn: ConnId, lane: Lane) {
        let now = self.tick(now);
        let Some(index) = self.find(conn) else { return };
        if self.slots.state(index) != State::InUse {
            self.counters.misused += 1;
            return;
        }
        self.counters.undeliverable += 1;
        self.slots.at_mut(index).home = lane;
        self.settle(now, index, Fate::Reuse);
    }

    /// Reports that a connection has been opened, checked or cleaned, and is on `lane`.
    pub fn ready(&mut self, now: Timestamp, conn: ConnId, lane: Lane) {
        let now = self.tick(now);
        let Some(index) = self.find(conn) else { return };
        match self.slots.state(index) {
            State::Opening => {
                self.welcome(now, index);
                self.slots.at_mut(index).unused = now;
            }
            State::Checking if self.is_unwanted(now, index) => {
                self.slots.at_mut(index).home = lane;
                self.close_slot(now, index, CloseReason::IdleTimeout);
                return;
            }
            State::Checking | State::Resetting => {}
            State::Free | State::Idle | State::InUse | State::Closing => {
                self.counters.misused += 1;
                return;
            }
        }
        self.slots.at_mut(index).home = lane;
        self.settle(now, index, Fate::Reuse);
        self.close_replaced(now);
        self.arm_idle_timeout();
        self.advance(now);
    }

    /// Reports that a connection is gone, in whatever state it was; nothing is left to close.
    ///
    /// A caller that had it and has not used it yet may ask again by `regrant`.
    pub fn failed(&mut self, now: Timestamp, conn: ConnId, failure: Failure) {
        let now = self.tick(now);
        let Some(index) = self.find(conn) else { return };
        if self.slots.at(index).bequeathed {
            self.slots.at_mut(index).bequeathed = false;
            return;
        }
        let started = self.slots.at(index).since;
        let was = self.forget(now, index);
        if was == State::Opening {
            self.counters.open_failures += 1;
            let cause = match failure {
                Failure::Connect(cause) => cause,
                // It broke before it was ever usable: a server that does that is failing.
                Failure::Lost => ConnectFailure::Refused,
            };
            self.connect_failed(now, started, cause);
        }
        self.advance(now);
    }

    /// Reports that a connection which was being closed is gone. In any other state the
    /// connection is taken as lost.
    pub fn closed(&mut self, now: Timestamp, conn: ConnId) {
        self.failed(now, conn, Failure::Lost);
    }

    /// Reports that an idle connection is gone.
    pub fn lost_idle(&mut self, now: Timestamp, conn: ConnId) {
        self.failed(now, conn, Failure::Lost);
    }

    /// Answers an Open that a shared budget has no room for. Nothing more is opened until
    /// `budget_available`.
    pub fn postpone(&mut self, now: Timestamp, conn: ConnId) {
        let now = self.tick(now);
        let Some(index) = self.find(conn) else { return };
        if self.slots.state(index) != State::Opening {
            self.counters.misused += 1;
            return;
        }
        self.counters.postponed += 1;
        self.slots.release(index, now);
        self.budget = Allowance::Exhausted;
        self.advance(now);
    }

    /// Reports that the shared budget may have room again.
    pub fn budget_available(&mut self, now: Timestamp) {
        let now = self.tick(now);
        self.budget = Allowance::Free;
        self.advance(now);
    }

    /// Returns the next thing to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Returns whether there is something to do.
    #[must_use]
    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Returns how many connections are in which state, and how many callers wait.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        Counts {
            opening: self.slots.count(State::Opening),
            idle: self.slots.count(State::Idle),
            checking: self.slots.count(State::Checking),
            in_use: self.slots.count(State::InUse),
            resetting: self.slots.count(State::Resetting),
            closing: self.slots.count(State::Closing),
            waiting: self.waiters.len(),
        }
    }

    /// Returns what has happened so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns how opening connections is going.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.connector.health()
    }

    /// Returns the limits in force.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the rules in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns how long the longest waiting caller has waited.
    #[must_use]
    pub fn oldest_wait(&self, now: Timestamp) -> Option<Duration> {
        Some(now.since(self.waiters.oldest_since()?))
    }

    /// Returns since when the oldest idle connection has been idle.
    #[must_use]
    pub fn oldest_idle_since(&self) -> Option<Timestamp> {
        Some(self.slots.at(self.idle.oldest()?).since)
    }

    /// Returns when a connection became usable, while it exists and once it has.
    #[must_use]
    pub fn born(&self, conn: ConnId) -> Option<Timestamp> {
        let slot = self.slots.at(self.slots.find(conn)?);
        slot.is_open().then_some(slot.born)
    }

    /// Returns when a connection's lifetime is over, while it exists.
    #[must_use]
    pub fn expires(&self, conn: ConnId) -> Option<Timestamp> {
        Some(self.slots.at(self.slots.find(conn)?).expires)
    }

    /// Returns how often a connection was used and given back, while it exists.
    #[must_use]
    pub fn uses(&self, conn: ConnId) -> Option<u64> {
        Some(self.slots.at(self.slots.find(conn)?).uses)
    }

    /// Moves the pool's time on to `now`, never back.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Timestamp {
        self.clock = self.clock.max(now);
        self.clock
    }

    /// Returns the slot of a connection, or counts a name that outlived it.
    pub(crate) fn find(&mut self, conn: ConnId) -> Option<u32> {
        let found = self.slots.find(conn);
        if found.is_none() {
            self.counters.stale += 1;
        }
        found
    }

    /// Frees the slot of a connection that is gone and returns what it was doing.
    pub(crate) fn forget(&mut self, now: Timestamp, index: u32) -> State {
        let was = self.slots.state(index);
        match was {
            State::Idle => self.idle.remove(index),
            State::InUse => self.counters.lost_in_use += 1,
            _ => {}
        }
        if !matches!(was, State::Opening | State::Closing) {
            self.counters.lost += 1;
        }
        self.slots.release(index, now);
        was
    }

    /// Lets a caller in: grants, queues or refuses.
    fn enter(&mut self, now: Timestamp, waiter: Waiter) -> Acquire {
        match self.gate {
            Gate::Closed => return self.refuse_newcomer(Refusal::Closed),
            Gate::Open => {
                if let Some(granted) = self.grant_at_once(now, &waiter) {
                    return granted;
                }
                self.last_asked = now;
                if let Some(refusal) = self.refusal_for_newcomers(now) {
                    // The next probe may not have been due to anybody's wish until now.
                    self.arm_openings(now);
                    return self.refuse_newcomer(refusal);
                }
            }
            Gate::Paused => self.last_asked = now,
        }
        if waiter.deadline <= now {
            let position = self.waiters.len() + 1;
            return self.refuse_newcomer(Refusal::Timeout { waited: Duration::ZERO, position });
        }
        let id = self.waiters.push(waiter);
        self.counters.queued += 1;
        self.arm(waiter.deadline);
        self.advance(now);
        if !waiter.again && self.is_queue_overfull() {
            self.waiters.remove(id).expect("queued a few lines above, and nothing was granted");
            self.counters.queued -= 1;
            return self.refuse_newcomer(Refusal::QueueFull);
        }
        Acquire::Queued(id)
    }

    fn refuse_newcomer(&mut self, refusal: Refusal) -> Acquire {
        self.counters.refuse(refusal);
        Acquire::Refused(refusal)
    }

    fn is_queue_overfull(&self) -> bool {
        // Callers with a connection on its way do not count: a pool that may still grow is not
        // full.
        let unserved = self.waiters.len().saturating_sub(self.slots.coming());
        self.limits.waiters_max.is_some_and(|max| unserved > max)
    }

    fn refusal_for_newcomers(&self, now: Timestamp) -> Option<Refusal> {
        if self.slots.live() > 0 {
            return None;
        }
        self.connector.refusal(now, self.slots.count(State::Opening), &self.policy)
    }
}
