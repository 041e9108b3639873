//! What time and operators do to the naive pool.
//!
//! Invariant: `due` looks at every date there is.
//! Left out: the verbs of callers and connections.

use super::*;

impl Naive {
    /// Everything that time alone would bring about, and when.
    pub fn due(&self) -> Option<Timestamp> {
        let mut dates: Vec<Option<Timestamp>> = vec![];
        dates.extend(self.waiters.iter().map(|waiter| waiter.deadline));
        dates.extend(self.idle().iter().map(|conn| self.expires(conn)));
        if self.live() > self.min()
            && let Some(timeout) = self.policy.idle_timeout
        {
            dates.extend(self.idle().iter().map(|conn| Some(conn.since + timeout)));
        }
        let openings = [self.open_at(), self.min_at(), self.probe_at()];
        dates.extend(openings.map(|at| at.map(|at| at.max(self.now))));
        dates.into_iter().flatten().min()
    }

    pub fn timeout(&mut self) {
        let now = self.now;
        for (place, waiter) in (1..).zip(std::mem::take(&mut self.waiters)) {
            if waiter.deadline.is_some_and(|deadline| deadline <= now) {
                let waited = now.since(waiter.since);
                let refusal = Refusal::Timeout { waited, position: place };
                let Waiter { caller, lane, .. } = waiter;
                self.said.push(Said::Refuse { caller, lane, refusal });
            } else {
                self.waiters.push(waiter);
            }
        }
        let idle: Vec<Conn> = self.idle().into_iter().cloned().collect();
        for conn in idle.iter().filter(|conn| self.is_old(conn)).collect::<Vec<_>>() {
            self.close_conn(conn.number, CloseReason::Lifetime);
        }
        for conn in idle.iter().filter(|conn| !self.is_old(conn)).collect::<Vec<_>>() {
            let timed_out =
                self.policy.idle_timeout.is_some_and(|timeout| conn.since + timeout <= now);
            if timed_out && self.live() > self.min() {
                self.close_conn(conn.number, CloseReason::IdleTimeout);
            }
        }
        self.pump();
        while self.min_at().is_some_and(|at| at <= now) {
            self.open();
            self.min_after = now + Duration::from_millis(333);
        }
        if self.probe_at().is_some_and(|at| at <= now) {
            self.open();
        }
    }

    pub fn configure(&mut self, limits: Limits, policy: Policy) {
        self.limits = limits;
        self.policy = policy;
        let idle: Vec<u64> = self.idle().iter().map(|conn| conn.number).collect();
        for number in idle {
            if self.conns.len() - self.count(State::Closing) > self.hard() {
                self.close_conn(number, CloseReason::TooMany);
            }
        }
        self.pump();
    }

    pub fn keep_min(&mut self, always: bool) {
        self.min_wanted = always;
        self.min_hurried = false;
    }

    pub fn warm_up(&mut self) {
        self.min_wanted = true;
        self.min_hurried = true;
    }

    pub fn pause(&mut self) {
        if self.gate == Gate::Open {
            self.gate = Gate::Paused;
        }
    }

    pub fn resume(&mut self) {
        if self.gate == Gate::Closed {
            return;
        }
        self.gate = Gate::Open;
        self.draining = false;
        if let Server::Down { until, .. } = &mut self.server {
            *until = (*until).min(self.now);
        }
        self.pump();
    }

    pub fn drain(&mut self) {
        self.draining = true;
        self.replace_all(self.drain_reason());
    }

    pub fn renew(&mut self) {
        self.replace_all(CloseReason::Renewed);
    }

    pub fn close(&mut self) {
        self.gate = Gate::Closed;
        self.draining = true;
        self.refuse_all(Refusal::Closed);
        self.replace_all(CloseReason::Drained);
    }

    pub(super) fn replace_all(&mut self, reason: CloseReason) {
        self.epoch += 1;
        let idle: Vec<u64> = self.idle().iter().map(|conn| conn.number).collect();
        for number in idle {
            self.close_conn(number, reason);
        }
        self.pump();
    }

    pub fn renew_conn(&mut self, number: u64) {
        self.conn(number).epoch = 0;
        if self.conn(number).state == State::Idle {
            self.close_conn(number, CloseReason::Renewed);
            self.pump();
        }
    }

    pub fn evict(&mut self) -> Option<u64> {
        let number = self.idle().first()?.number;
        self.close_conn(number, CloseReason::Evicted);
        self.pump();
        Some(number)
    }
}
