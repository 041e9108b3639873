//! What a pool may do: how many connections, and by which rules.
//!
//! Invariant: every combination of values is legal; contradictions are resolved, never refused
//! (`min` above `size` counts as `size`; `connects_max` 0 counts as 1).
//! Left out: where the values come from. Both structs may change at any time (`configure`).

use core::time::Duration;

/// How many connections and waiters a pool may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections in any state. 0 means unlimited.
    /// Default: 20, because that is PgBouncer's `default_pool_size`.
    pub size: u32,
    /// Connections kept open without anybody asking, at most `size`.
    /// Default: 0, because an unused pool should cost the server nothing.
    pub min: u32,
    /// Connections on top of `size` once the oldest waiter has waited [`Policy::reserve_after`].
    /// Default: 0, because a second limit behind the first surprises.
    pub reserve: u32,
    /// Callers who may wait without a connection being on its way to one of them.
    /// Default: `None` (no bound), because deadlines bound the queue already.
    pub waiters_max: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { size: 20, min: 0, reserve: 0, waiters_max: None }
    }
}

/// Which idle connection is taken first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IdleOrder {
    /// The one used last: the rest grow old and can be closed.
    #[default]
    Lifo,
    /// The one unused longest: all are used in turn, as long as none of them needs a check.
    Fifo,
}

/// What callers get while no connection can be opened and none is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnFailing {
    /// They are refused at once and told when to come back.
    #[default]
    FailFast,
    /// They wait until their deadline.
    Hold,
}

/// How the pauses between attempts to reach a failing server are drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Jitter {
    /// Anything up to the full pause: many pools spread best.
    #[default]
    Full,
    /// At least half of the full pause: fewer attempts for the same time to notice a recovery.
    Equal,
}

/// What comes first when a connection of `min` has grown too old.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Replacement {
    /// The old one is closed, and another opened when there are too few.
    #[default]
    CloseFirst,
    /// Another is opened, if there may be one more, and then the old one closed.
    OpenFirst,
}

/// The rules by which a pool opens, keeps and closes connections. `None` turns a rule off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// How long the oldest waiter waits before the reserve may be used.
    /// Default: `None`, because there is no reserve by default.
    pub reserve_after: Option<Duration>,
    /// Which idle connection is taken first.
    /// Default: LIFO, because then a pool that is too large can shrink.
    pub order: IdleOrder,
    /// How old a connection may grow before it is closed, once nobody uses it.
    /// Default: 1 hour, because PgBouncer's `server_lifetime` is.
    pub lifetime: Option<Duration>,
    /// How much earlier than `lifetime` a connection may be closed, drawn for each, in per mille.
    /// Default: 100, because connections opened together must not expire together.
    pub lifetime_jitter: u32,
    /// How long a connection above `min` may lie idle.
    /// Default: 10 minutes, because PgBouncer's `server_idle_timeout` is.
    pub idle_timeout: Option<Duration>,
    /// The idle age from which a connection is checked before it is granted.
    /// Default: 30 seconds, because PgBouncer's `server_check_delay` is.
    pub check_after: Option<Duration>,
    /// How often a connection is used before it is closed.
    /// Default: `None`, because age bounds what a long session may leak.
    pub uses_max: Option<u64>,
    /// How many connections may be opening at once.
    /// Default: 4, because logins cost the server most when they come together.
    pub connects_max: u32,
    /// The longest pause after the first failed connect.
    /// Default: 100 ms, because a restarted server is often back within seconds.
    pub backoff_first: Duration,
    /// The longest pause after many failed connects.
    /// Default: 10 s, because nobody wants to wait longer after a recovery.
    pub backoff_max: Duration,
    /// How the pauses are drawn.
    /// Default: full, because poolers of a fleet must not come back together.
    pub jitter: Jitter,
    /// Failures in a row that do not count as failing yet: callers go on waiting.
    /// Default: 0, because PgBouncer refuses after the first failed login.
    pub failures_tolerated: u32,
    /// What comes first when a connection of `min` has grown too old.
    /// Default: closing, because that never needs room for one more.
    pub replacement: Replacement,
    /// What callers get while the server cannot be reached.
    /// Default: fail fast, because a queue behind a dead server only grows.
    pub on_failing: OnFailing,
    /// For how long a waiter may be overtaken by waiters of the lane a connection is freed on.
    /// Default: 1 ms, because moving a connection between workers costs some tens of
    /// microseconds, and a millisecond of unfairness is less than a network round trip varies.
    pub local_first: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            reserve_after: None,
            order: IdleOrder::Lifo,
            lifetime: Some(Duration::from_secs(3600)),
            lifetime_jitter: 100,
            idle_timeout: Some(Duration::from_secs(600)),
            check_after: Some(Duration::from_secs(30)),
            uses_max: None,
            connects_max: 4,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            jitter: Jitter::Full,
            failures_tolerated: 0,
            replacement: Replacement::CloseFirst,
            on_failing: OnFailing::FailFast,
            local_first: Duration::from_millis(1),
        }
    }
}

impl Limits {
    /// Returns how many connections may exist without using the reserve.
    pub(crate) const fn regular(&self) -> u32 {
        if self.size == 0 { u32::MAX } else { self.size }
    }

    /// Returns how many connections are kept open, which is never more than may exist.
    pub(crate) const fn kept(&self) -> u32 {
        let regular = self.regular();
        if self.min < regular { self.min } else { regular }
    }

    /// Returns how many connections may exist at all under `policy`.
    pub(crate) const fn hard(&self, policy: &Policy) -> u32 {
        match policy.reserve_after {
            Some(_) => self.regular().saturating_add(self.reserve),
            None => self.regular(),
        }
    }
}
