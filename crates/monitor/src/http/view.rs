//! What is known, as JSON: `/api/v1` and the live stream.
//!
//! Invariant: every answer is made of one look, so its numbers fit each other; names are
//! snake_case, values in base units, and nothing needs a second request to be understood.
//! Not here: health in the forms of others (`health.rs`), what was (`past.rs`), routes (`api.rs`).

use headpond_stats::Distribution;
use serde_json::{Value, json};

use super::bouncer;
use crate::alert::Phase;
use crate::figures::Figures;
use crate::health::{Machine, Sort};
use crate::model::Pool;
use crate::time::rfc3339;
use crate::watch::{Monitor, State};

/// Rows that one answer has at most.
pub(super) const ROWS_MAX: usize = 1_000;
/// Pools that the live stream shows at most: those that need attention most come first.
const STREAM_POOLS_MAX: usize = 100;

fn seconds(times: &Distribution, q: f64) -> f64 {
    times.quantile(q).map_or(0.0, |nanos| nanos as f64 / 1e9)
}

/// A distribution as people read it.
fn times(of: &Distribution) -> Value {
    json!({
        "count": of.count(),
        "p50": seconds(of, 0.5),
        "p95": seconds(of, 0.95),
        "p99": seconds(of, 0.99),
        "max": of.max_nanos() as f64 / 1e9,
        "sum": of.sum_seconds(),
    })
}

pub(super) fn machine(monitor: &Monitor, machine: &Machine) -> Value {
    json!({
        "status": machine.status(),
        "text": machine.text(),
        "since": rfc3339(monitor.wall(machine.since())),
    })
}

fn pool(monitor: &Monitor, state: &State, pool: &Pool, figures: &Figures) -> Value {
    let mut value = json!(pool);
    value["utilization"] = json!(pool.utilization());
    value["figures"] = json!(figures);
    value["health"] = machine(monitor, &state.board.of(Sort::Pool, &pool.name));
    let waits = pool.times.waits.iter().filter(|(_, times)| times.count() > 0);
    let wait = |(reason, of): &(&'static str, Distribution)| {
        let mut wait = times(of);
        wait["reason"] = json!(reason);
        wait
    };
    value["waits"] = waits.map(wait).collect();
    value["query_seconds"] = times(&pool.times.query);
    value["transaction_seconds"] = times(&pool.times.transaction);
    value["connect_seconds"] = times(&pool.times.connect);
    value["last_error"] = state
        .ledger
        .last_error(&pool.name)
        .map_or(Value::Null, |error| json!({ "text": error.text, "at": rfc3339(error.at) }));
    value
}

/// `/api/v1/pools`.
pub(super) fn pools(monitor: &Monitor) -> Value {
    let look = monitor.look();
    let state = monitor.state();
    let rows = look.pools.iter().take(ROWS_MAX);
    let rows: Value = rows.map(|(p, figures)| pool(monitor, &state, p, figures)).collect();
    json!({ "at": rfc3339(monitor.wall(look.at)), "total": look.pools.len(), "pools": rows })
}

/// `/api/v1/databases`.
pub(super) fn databases(monitor: &Monitor) -> Value {
    let look = monitor.look();
    let state = monitor.state();
    let rows = look.databases.iter().map(|database| {
        let mut value = json!(database);
        value["health"] = machine(monitor, &state.board.of(Sort::Database, &database.name));
        value
    });
    json!({ "at": rfc3339(monitor.wall(look.at)), "databases": rows.collect::<Value>() })
}

/// `/api/v1/alerts`.
pub(super) fn alerts(monitor: &Monitor) -> Value {
    let state = monitor.state();
    let active = state.alerts.active().map(|alert| {
        let mut value = json!(alert);
        value["since"] = json!(rfc3339(monitor.wall(alert.since)));
        let fired = (alert.phase == Phase::Firing).then(|| rfc3339(monitor.wall(alert.fired_at)));
        value["fired_at"] = json!(fired);
        value
    });
    let silences = state.alerts.silences().iter().map(|silence| {
        let mut value = json!(silence);
        value["until"] = json!(rfc3339(monitor.wall(silence.until)));
        value
    });
    json!({
        "active": active.collect::<Value>(),
        "silences": silences.collect::<Value>(),
        "rules": state.alerts.rules(),
        "deliveries": monitor.notifier.deliveries(),
        "dropped": monitor.notifier.dropped(),
        "overflowed": state.alerts.overflowed(),
    })
}

/// `/api/v1/events`, the newest first.
pub(super) fn events(monitor: &Monitor) -> Value {
    let state = monitor.state();
    let events = state.events.iter().rev().map(|event| {
        let mut value = json!(event);
        value["at"] = json!(rfc3339(event.at));
        value
    });
    json!({ "events": events.collect::<Value>() })
}

/// `/api/v1/status`: the process, and everything that is not well.
pub(super) fn status(monitor: &Monitor) -> Value {
    let look = monitor.look();
    let state = monitor.state();
    let firing = state.alerts.active().filter(|alert| alert.phase == Phase::Firing).count();
    let components = state.board.all().map(|(sort, name, of)| {
        let mut value = machine(monitor, of);
        value["sort"] = json!(sort);
        value["name"] = json!(name);
        value
    });
    json!({
        "at": rfc3339(monitor.wall(look.at)),
        "status": state.board.worst(),
        "process": look.process,
        "components": components.collect::<Value>(),
        "alerts_firing": firing,
        "actions": monitor.actions.is_some() && monitor.access().action_token.is_some(),
    })
}

/// One message of the live stream: what the page shows without being asked.
pub(super) fn live(monitor: &Monitor) -> Value {
    let mut value = status(monitor);
    let look = monitor.look();
    let state = monitor.state();
    let mut rows: Vec<_> = look.pools.iter().collect();
    rows.sort_by(|(a, _), (b, _)| {
        let busy = |pool: &Pool| (pool.waiting, pool.connections.used, pool.connections.total());
        busy(b).cmp(&busy(a)).then_with(|| a.name.cmp(&b.name))
    });
    let shown = rows.iter().take(STREAM_POOLS_MAX);
    value["pools"] = shown.map(|(p, figures)| pool(monitor, &state, p, figures)).collect();
    value["pools_total"] = json!(look.pools.len());
    drop(state);
    value["alerts"] = alerts(monitor)["active"].take();
    value["databases"] = databases(monitor)["databases"].take();
    value["bouncers"] = bouncer::shown(monitor, STREAM_POOLS_MAX);
    value
}

/// Keeps the rows in which every word of a search occurs somewhere, and counts them all.
pub(super) fn search(rows: Value, words: &str) -> (usize, Value) {
    let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
    let Value::Array(rows) = rows else { return (0, Value::Array(Vec::new())) };
    let fits = |row: &Value| {
        words.is_empty() || {
            let text = row.as_object().map(|row| {
                row.values().map(plain).collect::<Vec<_>>().join("\u{1f}").to_lowercase()
            });
            text.is_some_and(|text| words.iter().all(|word| text.contains(word)))
        }
    };
    let mut found: Vec<Value> = rows.into_iter().filter(fits).collect();
    let count = found.len();
    found.truncate(ROWS_MAX);
    (count, Value::Array(found))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_finds_rows_by_all_its_words() {
        let rows = json!([
            { "user": "web", "place": "10.0.0.1:5", "id": 17 },
            { "user": "Web", "place": "10.0.0.2:5", "id": 18 },
            { "user": "batch", "place": "unix", "id": 19 },
        ]);
        let found = |words: &str| search(rows.clone(), words).0;
        assert_eq!((found(""), found("web"), found("WEB 0.2"), found("17 batch")), (3, 2, 1, 0));
    }
}
