//! A connection that a request has, from before it is sent until its response was read.
//!
//! Invariant: a lease that is dropped before it was settled costs the connection (over HTTP/2: the
//! stream), so nobody reads the rest of another's response.
//! Left out: reading (`response.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};

use super::connection::Connection;
use super::manager::Dialer;
use super::status::Wanted;
use crate::guard::OwnedGuard;

pub(crate) struct Lease {
    /// Dropped first: whether the connection is one too many is asked when it comes back.
    _wanted: Wanted,
    guard: OwnedGuard<Dialer>,
    sent: Arc<AtomicBool>,
}

impl Lease {
    pub(crate) const fn new(
        wanted: Wanted,
        guard: OwnedGuard<Dialer>,
        sent: Arc<AtomicBool>,
    ) -> Self {
        Self { _wanted: wanted, guard, sent }
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.guard
    }

    /// Waits, after the response's end, until the connection can go to somebody else.
    ///
    /// A server may answer before it has the whole request. What is left of it would have to be
    /// sent before the connection is of use: it is closed instead.
    pub(crate) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.sent.load(SeqCst) {
            return Poll::Ready(());
        }
        self.guard.poll_settled(cx)
    }
}
