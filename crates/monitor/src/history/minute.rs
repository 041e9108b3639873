//! What was seen since the minute began, on its way to whoever keeps it longer than memory does.
//!
//! Invariant: a look belongs to the minute of the clock in which it was made, and to that alone;
//! a minute that is given away in parts weighs as much as in one.
//! Not here: where it is kept (`store.rs`).

use std::collections::BTreeMap;

use super::point::{Heap, Point, Weighed};

/// Seconds of a minute.
pub(crate) const MINUTE: i64 = 60;

/// One minute, or a part of it, of every pool that was seen in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Minute {
    /// Its begin, in seconds since 1970.
    pub at: i64,
    /// Each pool with its looks; [`super::ALL`] is the sum.
    pub pools: Vec<(String, Weighed)>,
}

/// Collects looks.
#[derive(Debug, Default)]
pub(crate) struct Minutes {
    at: i64,
    heaps: BTreeMap<String, Heap>,
}

impl Minutes {
    /// Turns to the minute of a moment in seconds since 1970; returns the one before, if anything
    /// was seen in it.
    pub fn turn(&mut self, wall: f64) -> Option<Minute> {
        let at = begin_of(wall);
        let over = if at == self.at { None } else { self.take() };
        self.at = at;
        over
    }

    /// Adds a look at a pool.
    pub fn add(&mut self, name: &str, point: &Point) {
        if let Some(heap) = self.heaps.get_mut(name) {
            heap.add(point);
            return;
        }
        let mut heap = Heap::default();
        heap.add(point);
        self.heaps.insert(name.to_owned(), heap);
    }

    /// Takes what was seen so far.
    pub fn take(&mut self) -> Option<Minute> {
        let heaps = std::mem::take(&mut self.heaps);
        let pools = heaps.into_iter().map(|(name, mut heap)| (name, heap.weigh()));
        let minute = Minute { at: self.at, pools: pools.collect() };
        (!minute.pools.is_empty()).then_some(minute)
    }
}

/// The begin of the minute of a moment.
fn begin_of(wall: f64) -> i64 {
    // A clock has no more seconds than an integer holds, and the cast stops at its ends.
    let seconds = wall.floor() as i64;
    seconds - seconds.rem_euclid(MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(used: f32) -> Point {
        let mut point = Point::default();
        point.values[0] = used;
        point
    }

    #[test]
    fn a_minute_is_given_away_when_the_next_one_begins() {
        let mut minutes = Minutes::default();
        assert_eq!(minutes.turn(120.5), None);
        minutes.add("a", &point(1.0));
        assert_eq!(minutes.turn(179.9), None);
        minutes.add("a", &point(4.0));
        minutes.add("b", &point(7.0));
        let over = minutes.turn(180.0).expect("a minute is over");
        assert_eq!(over.at, 120);
        let told: Vec<_> =
            over.pools.iter().map(|(name, w)| (name.as_str(), w.weight, w.values[0])).collect();
        assert_eq!(told, [("a", 2, 2.5), ("b", 1, 7.0)]);
        assert_eq!(minutes.take(), None, "nothing was seen since");
    }

    #[test]
    fn a_clock_that_goes_backwards_begins_its_minute_again() {
        let mut minutes = Minutes::default();
        minutes.turn(600.0);
        minutes.add("a", &point(1.0));
        let over = minutes.turn(60.0).expect("another minute");
        assert_eq!(over.at, 600);
        minutes.add("a", &point(3.0));
        assert_eq!(minutes.turn(600.0).map(|over| over.at), Some(60));
        assert_eq!(minutes.turn(-1.0), None);
        minutes.add("a", &point(3.0));
        assert_eq!(minutes.take().map(|over| over.at), Some(-60));
    }
}
