//! Transactions end, one way or another, before anybody else gets the session.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use headpond::Pool;
use headpond::postgres::{Postgres, Transaction};
use headpond::transaction::{Error, Isolation, Options};

use super::support::{Server, pool, run, text};

type Failure = tokio_postgres::Error;

fn server() -> Server {
    let server = Server::start();
    let table = "CREATE TABLE account (id int PRIMARY KEY, balance int); \
                 INSERT INTO account VALUES (1, 100), (2, 100); ALTER TABLE account OWNER TO app";
    server.psql("app", table);
    server
}

async fn balance(pool: &Pool<Postgres>, id: i32) -> String {
    let connection = pool.get().await.unwrap();
    text(&connection, &format!("SELECT balance FROM account WHERE id = {id}")).await
}

const TAKE: &str = "UPDATE account SET balance = balance - $2 WHERE id = $1";

#[test]
fn what_returns_ok_is_committed_and_what_fails_is_not() {
    let server = server();
    run(async {
        let pool = pool(&server, 2);
        let options = Options::default();
        pool.with_transaction(options, async |tx| tx.execute(TAKE, &[&1, &10]).await)
            .await
            .unwrap();
        assert_eq!(balance(&pool, 1).await, "90");
        let failed = pool.with_transaction(options, async |tx| {
            tx.execute(TAKE, &[&1, &10]).await.unwrap();
            Err::<(), _>("no".to_owned())
        });
        assert!(matches!(failed.await, Err(Error::Work(no)) if no == "no"));
        assert_eq!(balance(&pool, 1).await, "90");
    });
}

#[test]
fn a_failure_that_the_closure_hides_is_not_taken_for_success() {
    let server = server();
    run(async {
        let pool = pool(&server, 1);
        let options = Options::default();
        let hidden = pool.with_transaction(options, async |tx| {
            tx.execute(TAKE, &[&1, &10]).await?;
            let _ = tx.batch_execute("SELECT 1/0").await;
            Ok::<_, Failure>(())
        });
        assert!(matches!(hidden.await, Err(Error::Aborted)));
        assert_eq!(balance(&pool, 1).await, "100");
    });
}

#[test]
fn a_panic_a_dropped_future_and_a_timeout_roll_back() {
    let server = server();
    run(async {
        let pool = pool(&server, 1);
        let panicking = pool.clone();
        let task = tokio::spawn(async move {
            let options = Options::default();
            let work = panicking.with_transaction(options, async |tx| {
                tx.execute(TAKE, &[&1, &10]).await?;
                if true {
                    panic!("on purpose");
                }
                Ok::<_, Failure>(())
            });
            work.await.map_err(|error| error.to_string())
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(balance(&pool, 1).await, "100");

        let options = Options::default();
        let dropped = pool.with_transaction(options, async |tx| {
            tx.execute(TAKE, &[&1, &10]).await?;
            std::future::pending::<()>().await;
            Ok::<_, Failure>(())
        });
        assert!(tokio::time::timeout(Duration::from_millis(200), dropped).await.is_err());
        assert_eq!(balance(&pool, 1).await, "100");

        let options = Options::default().timeout(Some(Duration::from_millis(200)));
        let late = pool.with_transaction(options, async |tx| {
            tx.execute(TAKE, &[&1, &10]).await?;
            tx.batch_execute("SELECT pg_sleep(10)").await
        });
        assert!(matches!(late.await, Err(Error::Timeout { committing: false, .. })));
        assert_eq!(balance(&pool, 1).await, "100");
    });
}

#[test]
fn what_lost_against_another_runs_again_until_it_wins() {
    let server = server();
    run(async {
        let pool = pool(&server, 8);
        let runs = Arc::new(AtomicU32::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (pool, runs) = (pool.clone(), Arc::clone(&runs));
            tasks.spawn(async move {
                let options = Options::default().isolation(Isolation::Serializable).retries(50);
                for _ in 0..5 {
                    let runs = Arc::clone(&runs);
                    let won = pool.with_transaction(options, async move |tx| {
                        runs.fetch_add(1, SeqCst);
                        let query = "SELECT balance FROM account WHERE id = $1";
                        let rows = tx.query(query, &[&1]).await?;
                        let balance: i32 = rows[0].get(0);
                        let update = "UPDATE account SET balance = $2 WHERE id = $1";
                        tx.execute(update, &[&1, &(balance - 1)]).await
                    });
                    won.await.unwrap();
                }
            });
        }
        while let Some(joined) = tasks.join_next().await {
            joined.unwrap();
        }
        assert_eq!(balance(&pool, 1).await, "60");
        println!("40 transactions in {} runs", runs.load(SeqCst));
        assert!(runs.load(SeqCst) > 40, "nothing ever collided: the test proves nothing");
    });
}

#[test]
fn a_deadlock_is_retried_and_both_win() {
    let server = server();
    run(async {
        let pool = pool(&server, 2);
        let barrier = Arc::new(tokio::sync::Barrier::new(2));
        let take = async |first: i32, second: i32| {
            let met = std::sync::atomic::AtomicBool::new(false);
            pool.with_transaction(Options::default(), async |tx| {
                tx.execute(TAKE, &[&first, &1]).await?;
                if !met.swap(true, SeqCst) {
                    barrier.wait().await;
                }
                tx.execute(TAKE, &[&second, &1]).await
            })
            .await
        };
        let (a, b) = tokio::join!(take(1, 2), take(2, 1));
        assert_eq!((a.unwrap(), b.unwrap()), (1, 1));
        assert_eq!((balance(&pool, 1).await, balance(&pool, 2).await), ("98".into(), "98".into()));
    });
}

#[test]
fn a_savepoint_takes_back_only_what_is_inside() {
    let server = server();
    run(async {
        let pool = pool(&server, 1);
        let work = async |tx: &mut Transaction<'_>| {
            tx.execute(TAKE, &[&1, &1]).await?;
            let mut outer = tx.savepoint().await?;
            outer.execute(TAKE, &[&1, &10]).await?;
            let deep = outer.savepoint().await?;
            assert!(deep.batch_execute("SELECT 1/0").await.is_err());
            drop(deep);
            outer.commit().await?;
            let dropped = tx.savepoint().await?;
            dropped.execute(TAKE, &[&1, &50]).await?;
            drop(dropped);
            Ok::<_, Failure>(())
        };
        pool.with_transaction(Options::default(), work).await.unwrap();
        assert_eq!(balance(&pool, 1).await, "89");
    });
}

#[test]
fn options_reach_the_server() {
    let server = server();
    run(async {
        let pool = pool(&server, 1);
        let options =
            Options::default().isolation(Isolation::Serializable).read_only().deferrable();
        let said = pool.with_transaction(options, async |tx| {
            let settings = "SELECT concat_ws(' ', current_setting('transaction_isolation'), \
                            current_setting('transaction_read_only'), \
                            current_setting('transaction_deferrable'))";
            Ok::<_, Failure>(tx.query_one(settings, &[]).await?.get::<_, String>(0))
        });
        assert_eq!(said.await.unwrap(), "serializable on on");
        let refused =
            pool.with_transaction(options, async |tx| tx.execute(TAKE, &[&1, &1]).await).await;
        let Err(Error::Work(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.code().map(|code| code.code()), Some("25006"));
    });
}
