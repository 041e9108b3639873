//! Trying again, when that is safe and of use.
//!
//! ```
//! # use headpond::{Pool, retry, testing::FakeManager};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::builder(FakeManager::default()).max(2).build()?;
//! let policy = retry::Policy::default();
//! let connection = policy.run(async || pool.get().await).await?;
//! # Ok(()) }
//! ```
//!
//! Invariant: an operation that may have run is repeated only if it was declared idempotent, and
//! no more retries are under way than the budget allows.
//! Left out: what a pool does by itself: it goes on opening connections while callers wait.

mod backoff;
mod classify;
mod drivers;
mod transactions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use backoff::{Backoff, FLOOR, Jitter, Pauses};
pub use classify::{Classify, Fault, Retryable};
use tokio::time::Instant;

/// When an operation is tried again. Clones share the budget and the counts.
#[derive(Clone, Debug)]
pub struct Policy {
    backoff: Backoff,
    retries_max: u32,
    elapsed_max: Duration,
    repeats: Repeats,
    budget: Budget,
    state: Arc<State>,
}

/// What may be repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Repeats {
    /// Operations that have done nothing yet.
    #[default]
    Unsent,
    /// Operations that may have been carried out too: doing them twice is as good as once.
    Idempotent,
}

/// How many retries may be under way at once, so that an outage is not followed by a storm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// As a share of all operations under way.
    /// Default: 20 %, because Envoy's is.
    pub percent: u32,
    /// In any case so many.
    /// Default: 3, because a quiet service should be able to retry at all.
    pub least: u32,
}

/// What became of operations, in resilience4j's terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Totals {
    /// Succeeded at once.
    pub successful_without_retry: u64,
    /// Succeeded after retries.
    pub successful_with_retry: u64,
    /// Failed at once, without being worth a retry.
    pub failed_without_retry: u64,
    /// Failed after retries.
    pub failed_with_retry: u64,
    /// Retries that the budget did not allow.
    pub over_budget: u64,
}

#[derive(Debug, Default)]
struct State {
    /// Operations under way.
    active: AtomicU32,
    /// Those that are waiting for a retry or in one.
    retrying: AtomicU32,
    /// How many operations there have been: each draws its own jitter.
    operations: AtomicU64,
    counts: [AtomicU64; 4],
    over_budget: AtomicU64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { percent: 20, least: 3 }
    }
}

impl Default for Policy {
    /// Returns the usual policy: 5 retries at most, within 30 s.
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            retries_max: 5,
            elapsed_max: Duration::from_secs(30),
            repeats: Repeats::default(),
            budget: Budget::default(),
            state: Arc::new(State {
                operations: AtomicU64::new(crate::builder::random_seed()),
                ..State::default()
            }),
        }
    }
}

impl Policy {
    /// Sets how pauses grow. Default: see [`Backoff`], because each part has its own reason.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets how many retries there are at most, besides the first attempt.
    /// Default: 5, because what has not worked by then is no hiccup.
    #[must_use]
    pub const fn max_retries(mut self, retries: u32) -> Self {
        self.retries_max = retries;
        self
    }

    /// Sets when no further retry is begun, counted from the first attempt. Attempts themselves
    /// are not cut short: they have limits of their own.
    /// Default: 30 s, because callers are gone by then.
    #[must_use]
    pub const fn max_elapsed(mut self, elapsed: Duration) -> Self {
        self.elapsed_max = elapsed;
        self
    }

    /// Sets what may be repeated. Default: what has done nothing yet, because everything else may
    /// do harm when done twice.
    #[must_use]
    pub const fn repeats(mut self, repeats: Repeats) -> Self {
        self.repeats = repeats;
        self
    }

    /// Sets how many retries may be under way at once. Default: see [`Budget`], because each part
    /// has its own reason.
    #[must_use]
    pub const fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Runs an operation, again if that is safe and of use; see [`execute_with_retry`].
    ///
    /// # Errors
    /// With the error of the last attempt.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt under way; nothing is tried again.
    pub async fn run<T, E: Classify>(
        &self,
        operation: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let classify = |error: &E| (error.retryable(), error.retry_after());
        execute_with_retry(self, classify, operation).await
    }

    /// Returns what became of operations so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let count = |at: usize| self.state.counts[at].load(Relaxed);
        Totals {
            successful_without_retry: count(0),
            successful_with_retry: count(1),
            failed_without_retry: count(2),
            failed_with_retry: count(3),
            over_budget: self.state.over_budget.load(Relaxed),
        }
    }

    fn allows(&self, retryable: Retryable) -> bool {
        match retryable {
            Retryable::Connection(_) | Retryable::Transaction => true,
            Retryable::Lost(_) => self.repeats == Repeats::Idempotent,
            Retryable::No => false,
        }
    }
}

/// Runs an operation, and again after a pause while `classify` says that its errors pass, until
/// it succeeds or the policy has had enough.
///
/// A pause is never shorter than the other side asked for (`Retry-After`, an open circuit
/// breaker); when it would end after [`Policy::max_elapsed`], the error is returned at once.
///
/// # Errors
/// With the error of the last attempt.
///
/// # Cancel safety
/// Dropping the future drops the attempt under way; nothing is tried again.
pub async fn execute_with_retry<T, E>(
    policy: &Policy,
    classify: impl Fn(&E) -> (Retryable, Option<Duration>),
    mut operation: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let began = Instant::now();
    let mut course = Course::begin(policy);
    loop {
        let error = match operation().await {
            Ok(done) => {
                course.end(true);
                return Ok(done);
            }
            Err(error) => error,
        };
        let (retryable, wish) = classify(&error);
        let pause = course.pause(retryable, wish, began.elapsed());
        let Some(pause) = pause else {
            course.end(false);
            return Err(error);
        };
        tracing::debug!(?retryable, ?pause, retry = course.retries, "trying again after a pause");
        tokio::time::sleep(pause).await;
    }
}

/// One operation under way; whatever becomes of it, it is counted out again.
struct Course<'a> {
    policy: &'a Policy,
    pauses: Pauses,
    retries: u32,
}

impl<'a> Course<'a> {
    fn begin(policy: &'a Policy) -> Self {
        let state = &policy.state;
        state.active.fetch_add(1, Relaxed);
        let seed = state.operations.fetch_add(1, Relaxed);
        Self { policy, pauses: policy.backoff.pauses(seed), retries: 0 }
    }

    /// Returns how long to pause before the next attempt, if there is to be one.
    fn pause(
        &mut self,
        retryable: Retryable,
        wish: Option<Duration>,
        elapsed: Duration,
    ) -> Option<Duration> {
        let policy = self.policy;
        if !policy.allows(retryable) || self.retries >= policy.retries_max {
            return None;
        }
        let pause = self.pauses.next()?.max(wish.unwrap_or_default());
        if elapsed.saturating_add(pause) > policy.elapsed_max {
            return None;
        }
        if self.retries == 0 && !policy.state.try_begin_retrying(policy.budget) {
            policy.state.over_budget.fetch_add(1, Relaxed);
            return None;
        }
        self.retries += 1;
        Some(pause)
    }

    fn end(self, success: bool) {
        let at = match (success, self.retries) {
            (true, 0) => 0,
            (true, _) => 1,
            (false, 0) => 2,
            (false, _) => 3,
        };
        self.policy.state.counts[at].fetch_add(1, Relaxed);
    }
}

impl Drop for Course<'_> {
    fn drop(&mut self) {
        self.policy.state.active.fetch_sub(1, Relaxed);
        if self.retries > 0 {
            self.policy.state.retrying.fetch_sub(1, Relaxed);
        }
    }
}

impl State {
    fn try_begin_retrying(&self, budget: Budget) -> bool {
        let share = u64::from(self.active.load(Relaxed)) * u64::from(budget.percent) / 100;
        let most = u32::try_from(share).unwrap_or(u32::MAX).max(budget.least);
        let more = |now: u32| (now < most).then(|| now + 1);
        self.retrying.fetch_update(Relaxed, Relaxed, more).is_ok()
    }
}
