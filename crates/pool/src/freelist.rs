//! Idle connections that can be taken and given back without the lock.
//!
//! A connection has a place, its slot, for life, and each place has a cell whose content is
//! exchanged in one step: taking exchanges it for nothing, giving back for the connection. A mark
//! beside each cell says whether looking is worthwhile. The lowest place is taken first, so that
//! load concentrates there and high ones grow idle.
//!
//! Closing says so first and then empties all cells. Who lays something down looks again whether
//! the list was closed meanwhile, and if so takes it back: of the two exchanges of a cell the later
//! one sees what happened before the earlier one, so either the closer finds the connection or its
//! user finds the list closed. From then on everybody goes through the lock, where those who wait
//! stand in line: nobody can overtake them and no connection can be laid down behind their back.
//!
//! Invariant: a mark is changed only by who has the place's connection (before it is laid down,
//! after it was taken), so marks are exact whenever nobody is on the way.
//! Left out: who closes and opens the list, and when (`shared.rs`, under its lock).

use crate::sync::{AtomicBool, AtomicUsize, Cell, OnceBox, Ordering};

/// Places in one segment.
#[cfg(not(any(headpond_loom, headpond_shuttle)))]
pub(crate) const PLACES: usize = 64;
/// Few, because model checkers make all of them for every schedule.
#[cfg(any(headpond_loom, headpond_shuttle))]
pub(crate) const PLACES: usize = 2;
const SEGMENTS: usize = 64;

/// The most places a list can have.
pub(crate) const CAPACITY: usize = PLACES * SEGMENTS;

/// Takes and gives back values by place.
pub(crate) struct Freelist<T> {
    /// The first segment is at hand: most pools have no other.
    first: Segment<T>,
    further: [OnceBox<Segment<T>>; SEGMENTS - 1],
    /// Places that exist, from the first.
    places: AtomicUsize,
    /// Where looking is begun: mostly nothing lies below.
    lowest: AtomicUsize,
    closed: AtomicBool,
}

struct Segment<T> {
    marks: [AtomicBool; PLACES],
    cells: [Cell<T>; PLACES],
}

impl<T> Segment<T> {
    fn new() -> Self {
        Self {
            marks: std::array::from_fn(|_| AtomicBool::new(false)),
            cells: std::array::from_fn(|_| Cell::new()),
        }
    }
}

impl<T> Freelist<T> {
    /// Returns a closed list.
    pub(crate) fn new() -> Self {
        Self {
            first: Segment::new(),
            further: std::array::from_fn(|_| OnceBox::new()),
            places: AtomicUsize::new(0),
            lowest: AtomicUsize::new(0),
            closed: AtomicBool::new(true),
        }
    }

    /// Makes room for a place. Called under the owner's lock, while the list is closed or open.
    pub(crate) fn make_room(&self, place: usize) {
        for segment in &self.further[..place / PLACES] {
            if segment.get().is_none() {
                segment.set(Segment::new());
            }
        }
        self.places.fetch_max(place + 1, Ordering::AcqRel);
    }

    /// Returns whether the list is closed; it may change at once.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes the value with the lowest place, or nearly; none if the list is closed.
    #[inline]
    pub(crate) fn take(&self) -> Option<T> {
        if self.is_closed() {
            return None;
        }
        let lowest = self.lowest.load(Ordering::Relaxed);
        match self.take_at(lowest) {
            Some(value) => Some(value),
            None => self.search(lowest),
        }
    }

    /// Takes a value from the places behind `from`, or before it.
    fn search(&self, from: usize) -> Option<T> {
        let places = self.places.load(Ordering::Acquire);
        let mut around = (from + 1..places).chain(0..from.min(places));
        around.find_map(|place| {
            let value = self.take_at(place)?;
            self.lowest.store(place, Ordering::Relaxed);
            Some(value)
        })
    }

    /// Lays a value down at its place.
    ///
    /// # Errors
    /// When the list is closed or has no such place: the value comes back.
    #[inline]
    pub(crate) fn put(&self, place: usize, value: T) -> Result<(), T> {
        let Some(segment) = self.segment(place).filter(|_| !self.is_closed()) else {
            return Err(value);
        };
        let (mark, cell) = (&segment.marks[place % PLACES], &segment.cells[place % PLACES]);
        mark.store(true, Ordering::Relaxed);
        cell.put(value);
        if place < self.lowest.load(Ordering::Relaxed) {
            self.lowest.store(place, Ordering::Relaxed);
        }
        if self.is_closed()
            && let Some(value) = cell.take()
        {
            mark.store(false, Ordering::Relaxed);
            return Err(value);
        }
        Ok(())
    }

    /// Closes the list and hands everything that lay here to `keep`. Under the owner's lock.
    pub(crate) fn close(&self, mut keep: impl FnMut(usize, T)) {
        self.closed.store(true, Ordering::Release);
        for place in 0..self.places.load(Ordering::Acquire) {
            let Some(segment) = self.segment(place) else { break };
            // Whatever the mark says: it is only a hint to those who may find nothing.
            if let Some(value) = segment.cells[place % PLACES].take() {
                segment.marks[place % PLACES].store(false, Ordering::Relaxed);
                keep(place, value);
            }
        }
    }

    /// Opens the list. Under the owner's lock.
    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::Release);
    }

    /// Takes one place's value, if it lies here.
    #[inline]
    pub(crate) fn take_at(&self, place: usize) -> Option<T> {
        let segment = self.segment(place)?;
        let mark = &segment.marks[place % PLACES];
        if !mark.load(Ordering::Relaxed) {
            return None;
        }
        let value = segment.cells[place % PLACES].take()?;
        mark.store(false, Ordering::Relaxed);
        Some(value)
    }

    /// Returns how many values lie here.
    pub(crate) fn len(&self) -> usize {
        let places = 0..self.places.load(Ordering::Acquire);
        let marked = |place: &usize| {
            let segment = self.segment(*place);
            segment.is_some_and(|segment| segment.marks[place % PLACES].load(Ordering::Acquire))
        };
        places.filter(marked).count()
    }

    #[inline]
    fn segment(&self, place: usize) -> Option<&Segment<T>> {
        if place < PLACES {
            return Some(&self.first);
        }
        self.further.get(place / PLACES - 1)?.get()
    }
}
