//! The pool as one would explain it at a blackboard: two plain lists, everything counted and
//! searched anew each time.
//!
//! Invariant: nothing here is shared with the real pool but its vocabulary, its settings and its
//! generator, whose draws are part of the contract because they make runs repeatable.
//! Left out: speed, and names that outlive what they name (the test keeps those).

mod opening;
mod time;

use std::time::Duration;

use headpond_core::{
    Backoff, CloseReason, ConnectFailure, Failure, Fate, IdleOrder, Lane, Limits, OnFailing,
    Policy, Random, Refusal, Timestamp,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Opening,
    Idle,
    Checking,
    InUse,
    Resetting,
    Closing,
}

/// A connection; `number` says as the how manieth it was asked for.
#[derive(Clone, Debug)]
pub struct Conn {
    pub number: u64,
    pub state: State,
    pub lane: Lane,
    since: Timestamp,
    rested: u64,
    born: Timestamp,
    luck: u32,
    uses: u64,
    epoch: u64,
}

#[derive(Clone, Debug)]
pub struct Waiter {
    pub caller: u64,
    pub lane: Lane,
    pub since: Timestamp,
    deadline: Option<Timestamp>,
    again: bool,
}

/// A command, with the numbers of connections instead of their ids.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    Open(u64),
    Check(u64, Lane),
    Reset(u64, Lane),
    Close(u64, Lane, CloseReason),
    Grant { caller: u64, lane: Lane, number: u64, home: Lane, waited: Duration },
    Refuse { caller: u64, lane: Lane, refusal: Refusal },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Granted { number: u64, home: Lane },
    Queued,
    Refused(Refusal),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    Open,
    Paused,
    Closed,
}

#[derive(Clone, Copy, Debug)]
enum Server {
    Up,
    Coming { allowed: u32 },
    Down { why: ConnectFailure, times: u32, last: Timestamp, until: Timestamp, ceiling: usize },
}

pub struct Naive {
    pub conns: Vec<Conn>,
    pub waiters: Vec<Waiter>,
    pub said: Vec<Said>,
    pub limits: Limits,
    pub policy: Policy,
    pub gate: Gate,
    draining: bool,
    budget: bool,
    min_wanted: bool,
    min_hurried: bool,
    min_after: Timestamp,
    asked: Timestamp,
    epoch: u64,
    numbers: u64,
    rests: u64,
    random: Random,
    server: Server,
    pub now: Timestamp,
}

impl Naive {
    pub fn new(now: Timestamp, limits: Limits, policy: Policy, seed: u64) -> Self {
        Self {
            conns: vec![],
            waiters: vec![],
            said: vec![],
            limits,
            policy,
            gate: Gate::Open,
            draining: false,
            budget: true,
            min_wanted: false,
            min_hurried: false,
            min_after: now,
            asked: now,
            epoch: 1,
            numbers: 0,
            rests: 0,
            random: Random::new(seed),
            server: Server::Up,
            now,
        }
    }

    pub fn count(&self, state: State) -> usize {
        self.conns.iter().filter(|conn| conn.state == state).count()
    }

    pub fn live(&self) -> usize {
        self.conns.len() - self.count(State::Opening) - self.count(State::Closing)
    }

    fn coming(&self) -> usize {
        [State::Opening, State::Checking, State::Resetting].map(|s| self.count(s)).iter().sum()
    }

    fn regular(&self) -> usize {
        if self.limits.size == 0 { usize::MAX } else { self.limits.size as usize }
    }

    pub fn hard(&self) -> usize {
        let reserve = if self.policy.reserve_after.is_some() { self.limits.reserve } else { 0 };
        self.regular().saturating_add(reserve as usize)
    }

    fn min(&self) -> usize {
        self.regular().min(self.limits.min as usize)
    }

    fn idle(&self) -> Vec<&Conn> {
        let mut idle: Vec<&Conn> = self.conns.iter().filter(|c| c.state == State::Idle).collect();
        idle.sort_by_key(|conn| conn.rested);
        idle
    }

    fn conn(&mut self, number: u64) -> &mut Conn {
        self.conns.iter_mut().find(|conn| conn.number == number).expect("it exists")
    }

    fn turn(&mut self, number: u64, state: State) {
        let now = self.now;
        let conn = self.conn(number);
        conn.state = state;
        conn.since = now;
    }

    fn expires(&self, conn: &Conn) -> Option<Timestamp> {
        let lifetime = self.policy.lifetime?;
        let jitter = u128::from(self.policy.lifetime_jitter.min(1000));
        let less = lifetime.as_nanos() * jitter * u128::from(conn.luck) / 1000 / (1 << 32);
        Some(conn.born + (lifetime - Duration::from_nanos(u64::try_from(less).unwrap())))
    }

    fn is_old(&self, conn: &Conn) -> bool {
        self.expires(conn).is_some_and(|at| at <= self.now)
    }

    fn is_fresh(&self, conn: &Conn) -> bool {
        self.policy.check_after.is_none_or(|after| self.now.since(conn.since) < after)
    }

    pub fn acquire(&mut self, lane: Lane, caller: u64, deadline: Option<Timestamp>) -> Answer {
        self.min_wanted = true;
        self.enter(Waiter { caller, lane, since: self.now, deadline, again: false })
    }

    pub fn regrant(&mut self, lane: Lane, caller: u64, deadline: Option<Timestamp>) -> Answer {
        self.enter(Waiter { caller, lane, since: self.now, deadline, again: true })
    }

    fn enter(&mut self, waiter: Waiter) -> Answer {
        if self.gate == Gate::Closed {
            return Answer::Refused(Refusal::Closed);
        }
        let may_be_next = waiter.again || self.waiters.is_empty();
        if self.gate == Gate::Open
            && may_be_next
            && let Some((number, true)) = self.pick(waiter.lane)
        {
            self.turn(number, State::InUse);
            let home = std::mem::replace(&mut self.conn(number).lane, waiter.lane);
            return Answer::Granted { number, home };
        }
        self.asked = self.now;
        if self.gate == Gate::Open
            && let Some(refusal) = self.refusal()
        {
            return Answer::Refused(refusal);
        }
        if waiter.deadline.is_some_and(|deadline| deadline <= self.now) {
            let position = self.waiters.len() as u32 + 1;
            return Answer::Refused(Refusal::Timeout { waited: Duration::ZERO, position });
        }
        let again = waiter.again;
        let caller = waiter.caller;
        self.waiters.insert(if again { 0 } else { self.waiters.len() }, waiter);
        self.pump();
        let unserved = self.waiters.len().saturating_sub(self.coming());
        if !again && self.limits.waiters_max.is_some_and(|max| unserved > max as usize) {
            self.waiters.retain(|waiter| waiter.caller != caller);
            return Answer::Refused(Refusal::QueueFull);
        }
        Answer::Queued
    }

    fn refusal(&self) -> Option<Refusal> {
        let Server::Down { why, until, .. } = self.server else { return None };
        if self.live() > 0 || self.policy.on_failing == OnFailing::Hold {
            return None;
        }
        if self.count(State::Opening) == 0 && until <= self.now {
            return None;
        }
        match why {
            ConnectFailure::Refused => Some(self.failing()),
            ConnectFailure::Rejected => Some(Refusal::Rejected),
            _ => None,
        }
    }

    fn failing(&self) -> Refusal {
        let Server::Down { until, .. } = self.server else { panic!("the server is up") };
        let rest = until.since(self.now);
        let rest = if rest.is_zero() { self.policy.backoff_first } else { rest };
        Refusal::Failing { retry_after: rest.max(Duration::from_millis(1)) }
    }

    pub fn abandon(&mut self, caller: u64) -> bool {
        let before = self.waiters.len();
        self.waiters.retain(|waiter| waiter.caller != caller);
        self.waiters.len() < before
    }

    pub fn release(&mut self, number: u64, lane: Lane, fate: Fate) {
        let state = self.conn(number).state;
        match fate {
            Fate::Discard(reason) if state != State::Closing => {
                self.conn(number).lane = lane;
                self.close_conn(number, reason);
            }
            Fate::Reuse | Fate::Reset if state == State::InUse => {
                self.conn(number).lane = lane;
                self.conn(number).uses += 1;
                self.settle(number, fate);
            }
            _ => return,
        }
        self.pump();
    }

    pub fn undeliverable(&mut self, number: u64, lane: Lane) {
        if self.conn(number).state == State::InUse {
            self.conn(number).lane = lane;
            self.settle(number, Fate::Reuse);
            self.pump();
        }
    }

    pub fn ready(&mut self, number: u64, lane: Lane) {
        match self.conn(number).state {
            State::Opening => {
                let live = self.live() + 1;
                self.min_hurried &= live < self.min();
                self.succeeded(live);
                let (now, luck) = (self.now, (self.random.next_u64() >> 32) as u32);
                let conn = self.conn(number);
                conn.born = now;
                conn.luck = luck;
            }
            State::Checking | State::Resetting => {}
            _ => return,
        }
        self.conn(number).lane = lane;
        self.settle(number, Fate::Reuse);
        self.pump();
    }

    pub fn failed(&mut self, number: u64, failure: Failure) {
        let conn = self.conn(number).clone();
        self.conns.retain(|conn| conn.number != number);
        if conn.state == State::Opening {
            let why = match failure {
                Failure::Connect(why) => why,
                Failure::Lost => ConnectFailure::Refused,
            };
            self.min_hurried = false;
            self.connect_failed(conn.since, why);
            let told = match why {
                ConnectFailure::Rejected => Some(Refusal::Rejected),
                ConnectFailure::Refused if self.policy.on_failing == OnFailing::FailFast => {
                    Some(self.failing())
                }
                _ => None,
            };
            if let Some(refusal) = told
                && self.gate == Gate::Open
                && self.live() == 0
                && (self.count(State::Opening) == 0 || why == ConnectFailure::Rejected)
            {
                self.refuse_all(refusal);
            }
        }
        self.pump();
    }

    pub fn postpone(&mut self, number: u64) {
        if self.conn(number).state == State::Opening {
            self.conns.retain(|conn| conn.number != number);
            self.budget = false;
            self.pump();
        }
    }

    pub fn budget_available(&mut self) {
        self.budget = true;
        self.pump();
    }

    /// Somebody gave the connection back, or it came to be: close, clean, hand on, or keep it.
    fn settle(&mut self, number: u64, fate: Fate) {
        let conn = self.conn(number).clone();
        let serving = self.gate == Gate::Open && !self.waiters.is_empty();
        let foreign = conn.epoch != self.epoch;
        let staying = self.conns.len() - self.count(State::Closing);
        let reason = if self.draining && (foreign || !serving) {
            Some(self.drain_reason())
        } else if foreign {
            Some(CloseReason::Renewed)
        } else if self.is_old(&conn) {
            Some(CloseReason::Lifetime)
        } else if self.policy.uses_max.is_some_and(|max| conn.uses >= max) {
            Some(CloseReason::Uses)
        } else if staying > self.hard() {
            Some(CloseReason::TooMany)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.close_conn(number, reason);
        } else if fate == Fate::Reset {
            self.turn(number, State::Resetting);
            self.said.push(Said::Reset(number, conn.lane));
        } else if serving {
            let oldest = &self.waiters[0];
            let local = self.waiters.iter().position(|waiter| waiter.lane == conn.lane);
            let patient = self.now.since(oldest.since) < self.policy.local_first && !oldest.again;
            self.grant(local.filter(|_| patient).unwrap_or(0), number);
        } else {
            self.turn(number, State::Idle);
            self.rests += 1;
            let rests = self.rests;
            self.conn(number).rested = rests;
        }
    }

    fn drain_reason(&self) -> CloseReason {
        if self.gate == Gate::Paused { CloseReason::Paused } else { CloseReason::Drained }
    }

    fn grant(&mut self, place: usize, number: u64) {
        let waiter = self.waiters.remove(place);
        self.turn(number, State::InUse);
        let home = std::mem::replace(&mut self.conn(number).lane, waiter.lane);
        let waited = self.now.since(waiter.since);
        let Waiter { caller, lane, .. } = waiter;
        self.said.push(Said::Grant { caller, lane, number, home, waited });
    }

    fn close_conn(&mut self, number: u64, reason: CloseReason) {
        self.turn(number, State::Closing);
        let lane = self.conn(number).lane;
        self.said.push(Said::Close(number, lane, reason));
    }

    fn refuse_all(&mut self, refusal: Refusal) {
        for Waiter { caller, lane, .. } in std::mem::take(&mut self.waiters) {
            self.said.push(Said::Refuse { caller, lane, refusal });
        }
    }
}
