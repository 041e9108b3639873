//! A pool, a clock, and a shell that does nothing on its own.
//!
//! Invariant: the pool's invariants are checked after every verb.
//! Left out: anything clever; each story says what the shell does.

use std::time::Duration;

use headpond_core::{
    Acquire, CloseReason, Command, ConnId, ConnectFailure, Failure, Fate, Lane, Limits, Policy,
    PoolCore, Refusal, Timestamp, WaiterId,
};

pub const A: Lane = Lane(0);
pub const B: Lane = Lane(1);

pub struct Bench {
    pub pool: PoolCore,
    pub now: Timestamp,
}

/// A policy under which nothing happens but what a story asks for.
pub fn quiet() -> Policy {
    Policy {
        lifetime: None,
        idle_timeout: None,
        check_after: None,
        local_first: Duration::ZERO,
        ..Policy::default()
    }
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Bench {
    pub fn new(limits: Limits, policy: Policy) -> Self {
        let now = Timestamp::from_nanos(1_000_000_000);
        Self { pool: PoolCore::new(now, limits, policy, 7), now }
    }

    pub fn of_size(size: u32) -> Self {
        Self::new(Limits { size, ..Limits::default() }, quiet())
    }

    pub fn with(size: u32, policy: Policy) -> Self {
        Self::new(Limits { size, ..Limits::default() }, policy)
    }

    /// Lets time pass, then does what is due.
    pub fn pass(&mut self, distance: Duration) {
        self.now = self.now + distance;
        self.pool.handle_timeout(self.now);
        self.pool.check_invariants();
        assert!(self.pool.poll_timeout().is_none_or(|at| at > self.now), "handled, still due");
    }

    pub fn after(&self, distance: Duration) -> Option<Timestamp> {
        Some(self.now + distance)
    }

    pub fn acquire(&mut self, lane: Lane, caller: u64, deadline: Option<Timestamp>) -> Acquire {
        let answer = self.pool.acquire(self.now, lane, caller, deadline);
        self.pool.check_invariants();
        answer
    }

    pub fn queue(&mut self, lane: Lane, caller: u64) -> WaiterId {
        match self.acquire(lane, caller, None) {
            Acquire::Queued(id) => id,
            other => panic!("caller {caller} should wait, got {other:?}"),
        }
    }

    /// Queues a caller of lane A that does not wait for longer than `patience`.
    pub fn queue_for(&mut self, caller: u64, patience: Duration) {
        let answer = self.acquire(A, caller, self.after(patience));
        assert!(matches!(answer, Acquire::Queued(_)), "caller {caller} should wait: {answer:?}");
    }

    pub fn refused(&mut self) -> Refusal {
        match self.acquire(A, 0, None) {
            Acquire::Refused(refusal) => refusal,
            other => panic!("the caller should be refused, got {other:?}"),
        }
    }

    pub fn take(&mut self, lane: Lane) -> ConnId {
        match self.acquire(lane, 0, None) {
            Acquire::Granted { conn, .. } => conn,
            other => panic!("a connection should be idle, got {other:?}"),
        }
    }

    pub fn release(&mut self, conn: ConnId, lane: Lane, fate: Fate) {
        self.pool.release(self.now, conn, lane, fate);
        self.pool.check_invariants();
    }

    pub fn reuse(&mut self, conn: ConnId) {
        self.release(conn, A, Fate::Reuse);
    }

    pub fn ready(&mut self, conn: ConnId) {
        self.pool.ready(self.now, conn, A);
        self.pool.check_invariants();
    }

    pub fn lose(&mut self, conn: ConnId) {
        self.pool.failed(self.now, conn, Failure::Lost);
        self.pool.check_invariants();
    }

    pub fn fail(&mut self, conn: ConnId, failure: ConnectFailure) {
        self.pool.failed(self.now, conn, Failure::Connect(failure));
        self.pool.check_invariants();
    }

    pub fn closed(&mut self, conn: ConnId) {
        self.pool.closed(self.now, conn);
        self.pool.check_invariants();
    }

    pub fn commands(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.pool.poll_command()).collect()
    }

    /// What the pool wants opened; it must want nothing else.
    pub fn opens(&mut self) -> Vec<ConnId> {
        self.all(|command| match command {
            Command::Open { conn } => Some(conn),
            _ => None,
        })
    }

    pub fn open(&mut self) -> ConnId {
        let opens = self.opens();
        assert_eq!(opens.len(), 1, "one open");
        opens[0]
    }

    pub fn grants(&mut self) -> Vec<(u64, ConnId)> {
        self.all(|command| match command {
            Command::Grant { caller, conn, .. } => Some((caller, conn)),
            _ => None,
        })
    }

    pub fn checks(&mut self) -> Vec<ConnId> {
        self.all(|command| match command {
            Command::Check { conn, .. } => Some(conn),
            _ => None,
        })
    }

    pub fn resets(&mut self) -> Vec<ConnId> {
        self.all(|command| match command {
            Command::Reset { conn, .. } => Some(conn),
            _ => None,
        })
    }

    pub fn closes(&mut self) -> Vec<(ConnId, CloseReason)> {
        self.all(|command| match command {
            Command::Close { conn, reason, .. } => Some((conn, reason)),
            _ => None,
        })
    }

    pub fn refusals(&mut self) -> Vec<(u64, Refusal)> {
        self.all(|command| match command {
            Command::Refuse { caller, refusal, .. } => Some((caller, refusal)),
            _ => None,
        })
    }

    pub fn nothing(&mut self) {
        assert_eq!(self.commands(), []);
    }

    /// Has `count` callers of lane A and as many connections, all in use.
    pub fn busy(&mut self, count: u64) -> Vec<ConnId> {
        for caller in 0..count {
            self.queue(A, caller);
        }
        let mut held = vec![];
        while held.len() < usize::try_from(count).unwrap() {
            for command in self.commands() {
                match command {
                    Command::Open { conn } => self.ready(conn),
                    Command::Grant { conn, .. } => held.push(conn),
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
        self.nothing();
        held
    }

    /// Has `count` idle connections on lane A, the last of them used last.
    pub fn rested(&mut self, count: u64) -> Vec<ConnId> {
        let held = self.busy(count);
        for conn in &held {
            self.reuse(*conn);
        }
        self.nothing();
        held
    }

    fn all<T>(&mut self, mut wanted: impl FnMut(Command) -> Option<T>) -> Vec<T> {
        let one = |command| wanted(command).unwrap_or_else(|| panic!("unexpected {command:?}"));
        self.commands().into_iter().map(one).collect()
    }
}
