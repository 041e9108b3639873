//! The pool's clock: exact where somebody waits, coarse where nanoseconds count, rough where each
//! of them does.
//!
//! Invariant: monotonic; the coarse reading is never ahead of the exact one and at most some
//! milliseconds behind it, the rough one at most a round of the house.
//! Left out: wall-clock time. A jump of it changes nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headpond_core::Timestamp;
use tokio::time::Instant;

/// Tells time since the pool was made.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// The same on the system's clock, which is cheaper to ask directly.
    #[cfg(target_os = "linux")]
    system_origin: u64,
    source: Source,
    /// The latest time that was noted, in nanoseconds.
    noted: AtomicU64,
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// The operating system's.
    System,
    /// Tokio's, which a test can stop and turn.
    Tokio,
}

impl Clock {
    pub(crate) fn system() -> Self {
        Self::new(Source::System)
    }

    pub(crate) fn tokio() -> Self {
        Self::new(Source::Tokio)
    }

    fn new(source: Source) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            system_origin: system_nanos(rustix::time::ClockId::Monotonic),
            origin: Instant::now(),
            source,
            noted: AtomicU64::new(0),
        }
    }

    /// Returns the time, exactly.
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        #[cfg(target_os = "linux")]
        if self.source == Source::System {
            return self.read(rustix::time::ClockId::Monotonic);
        }
        Timestamp::from_nanos(nanos(self.origin.elapsed()))
    }

    /// Returns the time as of the last tick of the kernel: a quarter of the price.
    #[cfg(target_os = "linux")]
    #[inline]
    pub(crate) fn coarse(&self) -> Timestamp {
        if self.source == Source::Tokio {
            return self.now();
        }
        self.read(rustix::time::ClockId::MonotonicCoarse)
    }

    /// Notes the time for [`rough`](Self::rough).
    pub(crate) fn note(&self, now: Timestamp) {
        self.noted.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }

    /// Returns the time as it was noted last, not before `since`: a load instead of a call. Exact
    /// on a clock that a test turns.
    #[inline]
    pub(crate) fn rough(&self, since: Timestamp) -> Timestamp {
        if self.source == Source::Tokio {
            return self.now();
        }
        Timestamp::from_nanos(self.noted.load(Ordering::Relaxed)).max(since)
    }

    #[cfg(target_os = "linux")]
    #[inline]
    fn read(&self, clock: rustix::time::ClockId) -> Timestamp {
        Timestamp::from_nanos(system_nanos(clock).saturating_sub(self.system_origin))
    }

    /// Returns the time, exactly: there is no cheaper clock here.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn coarse(&self) -> Timestamp {
        self.now()
    }

    /// Returns the moment as the timer of the runtime knows it.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        let distance = Duration::from_nanos(at.as_nanos());
        // Beyond what an instant can hold is as good as never.
        self.origin.checked_add(distance).unwrap_or_else(|| Instant::now() + FAR)
    }
}

const FAR: Duration = Duration::from_secs(86_400 * 365);

/// The system's clock in nanoseconds; modulo 2^64 because it is used for differences.
#[cfg(target_os = "linux")]
#[inline]
fn system_nanos(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Returns the number of the present tick of the kernel, for what is to be done once in each at
/// most; none where that is as dear as doing it.
#[cfg(any(feature = "http", feature = "postgres", feature = "redis"))]
pub(crate) fn tick() -> Option<u64> {
    #[cfg(target_os = "linux")]
    return Some(system_nanos(rustix::time::ClockId::MonotonicCoarse));
    #[cfg(not(target_os = "linux"))]
    None
}

/// Returns a duration in nanoseconds, five centuries at most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_clock_is_never_ahead_of_the_exact_one() {
        let clock = Clock::system();
        for _ in 0..10_000 {
            let coarse = clock.coarse();
            assert!(coarse <= clock.now());
        }
    }

    #[test]
    fn the_rough_time_is_the_later_of_what_was_noted_and_what_is_known() {
        let clock = Clock::system();
        let [early, late] = [1, 2].map(Timestamp::from_nanos);
        assert_eq!(clock.rough(early), early);
        clock.note(late);
        clock.note(early);
        assert_eq!((clock.rough(early), clock.rough(late)), (late, late));
    }
}
