//! A check of the database takes a place of the pool, and never one more than there are.

use std::time::Duration;

use crate::stage::{client, read, start, until};
use crate::support::Postgres;
use crate::support::postgres::APP;

#[tokio::test]
async fn a_check_never_takes_a_connection_above_the_limit() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, 1, "");
    let http = pooler.http();
    let user = client(&pooler, "user").await;
    let direct = postgres.connect("postgres").await;
    let sql = format!("SELECT count(*)::int4 FROM pg_stat_activity WHERE usename = '{APP}'");
    let mut samples = 0;
    // The one server is in use or idle all the time: only a check that makes room gets in.
    for answers in 1..=2 {
        let before = asked_ago(http).unwrap_or(Duration::MAX);
        loop {
            user.simple_query("SELECT 1").await.expect("served");
            let row = direct.query_one(&sql, &[]).await.expect("counted");
            let backends: i32 = row.get(0);
            assert!(backends <= 1, "{backends} backends of a pool of one");
            samples += 1;
            let now = asked_ago(http);
            if samples % 20 == 0 && now.is_some_and(|ago| ago < before) {
                break;
            }
            assert!(samples < 100_000, "no {answers}. check got in");
        }
        // A later answer is told from this one by its age.
        until("this answer to age", || asked_ago(http).filter(|ago| *ago > Duration::from_secs(1)))
            .await;
    }
    println!("{samples} counts, never more than one backend");
}

/// How long ago the database was asked successfully.
fn asked_ago(http: std::net::SocketAddr) -> Option<Duration> {
    let check = read(http, "/api/v1/databases").1["databases"][0]["check"].clone();
    assert!(check["failed"].is_null(), "a check without room is left out: {check}");
    check["ago_seconds"].as_f64().map(Duration::from_secs_f64)
}
