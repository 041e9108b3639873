//! Pools as a source of metrics: OpenTelemetry's names, and those of dashboards that exist.
//!
//! Invariant: a pool adds series labelled by its name alone, so their number is bounded by the
//! number of pools; the snapshot caps even that.
//! Left out: when metrics are collected and how they are written (`headpond_stats::text`).

use headpond_stats::{Snapshot, Source, convention};

use crate::manager::Manager;
use crate::pool::{Distributions, Pool};
use crate::status::Status;

/// Whose names the metrics have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Dialect {
    /// OpenTelemetry's conventions for database clients, as a collector would write them for
    /// Prometheus: `db_client_connection_count`, …
    OpenTelemetry,
    /// `database_connections_total`, `database_pool_utilization_percent`,
    /// `database_errors_total`, `database_response_time_milliseconds`.
    Database,
    /// `db_pool_size{state="total|idle|active|waiting"}` and `db_query_duration_seconds`.
    DbPool,
}

/// A pool with the dialects in which its metrics are told.
///
/// ```
/// use headpond::testing::FakeManager;
/// use headpond::{Dialect, Pool, PoolSource};
/// use headpond_stats::{Snapshot, Source, text};
///
/// let pool = Pool::builder(FakeManager::default()).name("main").max(8).build().unwrap();
/// let source = PoolSource::new(pool, [Dialect::OpenTelemetry, Dialect::DbPool]);
/// let mut snapshot = Snapshot::new();
/// source.collect(&mut snapshot);
/// assert!(text::prometheus(&snapshot).contains("db_pool_size{pool=\"main\",state=\"idle\"} 0"));
/// ```
#[derive(Clone, Debug)]
pub struct PoolSource<M: Manager> {
    pool: Pool<M>,
    dialects: Vec<Dialect>,
}

impl<M: Manager> PoolSource<M> {
    /// Makes a source of a pool.
    pub fn new(pool: Pool<M>, dialects: impl IntoIterator<Item = Dialect>) -> Self {
        Self { pool, dialects: dialects.into_iter().collect() }
    }
}

/// One pool at one moment.
pub(crate) struct Moment<'a> {
    pub(crate) name: &'a str,
    pub(crate) status: Status,
    pub(crate) distributions: Distributions,
    pub(crate) errors: u64,
}

impl<M: Manager> Source for PoolSource<M> {
    fn collect(&self, into: &mut Snapshot) {
        let moment = Moment {
            name: self.pool.name(),
            status: self.pool.status(),
            distributions: self.pool.distributions(),
            errors: self.pool.errors().count,
        };
        self.dialects.iter().for_each(|dialect| moment.collect(*dialect, into));
    }
}

/// A pool by itself speaks OpenTelemetry.
impl<M: Manager> Source for Pool<M> {
    fn collect(&self, into: &mut Snapshot) {
        PoolSource::new(self.clone(), [Dialect::OpenTelemetry]).collect(into);
    }
}

impl Moment<'_> {
    pub(crate) fn collect(&self, dialect: Dialect, into: &mut Snapshot) {
        match dialect {
            Dialect::OpenTelemetry => self.open_telemetry(into),
            Dialect::Database => self.database(into),
            Dialect::DbPool => self.db_pool(into),
        }
    }

    fn open_telemetry(&self, into: &mut Snapshot) {
        let [count, max, idle_max, idle_min, pending, timeouts, create, wait, usage] =
            convention::METRICS.map(|row| row.spelled);
        let [pool, state] = convention::ATTRIBUTES.map(|(_, label)| label);
        let status = &self.status;
        // A collector adds the scope to every series: with it, both ways give the same series.
        let labels = &[(pool, self.name), (convention::SCOPE, "headpond")];
        let [pool, scope] = *labels;
        into.gauge(count, "Connections in the state that the label says.")
            .add(&[pool, (state, "idle"), scope], status.idle)
            .add(&[pool, (state, "used"), scope], status.in_use);
        into.gauge(max, "Connections at most.").add(labels, status.max);
        into.gauge(idle_max, "Idle connections at most.").add(labels, status.max);
        into.gauge(idle_min, "Idle connections at least.").add(labels, status.min);
        into.gauge(pending, "Callers who wait for a connection.").add(labels, status.waiting);
        into.counter(timeouts, "Callers who waited in vain.").add(labels, status.totals.timeouts);
        let Distributions { wait: waits, usage: loans, connect, .. } = &self.distributions;
        into.histogram(create, "Time to open a connection.").add(labels, connect);
        into.histogram(wait, "Time until a caller had a connection.").add(labels, waits);
        into.histogram(usage, "Time for which a connection was lent.").add(labels, loans);
    }

    fn database(&self, into: &mut Snapshot) {
        let labels = &[("pool", self.name)];
        let percent = self.status.utilisation() * 100.0;
        into.gauge("database_connections_total", "Connections, whatever they do.")
            .add(labels, self.status.size);
        into.gauge("database_pool_utilization_percent", "Connections in use of those allowed.")
            .add(labels, percent);
        into.counter("database_errors_total", "Failed connects and callers without a connection.")
            .add(labels, self.errors);
        let mut times = into.gauge(
            "database_response_time_milliseconds",
            "Time for which connections were lent: the pool sees no queries.",
        );
        for (quantile, of) in [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99)] {
            if let Some(nanos) = self.distributions.usage.quantile(of) {
                let labels = &[("pool", self.name), ("quantile", quantile)];
                times.add(labels, nanos as f64 / 1e6);
            }
        }
    }

    fn db_pool(&self, into: &mut Snapshot) {
        let mut size = into.gauge("db_pool_size", "Connections and callers by state.");
        for (state, number) in [
            ("total", self.status.size),
            ("idle", self.status.idle),
            ("active", self.status.in_use),
            ("waiting", self.status.waiting),
        ] {
            size.add(&[("pool", self.name), ("state", state)], number);
        }
        into.histogram(
            "db_query_duration_seconds",
            "Time for which connections were lent: the pool sees no queries.",
        )
        .add(&[("pool", self.name)], &self.distributions.usage);
    }
}
