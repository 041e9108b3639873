//! A standby that falls behind and catches up: a real one, made from a copy of a real primary.

use std::net::SocketAddr;

use serde_json::Value;

use crate::stage::{ask, client, read, start, start_with, until};
use crate::support::Postgres;

const RULE: &str = "\n[alerts]\nbuilt_in = 0\n[rules]\nBehind = metric=replication_lag_seconds \
                    above=1 severity=warning summary='behind'\n";

/// What the database said of itself, once it said something.
fn truth(http: SocketAddr) -> Option<Value> {
    let (_, all) = read(http, "/api/v1/databases");
    Some(all["databases"][0]["check"]["truth"].clone()).filter(Value::is_object)
}

/// The lag, as far as one is known.
fn lag(http: SocketAddr) -> Option<f64> {
    truth(http)?["replication_lag_seconds"].as_f64()
}

fn metric(http: SocketAddr) -> Option<f64> {
    let (_, text) = ask(http, "GET", "/metrics", "", "");
    let name = "headpond_database_replication_lag_seconds{database=\"app\"} ";
    text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok())
}

fn health(http: SocketAddr) -> (Value, String) {
    let (_, body) = read(http, "/health");
    (body["status"].clone(), body.to_string())
}

#[tokio::test]
async fn a_standby_that_falls_behind_is_a_warning_until_it_has_caught_up() {
    let primary = Postgres::start();
    let standby = primary.standby();
    primary.psql("app", "CREATE TABLE first ()");
    let pooler = start_with(&standby, 3, RULE, &[("HEADPOND_HTTP__CHECK_LAG", "1")]);
    let http = pooler.http();
    let reader = client(&pooler, "reader").await;
    reader.simple_query("SELECT 1").await.expect("served");

    until("a standby that is up to date", || lag(http).filter(|lag| *lag == 0.0)).await;
    let said = truth(http).expect("it has answered");
    assert_eq!((&said["in_recovery"], &said["read_only"]), (&true.into(), &true.into()));
    assert_eq!(metric(http), Some(0.0));
    assert_eq!(health(http).0, "pass", "a standby is meant to take no writes");

    standby.psql("app", "SELECT pg_wal_replay_pause()");
    primary.psql("app", "CREATE TABLE second ()");
    until("a lag", || lag(http).filter(|lag| *lag > 1.0)).await;
    until("the metric", || metric(http).filter(|lag| *lag > 1.0)).await;
    until("a warning", || {
        let (status, words) = health(http);
        (status == "warn" && words.contains(" s behind ")).then_some(())
    })
    .await;
    until("an alert", || {
        let (_, alerts) = read(http, "/api/v1/alerts");
        let alert = &alerts["active"][0];
        (alert["phase"] == "firing" && alert["rule"]["name"] == "Behind").then_some(())
    })
    .await;

    standby.psql("app", "SELECT pg_wal_replay_resume()");
    until("a standby that has caught up", || lag(http).filter(|lag| *lag == 0.0)).await;
    until("health", || (health(http).0 == "pass").then_some(())).await;
    until("no alert", || {
        let (_, alerts) = read(http, "/api/v1/alerts");
        alerts["active"].as_array().filter(|all| all.is_empty()).map(|_| ())
    })
    .await;

    // Nothing comes any more: what was replayed is old, however complete it may be.
    primary.signal("INT");
    until("a standby that nobody feeds", || lag(http).filter(|lag| *lag > 1.0)).await;
}

#[tokio::test]
async fn a_primary_has_no_lag_and_not_one_of_0() {
    let primary = Postgres::start();
    let pooler = start(&primary, 3, "");
    let writer = client(&pooler, "writer").await;
    writer.simple_query("SELECT 1").await.expect("served");
    let said = until("an answer", || truth(pooler.http())).await;
    assert_eq!(said["in_recovery"], false);
    assert!(said["replication_lag_seconds"].is_null(), "{said}");
    assert_eq!((&said["standbys"], &said["standby_lag_seconds"]), (&0.into(), &Value::Null));
    assert_eq!(metric(pooler.http()), None);
}

#[tokio::test]
async fn a_primary_counts_its_standbys_and_measures_them_for_those_who_may_know() {
    let primary = Postgres::start();
    let standby = primary.standby();
    let pooler = start(&primary, 3, "");
    let http = pooler.http();
    let writer = client(&pooler, "writer").await;
    writer.simple_query("SELECT 1").await.expect("served");
    let said = until("a standby", || truth(http).filter(|said| said["standbys"] == 1)).await;
    assert!(said["standby_lag_seconds"].is_null(), "it may not know: {said}");
    let slowest = || truth(http)?["standby_lag_seconds"].as_f64();

    primary.psql("postgres", "GRANT pg_monitor TO app");
    until("a standby that is up to date", || slowest().filter(|lag| *lag < 0.5)).await;
    standby.psql("app", "SELECT pg_wal_replay_pause()");
    primary.psql("app", "CREATE TABLE second ()");
    until("a lag", || slowest().filter(|lag| *lag > 1.0)).await;
    standby.psql("app", "SELECT pg_wal_replay_resume()");
    until("a standby that has caught up", || slowest().filter(|lag| *lag < 0.5)).await;
    drop(standby);
    until("no standby", || truth(http).filter(|said| said["standbys"] == 0)).await;
}
