//! What goes on beside the databases: samples at intervals, tests at intervals, a log of events.
//!
//! Invariant: each starts and stops by itself and is never there twice; none keeps the databases
//! alive.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use headpond_stats::Distribution;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::{Databases, DynDatabase, Shared};
use crate::status::Totals;

/// Tasks that go on; dropping them ends them.
#[derive(Default)]
pub(super) struct Tasks {
    monitoring: Option<Task>,
    tests: Option<Task>,
    log: Vec<Task>,
}

struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A pool in an interval.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// The database.
    pub name: String,
    /// Connections in use as a share of the maximum, at the end of the interval.
    pub utilisation: f64,
    /// Callers who wait, at the end of the interval.
    pub waiting: u32,
    /// How long callers waited for a connection on average, in the interval.
    pub wait_mean: Duration,
    /// What 95 of 100 callers did not have to wait for longer than, in the interval.
    pub wait_p95: Duration,
    /// Loans in the interval.
    pub acquired: u64,
    /// Errors for each connection that was asked for in the interval, from 0 to 1.
    pub error_rate: f64,
    /// Connections opened in the interval.
    pub created: u64,
    /// Connections closed in the interval.
    pub destroyed: u64,
}

/// A pool at the end of the interval before.
#[derive(Default)]
struct Before {
    totals: Totals,
    errors: u64,
    wait: Distribution,
}

impl Sample {
    fn take(name: &str, database: &dyn DynDatabase, last: &mut Before) -> Self {
        let (status, errors) = (database.status(), database.errors().count);
        let (totals, wait) = (status.totals, database.distributions().wait);
        let before = std::mem::replace(last, Before { totals, errors, wait: wait.clone() });
        let acquired = totals.acquired.saturating_sub(before.totals.acquired);
        let failed = errors.saturating_sub(before.errors);
        let wait = wait.since(&before.wait);
        let mean = wait.sum_nanos().checked_div(wait.count()).unwrap_or(0);
        Self {
            name: name.to_owned(),
            utilisation: status.utilisation(),
            waiting: status.waiting,
            wait_mean: Duration::from_nanos(mean),
            wait_p95: Duration::from_nanos(wait.quantile(0.95).unwrap_or(0)),
            acquired,
            error_rate: failed as f64 / (acquired + failed).max(1) as f64,
            created: totals.opened.saturating_sub(before.totals.opened),
            destroyed: totals.closed.saturating_sub(before.totals.closed),
        }
    }

    fn log(&self) {
        tracing::info!(
            pool = self.name,
            utilisation = self.utilisation,
            waiting = self.waiting,
            wait_mean_ms = self.wait_mean.as_secs_f64() * 1000.0,
            wait_p95_ms = self.wait_p95.as_secs_f64() * 1000.0,
            acquired = self.acquired,
            error_rate = self.error_rate,
            created = self.created,
            destroyed = self.destroyed,
            "pool"
        );
    }
}

impl Databases {
    /// Begins to log a sample of every pool at intervals, instead of what was begun before.
    pub fn start_monitoring(&self, interval: Duration) {
        self.monitor_with(interval, |sample| sample.log());
    }

    /// Begins to hand a sample of every pool over at intervals, instead of what was begun before.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn monitor_with(&self, interval: Duration, to: impl Fn(&Sample) + Send + Sync + 'static) {
        let mut last: BTreeMap<String, Before> = BTreeMap::new();
        let task = repeat(Arc::downgrade(&self.shared), interval, move |databases| {
            for (name, _, database) in databases.iter() {
                let last = last.entry(name.to_owned()).or_default();
                to(&Sample::take(name, database, last));
            }
            std::future::ready(())
        });
        self.shared.tasks.lock().monitoring = Some(task);
    }

    /// Ends the samples. Nothing happens if there are none.
    pub fn stop_monitoring(&self) {
        self.shared.tasks.lock().monitoring = None;
    }

    /// Returns whether samples are taken.
    #[must_use]
    pub fn is_monitoring(&self) -> bool {
        self.shared.tasks.lock().monitoring.is_some()
    }

    /// Begins what the configuration asks for.
    pub(super) fn begin_tasks(&self) {
        let general = &self.shared.general;
        if general.monitoring {
            self.start_monitoring(general.monitoring_interval);
        }
        if let Some(interval) = general.health_interval {
            let shared = Arc::downgrade(&self.shared);
            let task = repeat(shared, interval, |databases| async move {
                for tested in databases.test_all().await {
                    if let Err(error) = tested.outcome {
                        tracing::warn!(pool = tested.name, error, "a database does not answer");
                    }
                }
            });
            self.shared.tasks.lock().tests = Some(task);
        }
        let listeners = self.iter().filter_map(|(_, _, database)| database.events());
        let log = listeners.map(|mut listener| {
            Task(tokio::spawn(async move {
                while let Some(event) = listener.next().await {
                    tracing::info!(pool = &*event.pool, kind = ?event.kind, "connection");
                }
            }))
        });
        self.shared.tasks.lock().log = log.collect();
    }

    pub(super) fn end_tasks(&self) {
        *self.shared.tasks.lock() = Tasks::default();
    }
}

/// Does something at intervals until the databases are gone.
fn repeat<F: Future<Output = ()> + Send>(
    shared: Weak<Shared>,
    interval: Duration,
    mut work: impl FnMut(Databases) -> F + Send + 'static,
) -> Task {
    Task(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, and there is nothing to tell yet.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let Some(shared) = shared.upgrade() else { return };
            work(Databases { shared }).await;
        }
    }))
}
