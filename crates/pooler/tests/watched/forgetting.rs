//! A client that forgets its transaction is suspected; one whose query takes long is not.

use crate::stage::{client, read, start_with, until};
use crate::support::Postgres;

#[tokio::test]
async fn a_forgotten_transaction_is_a_leak_and_a_long_query_is_none() {
    let postgres = Postgres::start();
    let pooler = start_with(&postgres, 4, "", &[("HEADPOND_ALERTS__LEAK_AFTER", "0.5")]);
    let http = pooler.http();
    let worker = client(&pooler, "worker").await;
    let long = tokio::spawn(async move { worker.batch_execute("SELECT pg_sleep(60)").await });
    let working = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'";
    let direct = postgres.connect("postgres").await;
    while direct.query_one(working, &[]).await.expect("counted").get::<_, i64>(0) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let forgetful = client(&pooler, "forgetful").await;
    forgetful.batch_execute("BEGIN").await.expect("begun");
    let leaks = || read(http, "/api/v1/pools").1["pools"][0]["totals"]["leaks"].as_u64();
    // The worker is older: suspected by its age alone it would be counted in the same look.
    assert_eq!(until("a leak", || leaks().filter(|leaks| *leaks > 0)).await, 1);
    assert!(!long.is_finished());
    long.abort();
}
