//! A pool in numbers, at one moment.
//!
//! Invariant: taken under the pool's lock, so the numbers belong together.
//! Left out: percentiles (`Pool::distributions`) and who holds what (`Pool::holders`).

use std::time::Duration;

use headpond_core::breaker;

/// A pool at one moment, and what happened to it so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Connections at most.
    pub max: u32,
    /// Connections kept open.
    pub min: u32,
    /// Connections in whatever state: what counts against `max`.
    pub size: u32,
    /// Connections that nobody uses.
    pub idle: u32,
    /// Connections that callers have.
    pub in_use: u32,
    /// Connections being opened.
    pub connecting: u32,
    /// Connections being checked or cleaned.
    pub validating: u32,
    /// Connections being closed.
    pub closing: u32,
    /// Callers who wait.
    pub waiting: u32,
    /// How long the longest of them has waited.
    pub longest_wait: Option<Duration>,
    /// Whether callers are held, by [`Pool::pause`](crate::Pool::pause).
    pub paused: bool,
    /// Whether the pool was closed.
    pub closed: bool,
    /// The circuit breaker's state; none without one.
    pub breaker: Option<breaker::State>,
    /// Totals since the pool was made.
    pub totals: Totals,
}

/// What happened since the pool was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Connections lent.
    pub acquired: u64,
    /// Those for which the caller had waited.
    pub acquired_after_wait: u64,
    /// How long those callers had waited, together.
    pub waited: Duration,
    /// Connections opened.
    pub opened: u64,
    /// Connects begun.
    pub connects: u64,
    /// Connects that failed.
    pub connect_failures: u64,
    /// Connections closed or lost.
    pub closed: u64,
    /// Connections that were open and went away without being asked to.
    pub lost: u64,
    /// Checks begun.
    pub checks: u64,
    /// Resets begun.
    pub resets: u64,
    /// Callers who ran out of time.
    pub timeouts: u64,
    /// Callers who got another error than a timeout.
    pub refusals: u64,
    /// Callers who went away while waiting.
    pub cancelled: u64,
    /// Loans that lasted suspiciously long, each counted once.
    pub leaks: u64,
    /// Waits of tasks that had a connection of the same pool already.
    pub nested: u64,
}

impl Status {
    /// Returns connections in use as a share of `max`, from 0 to 1 (above it while `max` is being
    /// lowered).
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        f64::from(self.in_use) / f64::from(self.max.max(1))
    }

    /// Returns the sum of two pools, for databases that are more than one: paused or closed only
    /// if both are, the longest wait of both, the breaker of this one.
    ///
    /// # Examples
    /// ```
    /// # use headpond::Status;
    /// let (mut readers, mut writer) = (Status::default(), Status::default());
    /// (readers.max, writer.max) = (4, 1);
    /// assert_eq!(readers.plus(&writer).max, 5);
    /// ```
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            max: self.max + other.max,
            min: self.min + other.min,
            size: self.size + other.size,
            idle: self.idle + other.idle,
            in_use: self.in_use + other.in_use,
            connecting: self.connecting + other.connecting,
            validating: self.validating + other.validating,
            closing: self.closing + other.closing,
            waiting: self.waiting + other.waiting,
            longest_wait: self.longest_wait.max(other.longest_wait),
            paused: self.paused && other.paused,
            closed: self.closed && other.closed,
            breaker: self.breaker,
            totals: self.totals.plus(&other.totals),
        }
    }
}

impl Totals {
    fn plus(&self, other: &Self) -> Self {
        Self {
            acquired: self.acquired + other.acquired,
            acquired_after_wait: self.acquired_after_wait + other.acquired_after_wait,
            waited: self.waited + other.waited,
            opened: self.opened + other.opened,
            connects: self.connects + other.connects,
            connect_failures: self.connect_failures + other.connect_failures,
            closed: self.closed + other.closed,
            lost: self.lost + other.lost,
            checks: self.checks + other.checks,
            resets: self.resets + other.resets,
            timeouts: self.timeouts + other.timeouts,
            refusals: self.refusals + other.refusals,
            cancelled: self.cancelled + other.cancelled,
            leaks: self.leaks + other.leaks,
            nested: self.nested + other.nested,
        }
    }
}
