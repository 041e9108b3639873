//! The numbers of a monitor for Prometheus: its source's, its own, and the sets of others.
//!
//! Invariant: a name means one thing; labels take values from the configuration only, or those of
//! pools and databases that somebody was let in to, and the snapshot caps them besides.
//! Not here: how they are written (`exporter.rs`).

mod bouncer;
mod pgbouncer;

use std::str::FromStr;

use headpond_stats::{Distribution, Snapshot};

use crate::alert::Phase;
use crate::health::Sort;
use crate::model::{Breaker, Database, Outcome, Pool, Process};
use crate::watch::{Look, Monitor};

/// Metrics under the names that dashboards of other systems know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricSet {
    /// `database_connections_total`, `database_pool_utilization_percent`, …
    Database,
    /// `db_pool_size{state}`, `db_query_duration_seconds`.
    Db,
    /// Those of pgbouncer_exporter 0.12: `pgbouncer_pools_client_waiting_connections`, …
    Pgbouncer,
}

impl FromStr for MetricSet {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "database" => Ok(Self::Database),
            "db" => Ok(Self::Db),
            "pgbouncer" => Ok(Self::Pgbouncer),
            _ => Err(()),
        }
    }
}

impl Monitor {
    /// Adds everything there is to tell.
    pub(crate) fn collect(&self, into: &mut Snapshot) {
        self.source.collect(into);
        let look = self.look();
        of_process(&look.process, into);
        look.pools.iter().for_each(|(pool, _)| of_pool(pool, into));
        look.databases.iter().for_each(|database| of_database(database, into));
        look.bouncers.iter().for_each(|bouncer| bouncer::collect(bouncer, into));
        self.of_health(into);
        self.of_alerts(into);
        self.of_store(into);
        #[cfg(feature = "otlp")]
        self.pushes.collect(into);
        for set in &self.sets {
            match set {
                MetricSet::Database => database_set(&look, into),
                MetricSet::Db => db_set(&look, into),
                MetricSet::Pgbouncer => pgbouncer::set(&look, into),
            }
        }
    }

    fn of_health(&self, into: &mut Snapshot) {
        let help = "How a component is: 0 healthy, 1 warning, 2 unhealthy.";
        for (sort, name, machine) in self.state().board.all() {
            let sort = match sort {
                Sort::Process => "process",
                Sort::Database => "database",
                Sort::Pool => "pool",
                Sort::Bouncer | Sort::Neighbour => "pgbouncer",
            };
            let labels = [("component", sort), ("name", name)];
            into.gauge("headpond_health_status", help).add(&labels, machine.status() as u8);
        }
    }

    fn of_alerts(&self, into: &mut Snapshot) {
        let state = self.state();
        for alert in state.alerts.active().filter(|alert| alert.phase == Phase::Firing) {
            let labels = [
                ("alertname", alert.rule.name.as_str()),
                ("severity", alert.rule.severity.word()),
                ("subject", alert.subject.as_str()),
            ];
            into.gauge("headpond_alerts_firing", "Alerts that fire.").add(&labels, 1u64);
        }
        drop(state);
        for delivery in self.notifier.deliveries() {
            for (outcome, count) in [("delivered", delivery.delivered), ("failed", delivery.failed)]
            {
                let labels = [("route", delivery.route), ("outcome", outcome)];
                into.counter("headpond_alert_deliveries_total", "Alerts sent along a route.")
                    .add(&labels, count);
            }
        }
        into.counter("headpond_alerts_dropped_total", "Alerts that found no place in the line.")
            .add(&[], self.notifier.dropped());
    }

    fn of_store(&self, into: &mut Snapshot) {
        let Some(condition) = self.store().map(|store| store.condition()) else { return };
        into.gauge("headpond_history_bytes", "What the history takes on disk.")
            .add(&[], condition.bytes);
        into.counter("headpond_history_errors_total", "Attempts to write history that failed.")
            .add(&[], condition.errors);
        into.counter("headpond_history_dropped_total", "Minutes of history that were lost.")
            .add(&[], condition.dropped);
    }
}

fn of_process(process: &Process, into: &mut Snapshot) {
    into.gauge("headpond_memory_bytes", "Memory in use.").add(&[], process.memory_bytes);
    let max = process.memory_max_bytes.unwrap_or(0);
    into.gauge("headpond_memory_max_bytes", "Memory that may be used, 0 for no limit.")
        .add(&[], max);
}

fn of_pool(pool: &Pool, into: &mut Snapshot) {
    let labels = [("database", pool.database.as_str()), ("user", pool.user.as_str())];
    into.gauge("headpond_pool_breaker_open", "1 while servers cannot be opened.")
        .add(&labels, u64::from(pool.breaker == Breaker::Open));
    into.gauge("headpond_pool_paused", "1 while a pool is paused.")
        .add(&labels, u64::from(pool.paused));
    into.counter("headpond_pool_leaks_total", "Servers that a client has kept for too long.")
        .add(&labels, pool.totals.leaks);
}

fn of_database(database: &Database, into: &mut Snapshot) {
    let Some(check) = &database.check else { return };
    let labels = [("database", database.name.as_str())];
    into.gauge("headpond_database_check_seconds", "How long the last check took.")
        .add(&labels, check.took_seconds);
    let up = matches!(check.outcome, Outcome::Truth(_));
    into.gauge("headpond_database_up", "1 if a database answered its last check.")
        .add(&labels, u64::from(up));
    let Outcome::Truth(truth) = &check.outcome else { return };
    if let Some(lag) = truth.replication_lag_seconds {
        into.gauge("headpond_database_replication_lag_seconds", "How far a standby is behind.")
            .add(&labels, lag);
    }
    if let Some(count) = truth.standbys {
        into.gauge("headpond_database_standbys", "Standbys that receive a database's changes.")
            .add(&labels, count);
    }
    if let Some(lag) = truth.standby_lag_seconds {
        let help = "How far the slowest standby of a database is behind.";
        into.gauge("headpond_database_standby_lag_seconds", help).add(&labels, lag);
    }
    if truth.is_silent() {
        return;
    }
    let other = truth.total.saturating_sub(truth.active + truth.idle + truth.idle_in_transaction);
    let in_transaction = ("idle_in_transaction", truth.idle_in_transaction);
    // Others do not say, which is not 0.
    let in_transaction = (database.backend == "postgresql").then_some(in_transaction);
    let counts = [("active", truth.active), ("idle", truth.idle), ("other", other)];
    for (state, count) in counts.into_iter().chain(in_transaction) {
        into.gauge("headpond_database_sessions", "Sessions of a database's server by state.")
            .add(&[labels[0], ("state", state)], count);
    }
    if truth.connections_max > 0 {
        let help = "Connections that a server takes from users.";
        into.gauge("headpond_database_connections_max", help)
            .add(&labels, truth.connections_max.saturating_sub(truth.connections_reserved));
    }
    let read_only = truth.read_only && !truth.in_recovery;
    into.gauge("headpond_database_read_only", "1 while it takes no writes and is no standby.")
        .add(&labels, u64::from(read_only));
    into.gauge("headpond_database_in_recovery", "1 while a database is a standby.")
        .add(&labels, u64::from(truth.in_recovery));
}

fn database_set(look: &Look, into: &mut Snapshot) {
    for (pool, _) in &look.pools {
        let labels = [("pool", pool.name.as_str())];
        // By its name a total, by its meaning a level: as those who named it have it.
        into.gauge("database_connections_total", "Connections of a pool.")
            .add(&labels, u64::from(pool.connections.total()));
        into.gauge("database_pool_utilization_percent", "Share of a pool in use.")
            .add(&labels, pool.utilization() * 100.0);
        let totals = &pool.totals;
        into.counter("database_errors_total", "Errors of a pool.")
            .add(&labels, totals.errors + totals.connect_failures + totals.timeouts);
    }
    for database in &look.databases {
        let Some(check) = &database.check else { continue };
        let help = "How long the last check took.";
        into.gauge("database_response_time_milliseconds", help)
            .add(&[("database", database.name.as_str())], check.took_seconds * 1000.0);
    }
}

fn db_set(look: &Look, into: &mut Snapshot) {
    let mut queries = Distribution::new();
    for (pool, _) in &look.pools {
        let connections = &pool.connections;
        for (state, count) in [
            ("total", connections.total()),
            ("idle", connections.idle),
            ("active", connections.used),
            ("waiting", pool.waiting),
        ] {
            let labels = [("pool", pool.name.as_str()), ("state", state)];
            into.gauge("db_pool_size", "Connections of a pool by state.")
                .add(&labels, u64::from(count));
        }
        queries.merge(&pool.times.query);
    }
    into.histogram("db_query_duration_seconds", "Durations of queries.").add(&[], &queries);
}
