//! When the next connection may be opened, judged by how the last ones went.
//!
//! Healthy: as many at once as allowed. After a failure: one prober at a time, each after a
//! longer pause. After a recovery: two at once, then one more for each success, which doubles
//! per round, until the full number is allowed again.
//!
//! A server without room (53300) is not a failing server: the number of connections it let us
//! have is taken as a ceiling, and is tried to be raised by one after each pause, until nothing
//! has been refused for `backoff_max`.
//!
//! Invariant: while failing at most one connection is opening, but for those begun before.
//! Left out: limits, demand (`hand.rs`) and what callers are told (`pool.rs`).

use core::time::Duration;

use crate::backoff::Backoff;
use crate::command::{ConnectFailure, Refusal};
use crate::limits::{Jitter, OnFailing, Policy};
use crate::random::Random;
use crate::time::Timestamp;

/// How many connections may be opening at once right after the first success.
const FIRST_RAMP: u32 = 2;

/// The shortest time a refused caller is told to stay away.
const RETRY_FLOOR: Duration = Duration::from_millis(1);

/// How opening connections is going.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// The last attempt succeeded, or there was none.
    Healthy,
    /// It failed a while ago; the number of parallel attempts is being raised again.
    Recovering,
    /// The last attempt failed.
    Failing(ConnectFailure),
}

/// Paces the opening of connections.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Healthy,
    Ramping { allowed: u32 },
    Failing(Trouble),
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    failure: ConnectFailure,
    /// Failed attempts in a row; those begun together count once.
    failures: u32,
    /// When the last attempt failed.
    last: Timestamp,
    /// When the next attempt may begin.
    pause_until: Timestamp,
    /// For `TooMany`: how many connections the server let us have.
    ceiling: u32,
}

impl Connector {
    pub(crate) const fn new() -> Self {
        Self { state: State::Healthy }
    }

    pub(crate) const fn health(&self) -> Health {
        match &self.state {
            State::Healthy => Health::Healthy,
            State::Ramping { .. } => Health::Recovering,
            State::Failing(trouble) => Health::Failing(trouble.failure),
        }
    }

    /// Returns when one more connection may be opened while `opening` others are, or `None` when
    /// one of those has to come to an end first.
    pub(crate) fn next_open(&self, opening: u32, policy: &Policy) -> Option<Timestamp> {
        let most = policy.connects_max.max(1);
        let (allowed, from) = match &self.state {
            State::Healthy => (most, Timestamp::ZERO),
            State::Ramping { allowed } => (most.min(*allowed), Timestamp::ZERO),
            State::Failing(trouble) => (1, trouble.pause_until),
        };
        (opening < allowed).then_some(from)
    }

    /// Returns what a new caller is told when no connection is left, or `None` when it may wait.
    pub(crate) fn refusal(&self, now: Timestamp, opening: u32, policy: &Policy) -> Option<Refusal> {
        let State::Failing(trouble) = &self.state else { return None };
        if !self.refuses(policy) || (opening == 0 && now >= trouble.pause_until) {
            // Without a fresh failure nobody is refused: this caller's attempt is the probe.
            return None;
        }
        Some(match trouble.failure {
            ConnectFailure::Rejected => Refusal::Rejected,
            _ => Refusal::Failing { retry_after: trouble.retry_after(now, policy) },
        })
    }

    /// Returns what waiting callers are told after the last failure when no connection is left,
    /// or `None` when they stay.
    pub(crate) fn eviction(&self, now: Timestamp, policy: &Policy) -> Option<Refusal> {
        let State::Failing(trouble) = &self.state else { return None };
        match trouble.failure {
            ConnectFailure::Rejected => Some(Refusal::Rejected),
            ConnectFailure::Refused if self.refuses(policy) => {
                Some(Refusal::Failing { retry_after: trouble.retry_after(now, policy) })
            }
            _ => None,
        }
    }

    /// Returns whether new callers are refused, so that somebody has to probe on their behalf.
    pub(crate) fn refuses(&self, policy: &Policy) -> bool {
        let refusing = match &self.state {
            State::Failing(trouble) => match trouble.failure {
                ConnectFailure::Rejected => true,
                ConnectFailure::Refused => trouble.failures > policy.failures_tolerated,
                ConnectFailure::StartingUp | ConnectFailure::TooMany => false,
            },
            _ => false,
        };
        refusing && policy.on_failing == OnFailing::FailFast
    }

    /// Returns whether a server that cannot be reached is tried again although nobody waits. One
    /// that rejects the login is not: it would count every attempt against the account.
    pub(crate) fn probes(&self, policy: &Policy) -> bool {
        let unreachable = match &self.state {
            State::Failing(trouble) => trouble.failure == ConnectFailure::Refused,
            _ => false,
        };
        unreachable && self.refuses(policy)
    }

    /// Takes note that an attempt begun at `started` failed, which leaves `live` connections.
    pub(crate) fn failed(
        &mut self,
        now: Timestamp,
        started: Timestamp,
        failure: ConnectFailure,
        live: u32,
        (policy, random): (&Policy, &mut Random),
    ) {
        let mut trouble = match self.state {
            State::Failing(trouble) if started <= trouble.last => {
                // Begun before the last failure was known: the same piece of news.
                self.state = State::Failing(Trouble { failure, ceiling: live, ..trouble });
                return;
            }
            State::Failing(trouble) => trouble,
            State::Healthy | State::Ramping { .. } => {
                Trouble { failure, failures: 0, last: now, pause_until: now, ceiling: live }
            }
        };
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.failure = failure;
        trouble.last = now;
        trouble.ceiling = live;
        trouble.pause_until = now + pause(policy, trouble.failures, random);
        self.state = State::Failing(trouble);
    }

    /// Takes note that an attempt succeeded, which makes `live` connections.
    pub(crate) fn succeeded(
        &mut self,
        now: Timestamp,
        live: u32,
        (policy, random): (&Policy, &mut Random),
    ) {
        self.state = match self.state {
            State::Healthy => State::Healthy,
            State::Ramping { allowed } if allowed >= policy.connects_max => State::Healthy,
            State::Ramping { allowed } => State::Ramping { allowed: allowed + 1 },
            State::Failing(trouble) if trouble.is_crowded(now, policy) => {
                State::Failing(trouble.raised(now, live, (policy, random)))
            }
            State::Failing(_) => State::Ramping { allowed: FIRST_RAMP },
        };
    }

    /// Ends the pause: there is reason to believe that the server is back.
    pub(crate) fn retry_now(&mut self, now: Timestamp) {
        if let State::Failing(trouble) = &mut self.state {
            trouble.pause_until = trouble.pause_until.min(now);
        }
    }
}

impl Trouble {
    fn retry_after(&self, now: Timestamp, policy: &Policy) -> Duration {
        if now < self.pause_until {
            self.pause_until.since(now).max(RETRY_FLOOR)
        } else {
            // A probe is under way; if it fails, the next pause is of this order.
            policy.backoff_first.max(RETRY_FLOOR)
        }
    }

    fn is_crowded(&self, now: Timestamp, policy: &Policy) -> bool {
        self.failure == ConnectFailure::TooMany && now.since(self.last) < policy.backoff_max
    }

    /// Returns the state after a success below or above the ceiling.
    fn raised(
        mut self,
        now: Timestamp,
        live: u32,
        (policy, random): (&Policy, &mut Random),
    ) -> Self {
        if live > self.ceiling {
            self.ceiling = live;
            self.failures = 1;
            self.pause_until = now + pause(policy, 1, random);
        }
        self
    }
}

fn pause(policy: &Policy, failures: u32, random: &mut Random) -> Duration {
    let backoff = Backoff { first: policy.backoff_first, max: policy.backoff_max };
    match policy.jitter {
        Jitter::Full => backoff.draw(failures, random),
        Jitter::Equal => backoff.draw_upper(failures, random),
    }
}
