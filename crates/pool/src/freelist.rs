//! Idle connections that can be taken and given back without the lock.
//!
//! A connection has a place, its slot, for life. A bit says that somebody may take it: 63 bits to a
//! word, and the last bit of each word says that the list is closed. Taking clears the lowest bit,
//! so that load concentrates on low places and high ones grow idle; giving back sets it.
//!
//! Closing sets the last bit and takes all others in one step for each word. From then on nothing
//! can be taken or given back here: everybody goes through the lock, where those who wait stand in
//! line. That is why nobody can overtake them and no connection can be laid down behind their back.
//!
//! Invariant: a place's cell is filled exactly while its bit is set, but for moments in which only
//! the thread that filled it or took the bit touches it.
//! Left out: who closes and opens the list, and when (`shared.rs`, under its lock).

use crate::sync::{AtomicU64, AtomicUsize, Cell, OnceBox, Ordering};

/// Places in one word; the last bit is the mark of a closed list.
pub(crate) const PLACES: usize = 63;
const CLOSED: u64 = 1 << PLACES;
const SEGMENTS: usize = 64;

/// The most places a list can have.
pub(crate) const CAPACITY: usize = PLACES * SEGMENTS;

/// Takes and gives back values by place.
pub(crate) struct Freelist<T> {
    segments: [OnceBox<Segment<T>>; SEGMENTS],
    /// Segments that exist, from the first.
    used: AtomicUsize,
}

struct Segment<T> {
    word: AtomicU64,
    cells: [Cell<T>; PLACES],
}

/// What `take` found.
pub(crate) enum Taken<T> {
    /// A value, with its place.
    Value(usize, T),
    /// Nothing lies here at the moment.
    Empty,
    /// The list is closed.
    Closed,
}

impl<T> Freelist<T> {
    /// Returns a closed list.
    pub(crate) fn new() -> Self {
        Self { segments: std::array::from_fn(|_| OnceBox::new()), used: AtomicUsize::new(0) }
    }

    /// Makes room for a place. Called under the owner's lock, while the list is closed or open.
    pub(crate) fn make_room(&self, place: usize, closed: bool) {
        let wanted = place / PLACES;
        let used = self.used.load(Ordering::Relaxed);
        for segment in used..=wanted.min(SEGMENTS - 1) {
            let word = AtomicU64::new(if closed { CLOSED } else { 0 });
            self.segments[segment]
                .set(Segment { word, cells: std::array::from_fn(|_| Cell::new()) });
            self.used.store(segment + 1, Ordering::Release);
        }
    }

    /// Takes the value with the lowest place.
    #[inline]
    pub(crate) fn take(&self) -> Taken<T> {
        let used = self.used.load(Ordering::Acquire);
        for number in 0..used {
            let Some(segment) = self.segment(number) else { break };
            let mut word = segment.word.load(Ordering::Acquire);
            loop {
                if word & CLOSED != 0 {
                    return Taken::Closed;
                }
                if word == 0 {
                    break;
                }
                let bit = word.trailing_zeros() as usize;
                let rest = word & (word - 1);
                match segment.word.compare_exchange_weak(
                    word,
                    rest,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                ) {
                    Ok(_) => {
                        let value = segment.cells[bit].take();
                        let value = value.expect("the bit was set: the cell is filled");
                        return Taken::Value(number * PLACES + bit, value);
                    }
                    Err(current) => word = current,
                }
            }
        }
        if used == 0 { Taken::Closed } else { Taken::Empty }
    }

    /// Lays a value down at its place.
    ///
    /// # Errors
    /// When the list is closed or has no such place: the value comes back.
    #[inline]
    pub(crate) fn put(&self, place: usize, value: T) -> Result<(), T> {
        let Some(segment) = self.segment(place / PLACES) else { return Err(value) };
        let bit = place % PLACES;
        let mut word = segment.word.load(Ordering::Relaxed);
        if word & CLOSED != 0 {
            return Err(value);
        }
        segment.cells[bit].put(value);
        while word & CLOSED == 0 {
            match segment.word.compare_exchange_weak(
                word,
                word | 1 << bit,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(current) => word = current,
            }
        }
        Err(segment.cells[bit].take().expect("filled a few lines above, and the bit was not set"))
    }

    /// Closes the list and hands everything that lay here to `keep`. Under the owner's lock.
    pub(crate) fn close(&self, mut keep: impl FnMut(usize, T)) {
        for number in 0..self.used.load(Ordering::Relaxed) {
            let Some(segment) = self.segment(number) else { break };
            let mut word = segment.word.swap(CLOSED, Ordering::AcqRel) & !CLOSED;
            while word != 0 {
                let bit = word.trailing_zeros() as usize;
                word &= word - 1;
                let value = segment.cells[bit].take();
                keep(number * PLACES + bit, value.expect("the bit was set: the cell is filled"));
            }
        }
    }

    /// Opens the list. Under the owner's lock.
    pub(crate) fn open(&self) {
        for number in 0..self.used.load(Ordering::Relaxed) {
            let Some(segment) = self.segment(number) else { break };
            segment.word.fetch_and(!CLOSED, Ordering::AcqRel);
        }
    }

    /// Takes one place's value, if it lies here.
    pub(crate) fn take_at(&self, place: usize) -> Option<T> {
        let segment = self.segment(place / PLACES)?;
        let bit = place % PLACES;
        let was = segment.word.fetch_and(!(1 << bit), Ordering::AcqRel);
        if was & 1 << bit == 0 {
            return None;
        }
        Some(segment.cells[bit].take().expect("the bit was set: the cell is filled"))
    }

    /// Returns how many values lie here.
    pub(crate) fn len(&self) -> usize {
        let words = (0..self.used.load(Ordering::Acquire)).filter_map(|n| self.segment(n));
        words.map(|s| (s.word.load(Ordering::Acquire) & !CLOSED).count_ones() as usize).sum()
    }

    #[inline]
    fn segment(&self, number: usize) -> Option<&Segment<T>> {
        self.segments.get(number)?.get()
    }
}
