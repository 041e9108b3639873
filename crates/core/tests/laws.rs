//! One law of the pool per test, told as a short script.

use core::time::Duration;

use headpond_core::{
    Acquire, CloseReason, Command, ConnId, ConnectFailure, Failure, Fate, Lane, Limits, Policy,
    PoolCore, Refusal, Timestamp, WaiterId,
};

const A: Lane = Lane(0);
const B: Lane = Lane(1);

/// A pool and a shell that does nothing on its own.
struct Bench {
    pool: PoolCore,
    now: Timestamp,
}

impl Bench {
    fn new(limits: Limits, policy: Policy) -> Self {
        let now = Timestamp::from_nanos(1_000_000_000);
        Self { pool: PoolCore::new(now, limits, policy, 7), now }
    }

    fn of_size(size: u32) -> Self {
        Self::new(Limits { size, ..Limits::default() }, Policy::default())
    }

    /// Lets time pass and does what is due.
    fn pass(&mut self, distance: Duration) {
        self.now = self.now + distance;
        self.pool.handle_timeout(self.now);
        self.pool.check_invariants();
        assert!(self.pool.poll_timeout().is_none_or(|at| at > self.now), "still due");
    }

    fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }

    fn after_ms(&self, ms: u64) -> Option<Timestamp> {
        Some(self.now + Duration::from_millis(ms))
    }

    fn acquire(&mut self, lane: Lane, caller: u64) -> Acquire {
        let answer = self.pool.acquire(self.now, lane, caller, None);
        self.pool.check_invariants();
        answer
    }

    fn queue(&mut self, lane: Lane, caller: u64) -> WaiterId {
        match self.acquire(lane, caller) {
            Acquire::Queued(id) => id,
            other => panic!("caller {caller} should wait, got {other:?}"),
        }
    }

    fn take(&mut self, lane: Lane) -> ConnId {
        match self.acquire(lane, 0) {
            Acquire::Granted { conn, .. } => conn,
            other => panic!("a connection should be idle, got {other:?}"),
        }
    }

    fn release(&mut self, conn: ConnId, lane: Lane, fate: Fate) {
        self.pool.release(self.now, conn, lane, fate);
        self.pool.check_invariants();
    }

    fn ready(&mut self, conn: ConnId, lane: Lane) {
        self.pool.ready(self.now, conn, lane);
        self.pool.check_invariants();
    }

    fn failed(&mut self, conn: ConnId, failure: Failure) {
        self.pool.failed(self.now, conn, failure);
        self.pool.check_invariants();
    }

    fn refuse_connect(&mut self, conn: ConnId, failure: ConnectFailure) {
        self.failed(conn, Failure::Connect(failure));
    }

    fn commands(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.pool.poll_command()).collect()
    }

    /// Returns what the pool wants opened, and that it wants nothing else.
    fn opens(&mut self) -> Vec<ConnId> {
        let open = |command| match command {
            Command::Open { conn } => conn,
            other => panic!("only opens were expected, got {other:?}"),
        };
        self.commands().into_iter().map(open).collect()
    }

    /// Returns who is granted what, and that nothing else happens.
    fn grants(&mut self) -> Vec<(u64, ConnId)> {
        let grant = |command| match command {
            Command::Grant { caller, conn, .. } => (caller, conn),
            other => panic!("only grants were expected, got {other:?}"),
        };
        self.commands().into_iter().map(grant).collect()
    }

    fn refusals(&mut self) -> Vec<(u64, Refusal)> {
        let refuse = |command| match command {
            Command::Refuse { caller, refusal, .. } => Some((caller, refusal)),
            _ => None,
        };
        self.commands().into_iter().filter_map(refuse).collect()
    }

    fn closes(&mut self) -> Vec<(ConnId, CloseReason)> {
        let close = |command| match command {
            Command::Close { conn, reason, .. } => Some((conn, reason)),
            _ => None,
        };
        self.commands().into_iter().filter_map(close).collect()
    }

    /// Opens `count` connections on a lane and has all of them in use.
    fn in_use(&mut self, lane: Lane, count: u64) -> Vec<ConnId> {
        for caller in 0..count {
            self.queue(lane, caller);
        }
        let mut held = Vec::new();
        loop {
            let opens = self.opens();
            if opens.is_empty() {
                return held;
            }
            for conn in opens {
                self.pool.ready(self.now, conn, lane);
                held.push(conn);
            }
            let mut rest = Vec::new();
            while let Some(command) = self.pool.poll_command() {
                match command {
                    Command::Grant { .. } => {}
                    other => rest.push(other),
                }
            }
            for command in rest {
                let Command::Open { conn } = command else { panic!("{command:?}") };
                self.pool.ready(self.now, conn, lane);
                held.push(conn);
            }
            while matches!(self.pool.poll_command(), Some(Command::Grant { .. })) {}
        }
    }
}

#[test]
fn a_released_connection_goes_to_the_oldest_waiter_in_the_same_call() {
    let mut bench = Bench::of_size(1);
    let held = bench.in_use(A, 1);
    bench.queue(A, 11);
    bench.queue(A, 12);
    bench.release(held[0], A, Fate::Reuse);
    assert_eq!(bench.grants(), [(11, held[0])]);
}
