//! Places for connections that the shell opens for a purpose of its own, such as asking the
//! server how it is.
//!
//! Invariant: such a connection counts against the limit from before it is opened until it has
//! ended, and nobody is ever lent it.
//! Left out: shared budgets, which the shell asks itself.

use crate::pool::{Gate, PoolCore};
use crate::slot::{ConnId, State};
use crate::time::Timestamp;

impl PoolCore {
    /// Takes a place for a connection of the shell's own; [`vacate`](Self::vacate) gives it back.
    ///
    /// Returns `None` while the pool is paused or closed, and while all regular places are taken:
    /// [`occupy_idle`](Self::occupy_idle) may make room then. The place counts as
    /// [`closing`](crate::Counts::closing).
    #[must_use]
    pub fn occupy(&mut self, now: Timestamp) -> Option<ConnId> {
        let now = self.tick(now);
        if self.gate != Gate::Open || self.slots.total() >= self.limits.regular() {
            return None;
        }
        let index = self.slots.open(now, self.epoch);
        self.slots.turn(index, State::Closing, now);
        Some(self.slots.id(index))
    }

    /// Closes the connection that has been idle longest and takes its place, which may be used
    /// once the connection has ended: when [`is_vacant`](Self::is_vacant) says so.
    ///
    /// Returns `None` while the pool is paused or closed, and if nothing is idle.
    #[must_use]
    pub fn occupy_idle(&mut self, now: Timestamp) -> Option<ConnId> {
        if self.gate != Gate::Open {
            return None;
        }
        let conn = self.evict_oldest_idle(now)?;
        let index = self.slots.find(conn)?;
        self.slots.at_mut(index).bequeathed = true;
        Some(conn)
    }

    /// Returns whether a place taken by [`occupy_idle`](Self::occupy_idle) may be used.
    #[must_use]
    pub fn is_vacant(&self, place: ConnId) -> bool {
        self.slots.find(place).is_some_and(|index| !self.slots.at(index).bequeathed)
    }

    /// Gives a place back, whether it was used or not.
    pub fn vacate(&mut self, now: Timestamp, place: ConnId) {
        match self.slots.find(place) {
            // The connection that was to leave it has not ended yet: it frees the place.
            Some(index) if self.slots.at(index).bequeathed => {
                self.slots.at_mut(index).bequeathed = false;
            }
            _ => self.closed(now, place),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::command::{Acquire, Command, Fate};
    use crate::limits::{Limits, Policy};
    use crate::slot::Lane;

    use super::*;

    const NOW: Timestamp = Timestamp::ZERO;

    fn pool(size: u32) -> PoolCore {
        PoolCore::new(NOW, Limits { size, ..Limits::default() }, Policy::default(), 1)
    }

    #[test]
    fn a_place_counts_against_the_limit_until_it_is_given_back() {
        let mut pool = pool(1);
        let own = pool.occupy(NOW).expect("the pool is empty");
        assert_eq!((pool.counts().total(), pool.occupy(NOW)), (1, None));
        assert!(matches!(pool.acquire(NOW, Lane(0), 7, None), Acquire::Queued(_)));
        assert_eq!(pool.poll_command(), None, "nothing may be opened beside it");
        pool.vacate(NOW, own);
        assert!(matches!(pool.poll_command(), Some(Command::Open { .. })));
        pool.check_invariants();
    }

    /// A pool of one with an idle connection, and its name.
    fn with_an_idle_one() -> (PoolCore, ConnId) {
        let mut pool = pool(1);
        assert!(matches!(pool.acquire(NOW, Lane(0), 7, None), Acquire::Queued(_)));
        let Some(Command::Open { conn }) = pool.poll_command() else { panic!("none opened") };
        pool.ready(NOW, conn, Lane(0));
        assert!(matches!(pool.poll_command(), Some(Command::Grant { .. })));
        pool.release(NOW, conn, Lane(0), Fate::Reuse);
        (pool, conn)
    }

    #[test]
    fn the_place_of_an_idle_connection_is_taken_before_those_who_wait() {
        let (mut pool, conn) = with_an_idle_one();
        let place = pool.occupy_idle(NOW).expect("one is idle");
        assert!(matches!(pool.poll_command(), Some(Command::Close { .. })));
        assert!(matches!(pool.acquire(NOW, Lane(0), 8, None), Acquire::Queued(_)));
        assert!(!pool.is_vacant(place));
        pool.closed(NOW, conn);
        assert!(pool.is_vacant(place));
        assert_eq!((pool.poll_command(), pool.counts().total()), (None, 1));
        pool.vacate(NOW, place);
        assert!(matches!(pool.poll_command(), Some(Command::Open { .. })));
        pool.check_invariants();
    }

    #[test]
    fn a_place_given_back_early_is_free_once_its_connection_has_ended() {
        let (mut pool, conn) = with_an_idle_one();
        let place = pool.occupy_idle(NOW).expect("one is idle");
        pool.vacate(NOW, place);
        assert_eq!(pool.counts().total(), 1);
        pool.closed(NOW, conn);
        assert_eq!(pool.counts().total(), 0);
        assert!(!pool.is_vacant(place));
        pool.check_invariants();
    }

    #[test]
    fn a_paused_pool_has_no_place() {
        let mut pool = pool(2);
        pool.pause(NOW);
        assert_eq!((pool.occupy(NOW), pool.occupy_idle(NOW)), (None, None));
        pool.resume(NOW);
        assert!(pool.occupy(NOW).is_some());
        pool.close(NOW);
        assert_eq!(pool.occupy(NOW), None);
    }
}
