//! Where callers who wait find what they were granted, without taking the lock.
//!
//! A seat has a number, which is the caller's key in the slab behind the lock. Who grants fills it
//! under the lock, who waits empties it; the key is given back with the connection, which passes
//! the lock sooner or later. So a seat has one owner at a time and nothing is allocated for a wait.
//!
//! Invariant: a seat is filled at most once while a caller has it.
//! Left out: refusals, which may cost a lock.

use crate::sync::{Cell, OnceBox};

/// Seats in the first row; each further row has twice as many.
#[cfg(not(any(headpond_loom, headpond_shuttle)))]
const FIRST: usize = 64;
#[cfg(any(headpond_loom, headpond_shuttle))]
const FIRST: usize = 2;
const ROWS: usize = 32;

/// Seats by number; there are as many as callers have ever waited at once, and more.
pub(crate) struct Seats<T> {
    rows: [OnceBox<Box<[Cell<T>]>>; ROWS],
}

/// Returns the row of a seat and its place there.
#[inline]
const fn position(number: usize) -> (usize, usize) {
    let shifted = number + FIRST;
    let row = shifted.ilog2() - FIRST.ilog2();
    (row as usize, shifted - (FIRST << row))
}

impl<T> Seats<T> {
    pub(crate) fn new() -> Self {
        Self { rows: std::array::from_fn(|_| OnceBox::new()) }
    }

    /// Sees to it that a seat exists. Under the owner's lock.
    #[inline]
    pub(crate) fn make_room(&self, number: usize) {
        let (row, _) = position(number);
        if self.rows[row].get().is_none() {
            self.rows[row].set((0..FIRST << row).map(|_| Cell::new()).collect());
        }
    }

    /// Fills a seat that exists. Under the owner's lock.
    #[inline]
    pub(crate) fn fill(&self, number: usize, value: T) {
        let (row, place) = position(number);
        let row = self.rows[row].get().expect("who waits was given a seat");
        row[place].put(value);
    }

    /// Takes what lies on a seat.
    #[inline]
    pub(crate) fn take(&self, number: usize) -> Option<T> {
        let (row, place) = position(number);
        self.rows[row].get()?[place].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seat_is_another_one() {
        let mut before = (0, usize::MAX);
        for number in 0..10_000 {
            let (row, place) = position(number);
            let next_in_row = row == before.0 && place == before.1.wrapping_add(1);
            let next_row = row == before.0 + 1 && place == 0 && before.1 + 1 == FIRST << before.0;
            assert!(next_in_row || next_row, "{number}");
            before = (row, place);
        }
    }
}
