//! A manager without a server, for tests of pools and of code that uses them.
//!
//! Invariant: counts what exists, so that a test can compare it with what the pool believes.
//! Left out: networks. Delays are those of the runtime's clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;

use crate::manager::{CloseReason, ConnectFailure, Fate, Manager};

/// Opens pretended connections; what it shall do can be changed at any time through clones.
#[derive(Clone, Default, Debug)]
pub struct FakeManager {
    state: Arc<State>,
}

#[derive(Default, Debug)]
struct State {
    script: Mutex<Script>,
    connects: AtomicU64,
    live: AtomicU64,
    live_max: AtomicU64,
    pings: AtomicU64,
    resets: AtomicU64,
}

/// What the manager does.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// How long a connect takes.
    pub connect_delay: Duration,
    /// How connects end.
    pub connect: Connect,
    /// How long a ping takes.
    pub ping_delay: Duration,
    /// Whether pings fail.
    pub ping_fails: bool,
    /// How long a reset takes.
    pub reset_delay: Duration,
    /// Whether resets fail.
    pub reset_fails: bool,
}

/// How connects end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connect {
    /// With a connection.
    #[default]
    Succeeds,
    /// With an error that says this of the server.
    Fails(ConnectFailure),
    /// Never.
    Hangs,
    /// With a panic.
    Panics,
}

/// A pretended connection.
#[derive(Debug)]
pub struct FakeConnection {
    /// Counts from 1 in the order of opening.
    pub number: u64,
    /// What its user left: set it to have it reset or closed.
    pub fate: Fate,
    /// How often it was lent and used, as far as its users said.
    pub uses: u64,
    dead: Arc<AtomicBool>,
    /// Whether it is one of those that exist.
    counts: bool,
    state: Arc<State>,
}

/// A pretended error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeError(pub ConnectFailure);

impl fmt::Display for FakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pretended failure: {:?}", self.0)
    }
}

impl std::error::Error for FakeError {}

impl FakeManager {
    /// Changes what the manager does from now on.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.state.script.lock());
    }

    /// Returns how many connects were begun.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.state.connects.load(SeqCst)
    }

    /// Returns how many connections exist.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.state.live.load(SeqCst)
    }

    /// Returns how many existed at once at most.
    #[must_use]
    pub fn live_max(&self) -> u64 {
        self.state.live_max.load(SeqCst)
    }

    /// Returns how many pings were begun.
    #[must_use]
    pub fn pings(&self) -> u64 {
        self.state.pings.load(SeqCst)
    }

    /// Returns how many resets were begun.
    #[must_use]
    pub fn resets(&self) -> u64 {
        self.state.resets.load(SeqCst)
    }
}

impl FakeConnection {
    /// Lets the connection look dead from now on, as if the server had closed it.
    pub fn kill(&self) {
        self.dead.store(true, SeqCst);
    }

    /// Counts the connection as gone from now on, because it is going to be detached: then its
    /// place is free at once, and another one may be opened before this one is dropped.
    pub fn let_go(&mut self) {
        if std::mem::replace(&mut self.counts, false) {
            self.state.live.fetch_sub(1, SeqCst);
        }
    }

    /// Returns a switch that kills the connection from outside.
    #[must_use]
    pub fn switch(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.dead)
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Manager for FakeManager {
    type Connection = FakeConnection;
    type Error = FakeError;

    async fn connect(&self) -> Result<FakeConnection, FakeError> {
        let number = self.state.connects.fetch_add(1, SeqCst) + 1;
        let script = self.state.script.lock().clone();
        if !script.connect_delay.is_zero() {
            tokio::time::sleep(script.connect_delay).await;
        }
        match script.connect {
            Connect::Succeeds => {}
            Connect::Fails(failure) => return Err(FakeError(failure)),
            Connect::Hangs => std::future::pending().await,
            Connect::Panics => panic!("a pretended panic in connect"),
        }
        let live = self.state.live.fetch_add(1, SeqCst) + 1;
        self.state.live_max.fetch_max(live, SeqCst);
        let (dead, state) = (Arc::default(), Arc::clone(&self.state));
        Ok(FakeConnection { number, fate: Fate::Reuse, uses: 0, dead, counts: true, state })
    }

    async fn ping(&self, connection: &mut FakeConnection) -> Result<(), FakeError> {
        self.state.pings.fetch_add(1, SeqCst);
        let script = self.state.script.lock().clone();
        if !script.ping_delay.is_zero() {
            tokio::time::sleep(script.ping_delay).await;
        }
        if script.ping_fails || connection.dead.load(SeqCst) {
            return Err(FakeError(ConnectFailure::Refused));
        }
        Ok(())
    }

    async fn reset(&self, connection: &mut FakeConnection) -> Result<(), FakeError> {
        self.state.resets.fetch_add(1, SeqCst);
        let script = self.state.script.lock().clone();
        if !script.reset_delay.is_zero() {
            tokio::time::sleep(script.reset_delay).await;
        }
        if script.reset_fails {
            return Err(FakeError(ConnectFailure::Refused));
        }
        connection.fate = Fate::Reuse;
        Ok(())
    }

    fn fate(&self, connection: &mut FakeConnection) -> Fate {
        if connection.dead.load(SeqCst) {
            return Fate::Discard(CloseReason::Broken);
        }
        connection.fate
    }

    fn is_usable(&self, connection: &mut FakeConnection) -> bool {
        !connection.dead.load(SeqCst)
    }

    fn failure(&self, error: &FakeError) -> ConnectFailure {
        error.0
    }
}

/// A pretended transaction: what is not committed is cleaned up when the connection comes back.
#[cfg(feature = "tower")]
impl crate::middleware::Transactional for FakeManager {
    async fn begin(&self, connection: &mut FakeConnection) -> Result<(), FakeError> {
        connection.fate = Fate::Reset;
        Ok(())
    }

    async fn commit(&self, connection: &mut FakeConnection) -> Result<(), FakeError> {
        connection.fate = Fate::Reuse;
        Ok(())
    }

    async fn rollback(&self, connection: &mut FakeConnection) -> Result<(), FakeError> {
        connection.fate = Fate::Reuse;
        Ok(())
    }
}
