//! One connection's state and its transitions, and the array all connections live in.
//!
//! Invariant: a slot is exactly one of Opening, Idle, Checking, InUse, Resetting, Closing, or
//! free; the number of slots in each state is kept by the one function that changes a state.
//! Left out: which transition happens when (`hand.rs`, `pool.rs`).

use alloc::vec::Vec;

use crate::time::Timestamp;

/// Names one connection for as long as it exists; later connections have other names.
///
/// A name that outlived its connection is recognised by its generation and ignored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    /// Returns the place of the connection in its pool: small, dense, and used again later.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }

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

/// The worker (a thread) that a caller or a connection belongs to. A pool that is not spread over
/// workers uses one lane for all.
///
/// Lanes are indices: the pool keeps two words per lane up to the highest it has seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lane(pub u16);

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// No connection: the slot may be used for a new one.
    Free,
    Opening,
    Idle,
    Checking,
    InUse,
    Resetting,
    Closing,
}

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    generation: u32,
    state: State,
    /// Where the connection is, as far as the shell has said.
    pub(crate) home: Lane,
    /// The pool's epoch when it was opened; connections of an older one are not kept.
    pub(crate) epoch: u64,
    /// How often it was given back by a user.
    pub(crate) uses: u64,
    /// Since when it has been in its state.
    pub(crate) since: Timestamp,
    /// Since when nobody has used it; unlike `since`, a check does not change it.
    pub(crate) unused: Timestamp,
    /// When it became usable for the first time.
    pub(crate) born: Timestamp,
    /// Its share of the lifetime jitter, in parts of 2^32.
    pub(crate) luck: u32,
    /// When its lifetime is over.
    pub(crate) expires: Timestamp,
    /// Whether it has outlived that, until its replacement is open.
    pub(crate) outliving: bool,
    /// Whether its last check was a keep-alive, on nobody's behalf.
    pub(crate) kept_alive: bool,
    /// Whether the shell has the place for itself once the connection, which is being closed, has
    /// ended.
    pub(crate) bequeathed: bool,
}

/// All connections of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    counts: [u32; 7],
}

impl Slots {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), counts: [0; 7] }
    }

    /// Takes a slot for a connection that is to be opened.
    pub(crate) fn open(&mut self, now: Timestamp, epoch: u64) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 connections");
            self.slots.push(Slot::free());
            self.counts[State::Free as usize] += 1;
            // Room to give every slot back without allocating later.
            self.free.reserve(self.slots.len());
            index
        });
        let slot = &mut self.slots[index as usize];
        slot.epoch = epoch;
        slot.uses = 0;
        slot.home = Lane(0);
        slot.born = now;
        slot.expires = Timestamp::MAX;
        slot.outliving = false;
        slot.kept_alive = false;
        slot.bequeathed = false;
        self.turn(index, State::Opening, now);
        index
    }

    /// Gives a slot back; its id is worth nothing from now on.
    pub(crate) fn release(&mut self, index: u32, now: Timestamp) {
        self.turn(index, State::Free, now);
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
    }

    /// Changes a slot's state: the only place that does, so counts and states cannot disagree.
    pub(crate) fn turn(&mut self, index: u32, state: State, now: Timestamp) {
        let slot = &mut self.slots[index as usize];
        self.counts[slot.state as usize] -= 1;
        self.counts[state as usize] += 1;
        slot.state = state;
        slot.since = now;
    }

    /// Returns the slot of a connection that still exists.
    pub(crate) fn find(&self, conn: ConnId) -> Option<u32> {
        let slot = self.slots.get(conn.index())?;
        (slot.generation == conn.generation && slot.state != State::Free).then_some(conn.index)
    }

    pub(crate) fn id(&self, index: u32) -> ConnId {
        ConnId { index, generation: self.slots[index as usize].generation }
    }

    pub(crate) fn state(&self, index: u32) -> State {
        self.slots[index as usize].state
    }

    pub(crate) fn is_idle(&self, index: u32) -> bool {
        self.state(index) == State::Idle
    }

    pub(crate) fn at(&self, index: u32) -> &Slot {
        &self.slots[index as usize]
    }

    pub(crate) fn at_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut()
    }

    /// Returns how many slots are in a state.
    pub(crate) const fn count(&self, state: State) -> u32 {
        self.counts[state as usize]
    }

    /// Returns how many connections were not opened in this epoch, by looking at each.
    pub(crate) fn count_of_other_epochs(&self, epoch: u64) -> u32 {
        let mut found = 0;
        for slot in self.slots.iter().filter(|slot| slot.state != State::Free) {
            found += u32::from(slot.epoch != epoch);
        }
        found
    }

    /// Returns how many connections there are in any state.
    pub(crate) const fn total(&self) -> u32 {
        self.live() + self.count(State::Opening) + self.count(State::Closing)
    }

    /// Returns how many connections are open and not being closed.
    pub(crate) const fn live(&self) -> u32 {
        self.count(State::Idle)
            + self.count(State::Checking)
            + self.count(State::InUse)
            + self.count(State::Resetting)
    }

    /// Returns how many connections somebody may have soon.
    pub(crate) const fn coming(&self) -> u32 {
        self.count(State::Opening) + self.count(State::Checking) + self.count(State::Resetting)
    }

    /// Checks the counts against the slots; `idle` says which slots are listed as idle.
    pub(crate) fn check_invariants(&self, idle: &[u32]) {
        let mut recount = [0; 7];
        for slot in &self.slots {
            recount[slot.state as usize] += 1;
        }
        assert_eq!(recount, self.counts, "counts are what a recount finds");
        assert_eq!(self.free.len(), recount[State::Free as usize] as usize);
        let mut free = self.free.clone();
        free.sort_unstable();
        free.dedup();
        assert_eq!(free.len(), self.free.len(), "no slot is free twice");
        assert!(free.iter().all(|index| self.state(*index) == State::Free));
        assert_eq!(idle.len(), recount[State::Idle as usize] as usize, "idle slots are listed");
        assert!(idle.iter().all(|index| self.state(*index) == State::Idle));
    }
}

impl Slot {
    const fn free() -> Self {
        Self {
            generation: 0,
            state: State::Free,
            home: Lane(0),
            epoch: 0,
            uses: 0,
            since: Timestamp::ZERO,
            unused: Timestamp::ZERO,
            born: Timestamp::ZERO,
            luck: 0,
            expires: Timestamp::MAX,
            outliving: false,
            kept_alive: false,
            bequeathed: false,
        }
    }

    pub(crate) const fn is_open(&self) -> bool {
        !matches!(self.state, State::Free | State::Opening | State::Closing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_the_way_through_a_number() {
        let id = ConnId { index: 7, generation: u32::MAX };
        assert_eq!(ConnId::from_bits(id.to_bits()), id);
        assert_eq!(id.index(), 7);
    }

    #[test]
    fn the_name_of_a_closed_connection_is_never_the_name_of_another() {
        let mut slots = Slots::new();
        let first = slots.open(Timestamp::ZERO, 1);
        let name = slots.id(first);
        slots.release(first, Timestamp::ZERO);
        assert_eq!(slots.find(name), None);
        let second = slots.open(Timestamp::ZERO, 1);
        assert_eq!(first, second, "the slot is used again");
        assert_eq!(slots.find(name), None);
        slots.check_invariants(&[]);
    }
}
