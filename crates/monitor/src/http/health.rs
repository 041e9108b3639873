//! Health in the forms that others expect.
//!
//! Invariant: one status stands behind all of them; unhealthy is 503 and the rest 200, whatever
//! the path. A component that is not well says why, in its own words.
//! Not here: `/livez` and its like (`http.rs`): they know nothing of databases.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{answer, bouncer, view};
use crate::figures::Figures;
use crate::health::{Machine, Sort, Status};
use crate::model::{Database, Outcome, Pool};
use crate::time::rfc3339;
use crate::watch::Monitor;

type Shared = State<Arc<Monitor>>;

fn code(status: Status) -> StatusCode {
    match status {
        Status::Healthy | Status::Warning => StatusCode::OK,
        Status::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn told(status: Status, sort: &'static str, body: &Value) -> Response {
    answer(code(status), sort, body.to_string())
}

const JSON: &str = "application/json";
const HEALTH_JSON: &str = "application/health+json";

/// `/health`: the draft `draft-inadarei-api-health-check-06`.
pub(super) async fn whole(State(monitor): Shared) -> Response {
    let look = monitor.look();
    let at = rfc3339(monitor.wall(look.at));
    let state = monitor.state();
    let mut checks = Map::new();
    let finding = |machine: &Machine, observed: Value| {
        let mut finding = observed;
        finding["status"] = json!(machine.status().pass_word());
        finding["time"] = json!(at);
        if !machine.text().is_empty() {
            finding["output"] = json!(machine.text());
        }
        json!([finding])
    };
    for database in &look.databases {
        let machine = state.board.of(Sort::Database, &database.name);
        let took = database.check.as_ref().map(|check| check.took_seconds);
        let observed = json!({
            "componentId": database.name,
            "componentType": "datastore",
            "observedValue": took,
            "observedUnit": "s",
        });
        checks.insert(format!("{}:responseTime", database.name), finding(&machine, observed));
    }
    for (pool, _) in &look.pools {
        let machine = state.board.of(Sort::Pool, &pool.name);
        let observed = json!({
            "componentId": pool.name,
            "componentType": "component",
            "observedValue": pool.utilization(),
            "observedUnit": "1",
        });
        checks.insert(format!("{}:utilization", pool.name), finding(&machine, observed));
    }
    for bouncer in &look.bouncers {
        let machine = state.board.of(Sort::of_bouncer(bouncer), &bouncer.name);
        let name = format!("{}:pgbouncer", bouncer.name);
        checks.insert(name, finding(&machine, bouncer::observed(bouncer)));
    }
    let process = &look.process;
    let machine = state.board.of(Sort::Process, &process.service);
    let uptime = json!({
        "componentId": process.service,
        "componentType": "system",
        "observedValue": process.uptime_seconds,
        "observedUnit": "s",
    });
    checks.insert(format!("{}:uptime", process.service), finding(&machine, uptime));
    let status = state.board.worst();
    let worst = state.board.all().find(|(.., machine)| machine.status() == status);
    let mut body = json!({
        "status": status.pass_word(),
        "serviceId": process.service,
        "description": "connection pools and the databases behind them",
        "checks": checks,
    });
    if let Some((_, name, machine)) = worst.filter(|_| status != Status::Healthy) {
        body["output"] = json!(format!("{name}: {}", machine.text()));
    }
    told(status, HEALTH_JSON, &body)
}

/// `/health/quick`: the status alone, for whoever asks every second.
pub(super) async fn quick(State(monitor): Shared) -> Response {
    monitor.look();
    let status = monitor.state().board.worst();
    told(status, HEALTH_JSON, &json!({ "status": status.pass_word() }))
}

/// A pool in the words of the systems that are replaced: both sets of names, the same numbers.
fn pool_words(
    monitor: &Monitor,
    state: &crate::watch::State,
    pool: &Pool,
    figures: &Figures,
) -> Value {
    let connections = &pool.connections;
    let machine = state.board.of(Sort::Pool, &pool.name);
    let error = state.ledger.last_error(&pool.name);
    let totals = &pool.totals;
    let errors = totals.errors + totals.connect_failures + totals.timeouts;
    let max = (pool.size_max > 0).then_some(pool.size_max);
    json!({
        "name": pool.name,
        "backend": pool.backend,
        "status": machine.status(),
        "error": (!machine.text().is_empty()).then_some(machine.text()),
        "since": rfc3339(monitor.wall(machine.since())),
        "totalConnections": connections.total(),
        "idleConnections": connections.idle,
        "activeConnections": connections.used,
        "waitingCount": pool.waiting,
        "maxConnections": max,
        "minConnections": pool.size_min,
        "errorCount": errors,
        "lastError": error.map(|error| &error.text),
        "lastErrorTime": error.map(|error| rfc3339(error.at)),
        "size": connections.total(),
        "available": connections.idle,
        "borrowed": connections.used,
        "pending": pool.waiting,
        "created": totals.created,
        "destroyed": totals.destroyed,
        "errors": errors,
        "utilization": pool.utilization(),
        "errorRate": figures.error_ratio,
        "acquireSecondsP99": figures.wait_p99_seconds,
        "oldestWaitSeconds": pool.oldest_wait_seconds,
        "breaker": pool.breaker,
        "paused": pool.paused,
    })
}

fn pools_words(monitor: &Monitor, database: Option<&str>) -> Value {
    let look = monitor.look();
    let state = monitor.state();
    let own = look.pools.iter();
    let own = own.filter(|(pool, _)| database.is_none_or(|database| pool.database == database));
    own.take(view::ROWS_MAX).map(|(p, figures)| pool_words(monitor, &state, p, figures)).collect()
}

/// `/health/connections`: every pool, and all of them added up.
pub(super) async fn connections(State(monitor): Shared) -> Response {
    let look = monitor.look();
    let status = {
        let state = monitor.state();
        state.board.worst_of(Sort::Pool).max(bouncer::worst(&state))
    };
    let mut sum = json!({});
    let add = |key: &str, of: &dyn Fn(&Pool) -> u64| {
        (key.to_owned(), json!(look.pools.iter().map(|(pool, _)| of(pool)).sum::<u64>()))
    };
    for (key, value) in [
        add("size", &|pool| u64::from(pool.connections.total())),
        add("available", &|pool| u64::from(pool.connections.idle)),
        add("borrowed", &|pool| u64::from(pool.connections.used)),
        add("pending", &|pool| u64::from(pool.waiting)),
        add("created", &|pool| pool.totals.created),
        add("destroyed", &|pool| pool.totals.destroyed),
        add("errors", &|pool| {
            pool.totals.errors + pool.totals.connect_failures + pool.totals.timeouts
        }),
    ] {
        sum[key] = value;
    }
    let body = json!({
        "status": status,
        "timestamp": rfc3339(monitor.wall(look.at)),
        "clients": look.process.clients,
        "maxClients": look.process.clients_max,
        "total": sum,
        "pools": pools_words(&monitor, None),
        "bouncers": bouncer::shown(&monitor, view::ROWS_MAX),
    });
    told(status, JSON, &body)
}

fn database_words(monitor: &Monitor, database: &Database) -> Value {
    let machine = monitor.state().board.of(Sort::Database, &database.name);
    let truth = match database.check.as_ref().map(|check| &check.outcome) {
        Some(Outcome::Truth(truth)) => json!(truth),
        _ => Value::Null,
    };
    json!({
        "name": database.name,
        "backend": database.backend,
        "status": machine.status(),
        "error": (!machine.text().is_empty()).then_some(machine.text()),
        "since": rfc3339(monitor.wall(machine.since())),
        "responseTime": database.check.as_ref().map(|check| check.took_seconds * 1000.0),
        "checkedSecondsAgo": database.check.as_ref().map(|check| check.ago_seconds),
        "server": truth,
        "pools": pools_words(monitor, Some(&database.name)),
    })
}

/// `/health/database` and `/api/health/database`: pools, what the database says, the
/// configuration of its pools and what to change.
pub(super) async fn database(State(monitor): Shared) -> Response {
    let look = monitor.look();
    let status = {
        let state = monitor.state();
        let own = state.board.worst_of(Sort::Database).max(state.board.worst_of(Sort::Pool));
        own.max(bouncer::worst(&state))
    };
    let settings = monitor.source.settings();
    let configuration = settings.iter().filter(|setting| setting.section.starts_with("databases"));
    let body = json!({
        "status": status,
        "timestamp": rfc3339(monitor.wall(look.at)),
        "databases": look.databases.iter().map(|d| database_words(&monitor, d)).collect::<Value>(),
        "bouncers": bouncer::shown(&monitor, view::ROWS_MAX),
        "configuration": configuration.collect::<Vec<_>>(),
        "recommendations": monitor.advice(),
    });
    told(status, JSON, &body)
}

/// The checks of `/api/health`: the databases, and the pools.
fn checks(monitor: &Monitor) -> Value {
    let look = monitor.look();
    let state = monitor.state();
    let of = |sort: Sort, fits: &dyn Fn(&str) -> bool| {
        let all = state.board.all().filter(|(of, name, _)| *of == sort && fits(name));
        all.max_by_key(|(.., machine)| machine.status())
            .map(|(_, name, machine)| (name.to_owned(), machine.clone()))
    };
    let words = |found: Option<(String, Machine)>| {
        let Some((name, machine)) = found else { return json!({ "status": "healthy" }) };
        let mut check = json!({ "status": machine.status() });
        if !machine.text().is_empty() {
            check["error"] = json!(format!("{name}: {}", machine.text()));
        }
        check
    };
    let is_redis = |name: &str| {
        look.databases.iter().any(|database| database.name == name && database.backend == "redis")
    };
    let mut checks = json!({
        "database": words(of(Sort::Database, &|name| !is_redis(name))),
        "connectionPool": words(of(Sort::Pool, &|_| true)),
    });
    if look.databases.iter().any(|database| database.backend == "redis") {
        checks["redis"] = words(of(Sort::Database, &is_redis));
    }
    if !look.bouncers.is_empty() {
        let neighbour = of(Sort::Neighbour, &|_| true);
        let found = of(Sort::Bouncer, &|_| true).into_iter().chain(neighbour);
        checks["pgbouncer"] = words(found.max_by_key(|(_, machine)| machine.status()));
    }
    checks
}

/// `/api/health`.
pub(super) async fn simple(State(monitor): Shared) -> Response {
    let look = monitor.look();
    let checks = checks(&monitor);
    let status = monitor.state().board.worst();
    let timestamp = rfc3339(monitor.wall(look.at));
    told(status, JSON, &json!({ "status": status, "timestamp": timestamp, "checks": checks }))
}

/// `/api/health/detailed`.
pub(super) async fn detailed(State(monitor): Shared) -> Response {
    let look = monitor.look();
    let checks = checks(&monitor);
    let status = monitor.state().board.worst();
    let process = &look.process;
    let body = json!({
        "status": status,
        "timestamp": rfc3339(monitor.wall(look.at)),
        "checks": checks,
        "uptime": process.uptime_seconds,
        "system": {
            "phase": process.phase,
            "paused": process.paused,
            "clients": process.clients,
            "maxClients": process.clients_max,
            "workers": process.workers,
        },
        "memory": { "used": process.memory_bytes, "limit": process.memory_max_bytes },
        "pools": pools_words(&monitor, None),
        "databases": look.databases.iter().map(|d| database_words(&monitor, d)).collect::<Value>(),
    });
    told(status, JSON, &body)
}

fn probe(ok: bool, good: &'static str, bad: &'static str) -> Response {
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, JSON, json!({ "status": if ok { good } else { bad } }).to_string())
}

/// `/api/health/ready`.
pub(super) async fn ready(State(monitor): Shared) -> Response {
    probe(monitor.source.ready().ok, "ready", "not_ready")
}

/// `/api/health/live`.
pub(super) async fn live(State(monitor): Shared) -> Response {
    probe(monitor.source.live().ok, "alive", "dead")
}
