//! Stopping a closure from outside, and never a foreign one.
//!
//! Invariant: a connection is interrupted only while the closure that is to be stopped runs on it,
//! and a transaction whose stop was granted is never committed.
//! Left out: who wants to stop it (`call.rs`).

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::InterruptHandle;

use crate::watch::Watch;

/// One closure on its way.
pub(crate) struct Control {
    phase: Mutex<Phase>,
    watch: Arc<Watch>,
    interrupt: Arc<InterruptHandle>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// It has not begun.
    Queued,
    /// It runs.
    Running,
    /// It is to end; nothing of it will be committed.
    Stopped,
    /// It is past stopping: what it did is being committed.
    Committing,
    /// It has ended.
    Ended,
}

impl Control {
    pub(crate) fn new(watch: Arc<Watch>, interrupt: Arc<InterruptHandle>) -> Self {
        Self { phase: Mutex::new(Phase::Queued), watch, interrupt }
    }

    /// Begins, unless it was stopped before.
    pub(crate) fn begin(&self) -> bool {
        self.advance(Phase::Queued, Phase::Running)
    }

    /// Begins to commit, unless it was stopped before.
    pub(crate) fn commit(&self) -> bool {
        self.advance(Phase::Running, Phase::Committing)
    }

    /// Returns whether it was stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        *self.phase.lock() == Phase::Stopped
    }

    /// Ends it: from here on nothing reaches the connection.
    pub(crate) fn end(&self) {
        *self.phase.lock() = Phase::Ended;
        self.watch.stop(false);
    }

    /// Stops it. Returns whether that was in time: if so, nothing of it is or will be committed.
    pub(crate) fn stop(&self) -> bool {
        let mut phase = self.phase.lock();
        match *phase {
            Phase::Queued => {}
            Phase::Running => {
                self.watch.stop(true);
                self.interrupt.interrupt();
            }
            Phase::Stopped => return true,
            Phase::Committing | Phase::Ended => return false,
        }
        *phase = Phase::Stopped;
        true
    }

    fn advance(&self, from: Phase, to: Phase) -> bool {
        let mut phase = self.phase.lock();
        let may = *phase == from;
        if may {
            *phase = to;
        }
        may
    }
}

/// Stops a closure when it is dropped, because nobody waits for the answer any more.
pub(crate) struct Caller(pub(crate) Arc<Control>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.stop();
    }
}
