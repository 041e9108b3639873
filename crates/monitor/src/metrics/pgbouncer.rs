//! The names of pgbouncer_exporter 0.12, for dashboards and alerts that were made for them.
//!
//! Invariant: a series means what the column of SHOW means that the exporter reads it from; a
//! column that has no counterpart here is left out rather than being 0 for ever.
//! Not here: the console's own columns, which an unmodified exporter can read as well.

use headpond_stats::Snapshot;

use crate::model::{Database, Pool};
use crate::watch::Look;

/// Adds the whole set.
pub(super) fn set(look: &Look, into: &mut Snapshot) {
    into.gauge("pgbouncer_up", "1: it answers.").add(&[], 1u64);
    let version = format!("{} {}", look.process.service, look.process.version);
    into.gauge("pgbouncer_version_info", "Version of the pooler.")
        .add(&[("version", version.as_str())], 1u64);
    into.gauge("pgbouncer_config_max_client_connections", "Limit of clients.")
        .add(&[], look.process.clients_max);
    let pools = || look.pools.iter().map(|(pool, _)| pool);
    let idle: u64 = pools().map(|pool| u64::from(pool.connections.idle)).sum();
    let live: u64 = pools().map(|pool| u64::from(pool.connections.live())).sum();
    for (name, help, value) in [
        ("pgbouncer_databases", "Count of databases.", look.databases.len() as u64),
        ("pgbouncer_pools", "Count of pools.", look.pools.len() as u64),
        ("pgbouncer_used_clients", "Count of clients.", look.process.clients),
        ("pgbouncer_free_servers", "Count of idle servers.", idle),
        ("pgbouncer_used_servers", "Count of servers in use.", live - idle),
    ] {
        into.gauge(name, help).add(&[], value);
    }
    for database in &look.databases {
        let own: Vec<&Pool> = pools().filter(|pool| pool.database == database.name).collect();
        of_database(database, &own, into);
        totals(&database.name, &own, into);
    }
    pools().for_each(|pool| of_pool(pool, into));
}

fn of_database(database: &Database, pools: &[&Pool], into: &mut Snapshot) {
    // The place is written `hosts:port/name`.
    let (address, name) = database.place.rsplit_once('/').unwrap_or((&database.place, ""));
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let largest = |value: fn(&Pool) -> u32| {
        u64::from(pools.iter().map(|pool| value(pool)).max().unwrap_or(0))
    };
    let labels = [
        ("name", database.name.as_str()),
        ("host", host),
        ("port", port),
        ("database", name),
        ("force_user", ""),
        ("pool_mode", pools.first().map_or("", |pool| pool.mode)),
    ];
    for (metric, help, value) in [
        (
            "pgbouncer_databases_pool_size",
            "Limit of servers of a pool.",
            largest(|pool| pool.size_max),
        ),
        (
            "pgbouncer_databases_reserve_pool",
            "Servers beyond the limit under pressure.",
            largest(|pool| pool.reserve),
        ),
        (
            "pgbouncer_databases_max_connections",
            "Limit of servers of a database.",
            database.connections_max,
        ),
        ("pgbouncer_databases_current_connections", "Servers of a database.", database.connections),
        ("pgbouncer_databases_paused", "1 while it is paused.", database.paused.into()),
        ("pgbouncer_databases_disabled", "1 while it is disabled.", database.disabled.into()),
    ] {
        into.gauge(metric, help).add(&labels, value);
    }
}

fn totals(database: &str, pools: &[&Pool], into: &mut Snapshot) {
    let labels = [("database", database)];
    let sum = |value: fn(&Pool) -> u64| -> u64 { pools.iter().map(|pool| value(pool)).sum() };
    for (name, help, value) in [
        ("queries_pooled_total", "Queries finished.", sum(|pool| pool.totals.queries)),
        ("received_bytes_total", "Bytes from clients.", sum(|pool| pool.totals.received_bytes)),
        ("sent_bytes_total", "Bytes to clients.", sum(|pool| pool.totals.sent_bytes)),
        (
            "sql_transactions_pooled_total",
            "Transactions finished.",
            sum(|pool| pool.totals.transactions),
        ),
        ("client_parses_total", "Parses of clients.", sum(|pool| pool.totals.client_parses)),
        ("server_parses_total", "Parses to servers.", sum(|pool| pool.totals.server_parses)),
        ("binds_total", "Binds.", sum(|pool| pool.totals.binds)),
        (
            "server_assignments_total",
            "Servers given to clients.",
            sum(|pool| pool.totals.assignments),
        ),
    ] {
        into.counter(&format!("pgbouncer_stats_totals_{name}"), help).add(&labels, value);
    }
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    for (name, help, nanos) in [
        (
            "queries_duration_seconds_total",
            "Time in queries.",
            sum(|pool| pool.times.query.sum_nanos()),
        ),
        (
            "server_in_transaction_seconds_total",
            "Time in transactions.",
            sum(|pool| pool.times.transaction.sum_nanos()),
        ),
        (
            "client_wait_seconds_total",
            "Time that clients waited for a server.",
            sum(|pool| pool.times.waits.iter().map(|(_, waits)| waits.sum_nanos()).sum()),
        ),
    ] {
        into.counter(&format!("pgbouncer_stats_totals_{name}"), help).add(&labels, seconds(nanos));
    }
}

fn of_pool(pool: &Pool, into: &mut Snapshot) {
    let labels = [("database", pool.database.as_str()), ("user", pool.user.as_str())];
    let connections = &pool.connections;
    let waiting = u64::from(pool.waiting);
    for (name, help, value) in [
        (
            "client_active_connections",
            "Clients with a server or without a wish.",
            pool.clients.saturating_sub(waiting),
        ),
        ("client_waiting_connections", "Clients that wait for a server.", waiting),
        ("server_active_connections", "Servers with a client.", connections.used.into()),
        ("server_idle_connections", "Servers that may be used at once.", connections.idle.into()),
        (
            "server_testing_connections",
            "Servers under a check or being cleaned.",
            (connections.checking + connections.resetting).into(),
        ),
        ("server_login_connections", "Servers that log in.", connections.opening.into()),
        // Whole seconds, as the column is.
        (
            "client_maxwait_seconds",
            "How long the first in line has waited.",
            pool.oldest_wait_seconds as u64,
        ),
    ] {
        into.gauge(&format!("pgbouncer_pools_{name}"), help).add(&labels, value);
    }
}
