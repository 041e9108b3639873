//! The queue of callers who wait for a connection.
//!
//! Invariant: order of arrival is order of service, but for waiters of a connection's own lane,
//! who may overtake others for a bounded time, and for priorities, which count as having arrived
//! earlier by a bounded time; removal never reorders.
//! Left out: when a deadline is looked at (`expire.rs`) and waking anyone up (the shell does).

use alloc::vec::Vec;
use core::time::Duration;

use crate::lanes::{End, Lanes};
use crate::slot::Lane;
use crate::time::Timestamp;

/// Names one waiting caller until it is granted, refused or abandoned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WaiterId {
    index: u32,
    generation: u32,
}

impl WaiterId {
    /// Returns the id as a number.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// Returns the id `to_bits` was called on.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// What was known of a caller when it began to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub(crate) caller: u64,
    pub(crate) lane: Lane,
    pub(crate) since: Timestamp,
    /// The end of time when there is no deadline.
    pub(crate) deadline: Timestamp,
    /// How much earlier it counts as having arrived than it did.
    pub(crate) boost: Duration,
    /// It had its turn once and got a dead connection: it stands in front and is not overtaken.
    pub(crate) again: bool,
}

impl Waiter {
    /// Returns whether it counts as having arrived earlier.
    fn goes_before(&self, other: &Self) -> bool {
        // Without priorities, which is nearly always, this is all.
        if self.boost == other.boost {
            return self.since < other.since;
        }
        self.rank() < other.rank()
    }

    /// Returns when it counts as having arrived: the smaller is served first.
    fn rank(&self) -> i128 {
        i128::from(self.since.as_nanos()) - i128::from(crate::time::nanos(self.boost))
    }
}

#[derive(Clone, Debug)]
struct Entry {
    generation: u32,
    waiter: Option<Waiter>,
}

/// The waiting callers of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Waiters {
    entries: Vec<Entry>,
    free: Vec<u32>,
    queue: Lanes,
    /// Whether deadlines are known to rise from front to back; then only the front is looked at.
    sorted: bool,
    /// Whether everybody is known to stand in the order of arrival.
    plain: bool,
}

impl Waiters {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            queue: Lanes::new(),
            sorted: true,
            plain: true,
        }
    }

    /// Adds a caller: behind all others, or in front of them when it waits again.
    pub(crate) fn push(&mut self, waiter: Waiter) -> WaiterId {
        if self.queue.is_empty() {
            (self.sorted, self.plain) = (true, true);
        }
        // Behind everybody who counts as having arrived no later; those who wait again stay in
        // front. Nearly always that is the back of the queue.
        let (mut at, mut next) = (self.queue.at(End::Back), None);
        if waiter.again {
            (at, next) = (None, self.queue.at(End::Front));
        }
        while let Some(member) = at {
            let before = self.waiter(member);
            if before.again || !waiter.goes_before(before) {
                break;
            }
            next = Some(member);
            at = self.queue.before(member);
        }
        // The new neighbours must be on the right side for the deadlines to stay in order.
        let in_front = at.is_none_or(|member| self.waiter(member).deadline <= waiter.deadline);
        let behind = next.is_none_or(|member| waiter.deadline <= self.waiter(member).deadline);
        self.sorted &= in_front && behind;
        self.plain &= waiter.again || next.is_none();
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.entries.len()).expect("fewer than 2^32 waiters");
            self.entries.push(Entry { generation: 0, waiter: None });
            self.free.reserve(self.entries.len());
            index
        });
        self.entries[index as usize].waiter = Some(waiter);
        match next {
            Some(next) => self.queue.insert_before(index, waiter.lane, next),
            None => self.queue.push(index, waiter.lane, End::Back),
        }
        self.id(index)
    }

    /// Removes a caller who is still waiting.
    pub(crate) fn remove(&mut self, id: WaiterId) -> Option<Waiter> {
        let entry = self.entries.get_mut(id.index as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let waiter = entry.waiter.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.queue.remove(id.index);
        self.free.push(id.index);
        Some(waiter)
    }

    /// Returns who gets a connection that becomes free on `lane`.
    ///
    /// That is the oldest, unless it belongs to another lane, has waited less than `local_first`,
    /// and somebody of `lane` waits: then it is the oldest of `lane`.
    pub(crate) fn choose(
        &self,
        now: Timestamp,
        lane: Lane,
        local_first: Duration,
    ) -> Option<WaiterId> {
        let front = self.queue.at(End::Front)?;
        let oldest = self.waiter(front);
        let overtaken =
            oldest.lane != lane && !oldest.again && now.since(oldest.since) < local_first;
        let local = if overtaken { self.queue.at_lane(lane, End::Front) } else { None };
        Some(self.id(local.unwrap_or(front)))
    }

    pub(crate) fn front(&self) -> Option<(WaiterId, Waiter)> {
        let index = self.queue.at(End::Front)?;
        Some((self.id(index), *self.waiter(index)))
    }

    /// Returns since when the longest waiting caller has waited.
    pub(crate) fn oldest_since(&self) -> Option<Timestamp> {
        // Those in front who wait again began later than the first of the others.
        let mut oldest: Option<Timestamp> = None;
        for index in self.queue.iter() {
            let waiter = self.waiter(index);
            oldest = Some(oldest.map_or(waiter.since, |since| since.min(waiter.since)));
            if !waiter.again && self.plain {
                break;
            }
        }
        oldest
    }

    /// Removes everyone whose deadline has passed and hands each to `refuse`, with its place in
    /// the queue as it was before, from 1.
    pub(crate) fn take_late(
        &mut self,
        now: Timestamp,
        mut refuse: impl FnMut(WaiterId, Waiter, u32),
    ) {
        let mut position = 0;
        let mut next = self.queue.at(End::Front);
        while let Some(index) = next {
            next = self.queue.behind(index);
            position += 1;
            if self.waiter(index).deadline <= now {
                let id = self.id(index);
                let waiter = self.remove(id).expect("the walk visits members only");
                refuse(id, waiter, position);
            } else if self.sorted {
                break;
            }
        }
    }

    /// Returns the earliest deadline, the end of time when there is none.
    pub(crate) fn next_deadline(&self) -> Timestamp {
        let deadlines = self.queue.iter().map(|index| self.waiter(index).deadline);
        let looked_at = if self.sorted { 1 } else { usize::MAX };
        deadlines.take(looked_at).min().unwrap_or(Timestamp::MAX)
    }

    /// Returns the earliest deadline by looking at everyone.
    pub(crate) fn first_deadline(&self) -> Timestamp {
        let present = self.entries.iter().filter_map(|entry| entry.waiter.as_ref());
        present.map(|waiter| waiter.deadline).min().unwrap_or(Timestamp::MAX)
    }

    pub(crate) const fn len(&self) -> u32 {
        self.queue.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn check_invariants(&self) {
        self.queue.check_invariants();
        let present = self.entries.iter().filter(|entry| entry.waiter.is_some()).count();
        assert_eq!(present, self.len() as usize, "everyone present is queued");
        assert_eq!(present + self.free.len(), self.entries.len(), "the rest is free");
        let waiters = || self.queue.iter().map(|index| self.waiter(index));
        if self.sorted {
            assert!(waiters().is_sorted_by_key(|waiter| waiter.deadline));
        }
        assert!(waiters().is_sorted_by_key(|waiter| !waiter.again), "who waits again is in front");
        let patient = waiters().filter(|waiter| !waiter.again);
        assert!(patient.is_sorted_by_key(Waiter::rank), "others are in order of arrival");
    }

    fn waiter(&self, index: u32) -> &Waiter {
        self.entries[index as usize].waiter.as_ref().expect("everyone queued is present")
    }

    fn id(&self, index: u32) -> WaiterId {
        WaiterId { index, generation: self.entries[index as usize].generation }
    }
}
