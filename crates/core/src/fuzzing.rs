//! A shell driven by bytes: it calls verbs, answers commands well, badly, late or not at all, and
//! checks after each call what must hold of every schedule.
//!
//! Besides `check_invariants` these are the laws about sequences of calls: the limit is never
//! exceeded, nobody is served twice or after leaving, every command concerns a connection in the
//! right state, and nobody is overtaken but for the bounded preference of a lane.
//!
//! Invariant: what the shell believes of a connection is what it was told last.
//! Left out: exact predictions (the naive model in the tests makes them) and misuse of verbs.

use alloc::vec::Vec;
use core::time::Duration;

use crate::command::{Acquire, CloseReason, Command, ConnectFailure, Failure, Fate, Refusal};
use crate::limits::{IdleOrder, Limits, OnFailing, Policy};
use crate::pool::PoolCore;
use crate::slot::{ConnId, Lane};
use crate::time::Timestamp;
use crate::waiter::WaiterId;

/// Runs the schedule that `data` spells.
///
/// # Panics
/// When the pool breaks a law.
pub fn verbs(data: &[u8]) {
    let mut bytes = Bytes { data };
    let limits = limits(&mut bytes);
    let policy = policy(&mut bytes);
    let mut shell = Shell::new(limits, policy, u64::from(bytes.next()));
    while !bytes.data.is_empty() {
        shell.step(&mut bytes);
        shell.check();
    }
    shell.finish();
}

/// The rest of the input; zeros follow its end.
struct Bytes<'a> {
    data: &'a [u8],
}

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.data.split_first() else { return 0 };
        self.data = rest;
        *first
    }

    fn below(&mut self, end: u8) -> u8 {
        self.next() % end
    }

    fn chance(&mut self, in_256: u8) -> bool {
        self.next() < in_256
    }

    fn ms(&mut self, end: u8) -> Duration {
        Duration::from_millis(self.below(end).into())
    }

    fn maybe_ms(&mut self, end: u8) -> Option<Duration> {
        let duration = self.ms(end);
        (!duration.is_zero()).then_some(duration)
    }

    fn pick<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        let which = usize::from(self.next());
        if from.is_empty() { None } else { Some(from.swap_remove(which % from.len())) }
    }
}

fn limits(bytes: &mut Bytes<'_>) -> Limits {
    Limits {
        size: bytes.below(6).into(),
        min: bytes.below(4).into(),
        reserve: bytes.below(3).into(),
        waiters_max: bytes.chance(64).then(|| bytes.below(5).into()),
    }
}

fn policy(bytes: &mut Bytes<'_>) -> Policy {
    Policy {
        reserve_after: bytes.maybe_ms(5),
        order: if bytes.chance(128) { IdleOrder::Fifo } else { IdleOrder::Lifo },
        lifetime: bytes.maybe_ms(40),
        lifetime_jitter: u32::from(bytes.next()) * 4,
        idle_timeout: bytes.maybe_ms(20),
        check_after: bytes.maybe_ms(8),
        uses_max: bytes.chance(64).then(|| u64::from(bytes.below(5)) + 1),
        connects_max: bytes.below(5).into(),
        backoff_first: bytes.ms(6),
        backoff_max: bytes.ms(40),
        on_failing: if bytes.chance(128) { OnFailing::Hold } else { OnFailing::FailFast },
        local_first: bytes.ms(5),
        ..Policy::default()
    }
}

/// A caller in the queue, as the shell remembers it.
struct Waiting {
    id: WaiterId,
    caller: u64,
    lane: Lane,
    since: Timestamp,
    deadline: Option<Timestamp>,
    again: bool,
}

struct Shell {
    pool: PoolCore,
    now: Timestamp,
    callers: u64,
    /// In order of service.
    waiting: Vec<Waiting>,
    held: Vec<(ConnId, Lane)>,
    /// Opens, checks and resets that are under way.
    pending: Vec<Command>,
    closing: Vec<ConnId>,
    /// Taken for the shell's own connections.
    places: Vec<ConnId>,
    total: u32,
    /// Names used on purpose after they were worth nothing.
    stale: u64,
    closed: bool,
}

impl Shell {
    fn new(limits: Limits, policy: Policy, seed: u64) -> Self {
        let now = Timestamp::from_nanos(1_000_000_000);
        Self {
            pool: PoolCore::new(now, limits, policy, seed),
            now,
            callers: 0,
            waiting: Vec::new(),
            held: Vec::new(),
            pending: Vec::new(),
            closing: Vec::new(),
            places: Vec::new(),
            total: 0,
            stale: 0,
            closed: false,
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let lane = Lane(bytes.below(3).into());
        match bytes.below(16) {
            0..=3 => self.acquire(bytes, lane, false),
            4..=6 => self.release(bytes, lane),
            7..=9 => self.answer(bytes, lane),
            10 => {
                if let Some(conn) = bytes.pick(&mut self.closing) {
                    self.pool.closed(self.now, conn);
                }
            }
            11 => self.leave(bytes),
            12 => self.operate(bytes),
            13 => self.now = self.now + bytes.ms(30),
            14 => {
                let at = self.pool.poll_timeout().unwrap_or(self.now);
                self.now = self.now.max(at);
                self.timeout();
            }
            _ => {
                self.now = self.now + Duration::from_micros(bytes.next().into());
                self.timeout();
            }
        }
    }

    fn acquire(&mut self, bytes: &mut Bytes<'_>, lane: Lane, again: bool) {
        self.callers += 1;
        let caller = self.callers;
        let deadline = bytes.maybe_ms(20).map(|distance| self.now + distance);
        // Workers read their clocks before they take the lock: time may arrive out of order.
        let skew = u64::from(bytes.below(8));
        let now = Timestamp::from_nanos(self.now.as_nanos() - skew);
        let answer = if again {
            self.pool.regrant(now, lane, caller, deadline)
        } else {
            self.pool.acquire(now, lane, caller, deadline)
        };
        match answer {
            Acquire::Granted { conn, home } => {
                assert!(again || self.waiting.is_empty(), "a newcomer was served before others");
                self.held.push((conn, home));
            }
            Acquire::Queued(id) => {
                assert!(!self.closed, "somebody waits for a closed pool");
                let place = if again { 0 } else { self.waiting.len() };
                let since = self.now;
                let waiting = Waiting { id, caller, lane, since, deadline, again };
                self.waiting.insert(place, waiting);
            }
            Acquire::Refused(refusal) => {
                assert_eq!(refusal == Refusal::Closed, self.closed, "refused: {refusal}");
            }
        }
    }

    fn release(&mut self, bytes: &mut Bytes<'_>, lane: Lane) {
        let Some((conn, _)) = bytes.pick(&mut self.held) else { return };
        match bytes.below(12) {
            0 => self.pool.release(self.now, conn, lane, Fate::Discard(CloseReason::Broken)),
            1 => self.pool.grant_undeliverable(self.now, conn, lane),
            2 => {
                self.pool.failed(self.now, conn, Failure::Lost);
                self.acquire(bytes, lane, true);
            }
            3 => self.pool.failed(self.now, conn, Failure::Lost),
            4 | 5 => self.pool.release(self.now, conn, lane, Fate::Reset),
            6..=8 => match self.pool.hand_over(self.now, conn, lane, 1) {
                Some(handover) => {
                    let granted = self.check_order(handover.waiter, handover.home);
                    assert_eq!((handover.caller, handover.lane), (granted.caller, granted.lane));
                    self.held.push((conn, granted.lane));
                }
                None => self.pool.release(self.now, conn, lane, Fate::Reuse),
            },
            _ => self.pool.release(self.now, conn, lane, Fate::Reuse),
        }
    }

    fn answer(&mut self, bytes: &mut Bytes<'_>, lane: Lane) {
        let Some(command) = bytes.pick(&mut self.pending) else { return };
        match (command, bytes.below(16)) {
            (Command::Open { conn }, 0) => self.pool.postpone(self.now, conn),
            (Command::Open { conn }, how @ 1..=4) => {
                let failure = match how {
                    1 => ConnectFailure::Refused,
                    2 => ConnectFailure::StartingUp,
                    3 => ConnectFailure::TooMany,
                    _ => ConnectFailure::Rejected,
                };
                self.pool.failed(self.now, conn, Failure::Connect(failure));
            }
            (Command::Check { conn, .. } | Command::Reset { conn, .. }, 0) => {
                self.pool.failed(self.now, conn, Failure::Lost);
            }
            (Command::Check { conn, .. } | Command::Reset { conn, .. }, 1) => {
                let fate = Fate::Discard(CloseReason::CheckFailed);
                self.pool.release(self.now, conn, lane, fate);
            }
            (
                Command::Open { conn } | Command::Check { conn, .. } | Command::Reset { conn, .. },
                _,
            ) => self.pool.ready(self.now, conn, lane),
            (other, _) => unreachable!("never pending: {other:?}"),
        }
    }

    fn leave(&mut self, bytes: &mut Bytes<'_>) {
        if self.waiting.is_empty() {
            return;
        }
        let which = usize::from(bytes.next()) % self.waiting.len();
        let gone = self.waiting.remove(which);
        assert!(self.pool.abandon(self.now, gone.id), "who waits may leave");
        assert!(!self.pool.abandon(self.now, gone.id), "who has left cannot leave");
        self.stale += 1;
    }

    fn operate(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.below(16) {
            0 | 1 => self.pool.pause(self.now),
            2..=5 => self.pool.resume(self.now),
            6 => self.pool.drain(self.now),
            7 => self.pool.renew(self.now),
            8 => {
                if let Some((conn, _)) = self.held.first() {
                    self.pool.renew_conn(self.now, *conn);
                }
            }
            9 => {
                let _evicted = self.pool.evict_oldest_idle(self.now);
            }
            10 => {
                let (limits, policy) = (limits(bytes), policy(bytes));
                self.pool.configure(self.now, limits, policy);
            }
            11 if bytes.chance(64) => self.pool.warm_up(self.now),
            11 => self.pool.keep_min(self.now, bytes.chance(128)),
            12 if bytes.chance(16) => {
                self.pool.close(self.now);
                self.closed = true;
            }
            13 => {
                let before = self.pool.counts().total();
                if let Some(own) = self.pool.occupy(self.now) {
                    assert!(before < self.pool.limits().hard(self.pool.policy()), "no room");
                    self.places.push(own);
                }
            }
            14 => self.places.extend(self.pool.occupy_idle(self.now)),
            15 => {
                if let Some(place) = bytes.pick(&mut self.places) {
                    self.pool.vacate(self.now, place);
                }
            }
            _ => self.pool.budget_available(self.now),
        }
    }

    fn timeout(&mut self) {
        self.pool.handle_timeout(self.now);
        let next = self.pool.poll_timeout();
        assert!(next.is_none_or(|at| at > self.now), "handled, and still due");
        self.check();
        let late = |waiting: &Waiting| waiting.deadline.is_some_and(|at| at <= self.now);
        assert!(!self.waiting.iter().any(late), "somebody waits past the deadline");
    }

    /// Takes the commands of the last call and checks everything there is to check.
    fn check(&mut self) {
        while let Some(command) = self.pool.poll_command() {
            match command {
                Command::Open { .. } | Command::Check { .. } | Command::Reset { .. } => {
                    self.pending.push(command);
                }
                Command::Close { conn, .. } => {
                    assert!(self.held.iter().all(|(held, _)| *held != conn), "closed in use");
                    self.closing.push(conn);
                }
                Command::Grant { waiter, lane, conn, home, .. } => {
                    let granted = self.check_order(waiter, home);
                    assert_eq!(granted.lane, lane);
                    assert!(self.held.iter().all(|(held, _)| *held != conn), "granted twice");
                    self.held.push((conn, lane));
                }
                Command::Refuse { waiter, caller, .. } => {
                    let place = self.place_of(waiter);
                    assert_eq!(self.waiting.remove(place).caller, caller);
                }
            }
        }
        self.pool.check_invariants();
        let counts = self.pool.counts();
        assert_eq!(counts.waiting as usize, self.waiting.len(), "everyone waiting is known");
        assert_eq!(counts.in_use as usize, self.held.len(), "every connection in use is known");
        let own = self.places.iter().filter(|place| self.pool.is_vacant(**place)).count();
        assert_eq!(counts.closing as usize, self.closing.len() + own, "every close was asked for");
        let pending = counts.opening + counts.checking + counts.resetting;
        assert_eq!(pending as usize, self.pending.len(), "every command can be answered");
        // Only a limit that was lowered can be exceeded, and then the number does not grow.
        let hard = self.pool.limits().hard(self.pool.policy());
        assert!(counts.total() <= hard.max(self.total), "the limit is exceeded");
        self.total = counts.total();
        assert_eq!(self.pool.counters().stale, self.stale, "only what is gone is unknown");
        assert_eq!(self.pool.counters().misused, 0, "this shell uses the verbs as documented");
    }

    /// Takes a waiter out of the queue after checking that it was its turn.
    fn check_order(&mut self, waiter: WaiterId, home: Lane) -> Waiting {
        let place = self.place_of(waiter);
        let granted = self.waiting.remove(place);
        for older in &self.waiting[..place] {
            let patient = self.now.since(older.since) < self.pool.policy().local_first;
            let preferred = granted.lane == home && older.lane != home;
            assert!(preferred && patient && !older.again, "somebody was overtaken");
        }
        granted
    }

    fn place_of(&self, waiter: WaiterId) -> usize {
        let place = self.waiting.iter().position(|waiting| waiting.id == waiter);
        place.expect("only who waits is answered")
    }

    /// From now on everything goes well: then everyone is served.
    fn finish(&mut self) {
        self.pool.resume(self.now);
        self.pool.budget_available(self.now);
        self.check();
        for _ in 0..10_000 {
            if self.waiting.is_empty() {
                return;
            }
            let at = self.pool.poll_timeout().unwrap_or(self.now);
            self.now = self.now.max(at);
            self.timeout();
            self.check();
            for conn in core::mem::take(&mut self.closing) {
                self.pool.closed(self.now, conn);
            }
            for place in core::mem::take(&mut self.places) {
                self.pool.vacate(self.now, place);
            }
            for command in core::mem::take(&mut self.pending) {
                if let Command::Open { conn }
                | Command::Check { conn, .. }
                | Command::Reset { conn, .. } = command
                {
                    self.pool.ready(self.now, conn, Lane(0));
                }
            }
            for (conn, lane) in core::mem::take(&mut self.held) {
                self.pool.release(self.now, conn, lane, Fate::Reuse);
            }
            self.check();
        }
        panic!("{} callers are never served", self.waiting.len());
    }
}
