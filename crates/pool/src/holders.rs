//! Who has which connection, since when, and where it was asked for.
//!
//! Invariant: written by whoever has the connection, without a lock; a reader sees a loan's place
//! and age as they were written, at worst those of the loan before.
//! Left out: how long loans of one place usually last (`usage.rs`).

use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crossbeam_utils::atomic::AtomicCell;
use headpond_core::Timestamp;
use tokio::task::Id;

use crate::freelist::{CAPACITY, PLACES};

/// A tick in which one loan of a connection is measured: 2^22 ns, about 4 ms.
/// As long as the tick of most kernels, whose coarse clock tells no shorter times.
const TICK_BITS: u32 = 22;

/// One connection's loan.
#[derive(Default)]
pub(crate) struct Spot {
    site: AtomicCell<Option<&'static Location<'static>>>,
    since: AtomicU64,
    /// Loans that did not go through the core.
    pub(crate) quick: AtomicU64,
    /// The start of the loan that was suspected to be a leak.
    suspected: AtomicU64,
    /// The tick in which a loan was measured last; zero is none.
    measured: AtomicU64,
}

/// All loans of a pool, by place.
pub(crate) struct Spots {
    /// Places that have been lent from, at most.
    used: AtomicUsize,
    /// The first segment is at hand: most pools have no other.
    first: Box<Segment>,
    further: Box<[OnceLock<Box<Segment>>]>,
}

struct Segment {
    /// Which task has or had a place's connection, close together for those who search.
    tasks: [AtomicCell<Option<Id>>; PLACES],
    spots: [Spot; PLACES],
}

/// One loan, as read.
#[derive(Clone, Copy)]
pub(crate) struct Loan {
    pub(crate) place: usize,
    pub(crate) site: &'static Location<'static>,
    pub(crate) since: Timestamp,
    pub(crate) task: Option<Id>,
}

impl Spots {
    pub(crate) fn new() -> Self {
        let used = AtomicUsize::new(0);
        let further = (1..CAPACITY / PLACES).map(|_| OnceLock::new()).collect();
        Self { used, first: Segment::new(), further }
    }

    /// Returns a place's loan.
    ///
    /// # Panics
    /// When the place is beyond what a pool can have.
    #[inline]
    pub(crate) fn at(&self, place: usize) -> &Spot {
        &self.segment(place).spots[place % PLACES]
    }

    /// Notes a loan. Returns whether it is to be measured exactly, see [`Spot::lend`].
    #[inline]
    pub(crate) fn lend(
        &self,
        place: usize,
        (now, task): (Timestamp, Option<Id>),
        site: &'static Location<'static>,
    ) -> bool {
        let segment = self.segment(place);
        segment.tasks[place % PLACES].store(task);
        segment.spots[place % PLACES].lend(now, site)
    }

    #[inline]
    fn segment(&self, place: usize) -> &Segment {
        if place < PLACES {
            return &self.first;
        }
        let segment = self.further.get(place / PLACES - 1).expect("max is at most the capacity");
        segment.get_or_init(Segment::new)
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        let further = self.further.iter().map_while(OnceLock::get);
        std::iter::once(&*self.first).chain(further.map(Box::as_ref))
    }

    /// Makes room for a place.
    pub(crate) fn make_room(&self, place: usize) {
        self.used.fetch_max(place + 1, Relaxed);
    }

    /// Returns every loan there is.
    pub(crate) fn loans(&self) -> impl Iterator<Item = Loan> {
        let pairs = self.segments().flat_map(|segment| segment.spots.iter().zip(&segment.tasks));
        let pairs = pairs.take(self.used.load(Relaxed)).enumerate();
        pairs.filter_map(|(place, (spot, task))| {
            let site = spot.site.load()?;
            let since = Timestamp::from_nanos(spot.since.load(Relaxed));
            Some(Loan { place, site, since, task: task.load() })
        })
    }

    /// Returns where a task asked for a connection that it has, if it has one.
    pub(crate) fn site_of(&self, task: Id) -> Option<&'static Location<'static>> {
        let mut used = self.used.load(Relaxed);
        for segment in self.segments() {
            let here = used.min(PLACES);
            let (tasks, spots) = (&segment.tasks[..here], &segment.spots[..here]);
            for (of, spot) in tasks.iter().zip(spots).filter(|(of, _)| of.load() == Some(task)) {
                // It may have given it back since; and then somebody else may have it by now, who
                // wrote down his own task before the site.
                let site = spot.site.load();
                if site.is_some() && of.load() == Some(task) {
                    return site;
                }
            }
            used -= here;
        }
        None
    }

    /// Returns how many loans did not go through the core.
    pub(crate) fn quick(&self) -> u64 {
        let spots = self.segments().flat_map(|segment| &segment.spots);
        spots.map(|spot| spot.quick.load(Relaxed)).sum()
    }
}

impl Segment {
    fn new() -> Box<Self> {
        Box::new(Self {
            tasks: std::array::from_fn(|_| AtomicCell::new(None)),
            spots: std::array::from_fn(|_| Spot::default()),
        })
    }
}

impl Spot {
    /// Notes a loan. Returns whether it is to be measured exactly: the first in each tick is.
    #[inline]
    fn lend(&self, now: Timestamp, site: &'static Location<'static>) -> bool {
        let now = now.as_nanos();
        self.since.store(now, Relaxed);
        self.site.store(Some(site));
        // The first tick is not zero, so that its first loan is measured.
        let tick = (now >> TICK_BITS) + 1;
        if self.measured.load(Relaxed) == tick {
            return false;
        }
        self.measured.store(tick, Relaxed);
        true
    }

    /// Notes that the loan is over, and returns where it was asked for.
    #[inline]
    pub(crate) fn end(&self) -> Option<&'static Location<'static>> {
        let site = self.site.load();
        self.site.store(None);
        site
    }

    /// Notes a suspicion. Returns whether it is the first of this loan.
    pub(crate) fn suspect(&self, since: Timestamp) -> bool {
        // Loans begin after the pool's first nanosecond, so zero is no loan's start.
        let since = since.as_nanos().max(1);
        self.suspected.swap(since, Relaxed) != since
    }
}
