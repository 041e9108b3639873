//! A connection with what the pool knows of it while somebody has it.
//!
//! Invariant: an entry is in exactly one place: with a guard, in the free list, in the pool's
//! keeping, or with a task that opens, checks, cleans or closes it.
//! Left out: the bookkeeping of the core, which knows the connection by its name only.

use headpond_core::{ConnId, Timestamp};
use tokio::time::Instant;

pub(crate) struct Entry<C> {
    pub(crate) conn: C,
    pub(crate) id: ConnId,
    /// The pool's epoch when it was opened.
    pub(crate) epoch: u64,
    /// When its lifetime is over.
    pub(crate) expires: Timestamp,
    /// Loans that the core has not been told of.
    pub(crate) untold: u64,
    /// Loans after which the core must be told, because the connection may be worn out.
    pub(crate) untold_max: u64,
    /// When it was lent or came back, whichever is later; it may have come back a round of the
    /// house later than that.
    pub(crate) touched: Timestamp,
    /// Where its user found it when it had waited; given back under the lock, with the connection.
    pub(crate) seat: Option<usize>,
    /// The exact start of the loan, if this one is measured.
    pub(crate) began: Option<Instant>,
}

impl<C> Entry<C> {
    pub(crate) const fn place(&self) -> usize {
        self.id.index()
    }
}
