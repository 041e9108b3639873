//! The pool against a naive model: random verbs at random times, and after each of them the same
//! answers, the same commands in the same order, the same counts, and every invariant.
//!
//! On the side: the limit is never exceeded, the timer is never late, and when everything goes
//! well in the end, everyone has been served.
//!
//! `PROPTEST_CASES` sets the number of schedules.

mod naive;
mod settings;

use std::collections::HashMap;
use std::time::Duration;

use headpond_core::{
    Acquire, CloseReason, Command, ConnId, Failure, Fate, Handover, Lane, Limits, Policy, PoolCore,
    Timestamp, WaiterId,
};
use naive::{Answer, Gate, Naive, Said, State};
use proptest::prelude::*;
use settings::{change, failure, settings};

/// One step: which verb, and what to choose its arguments by.
type Step = (u8, u8, u8);

struct Twins {
    pool: PoolCore,
    naive: Naive,
    numbers: HashMap<ConnId, u64>,
    ids: HashMap<u64, ConnId>,
    gone: Vec<ConnId>,
    waiting: HashMap<u64, WaiterId>,
    served: Vec<WaiterId>,
    callers: u64,
    was_total: usize,
}

impl Twins {
    fn new(limits: Limits, policy: Policy, seed: u64) -> Self {
        let now = Timestamp::from_nanos(1_000_000_000);
        Self {
            pool: PoolCore::new(now, limits, policy, seed),
            naive: Naive::new(now, limits, policy, seed),
            numbers: HashMap::new(),
            ids: HashMap::new(),
            gone: vec![],
            waiting: HashMap::new(),
            served: vec![],
            callers: 0,
            was_total: 0,
        }
    }

    fn step(&mut self, (verb, first, second): Step) {
        let now = self.naive.now;
        let lane = Lane(u16::from(second % 3));
        match verb % 40 {
            0..=9 => self.acquire(lane, first, false),
            10..=17 => self.on(State::InUse, first, |twins, number, id| {
                let fate = match second % 8 {
                    0 => Fate::Discard(CloseReason::Unclean),
                    1 | 2 => Fate::Reset,
                    _ => Fate::Reuse,
                };
                twins.naive.release(number, lane, fate);
                if second % 8 < 5 || !twins.hand_over(number, lane) {
                    twins.pool.release(now, id, lane, fate);
                }
            }),
            18..=22 => {
                let state = [State::Opening, State::Opening, State::Checking, State::Resetting];
                self.on(state[usize::from(second / 3 % 4)], first, |twins, number, id| {
                    twins.pool.ready(now, id, lane);
                    twins.naive.ready(number, lane);
                });
            }
            23 | 24 => self.on(State::Opening, first, |twins, number, id| {
                let failure = failure(second);
                twins.pool.failed(now, id, failure);
                twins.naive.failed(number, failure);
            }),
            25 | 26 => self.on(State::Closing, first, |twins, number, id| {
                twins.pool.closed(now, id);
                twins.naive.failed(number, Failure::Lost);
            }),
            27 | 28 => self.abandon(first),
            29 => self.acquire(lane, first, true),
            30 => self.anything(first, second, lane),
            31 | 32 => self.operate(first, second),
            33..=35 => self.pass(Duration::from_micros(u64::from(first) * u64::from(second))),
            36 => self.pass(Duration::from_millis(u64::from(first) * u64::from(second))),
            37 => self.pass_to_next(),
            _ => self.timeout(),
        }
        self.compare();
    }

    fn acquire(&mut self, lane: Lane, how: u8, again: bool) {
        let caller = self.callers;
        self.callers += 1;
        let now = self.naive.now;
        let deadline = match how % 8 {
            0..=2 => None,
            3 => Some(now),
            _ => Some(now + Duration::from_millis(u64::from(how) / 4)),
        };
        let (got, expected) = if again {
            (
                self.pool.regrant(now, lane, caller, deadline),
                self.naive.regrant(lane, caller, deadline),
            )
        } else {
            (
                self.pool.acquire(now, lane, caller, deadline),
                self.naive.acquire(lane, caller, deadline),
            )
        };
        let got = match got {
            Acquire::Granted { conn, home } => {
                Answer::Granted { number: self.numbers[&conn], home }
            }
            Acquire::Queued(waiter) => {
                self.waiting.insert(caller, waiter);
                Answer::Queued
            }
            Acquire::Refused(refusal) => Answer::Refused(refusal),
        };
        assert_eq!(got, expected);
    }

    /// Runs a verb on one of the connections in a state, if there is one.
    fn on(&mut self, state: State, which: u8, verb: impl Fn(&mut Self, u64, ConnId)) {
        let conns: Vec<u64> =
            self.naive.conns.iter().filter(|c| c.state == state).map(|c| c.number).collect();
        if !conns.is_empty() {
            let number = conns[usize::from(which) % conns.len()];
            let id = self.ids[&number];
            verb(self, number, id);
        }
    }

    /// Gives a connection back the short way. The model has one way only, and has gone it: it must
    /// have said that the connection was granted, and nothing else.
    fn hand_over(&mut self, number: u64, lane: Lane) -> bool {
        let now = self.naive.now;
        let Some(handover) = self.pool.hand_over(now, self.ids[&number], lane, 1) else {
            return false;
        };
        let Handover { waiter, caller, lane, home, waited } = handover;
        assert_eq!(self.waiting.remove(&caller), Some(waiter));
        self.served.push(waiter);
        let granted = Said::Grant { caller, lane, number, home, waited };
        assert_eq!(std::mem::take(&mut self.naive.said), [granted]);
        assert_eq!(self.pool.poll_command(), None, "a handover is all there is to do");
        true
    }

    fn abandon(&mut self, which: u8) {
        let now = self.naive.now;
        if which.is_multiple_of(4) {
            // Somebody who was served or refused long ago.
            if let Some(id) = self.served.get(usize::from(which)) {
                assert!(!self.pool.abandon(now, *id));
            }
            return;
        }
        if !self.naive.waiters.is_empty() {
            let caller = self.naive.waiters[usize::from(which) % self.naive.waiters.len()].caller;
            assert!(self.naive.abandon(caller));
            assert!(self.pool.abandon(now, self.waiting[&caller]));
        }
    }

    /// Any verb on any connection, whether it makes sense or not, also on those long gone.
    fn anything(&mut self, which: u8, verb: u8, lane: Lane) {
        let now = self.naive.now;
        let failure = failure(which);
        if verb.is_multiple_of(5) {
            let Some(id) = self.gone.get(usize::from(which)).copied() else { return };
            match verb / 5 % 6 {
                0 => self.pool.release(now, id, lane, Fate::Reuse),
                1 => self.pool.ready(now, id, lane),
                2 => self.pool.failed(now, id, failure),
                3 => self.pool.closed(now, id),
                4 => self.pool.postpone(now, id),
                _ => self.pool.renew_conn(now, id),
            }
            return;
        }
        let Some(conn) = self.naive.conns.get(usize::from(which) % 16) else { return };
        let (number, id) = (conn.number, self.ids[&conn.number]);
        match verb / 5 % 9 {
            0 => {
                self.pool.release(now, id, lane, Fate::Reuse);
                self.naive.release(number, lane, Fate::Reuse);
            }
            1 => {
                let fate = Fate::Discard(CloseReason::Broken);
                self.pool.release(now, id, lane, fate);
                self.naive.release(number, lane, fate);
            }
            2 => {
                self.pool.ready(now, id, lane);
                self.naive.ready(number, lane);
            }
            3 => {
                self.pool.failed(now, id, failure);
                self.naive.failed(number, failure);
            }
            4 => {
                self.pool.postpone(now, id);
                self.naive.postpone(number);
            }
            5 | 6 => {
                self.pool.renew_conn(now, id);
                self.naive.renew_conn(number);
            }
            _ => {
                self.pool.grant_undeliverable(now, id, lane);
                self.naive.undeliverable(number, lane);
            }
        }
    }

    fn operate(&mut self, which: u8, how: u8) {
        let now = self.naive.now;
        match which % 16 {
            0 | 1 => {
                self.pool.pause(now);
                self.naive.pause();
            }
            2..=5 => {
                self.pool.resume(now);
                self.naive.resume();
            }
            6 => {
                self.pool.drain(now);
                self.naive.drain();
            }
            7 => {
                self.pool.renew(now);
                self.naive.renew();
            }
            8 => {
                let conn = self.pool.evict_oldest_idle(now);
                assert_eq!(conn.map(|conn| self.numbers[&conn]), self.naive.evict());
            }
            9 if how < 64 => {
                self.pool.warm_up(now);
                self.naive.warm_up();
            }
            9 => {
                self.pool.keep_min(now, how.is_multiple_of(2));
                self.naive.keep_min(how.is_multiple_of(2));
            }
            10 | 11 => {
                let (limits, policy) = change(&self.naive.limits, &self.naive.policy, how);
                self.pool.configure(now, limits, policy);
                self.naive.configure(limits, policy);
            }
            12 if how < 16 => {
                self.pool.close(now);
                self.naive.close();
            }
            _ => {
                self.pool.budget_available(now);
                self.naive.budget_available();
            }
        }
    }

    fn pass(&mut self, distance: Duration) {
        self.naive.now = self.naive.now + distance;
    }

    /// Lets time pass exactly until the pool wants to be called.
    fn pass_to_next(&mut self) {
        if let Some(at) = self.pool.poll_timeout() {
            self.naive.now = self.naive.now.max(at);
            self.timeout();
        }
    }

    fn timeout(&mut self) {
        let now = self.naive.now;
        self.pool.handle_timeout(now);
        self.naive.timeout();
        assert!(self.pool.poll_timeout().is_none_or(|at| at > now), "handled, and still due");
    }

    fn compare(&mut self) {
        let commands: Vec<Command> = std::iter::from_fn(|| self.pool.poll_command()).collect();
        let said: Vec<Said> = commands.into_iter().map(|command| self.translate(command)).collect();
        assert_eq!(said, std::mem::take(&mut self.naive.said));
        self.pool.check_invariants();
        let counts = self.pool.counts();
        let states = [
            (counts.opening, State::Opening),
            (counts.idle, State::Idle),
            (counts.checking, State::Checking),
            (counts.in_use, State::InUse),
            (counts.resetting, State::Resetting),
            (counts.closing, State::Closing),
        ];
        for (count, state) in states {
            assert_eq!(count as usize, self.naive.count(state), "{state:?}");
        }
        assert_eq!(counts.waiting as usize, self.naive.waiters.len());
        self.check_limit();
        if let Some(due) = self.naive.due() {
            let next = self.pool.poll_timeout();
            assert!(
                next.is_some_and(|next| next <= due.max(self.naive.now)),
                "due at {due:?}, woken at {next:?}"
            );
        }
        let here: Vec<u64> = self.naive.conns.iter().map(|conn| conn.number).collect();
        for (id, number) in &self.numbers {
            if !here.contains(number) && self.ids.remove(number).is_some() {
                self.gone.push(*id);
            }
        }
    }

    /// More connections than the limit may only be left over from a higher limit.
    fn check_limit(&mut self) {
        let total = self.pool.counts().total() as usize;
        assert!(total <= self.naive.hard().max(self.was_total), "the limit is exceeded");
        self.was_total = total;
    }

    fn translate(&mut self, command: Command) -> Said {
        match command {
            Command::Open { conn } => {
                let number = self.numbers.len() as u64;
                assert_eq!(self.numbers.insert(conn, number), None, "ids are never used again");
                self.ids.insert(number, conn);
                Said::Open(number)
            }
            Command::Check { conn, lane } => Said::Check(self.numbers[&conn], lane),
            Command::Reset { conn, lane } => Said::Reset(self.numbers[&conn], lane),
            Command::Close { conn, lane, reason } => Said::Close(self.numbers[&conn], lane, reason),
            Command::Grant { waiter, caller, lane, conn, home, waited } => {
                assert_eq!(self.waiting.remove(&caller), Some(waiter));
                self.served.push(waiter);
                Said::Grant { caller, lane, number: self.numbers[&conn], home, waited }
            }
            Command::Refuse { waiter, caller, lane, refusal } => {
                assert_eq!(self.waiting.remove(&caller), Some(waiter));
                self.served.push(waiter);
                Said::Refuse { caller, lane, refusal }
            }
        }
    }

    /// Answers everything well and gives everything back: then everybody has been served.
    fn finish(&mut self) {
        if self.naive.gate == Gate::Closed {
            return;
        }
        let now = self.naive.now;
        self.pool.resume(now);
        self.naive.resume();
        self.pool.budget_available(now);
        self.naive.budget_available();
        self.compare();
        for _ in 0..10_000 {
            if self.naive.waiters.is_empty() {
                return;
            }
            let lane = Lane(0);
            let now = self.naive.now;
            self.on(State::InUse, 0, |twins, number, id| {
                twins.pool.release(now, id, lane, Fate::Reuse);
                twins.naive.release(number, lane, Fate::Reuse);
            });
            for state in [State::Opening, State::Checking, State::Resetting] {
                self.on(state, 0, |twins, number, id| {
                    twins.pool.ready(now, id, lane);
                    twins.naive.ready(number, lane);
                });
            }
            self.on(State::Closing, 0, |twins, number, id| {
                twins.pool.closed(now, id);
                twins.naive.failed(number, Failure::Lost);
            });
            self.compare();
            self.pass_to_next();
            self.compare();
        }
        panic!("somebody still waits: {:?}", self.naive.waiters);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_pool_does_what_the_naive_model_does(
        (limits, policy) in settings(),
        seed in any::<u64>(),
        steps in proptest::collection::vec(any::<Step>(), 0..150),
    ) {
        let mut twins = Twins::new(limits, policy, seed);
        for step in steps {
            twins.step(step);
        }
        twins.finish();
    }
}
