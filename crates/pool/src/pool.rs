//! The handle of a pool.
//!
//! Invariant: handles are cheap to clone and all the same pool.
//! Left out: making one (`builder.rs`).

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use headpond_core::{Timestamp, breaker};
use headpond_stats::Distribution;

use crate::acquire::{Acquiring, Patience};
use crate::error::{Error, Holder};
use crate::events::{Errors, Listener};
use crate::get::{Get, GetOwned};
use crate::guard::{Guard, OwnedGuard};
use crate::manager::Manager;
use crate::settings::{Settings, SettingsError};
use crate::shared::{Kept, Shared};
use crate::sizing::{Advice, SizeChange};
use crate::status::{Status, Totals};

/// A pool of connections. Cloning it gives another handle of the same pool.
///
/// Callers are served strictly in the order in which they asked, see [`Pool::get`]. When the last
/// handle and the last owned guard are gone, what is idle is closed.
pub struct Pool<M: Manager> {
    shared: Arc<Shared<M>>,
}

/// How long things took, from the beginning.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Distributions {
    /// Waits for a connection; loans that did not have to wait count as zero.
    pub wait: Distribution,
    /// Loans. A busy pool measures at least one for each connection in each 4 ms.
    pub usage: Distribution,
    /// Connects that succeeded.
    pub connect: Distribution,
}

/// What was left when a pool had been closed and the time was over.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Leftover {
    /// Connections that were lent and had not come back: who has them.
    pub holders: Vec<Holder>,
    /// Connections in whatever state, those lent included.
    pub connections: u32,
}

impl<M: Manager> Pool<M> {
    pub(crate) const fn from_shared(shared: Arc<Shared<M>>) -> Self {
        Self { shared }
    }

    /// Waits for a connection, for [`Settings::acquire_timeout`] at most.
    ///
    /// Whoever asked first is served first; a connection that comes back goes to the oldest waiter
    /// directly, and nobody can overtake it.
    ///
    /// # Errors
    /// When there is none in time, or waiting is pointless: see [`Error`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue; a connection granted meanwhile goes to the next
    /// caller.
    ///
    /// # Examples
    /// ```
    /// # use headpond::{testing::FakeManager, Pool};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let pool = Pool::builder(FakeManager::default()).max(2).build().unwrap();
    /// let connection = pool.get().await.unwrap();
    /// drop(connection); // gives it back
    /// # }
    /// ```
    #[track_caller]
    #[inline]
    pub fn get(&self) -> Get<'_, M> {
        Get::new(&self.shared, Acquiring::new(Patience::Usual, Location::caller()))
    }

    /// Waits for a connection for so long at most; otherwise like [`Pool::get`].
    #[track_caller]
    pub fn get_timeout(&self, timeout: Duration) -> Get<'_, M> {
        Get::new(&self.shared, Acquiring::new(Patience::For(timeout), Location::caller()))
    }

    /// Waits for a connection whose guard may outlive the handle; otherwise like [`Pool::get`].
    #[track_caller]
    pub fn get_owned(&self) -> GetOwned<M> {
        let shared = Arc::clone(&self.shared);
        GetOwned::new(shared, Acquiring::new(Patience::Usual, Location::caller()))
    }

    /// Waits for a connection whose guard may outlive the handle, for so long at most.
    #[track_caller]
    pub fn get_owned_timeout(&self, timeout: Duration) -> GetOwned<M> {
        let shared = Arc::clone(&self.shared);
        GetOwned::new(shared, Acquiring::new(Patience::For(timeout), Location::caller()))
    }

    /// The same as [`Pool::get_timeout`], for adapters: `site` is where their caller asked.
    #[cfg(feature = "mysql")]
    pub(crate) fn get_at(&self, timeout: Duration, site: &'static Location<'static>) -> Get<'_, M> {
        Get::new(&self.shared, Acquiring::new(Patience::For(timeout), site))
    }

    /// Returns a connection if one is idle and needs no check, and nobody waits for it.
    ///
    /// Nothing is opened. The hook on acquire is not run.
    ///
    /// # Errors
    /// [`Error::Busy`] when there is none.
    #[track_caller]
    pub fn try_get(&self) -> Result<Guard<'_, M>, Error<M::Error>> {
        let entry = self.shared.try_take(Location::caller())?;
        Ok(Guard::new(&self.shared, entry))
    }

    /// The same, with a guard that may outlive the handle.
    ///
    /// # Errors
    /// [`Error::Busy`] when there is none.
    #[track_caller]
    pub fn try_get_owned(&self) -> Result<OwnedGuard<M>, Error<M::Error>> {
        let entry = self.shared.try_take(Location::caller())?;
        Ok(OwnedGuard::new(Arc::clone(&self.shared), entry))
    }

    /// Returns the pool's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns the manager.
    #[must_use]
    pub fn manager(&self) -> &M {
        &self.shared.manager
    }

    /// Returns the settings in force.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.shared.kept.lock().settings.clone()
    }

    /// Returns the pool in numbers, at one moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = self.shared.clock.now();
        let kept = self.shared.kept.lock();
        kept.status(&self.shared, now)
    }

    /// Returns who has a connection, the oldest loan first.
    #[must_use]
    pub fn holders(&self) -> Vec<Holder> {
        let now = self.shared.clock.now();
        let loans = self.shared.spots.loans();
        let mut holders: Vec<Holder> =
            loans.map(|loan| Holder { site: loan.site, age: now.since(loan.since) }).collect();
        holders.sort_unstable_by_key(|holder| std::cmp::Reverse(holder.age));
        holders
    }

    /// Returns how long things took.
    #[must_use]
    pub fn distributions(&self) -> Distributions {
        let mut wait = self.shared.kept.lock().waits.clone();
        wait.record_many(0, self.shared.spots.quick());
        let usage = self.shared.usage.lock();
        Distributions { wait, usage: usage.loans.clone(), connect: usage.connects.clone() }
    }

    /// Returns what size would do and why; none before enough was seen.
    #[must_use]
    pub fn advice(&self) -> Option<Advice> {
        self.shared.kept.lock().advice()
    }

    /// Returns the steps that automatic sizing took, the oldest first; the last 64.
    #[must_use]
    pub fn size_changes(&self) -> Vec<SizeChange> {
        self.shared.kept.lock().sizer.changes(self.shared.clock.now())
    }

    /// Returns how many errors there were, and the last one.
    #[must_use]
    pub fn errors(&self) -> Errors {
        self.shared.kept.lock().errors.clone()
    }

    /// Listens to what happens to connections from now on; none unless the pool was built with
    /// [`Builder::events`](crate::Builder::events).
    #[must_use]
    pub fn events(&self) -> Option<Listener> {
        Some(self.shared.events.as_ref()?.listen(&self.shared.name))
    }

    /// Changes the settings. Connections above a lowered maximum are closed: idle ones now, others
    /// when they come back. Nobody who waits is sent away.
    ///
    /// # Errors
    /// When the settings make no sense; then nothing changes.
    pub fn update(&self, settings: Settings) -> Result<(), SettingsError> {
        settings.check()?;
        self.shared.enter_shut(|kept, now| {
            self.shared.refresh(&settings);
            kept.core.configure(now, settings.limits(), settings.policy());
            if settings.breaker != kept.settings.breaker {
                let seed = now.as_nanos();
                kept.breaker =
                    settings.breaker.map(|settings| headpond_core::Breaker::new(settings, seed));
            }
            kept.settings = settings;
        });
        Ok(())
    }

    /// Changes how many connections there may be and how many are kept.
    ///
    /// # Errors
    /// When the numbers make no sense; then nothing changes.
    pub fn resize(&self, min: u32, max: u32) -> Result<(), SettingsError> {
        self.update(Settings { min, max, ..self.settings() })
    }

    /// Holds callers: they wait, their deadlines go on, and nothing is lent, checked or opened.
    pub fn pause(&self) {
        self.shared.enter_shut(|kept, now| kept.core.pause(now));
    }

    /// Ends a pause. If the server was failing, it is tried again at once.
    pub fn resume(&self) {
        self.shared.enter_shut(|kept, now| kept.core.resume(now));
    }

    /// Replaces every connection that exists now: idle ones close now, others when they come back.
    /// For new credentials, and after a failover.
    pub fn evict(&self) {
        self.shared.enter_shut(|kept, now| {
            self.shared.refresh(&kept.settings);
            kept.core.renew(now);
        });
    }

    /// Lets an operator decide whether connects are tried, or the breaker again.
    pub fn set_breaker(&self, mode: breaker::Mode) {
        self.shared.enter(|kept, _| {
            if let Some(breaker) = &mut kept.breaker {
                breaker.set_mode(mode);
            }
        });
    }

    /// Opens connections until [`Settings::min`] are open, as many at once as
    /// [`Settings::connects_max`] allows, and keeps so many from now on.
    ///
    /// # Errors
    /// With the first connect that failed, or [`Error::Timeout`] when the time was over.
    ///
    /// # Cancel safety
    /// Dropping the future stops waiting; the pool goes on opening.
    pub async fn warm_up(&self, timeout: Duration) -> Result<(), Error<M::Error>> {
        let failures = self.shared.begin_warm_up()?;
        let warm = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                match self.shared.is_warm(failures) {
                    Some(outcome) => return outcome,
                    None => changed.await,
                }
            }
        };
        match tokio::time::timeout(timeout, warm).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self
                .shared
                .explain(headpond_core::Refusal::Timeout { waited: timeout, position: 0 })),
        }
    }

    /// Ends the pool: everybody who waits or asks from now on is refused, what is idle is closed,
    /// and what is lent may be used until the time is over.
    ///
    /// # Errors
    /// With who has connections still when the time is over. The pool is closed all the same, and
    /// those connections close when they come back.
    ///
    /// # Cancel safety
    /// Dropping the future stops waiting; the pool stays closed.
    pub async fn close(&self, timeout: Duration) -> Result<(), Leftover> {
        self.shared.enter_shut(|kept, now| kept.core.close(now));
        let empty = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.shared.kept.lock().core.counts().total() == 0 {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(timeout, empty).await.is_ok() {
            return Ok(());
        }
        let connections = self.status().size;
        Err(Leftover { holders: self.holders(), connections })
    }

    /// Returns whether the pool was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.kept.lock().core.is_closed()
    }

    /// Checks everything that must hold between calls, for tests.
    ///
    /// # Panics
    /// When something does not hold: the pool has a bug.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        self.shared.kept.lock().core.check_invariants();
    }
}

impl<M: Manager> Kept<M> {
    pub(crate) fn status(&self, shared: &Shared<M>, now: Timestamp) -> Status {
        let counts = self.core.counts();
        let counters = self.core.counters();
        // What lies in the free list counts as lent as far as the core knows.
        let free = u32::try_from(shared.free.len()).unwrap_or(u32::MAX).min(counts.in_use);
        let refusals = counters.refused_queue_full
            + counters.refused_failing
            + counters.refused_rejected
            + counters.refused_closed;
        Status {
            max: self.settings.max,
            min: self.settings.min,
            size: counts.total(),
            idle: counts.idle + free,
            in_use: counts.in_use - free,
            connecting: counts.opening,
            validating: counts.checking + counts.resetting,
            closing: counts.closing,
            waiting: counts.waiting,
            longest_wait: self.core.oldest_wait(now),
            paused: self.core.is_paused(),
            closed: self.core.is_closed(),
            breaker: self.breaker.as_ref().map(headpond_core::Breaker::state),
            totals: Totals {
                acquired: counters.granted + shared.spots.quick(),
                acquired_after_wait: counters.granted_after_wait,
                waited: counters.waited,
                opened: counters.opened,
                connects: counters.opens,
                connect_failures: counters.open_failures,
                closed: counters.closed.iter().sum::<u64>() + counters.lost,
                lost: counters.lost,
                checks: counters.checks,
                resets: counters.resets,
                timeouts: counters.refused_timeout,
                refusals,
                cancelled: counters.abandoned + counters.undeliverable,
                leaks: self.leaks,
                nested: self.nested,
            },
        }
    }
}

impl<M: Manager> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M: Manager> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status();
        f.debug_struct("Pool")
            .field("name", &self.name())
            .field("max", &status.max)
            .field("in_use", &status.in_use)
            .field("idle", &status.idle)
            .field("waiting", &status.waiting)
            .finish_non_exhaustive()
    }
}
