//! Answers as lines for people.
//!
//! Invariant: control characters never reach the terminal: names are others' choice.

use std::fmt::Write;

use serde_json::Value;

/// Characters that turn a line around or end it, although they are no control characters.
fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text without what could move a cursor.
pub fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() || turns(c) { '\u{fffd}' } else { c }).collect()
}

/// A time as people say it.
pub fn time(value: &Value) -> String {
    match value.as_f64().unwrap_or(0.0) {
        s if s <= 0.0 => "0".to_owned(),
        s if s < 0.001 => format!("{:.0}us", s * 1e6),
        s if s < 0.01 => format!("{:.1}ms", s * 1e3),
        s if s < 1.0 => format!("{:.0}ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1}s"),
        s if s < 7200.0 => format!("{:.0}min", s / 60.0),
        s => format!("{:.1}h", s / 3600.0),
    }
}

pub fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Lays cells out in columns; the last one is not padded.
pub fn columns(lines: &[Vec<String>]) -> String {
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|c| c.chars().count()).max()
    };
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let mut out = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let gap = width + 2 - cell.chars().count().min(*width);
            out.push_str(cell);
            out.push_str(&" ".repeat(gap));
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text
}

/// `headpond health`.
pub fn health(value: &Value) {
    println!("{}", plain(&value["status"]));
    let Some(checks) = value["checks"].as_object() else { return };
    for (name, findings) in checks {
        for finding in rows(findings).iter().filter(|finding| finding["status"] != "pass") {
            let name = plain(&Value::String(name.clone()));
            println!("  {} {name}: {}", plain(&finding["status"]), plain(&finding["output"]));
        }
    }
}

/// The line of a pool, for `status` and `top`.
pub fn pool(pool: &Value) -> Vec<String> {
    let connections = &pool["connections"];
    let max = pool["size_max"].as_u64().unwrap_or(0);
    let size = if max == 0 { "-".to_owned() } else { max.to_string() };
    let figures = &pool["figures"];
    let waiting = match pool["waiting"].as_u64().unwrap_or(0) {
        0 => "0".to_owned(),
        n => format!("{n} ({})", time(&pool["oldest_wait_seconds"])),
    };
    vec![
        plain(&pool["name"]),
        plain(&pool["health"]["status"]),
        format!("{}/{size}", plain(&connections["used"])),
        plain(&connections["idle"]),
        waiting,
        format!("{:.0}", figures["queries_rate"].as_f64().unwrap_or(0.0)),
        time(&figures["query_p50_seconds"]),
        time(&figures["query_p99_seconds"]),
        time(&figures["wait_p99_seconds"]),
        plain(&pool["health"]["text"]),
    ]
}

/// What stands above the lines of pools.
pub fn pool_head() -> Vec<String> {
    ["POOL", "HEALTH", "USED", "IDLE", "WAITING", "QUERIES/S", "P50", "P99", "WAIT P99", ""]
        .map(str::to_owned)
        .to_vec()
}

/// `headpond status`.
pub fn status(value: &Value) -> String {
    let process = &value["process"];
    let mut text = format!(
        "{} · {} {} · up {} · clients {}/{} · alerts {}\n",
        plain(&value["status"]),
        plain(&process["service"]),
        plain(&process["version"]),
        time(&process["uptime_seconds"]),
        plain(&process["clients"]),
        plain(&process["clients_max"]),
        plain(&value["alerts_firing"]),
    );
    let mut lines = vec![pool_head()];
    lines.extend(rows(&value["pools"]).iter().map(pool));
    if lines.len() > 1 {
        write!(text, "\n{}", columns(&lines)).expect("a String takes any text");
    }
    let mut lines = vec![
        ["DATABASE", "HEALTH", "ANSWERS IN", "SESSIONS", "BEHIND", ""].map(str::to_owned).to_vec(),
    ];
    lines.extend(rows(&value["databases"]).iter().map(|database| {
        let check = &database["check"];
        let truth = &check["truth"];
        vec![
            plain(&database["name"]),
            plain(&database["health"]["status"]),
            if check.is_null() { "-".to_owned() } else { time(&check["took_seconds"]) },
            sessions(truth),
            match &truth["replication_lag_seconds"] {
                Value::Null => "-".to_owned(),
                lag => time(lag),
            },
            plain(&database["health"]["text"]),
        ]
    }));
    if lines.len() > 1 {
        write!(text, "\n{}", columns(&lines)).expect("a String takes any text");
    }
    text.push_str(&super::bouncer::status(&value["bouncers"]));
    text
}

/// Sessions of a database and how many there may be; what it did not say is a dash.
fn sessions(truth: &Value) -> String {
    match (truth["connections_max"].as_u64(), truth["version"].as_str()) {
        (None | Some(0), None | Some("")) => "-".to_owned(),
        (None | Some(0), _) => format!("{}/-", plain(&truth["total"])),
        (Some(max), _) => format!("{}/{max}", plain(&truth["total"])),
    }
}

/// `headpond alerts`.
pub fn alerts(value: &Value) -> String {
    let active = rows(&value["active"]);
    if active.is_empty() {
        return format!("nothing fires; {} rules are in force\n", rows(&value["rules"]).len());
    }
    let head = ["ALERT", "ABOUT", "SEVERITY", "STATE", "VALUE", "SINCE", ""];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(active.iter().map(|alert| {
        let rule = &alert["rule"];
        let silenced = if alert["silenced"] == true { ", silenced" } else { "" };
        vec![
            plain(&rule["name"]),
            plain(&alert["subject"]),
            plain(&rule["severity"]),
            format!("{}{silenced}", plain(&alert["phase"])),
            format!("{:.2}", alert["value"].as_f64().unwrap_or(0.0)),
            plain(&alert["since"]),
            plain(&rule["summary"]),
        ]
    }));
    columns(&lines)
}

/// `headpond advise`.
pub fn advice(value: &Value) -> String {
    let all = rows(&value["advice"]);
    if all.is_empty() {
        return "nothing to say: no figure so far suggests a change\n".to_owned();
    }
    let mut text = String::new();
    for advice in all {
        writeln!(text, "{}", plain(&advice["title"])).expect("a String takes any text");
        for line in rows(&advice["evidence"]) {
            writeln!(text, "  - {}", plain(line)).expect("a String takes any text");
        }
        for line in advice["setting"].as_str().unwrap_or_default().lines() {
            let line = plain(&Value::String(line.to_owned()));
            writeln!(text, "    {line}").expect("a String takes any text");
        }
        writeln!(text, "  expect: {}\n", plain(&advice["effect"]))
            .expect("a String takes any text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_line_up_and_names_cannot_move_the_cursor() {
        let hostile = plain(&json!("a\x1b[2Jb\n\u{9b}c\u{202e}"));
        assert_eq!(hostile, "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}");
        let lines = [["a", "bb", "c"], ["dddd", "e", "f"]].map(|l| l.map(str::to_owned).to_vec());
        assert_eq!(columns(&lines), "a     bb  c\ndddd  e   f\n");
    }

    #[test]
    fn a_database_shows_only_what_it_said() {
        let check = |truth: Value| json!({ "took_seconds": 0.002, "truth": truth });
        let database = |name: &str, truth: Value| json!({ "name": name, "check": check(truth) });
        let primary =
            json!({ "total": 7, "connections_max": 100, "replication_lag_seconds": null });
        let standby = json!({ "total": 0, "connections_max": 50, "replication_lag_seconds": 0.0 });
        let late = json!({ "total": 1, "connections_max": 50, "replication_lag_seconds": 42.0 });
        let silent = json!({ "total": 0, "connections_max": 0, "replication_lag_seconds": null });
        let text = status(&json!({ "databases": [
            database("primary", primary), database("standby", standby), database("late", late),
            database("silent", silent),
        ] }));
        let lines: Vec<Vec<&str>> =
            text.lines().skip(3).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [
                ["primary", "2.0ms", "7/100", "-"],
                ["standby", "2.0ms", "0/50", "0"],
                ["late", "2.0ms", "1/50", "42.0s"],
                ["silent", "2.0ms", "-", "-"],
            ]
        );
    }

    #[test]
    fn advice_shows_its_evidence_and_what_to_paste() {
        let told = advice(&json!({ "advice": [{
            "title": "raise it", "evidence": ["full"], "setting": "[a]\nb = 1", "effect": "more",
        }] }));
        assert_eq!(told, "raise it\n  - full\n    [a]\n    b = 1\n  expect: more\n\n");
    }
}
