//! A client in numbers.
//!
//! Invariant: counted where it happens; sums over origins that were forgotten are lost with them.
//! Left out: how long things took; the pools have that (`Pool::distributions`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use super::origin::Origin;

/// One origin at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OriginStatus {
    /// Where the requests go.
    pub origin: Origin,
    /// What happened so far.
    pub totals: Totals,
    /// Connections that are open; over HTTP/2 usually one.
    pub connections: u32,
    /// Requests that wait or are under way.
    pub requests: u32,
    /// The pool. What it calls connections are requests over HTTP/2.
    pub pool: crate::Status,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Requests sent, each redirect and each repetition included.
    pub requests: u64,
    /// Those sent on a connection that had been used before.
    pub reused: u64,
    /// Connections opened.
    pub opened: u64,
    /// Requests that had to wait for others to end.
    pub waits: u64,
    /// Requests that were repeated because their connection had been closed.
    pub retries: u64,
}

/// The same as it is being counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicU64,
    pub(crate) reused: AtomicU64,
    pub(crate) opened: AtomicU64,
    pub(crate) waits: AtomicU64,
    pub(crate) retries: AtomicU64,
    /// Sockets that are open.
    pub(crate) sockets: AtomicU32,
    /// Requests that wait or are under way.
    pub(crate) wanted: AtomicU32,
}

impl Counts {
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            requests: self.requests.load(SeqCst),
            reused: self.reused.load(SeqCst),
            opened: self.opened.load(SeqCst),
            waits: self.waits.load(SeqCst),
            retries: self.retries.load(SeqCst),
        }
    }
}

/// A socket that is open.
#[derive(Debug)]
pub(crate) struct Open(Arc<Counts>);

impl Open {
    pub(crate) fn new(counts: &Arc<Counts>) -> Self {
        counts.opened.fetch_add(1, SeqCst);
        counts.sockets.fetch_add(1, SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, SeqCst);
    }
}

/// A request that wants a connection or has one.
#[derive(Debug)]
pub(crate) struct Wanted(Arc<Counts>);

impl Wanted {
    pub(crate) fn new(counts: &Arc<Counts>) -> Self {
        counts.wanted.fetch_add(1, SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.wanted.fetch_sub(1, SeqCst);
    }
}
