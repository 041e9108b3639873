//! How the process ends by signals, and who is served until then.

use crate::bench::{
    Bench, OTHER, Setup, client, config, describe, refused, run, until, value, within,
};
use crate::support::Pooler;
use crate::support::pooler::get;
use crate::support::postgres::{APP, connect};

async fn until_not_ready(bench: &Bench) {
    let http = bench.pooler.http();
    until("it says that it drains", async || {
        get(http, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 503"))
    })
    .await;
}

fn is_alive(bench: &Bench) -> bool {
    get(bench.pooler.http(), "/livez").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

#[test]
fn term_waits_for_clients_and_lets_nobody_in_meanwhile() {
    let mut bench = Bench::start(&Setup::default());
    run(async {
        let one = client(&bench.pooler, APP, APP).await;
        let two = client(&bench.pooler, OTHER, APP).await;
        two.batch_execute("BEGIN").await.expect("a transaction");
        bench.pooler.signal("TERM");
        until_not_ready(&bench).await;
        let settings = config(&bench.pooler, APP, APP);
        until("nobody gets in", async || connect(&settings).await.is_err()).await;
        for _ in 0..20 {
            assert_eq!(value(&one, "SELECT 'served'").await, "served");
            assert_eq!(value(&two, "SELECT 'served'").await, "served");
        }
        two.batch_execute("COMMIT").await.expect("an end");
        drop(one);
        assert_eq!(value(&two, "SELECT 'still served'").await, "still served");
        assert!(is_alive(&bench));
    });
    assert_eq!(bench.pooler.wait(), Some(0));
}

#[test]
fn a_second_term_does_not_wait() {
    let mut bench = Bench::start(&Setup::default());
    run(async {
        let one = client(&bench.pooler, APP, APP).await;
        bench.pooler.signal("TERM");
        until_not_ready(&bench).await;
        value(&one, "SELECT 1").await;
        bench.pooler.signal("TERM");
        until("the client is closed", async || one.is_closed()).await;
    });
    assert_eq!(bench.pooler.wait(), Some(0));
}

#[test]
fn int_waits_for_transactions_only() {
    let mut bench = Bench::start(&Setup::default());
    run(async {
        let busy = client(&bench.pooler, APP, APP).await;
        let idle = client(&bench.pooler, APP, APP).await;
        let direct = bench.postgres.connect(APP).await;
        let insert = "INSERT INTO ledger VALUES ('kept')";
        busy.batch_execute(&format!("BEGIN; {insert}")).await.expect("a transaction");
        bench.pooler.signal("INT");
        until_not_ready(&bench).await;
        let error = within("an end", idle.simple_query("SELECT 1")).await;
        let error = describe(&error.expect_err("no new work"));
        assert!(error.starts_with("57P01") || error.contains("closed"), "{error}");
        for _ in 0..20 {
            value(&busy, "SELECT 1").await;
        }
        busy.batch_execute("COMMIT").await.expect("the transaction ends in order");
        until("it is kept", async || value(&direct, "SELECT count(*) FROM ledger").await == "1")
            .await;
    });
    assert_eq!(bench.pooler.wait(), Some(0));
}

#[test]
fn quit_ends_at_once() {
    let mut bench = Bench::start(&Setup::default());
    run(async {
        let one = client(&bench.pooler, APP, APP).await;
        one.batch_execute("BEGIN").await.expect("a transaction");
        bench.pooler.signal("QUIT");
        refused(&one, "SELECT pg_sleep(10)").await;
    });
    assert_eq!(bench.pooler.wait(), Some(0));
    run(async {
        let direct = bench.postgres.connect("postgres").await;
        let gone = "its servers are gone too";
        until(gone, async || crate::bench::backends(&direct, APP).await == 0).await;
    });
}
