//! PgBouncers as lines for people: a part of `headpond status`.
//!
//! Invariant: as in `print.rs`; nothing where there are none.

use serde_json::Value;

use super::print::{columns, plain, rows, time};

/// Pools of a PgBouncer that are shown; the busiest come first.
const POOLS_MAX: usize = 20;

/// The sections for them.
pub fn status(bouncers: &Value) -> String {
    let all = rows(bouncers);
    if all.is_empty() {
        return String::new();
    }
    let head =
        ["PGBOUNCER", "HEALTH", "CLIENTS", "WAITING", "SERVERS", "ANSWERS IN", "VERSION", ""];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(all.iter().map(bouncer));
    let mut text = format!("\n{}", columns(&lines));
    let head = ["PGBOUNCER'S POOL", "AT", "CLIENTS", "WAITING", "ACTIVE", "IDLE", "MODE"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for bouncer in all {
        let name = plain(&bouncer["name"]);
        let pools = rows(&bouncer["check"]["figures"]["pools"]).iter().take(POOLS_MAX);
        lines.extend(pools.map(|of| pool(&name, of)));
    }
    if lines.len() > 1 {
        text.push('\n');
        text.push_str(&columns(&lines));
    }
    text
}

fn bouncer(bouncer: &Value) -> Vec<String> {
    let check = &bouncer["check"];
    let figures = &check["figures"];
    let or_dash = |text: String| if figures.is_null() { "-".to_owned() } else { text };
    let clients = match figures["clients_max"].as_u64() {
        None | Some(0) => plain(&figures["clients"]),
        Some(max) => format!("{}/{max}", plain(&figures["clients"])),
    };
    let words = match &bouncer["health"]["text"] {
        Value::String(text) if !text.is_empty() => plain(&bouncer["health"]["text"]),
        _ => plain(&check["failed"]["text"]),
    };
    vec![
        plain(&bouncer["name"]),
        plain(&bouncer["health"]["status"]),
        or_dash(clients),
        or_dash(waiting(&figures["sum"])),
        or_dash(format!(
            "{} active, {} idle",
            plain(&figures["sum"]["sv_active"]),
            plain(&figures["sum"]["sv_idle"])
        )),
        if check.is_null() { "-".to_owned() } else { time(&check["took_seconds"]) },
        or_dash(plain(&figures["version"])),
        words,
    ]
}

fn pool(bouncer: &str, pool: &Value) -> Vec<String> {
    let size = match pool["pool_size"].as_u64() {
        None | Some(0) => "-".to_owned(),
        Some(size) => size.to_string(),
    };
    vec![
        format!("{}/{}", plain(&pool["database"]), plain(&pool["user"])),
        bouncer.to_owned(),
        plain(&pool["cl_active"]),
        waiting(pool),
        format!("{}/{size}", plain(&pool["sv_active"])),
        plain(&pool["sv_idle"]),
        plain(&pool["pool_mode"]),
    ]
}

fn waiting(of: &Value) -> String {
    match of["cl_waiting"].as_u64().unwrap_or(0) {
        0 => "0".to_owned(),
        n => format!("{n} ({})", time(&of["maxwait_seconds"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pgbouncer_is_shown_with_its_pools_or_with_why_not() {
        let sum = json!({ "cl_waiting": 2, "maxwait_seconds": 1.5, "sv_active": 3, "sv_idle": 1 });
        let pool = json!({
            "database": "shop", "user": "a\x1b[2J", "cl_active": 5, "cl_waiting": 2,
            "maxwait_seconds": 1.5, "sv_active": 3, "sv_idle": 1, "pool_size": 4,
            "pool_mode": "transaction",
        });
        let figures = json!({
            "version": "PgBouncer 1.18.0", "clients": 7, "clients_max": 100, "sum": sum,
            "pools": [pool],
        });
        let failed = json!({ "kind": "not_allowed", "text": "not allowed" });
        let told = status(&json!([
            {
                "name": "db:6432", "health": { "status": "healthy", "text": "" },
                "check": { "took_seconds": 0.02, "figures": figures },
            },
            {
                "name": "db:6433", "health": { "status": "healthy", "text": "" },
                "check": { "took_seconds": 0.02, "failed": failed },
            },
        ]));
        for wanted in [
            "db:6432    healthy  7/100    2 (1.5s)  3 active, 1 idle  20ms        PgBouncer 1.18.0",
            "db:6433    healthy  -        -         -                 20ms        -",
            "not allowed",
            "shop/a\u{fffd}[2J        db:6432  5        2 (1.5s)  3/4     1     transaction",
        ] {
            assert!(told.contains(wanted), "{wanted}\n{told}");
        }
        assert_eq!(status(&json!([])), "");
        assert_eq!(status(&Value::Null), "");
    }
}
