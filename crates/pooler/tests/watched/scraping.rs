//! Numbers as others read them: Prometheus scrapes, promtool accepts, dashboards and rules name
//! nothing that does not exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::stage::{ask, client, read, start, start_with, until};
use crate::support::Postgres;
use crate::support::pooler::Headpond;
use crate::support::prometheus::{Prometheus, promtool};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A pooler that has served somebody and asked its database.
async fn used(postgres: &Postgres) -> Headpond {
    let pooler = start(postgres, 3, "");
    let client = client(&pooler, "used").await;
    client.simple_query("SELECT 1").await.expect("served");
    let http = pooler.http();
    until("a check", || {
        let (_, all) = read(http, "/api/v1/databases");
        (!all["databases"][0]["check"].is_null()).then_some(())
    })
    .await;
    pooler
}

/// Names of all samples that are exposed.
fn samples(pooler: &Headpond) -> BTreeSet<String> {
    let (_, text) = ask(pooler.http(), "GET", "/metrics", "", "");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// Metrics that appear with an event, and not before; or with a standby (`standby.rs`).
const LATER: [&str; 3] = [
    "headpond_alerts_firing",
    "headpond_database_replication_lag_seconds",
    "headpond_database_standby_lag_seconds",
];

/// Checks that an expression names nothing that is not exposed.
fn check_names(exposed: &BTreeSet<String>, place: &str, expression: &str) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c| !is_word(c)).filter(|word| word.starts_with("headpond_"));
    let mut count = 0;
    for word in words {
        count += 1;
        assert!(exposed.contains(word) || LATER.contains(&word), "{place}: {word} does not exist");
    }
    assert!(count > 0 || expression.starts_with("up{"), "{place} names no metric: {expression}");
}

#[tokio::test]
async fn promtool_accepts_the_metrics() {
    let postgres = Postgres::start();
    let pooler = used(&postgres).await;
    let (_, text) = ask(pooler.http(), "GET", "/metrics", "", "");
    let (ok, said) = promtool(&["check", "metrics"], &text);
    assert!(ok, "{said}");
    assert_eq!(said.trim(), "", "not even a hint");
}

#[tokio::test]
async fn dashboards_made_for_other_exporters_find_their_names() {
    let postgres = Postgres::start();
    let sets = [("HEADPOND_HTTP__METRICS", "pgbouncer,database,db")];
    let pooler = start_with(&postgres, 3, "", &sets);
    let client = client(&pooler, "idle").await;
    client.simple_query("SELECT 1").await.expect("served");
    let port = postgres.port();
    let wanted = [
        "pgbouncer_up 1".to_owned(),
        "pgbouncer_used_clients 1".to_owned(),
        format!(
            "pgbouncer_databases_pool_size{{database=\"app\",force_user=\"\",host=\"127.0.0.1\",\
             name=\"app\",pool_mode=\"transaction\",port=\"{port}\"}} 3"
        ),
        "pgbouncer_pools_client_active_connections{database=\"app\",user=\"app\"} 1".to_owned(),
        "pgbouncer_pools_client_waiting_connections{database=\"app\",user=\"app\"} 0".to_owned(),
        "pgbouncer_pools_server_idle_connections{database=\"app\",user=\"app\"} 1".to_owned(),
        "pgbouncer_stats_totals_sql_transactions_pooled_total{database=\"app\"} 1".to_owned(),
        "database_connections_total{pool=\"app/app\"} 1".to_owned(),
        "db_pool_size{pool=\"app/app\",state=\"idle\"} 1".to_owned(),
    ];
    let text = until("every name", || {
        let (_, text) = ask(pooler.http(), "GET", "/metrics", "", "");
        wanted.iter().all(|line| text.contains(line)).then_some(text)
    })
    .await;
    // Names that others chose are not all as promtool would have them; the form is right.
    let (_, said) = promtool(&["check", "metrics"], &text);
    assert!(!said.contains("error"), "{said}");
}

#[tokio::test]
async fn dashboards_and_rules_name_only_what_exists() {
    let postgres = Postgres::start();
    let pooler = used(&postgres).await;
    let exposed = samples(&pooler);
    let file = project("deploy/grafana/headpond.json");
    let text = std::fs::read_to_string(&file).expect("the dashboard");
    let board: Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    let panels = board["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut rules = String::from("groups:\n  - name: panels\n    rules:\n");
    let mut count = 0;
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression");
            check_names(&exposed, panel["title"].as_str().unwrap_or_default(), expression);
            let plain = expression.replace("$__rate_interval", "5m").replace('\'', "''");
            rules.push_str(&format!("      - record: panel:{count}\n        expr: '{plain}'\n"));
            count += 1;
        }
    }
    assert!(count > 25, "{count} expressions");
    for variable in board["templating"]["list"].as_array().expect("variables") {
        if let Some(query) = variable["definition"].as_str() {
            check_names(&exposed, "a variable", query);
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let written = folder.path().join("panels.yaml");
    std::fs::write(&written, rules).expect("ours");
    let (ok, said) = promtool(&["check", "rules", &written.to_string_lossy()], "");
    assert!(ok, "{said}");

    let file = project("deploy/prometheus/headpond-alerts.yaml");
    let (ok, said) = promtool(&["check", "rules", &file.to_string_lossy()], "");
    assert!(ok, "{said}");
    let text = std::fs::read_to_string(&file).expect("the rules");
    let mut alerts = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            alerts.push(name.to_owned());
        } else if let Some(expression) = line.strip_prefix("expr: ") {
            check_names(&exposed, "a rule", expression.trim_matches('\''));
        }
    }
    alerts.extend(headpond_monitor::alert::built_in().into_iter().map(|rule| rule.name));
    for name in alerts {
        let page = project(&format!("docs/runbooks/{name}.md"));
        assert!(page.exists(), "{name} has no page in docs/runbooks");
    }
}

#[tokio::test]
async fn prometheus_scrapes_and_evaluates_without_a_warning() {
    let postgres = Postgres::start();
    let pooler = used(&postgres).await;
    let rules = project("deploy/prometheus/headpond-alerts.yaml");
    let rules = rules.canonicalize().expect("it exists");
    let prometheus = Prometheus::start(pooler.http(), Some(&rules)).await;
    let http = prometheus.http;
    let target = until("a scrape", || {
        let (status, body) = ask(http, "GET", "/api/v1/targets", "", "");
        let body: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        let target = body["data"]["activeTargets"][0].clone();
        (target["health"] == "up").then_some(target)
    })
    .await;
    assert_eq!(target["lastError"], "");
    let value = |query: &str| {
        let (_, body) = read(http, &format!("/api/v1/query?query={query}"));
        body["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    until("our numbers", || value("headpond_pool_size").filter(|size| size == "3")).await;
    until("a percentile", || value("headpond_query_seconds_count").filter(|count| count != "0"))
        .await;
    until("rules that were evaluated", || {
        let (_, body) = read(http, "/api/v1/rules");
        let rules = body["data"]["groups"]
            .as_array()?
            .iter()
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        let health: Vec<Value> = rules.map(|rule| rule["health"].clone()).collect();
        assert!(!health.contains(&"err".into()), "{body}");
        (health.len() > 15 && health.iter().all(|health| health == "ok")).then_some(())
    })
    .await;
    assert_eq!(prometheus.complaints(), Vec::<String>::new());
}
