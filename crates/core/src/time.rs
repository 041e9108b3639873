//! A point in time, as the shell's clock tells it.
//!
//! Invariant: arithmetic saturates; no date can overflow or panic.
//! Left out: reading a clock. The origin is the shell's business and never matters here.

use core::ops::Add;
use core::time::Duration;

/// A monotonic point in time in nanoseconds since an origin only the shell knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The end of time; inside the pool it stands for "never".
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the point `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the distance from the origin in nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns how long ago `earlier` was, zero when it is not in the past.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Returns the later point; a sum past the end of time is the end of time.
    fn add(self, distance: Duration) -> Self {
        Self(self.0.saturating_add(nanos(distance)))
    }
}

/// Returns a duration in nanoseconds, five centuries at most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_past_the_end_of_time_is_the_end_of_time() {
        assert_eq!(Timestamp::from_nanos(7) + Duration::MAX, Timestamp::MAX);
    }

    #[test]
    fn the_future_was_no_time_ago() {
        let (early, late) = (Timestamp::from_nanos(3), Timestamp::from_nanos(10));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(late.since(early), Duration::from_nanos(7));
    }
}
