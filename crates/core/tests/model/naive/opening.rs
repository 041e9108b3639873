//! When the naive pool opens connections, and how it serves those who wait.
//!
//! Invariant: what may be opened is decided by looking at everything there is.
//! Left out: what happens with time (`time.rs`).

use super::*;

impl Naive {
    pub(super) fn open(&mut self) {
        let (number, now) = (self.numbers, self.now);
        self.numbers += 1;
        self.conns.push(Conn {
            number,
            state: State::Opening,
            lane: Lane(0),
            since: now,
            rested: 0,
            born: now,
            luck: 0,
            uses: 0,
            epoch: self.epoch,
        });
        self.said.push(Said::Open(number));
    }

    /// When one more connection may be begun as far as the server and the budget are concerned.
    pub(super) fn door(&self) -> Option<Timestamp> {
        let most = self.policy.connects_max.max(1);
        let (allowed, from) = match self.server {
            Server::Up => (most, Timestamp::ZERO),
            Server::Coming { allowed } => (most.min(allowed), Timestamp::ZERO),
            Server::Down { until, .. } => (1, until),
        };
        let free =
            self.gate == Gate::Open && self.budget && self.count(State::Opening) < allowed as usize;
        free.then_some(from)
    }

    pub(super) fn open_at(&self) -> Option<Timestamp> {
        let from = self.door()?;
        if self.waiters.len() <= self.coming() || self.conns.len() >= self.hard() {
            return None;
        }
        if self.conns.len() < self.regular() {
            return Some(from);
        }
        let longest = self.waiters.iter().map(|waiter| waiter.since).min()?;
        Some(from.max(longest + self.policy.reserve_after?))
    }

    pub(super) fn min_at(&self) -> Option<Timestamp> {
        let from = self.door()?;
        let short = self.live() + self.count(State::Opening) < self.min();
        let room = self.conns.len() < self.regular();
        let wanted = self.min_wanted && !self.draining && short && room;
        wanted.then_some(if self.min_hurried { from } else { from.max(self.min_after) })
    }

    pub(super) fn probe_at(&self) -> Option<Timestamp> {
        let from = self.door()?;
        let Server::Down { why: ConnectFailure::Refused, .. } = self.server else {
            return None;
        };
        let wanted = self.policy.on_failing == OnFailing::FailFast
            && !self.draining
            && self.live() + self.count(State::Opening) == 0
            && self.conns.len() < self.regular()
            && from <= self.asked + Duration::from_secs(60);
        wanted.then_some(from)
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff { first: self.policy.backoff_first, max: self.policy.backoff_max }
    }

    pub(super) fn connect_failed(&mut self, started: Timestamp, why: ConnectFailure) {
        let (now, ceiling) = (self.now, self.live());
        let (times, last, until) = match self.server {
            Server::Down { times, last, until, .. } if started <= last => (times, last, until),
            known => {
                let times = if let Server::Down { times, .. } = known { times + 1 } else { 1 };
                let pause = self.backoff().draw(times, &mut self.random);
                (times, now, now + pause)
            }
        };
        self.server = Server::Down { why, times, last, until, ceiling };
    }

    pub(super) fn succeeded(&mut self, live: usize) {
        let now = self.now;
        self.server = match self.server {
            Server::Up => Server::Up,
            Server::Coming { allowed } if allowed >= self.policy.connects_max => Server::Up,
            Server::Coming { allowed } => Server::Coming { allowed: allowed + 1 },
            Server::Down { why: why @ ConnectFailure::TooMany, times, last, until, ceiling }
                if now.since(last) < self.policy.backoff_max =>
            {
                if live > ceiling {
                    let until = now + self.backoff().draw(1, &mut self.random);
                    Server::Down { why, times: 1, last, until, ceiling: live }
                } else {
                    Server::Down { why, times, last, until, ceiling }
                }
            }
            Server::Down { .. } => Server::Coming { allowed: 2 },
        };
    }

    /// The best idle connection for a lane, and whether it needs no check.
    pub(super) fn pick(&mut self, lane: Lane) -> Option<(u64, bool)> {
        loop {
            let idle = self.idle();
            let own: Vec<&Conn> = idle.iter().copied().filter(|conn| conn.lane == lane).collect();
            let tries = match self.policy.order {
                IdleOrder::Lifo => [own.last(), idle.last(), None, None],
                IdleOrder::Fifo => [own.first(), own.last(), idle.first(), idle.last()],
            };
            let tries: Vec<Conn> = tries.into_iter().flatten().map(|c| (*c).clone()).collect();
            let best = tries.iter().find(|conn| self.is_old(conn) || self.is_fresh(conn));
            match best {
                Some(conn) if self.is_old(conn) => {
                    let number = conn.number;
                    self.close_conn(number, CloseReason::Lifetime);
                }
                Some(conn) => return Some((conn.number, true)),
                None => return tries.first().map(|conn| (conn.number, false)),
            }
        }
    }

    pub(super) fn pump(&mut self) {
        while self.gate == Gate::Open && !self.waiters.is_empty() {
            let unserved = self.waiters.len() > self.coming();
            match self.pick(self.waiters[0].lane) {
                Some((number, true)) => self.grant(0, number),
                Some((number, false)) if unserved => {
                    self.turn(number, State::Checking);
                    let lane = self.conn(number).lane;
                    self.said.push(Said::Check(number, lane));
                }
                None if self.open_at().is_some_and(|at| at <= self.now) => self.open(),
                _ => break,
            }
        }
    }
}
