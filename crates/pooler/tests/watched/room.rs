//! A check of the database takes a place of the pool, and never one more than there are.

use std::time::Duration;

use crate::stage::{client, read, start};
use crate::support::Postgres;
use crate::support::postgres::APP;

#[tokio::test]
async fn a_check_never_takes_a_connection_above_the_limit() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, 1, "");
    let http = pooler.http();
    let user = client(&pooler, "user").await;
    // The one server is in use or idle all the time: only a check that makes room gets in.
    let busy = tokio::spawn(async move {
        loop {
            user.simple_query("SELECT 1").await.expect("served");
        }
    });
    let direct = postgres.connect("postgres").await;
    let sql = format!("SELECT count(*)::int4 FROM pg_stat_activity WHERE usename = '{APP}'");
    let (mut counts, mut answers, mut ago) = (0, 0, Duration::MAX);
    while answers < 2 {
        let row = direct.query_one(&sql, &[]).await.expect("counted");
        let backends: i32 = row.get(0);
        assert!(backends <= 1, "{backends} backends of a pool of one");
        counts += 1;
        assert!(counts < 1_000_000, "only {answers} checks got in");
        if counts % 50 == 0
            && let Some(now) = asked_ago(http)
        {
            // An answer only grows older; a younger one is another.
            answers += u32::from(now < ago);
            ago = now;
        }
    }
    assert!(!busy.is_finished(), "the client was served all the while");
    busy.abort();
    println!("{counts} counts, never more than one backend");
}

/// How long ago the database was asked successfully.
fn asked_ago(http: std::net::SocketAddr) -> Option<Duration> {
    let check = read(http, "/api/v1/databases").1["databases"][0]["check"].clone();
    assert!(check["failed"].is_null(), "a check without room is left out: {check}");
    check["ago_seconds"].as_f64().map(Duration::from_secs_f64)
}
