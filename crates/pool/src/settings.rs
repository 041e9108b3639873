//! What a pool may do: sizes, times and rules, each with its default and why.
//!
//! Invariant: settings that reached a pool are consistent (`Settings::check`).
//! Left out: where values come from (URL, file, environment: `config/`).

use std::time::Duration;

use headpond_core::{IdleOrder, Jitter, Limits, OnFailing, Policy, Replacement, breaker};

use crate::freelist::CAPACITY;
use crate::sizing::Sizing;

/// Sizes, times and rules of one pool. `None` turns a rule off.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Connections at most, in whatever state: opening and closing ones count.
    /// Default: cores × 2 + 4, at most 100, because a server does no more at once than it has
    /// cores and disks for, and every further connection only lengthens a queue that cannot be
    /// seen.
    pub max: u32,
    /// Connections kept open without anybody asking, at most `max`.
    /// Default: a quarter of `max`, at least 5, because the first callers after a quiet time
    /// should not wait for a login.
    pub min: u32,
    /// How long `get` waits.
    /// Default: 30 s, because that is what HikariCP, bb8 and sqlx wait.
    pub acquire_timeout: Option<Duration>,
    /// How long opening a connection may take, hooks included.
    /// Default: 10 s, because a login takes milliseconds and a lost packet some seconds.
    pub connect_timeout: Duration,
    /// How long a check may take.
    /// Default: 5 s, because a server that needs longer for a ping is as good as dead.
    pub check_timeout: Duration,
    /// How long cleaning a connection may take.
    /// Default: 5 s, because a rollback takes longer than a ping.
    pub reset_timeout: Duration,
    /// How long saying goodbye may take.
    /// Default: 2 s, because the server notices a closed socket by itself.
    pub close_timeout: Duration,
    /// The idle age from which a connection is checked before it is lent; zero checks every time.
    /// Default: 1 s, because a round trip for every loan costs more than it finds.
    pub check_after: Option<Duration>,
    /// Checks every connection when it comes back.
    /// Default: off, because what the adapter sees of the stream tells more than a ping.
    pub check_on_return: Check,
    /// How often an idle connection is asked for a sign of life.
    /// Default: 2 minutes, because firewalls forget silent connections after a few.
    pub keep_alive: Option<Duration>,
    /// How long a connection above `min` may lie idle.
    /// Default: 10 minutes, because an idle connection costs the server memory.
    pub idle_timeout: Option<Duration>,
    /// How old a connection may grow before it is replaced.
    /// Default: 30 minutes, because sessions leak and addresses change.
    pub lifetime: Option<Duration>,
    /// How much earlier than `lifetime` a connection may end, drawn for each, in per mille.
    /// Default: 100, because connections opened together must not expire together.
    pub lifetime_jitter: u32,
    /// How often a connection is lent before it is replaced.
    /// Default: no limit, because age bounds what a session may leak.
    pub uses_max: Option<u64>,
    /// Connections that may be opening at once.
    /// Default: 4, because logins cost a server most when they come together.
    pub connects_max: u32,
    /// The longest pause after the first failed connect; doubles from there, with full jitter.
    /// Default: 50 ms, because a restarted server is often back within a second.
    pub backoff_first: Duration,
    /// The longest pause after many failed connects.
    /// Default: 250 ms, because nobody wants to wait longer after a recovery, and one connect at
    /// a time in each quarter second hurts no server.
    pub backoff_max: Duration,
    /// Failed connects in a row that callers are not told of: they go on waiting.
    /// Default: 4, because a restarted server refuses a few.
    pub failures_tolerated: u32,
    /// What callers get when more connects failed and no connection is left.
    /// Default: an error at once, because a queue behind a dead server only grows; one connect at
    /// a time goes on being tried for them.
    pub on_failing: OnFailing,
    /// Callers who may wait without a connection being on its way to one of them.
    /// Default: no bound, because deadlines bound the queue already.
    pub queue_max: Option<u32>,
    /// Which idle connection is lent first by the pool's own list.
    /// Default: the one used last, because then a pool that is too large can shrink.
    pub order: IdleOrder,
    /// When connects stop being tried at all, and how they begin again.
    /// Default: none, because one prober with a short pause finds a recovery sooner, and callers
    /// are told at once all the same.
    pub breaker: Option<breaker::Settings>,
    /// How long a loan may last before it is suspected to be a leak: the greater of this and ten
    /// times the 99th percentile of its call site.
    /// Default: 1 minute, because shorter thresholds name long jobs.
    pub leak_after: Option<Duration>,
    /// What happens when a task that has a connection asks for another and must wait.
    /// Default: warn, because it is a mistake only if many tasks do it at once.
    pub nested: Nested,
    /// How much earlier than it did a caller counts as having arrived for each step of its
    /// [`Priority`](crate::Priority).
    /// Default: 1 s, because whoever has waited so long is as urgent as the next class.
    pub priority_step: Duration,
    /// What the pool does about its size.
    /// Default: it advises, because nobody trusts a pool that grows by itself unasked.
    pub sizing: Sizing,
}

/// Whether something is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Check {
    /// It is not.
    #[default]
    Skip,
    /// By [`Manager::ping`](crate::Manager::ping).
    Ping,
}

/// What happens when a task that has a connection asks for another and must wait.
///
/// Whatever is chosen but `Allow`, a caller whose wait can have no end (every connection is held
/// by a task that itself waits here) gets an error at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Nested {
    /// Nothing.
    Allow,
    /// A warning in the log, and a counter.
    #[default]
    Warn,
    /// An error.
    Refuse,
}

/// A setting that makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A pool without connections.
    #[error("max is 0: a pool needs at least one connection")]
    MaxZero,
    /// A pool of more connections than a pool can have.
    #[error("max is {max}, more than the {CAPACITY} one pool can have: use several pools")]
    MaxTooLarge {
        /// What was asked for.
        max: u32,
    },
    /// More connections kept than there may be.
    #[error("min is {min}, more than max, which is {max}")]
    MinAboveMax {
        /// Connections to keep.
        min: u32,
        /// Connections at most.
        max: u32,
    },
    /// Bounds of automatic sizing that leave no size.
    #[error("sizing from {min} to {max}: the smallest size is 1, the largest {CAPACITY}")]
    Sizing {
        /// The smallest maximum.
        min: u32,
        /// The largest maximum.
        max: u32,
    },
    /// A time that must not be zero.
    #[error("{name} is zero: nothing can be done in no time")]
    Zero {
        /// The setting.
        name: &'static str,
    },
}

impl Default for Settings {
    fn default() -> Self {
        let max = default_max();
        Self {
            max,
            min: default_min(max),
            acquire_timeout: Some(Duration::from_secs(30)),
            connect_timeout: Duration::from_secs(10),
            check_timeout: Duration::from_secs(5),
            reset_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(2),
            check_after: Some(Duration::from_secs(1)),
            check_on_return: Check::Skip,
            keep_alive: Some(Duration::from_secs(120)),
            idle_timeout: Some(Duration::from_secs(600)),
            lifetime: Some(Duration::from_secs(1800)),
            lifetime_jitter: 100,
            uses_max: None,
            connects_max: 4,
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_millis(250),
            failures_tolerated: 4,
            on_failing: OnFailing::FailFast,
            queue_max: None,
            order: IdleOrder::Lifo,
            breaker: None,
            leak_after: Some(Duration::from_secs(60)),
            nested: Nested::Warn,
            priority_step: Duration::from_secs(1),
            sizing: Sizing::Advise,
        }
    }
}

/// Returns the default of `max` on this machine: cores × 2 + 4, at most 100.
#[must_use]
pub fn default_max() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    headpond_core::sizing::default_limits(u32::try_from(cores).unwrap_or(u32::MAX)).size
}

/// Returns the default of `min`: a quarter of `max`, at least 5, but never more than `max`.
#[must_use]
pub fn default_min(max: u32) -> u32 {
    (max / 4).max(5).min(max)
}

impl Settings {
    /// Checks that the settings make sense together.
    ///
    /// # Errors
    /// With the first that does not.
    pub fn check(&self) -> Result<(), SettingsError> {
        let (min, max) = (self.min, self.max);
        if max == 0 {
            return Err(SettingsError::MaxZero);
        }
        if max as usize > CAPACITY {
            return Err(SettingsError::MaxTooLarge { max });
        }
        if min > max {
            return Err(SettingsError::MinAboveMax { min, max });
        }
        if let Sizing::Auto { min, max } = self.sizing
            && (min == 0 || min > max || max as usize > CAPACITY)
        {
            return Err(SettingsError::Sizing { min, max });
        }
        let times = [
            ("connect_timeout", self.connect_timeout),
            ("check_timeout", self.check_timeout),
            ("reset_timeout", self.reset_timeout),
        ];
        match times.iter().find(|(_, time)| time.is_zero()) {
            Some((name, _)) => Err(SettingsError::Zero { name }),
            None => Ok(()),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { size: self.max, min: self.min, reserve: 0, waiters_max: self.queue_max }
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            reserve_after: None,
            order: self.order,
            lifetime: self.lifetime,
            lifetime_jitter: self.lifetime_jitter,
            idle_timeout: self.idle_timeout,
            check_after: self.check_after,
            uses_max: self.uses_max,
            connects_max: self.connects_max,
            backoff_first: self.backoff_first,
            backoff_max: self.backoff_max,
            jitter: Jitter::Equal,
            failures_tolerated: self.failures_tolerated,
            replacement: Replacement::OpenFirst,
            on_failing: self.on_failing,
            local_first: Duration::ZERO,
        }
    }
}
