//! The connections nobody uses, in the order they were given back.
//!
//! Invariant: from front to back the idle time falls; the front is always the next to time out.
//! Left out: whether a connection is still good (`hand.rs`) and deadlines (`expire.rs`).

use crate::lanes::{End, Lanes};
use crate::limits::IdleOrder;
use crate::slot::Lane;

/// The idle connections of a pool, by slot.
#[derive(Clone, Debug)]
pub(crate) struct Idle {
    queue: Lanes,
}

impl Idle {
    pub(crate) const fn new() -> Self {
        Self { queue: Lanes::new() }
    }

    pub(crate) fn push(&mut self, slot: u32, home: Lane) {
        self.queue.push(slot, home, End::Back);
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        self.queue.remove(slot);
    }

    /// Returns the slots worth trying for a caller on `lane`, the best first.
    ///
    /// Under FIFO the oldest comes first; the youngest follows, because the oldest may be due for
    /// a check and a caller takes a connection that needs none rather than wait for one that does.
    /// The last but not best, the oldest, is what remains to be checked.
    pub(crate) fn candidates(&self, lane: Lane, order: IdleOrder) -> [Option<u32>; 4] {
        let young = [self.queue.at_lane(lane, End::Back), self.queue.at(End::Back)];
        match order {
            IdleOrder::Lifo => [young[0], young[1], None, None],
            IdleOrder::Fifo => {
                let old = [self.queue.at_lane(lane, End::Front), self.queue.at(End::Front)];
                [old[0], young[0], old[1], young[1]]
            }
        }
    }

    /// Returns the slot that has been idle longest.
    pub(crate) fn oldest(&self) -> Option<u32> {
        self.queue.at(End::Front)
    }

    /// Returns the slot that has been idle for the shortest time.
    pub(crate) fn youngest(&self) -> Option<u32> {
        self.queue.at(End::Back)
    }

    /// Returns the slot that became idle after `slot` did.
    pub(crate) fn younger(&self, slot: u32) -> Option<u32> {
        self.queue.behind(slot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.queue.iter()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn check_invariants(&self) {
        self.queue.check_invariants();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(slots: &[(u32, u16)]) -> Idle {
        let mut idle = Idle::new();
        for (slot, lane) in slots {
            idle.push(*slot, Lane(*lane));
        }
        idle
    }

    #[test]
    fn lifo_prefers_the_youngest_of_the_own_lane() {
        let idle = idle(&[(1, 0), (2, 0), (3, 1)]);
        assert_eq!(idle.candidates(Lane(0), IdleOrder::Lifo), [Some(2), Some(3), None, None]);
    }

    #[test]
    fn fifo_prefers_the_oldest_of_the_own_lane() {
        let idle = idle(&[(1, 0), (2, 1), (3, 1)]);
        let candidates = idle.candidates(Lane(1), IdleOrder::Fifo);
        assert_eq!(candidates, [Some(2), Some(3), Some(1), Some(3)]);
    }
}
