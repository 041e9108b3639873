//! What has happened, and what is.
//!
//! Invariant: the sums hold at every moment (`Counters::check_sums`); nothing is counted twice.
//! Left out: histograms of waits and uses; the shell sees every wait in its `Grant`.

use core::time::Duration;

use crate::command::{CloseReason, Refusal};

/// How many connections are in which state, and how many callers wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Connections that are being opened.
    pub opening: u32,
    /// Connections that nobody uses.
    pub idle: u32,
    /// Connections that are being checked.
    pub checking: u32,
    /// Connections that callers have.
    pub in_use: u32,
    /// Connections that are being cleaned.
    pub resetting: u32,
    /// Connections that are being closed.
    pub closing: u32,
    /// Callers who wait.
    pub waiting: u32,
}

impl Counts {
    /// Returns how many connections there are in any state: what counts against the limit.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.opening + self.idle + self.checking + self.in_use + self.resetting + self.closing
    }

    /// Returns how many connections are open and not being closed.
    #[must_use]
    pub const fn live(&self) -> u32 {
        self.idle + self.checking + self.in_use + self.resetting
    }
}

/// Totals since the pool was made.
///
/// Two sums hold at every moment:
/// `granted = returned + undeliverable + lost_in_use + in use now` and
/// `queued = granted_after_wait + refused_waiting + abandoned + waiting now`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Connections given to callers.
    pub granted: u64,
    /// Those of them whose caller had waited.
    pub granted_after_wait: u64,
    /// How long those callers had waited, together.
    pub waited: Duration,
    /// Connections given back, whatever became of them.
    pub returned: u64,
    /// Grants that came back unused because the caller was gone.
    pub undeliverable: u64,
    /// Connections lost while a caller had them.
    pub lost_in_use: u64,
    /// Callers who began to wait.
    pub queued: u64,
    /// Callers who came back because what they were granted was dead.
    pub regranted: u64,
    /// Callers who went away while waiting.
    pub abandoned: u64,
    /// Callers refused while waiting; the reasons are in the fields below.
    pub refused_waiting: u64,
    /// Callers refused because of their deadline.
    pub refused_timeout: u64,
    /// Callers refused because the queue was full.
    pub refused_queue_full: u64,
    /// Callers refused because the server could not be reached.
    pub refused_failing: u64,
    /// Callers refused because the server refused the login.
    pub refused_rejected: u64,
    /// Callers refused because the pool was closed.
    pub refused_closed: u64,
    /// Connections asked for by Open, including those that failed or were postponed.
    pub opens: u64,
    /// Connections that became usable.
    pub opened: u64,
    /// Connections that could not be opened.
    pub open_failures: u64,
    /// Opens that were put off for want of a shared budget.
    pub postponed: u64,
    /// Checks begun.
    pub checks: u64,
    /// Resets begun.
    pub resets: u64,
    /// Connections that were open and went away without being asked to.
    pub lost: u64,
    /// Connections the pool asked to be closed, by `CloseReason as usize`.
    pub closed: [u64; CloseReason::ALL.len()],
    /// Verbs that named a connection or a waiter which no longer exists, and were ignored.
    pub stale: u64,
    /// Verbs that made no sense in the connection's state, and were ignored.
    pub misused: u64,
}

impl Counters {
    pub(crate) const fn refuse(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Timeout { .. } => self.refused_timeout += 1,
            Refusal::QueueFull => self.refused_queue_full += 1,
            Refusal::Failing { .. } => self.refused_failing += 1,
            Refusal::Rejected => self.refused_rejected += 1,
            Refusal::Closed => self.refused_closed += 1,
        }
    }

    pub(crate) fn check_sums(&self, counts: &Counts) {
        assert_eq!(
            self.granted,
            self.returned + self.undeliverable + self.lost_in_use + u64::from(counts.in_use),
            "every grant came back, was lost, or is in use"
        );
        assert_eq!(
            self.queued,
            self.granted_after_wait
                + self.refused_waiting
                + self.abandoned
                + u64::from(counts.waiting),
            "every waiter was granted, refused, went away, or waits"
        );
        assert!(
            self.opens >= self.opened + self.open_failures + self.postponed,
            "every open has at most one outcome"
        );
    }
}
