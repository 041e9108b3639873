//! Mistakes on purpose: a test of the whole that does not find them proves nothing.
//!
//! Invariant: nothing is wrong without the feature `mutants`, nor with it until a test asks.

#[cfg(feature = "mutants")]
use core::sync::atomic::{AtomicU8, Ordering};

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A server is taken for settled while it owes one reply.
    EarlyRelease,
    /// A server goes to its next client while a cancel request is under way to it.
    NoLease,
    /// An unnamed statement is taken for the client's own, whoever prepared it.
    ForeignUnnamed,
    /// A client's settings are not applied to its server.
    NoSettle,
}

#[cfg(feature = "mutants")]
static MADE: AtomicU8 = AtomicU8::new(0);

/// Makes a mistake from now on, in the whole process; none makes none.
#[cfg(feature = "mutants")]
pub fn make(mutant: Option<Mutant>) {
    MADE.store(mutant.map_or(0, number), Ordering::SeqCst);
}

#[cfg(feature = "mutants")]
const fn number(mutant: Mutant) -> u8 {
    match mutant {
        Mutant::EarlyRelease => 1,
        Mutant::NoLease => 2,
        Mutant::ForeignUnnamed => 3,
        Mutant::NoSettle => 4,
    }
}

#[cfg(feature = "mutants")]
#[inline]
pub(super) fn is_made(mutant: Mutant) -> bool {
    MADE.load(Ordering::Relaxed) == number(mutant)
}

#[cfg(not(feature = "mutants"))]
#[inline]
pub(super) const fn is_made(_mutant: Mutant) -> bool {
    false
}
