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
    task: AtomicCell<Option<Id>>,
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
    segments: Box<[OnceLock<Box<[Spot; PLACES]>>]>,
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
        Self { used, segments: (0..CAPACITY / PLACES).map(|_| OnceLock::new()).collect() }
    }

    /// Returns a place's loan.
    ///
    /// # Panics
    /// When the place is beyond what a pool can have.
    #[inline]
    pub(crate) fn at(&self, place: usize) -> &Spot {
        let segment = self.segments.get(place / PLACES).expect("max is at most the capacity");
        let spots = segment.get_or_init(|| Box::new(std::array::from_fn(|_| Spot::default())));
        &spots[place % PLACES]
    }

    /// Makes room for a place.
    pub(crate) fn make_room(&self, place: usize) {
        self.used.fetch_max(place + 1, Relaxed);
    }

    /// Returns every loan there is.
    pub(crate) fn loans(&self) -> impl Iterator<Item = Loan> {
        let spots = self.segments.iter().map_while(OnceLock::get).flat_map(|spots| spots.iter());
        spots.take(self.used.load(Relaxed)).enumerate().filter_map(|(place, spot)| {
            let site = spot.site.load()?;
            let since = Timestamp::from_nanos(spot.since.load(Relaxed));
            Some(Loan { place, site, since, task: spot.task.load() })
        })
    }

    /// Returns where a task asked for a connection that it has, if it has one.
    pub(crate) fn site_of(&self, task: Id) -> Option<&'static Location<'static>> {
        let spots = self.segments.iter().map_while(OnceLock::get).flat_map(|spots| spots.iter());
        let mut spots = spots.take(self.used.load(Relaxed));
        // Nobody else writes down this task, so what it wrote itself is what it reads.
        spots.find_map(|spot| spot.site.load().filter(|_| spot.task.load() == Some(task)))
    }

    /// Returns how many loans did not go through the core.
    pub(crate) fn quick(&self) -> u64 {
        let spots = self.segments.iter().map_while(OnceLock::get).flat_map(|spots| spots.iter());
        spots.map(|spot| spot.quick.load(Relaxed)).sum()
    }
}

impl Spot {
    /// Notes a loan. Returns whether it is to be measured exactly: the first in each tick is.
    #[inline]
    pub(crate) fn lend(
        &self,
        now: Timestamp,
        site: &'static Location<'static>,
        task: Option<Id>,
    ) -> bool {
        let now = now.as_nanos();
        self.since.store(now, Relaxed);
        self.task.store(task);
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
