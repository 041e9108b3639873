//! The state of a pooler as plain lines, once: for `--once` and for pipes.
//!
//! Invariant: it is lines and nothing else, so that grep and a mail can read it.
//! Not here: the screen (`view.rs`).

use serde_json::Value;

use crate::Failure;
use crate::ask::http::Endpoint;
use crate::ask::print::{columns, plain, pool, pool_head, time};

/// Asks for pools, waits and holders, and lays them out; the busiest pool and the longest come
/// first.
///
/// # Errors
/// There is no answer.
pub fn page(endpoint: &Endpoint) -> Result<String, Failure> {
    let status = endpoint.get("/api/v1/status")?;
    let pools = endpoint.get("/api/v1/pools")?;
    let waits = endpoint.get("/api/v1/waits")?;
    let holders = endpoint.get("/api/v1/holders")?;
    let empty = Vec::new();
    let mut rows: Vec<&Value> = pools["pools"].as_array().unwrap_or(&empty).iter().collect();
    let busy = |pool: &Value| {
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        (count(&pool["waiting"]), count(&pool["connections"]["used"]))
    };
    rows.sort_by_key(|pool| std::cmp::Reverse(busy(pool)));
    let process = &status["process"];
    let mut text = format!(
        "{}   up {}   clients {}/{}   alerts {}   {}\n\n",
        plain(&status["status"]),
        time(&process["uptime_seconds"]),
        plain(&process["clients"]),
        plain(&process["clients_max"]),
        plain(&status["alerts_firing"]),
        plain(&status["at"]),
    );
    let mut lines = vec![pool_head()];
    lines.extend(rows.into_iter().map(pool));
    text.push_str(&columns(&lines));
    let people = |name: &str, value: &Value, why: &str| {
        let rows = value[name].as_array().unwrap_or(&empty).iter().take(5);
        rows.map(|row| {
            vec![time(&row["seconds"]), plain(&row["pool"]), plain(&row[why]), plain(&row["place"])]
        })
        .collect::<Vec<_>>()
    };
    for (title, name, value, why) in
        [("WAITS", "waits", &waits, "reason"), ("HOLDS", "holders", &holders, "state")]
    {
        let rows = people(name, value, why);
        if !rows.is_empty() {
            let found = plain(&value["found"]);
            text.push_str(&format!("\n{title} ({found}, the longest first)\n{}", columns(&rows)));
        }
    }
    Ok(text)
}
