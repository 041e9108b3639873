//! Transactions that end whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use headpond::Pool;
use headpond::mysql::{self, Error, Manager, Transaction};
use headpond::transaction::{Error as Failure, Isolation, Options};
use tokio::sync::Barrier;

use super::mariadb::Server;

async fn prepared(server: &Server) -> Pool<Manager> {
    let pool = mysql::pool(&server.url("pool_max=4&pool_min=0")).unwrap();
    pool.exec_drop("CREATE TABLE account (id INT PRIMARY KEY, balance INT)", ()).await.unwrap();
    pool.exec_drop("INSERT INTO account VALUES (1, 100), (2, 100)", ()).await.unwrap();
    pool
}

async fn balance(pool: &Pool<Manager>, id: u32) -> i32 {
    let sql = "SELECT balance FROM account WHERE id = ?";
    pool.exec_first(sql, (id,)).await.unwrap().unwrap()
}

async fn add(tx: &mut Transaction<'_>, id: u32, amount: i32) -> Result<u64, Error> {
    tx.exec_drop("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, id)).await
}

#[tokio::test]
async fn a_transaction_is_committed_or_leaves_nothing() {
    let server = Server::start().await;
    let pool = prepared(&server).await;
    let options = Options::default();
    let moved = pool.transaction(options, async |tx| {
        add(tx, 1, -10).await?;
        add(tx, 2, 10).await
    });
    assert_eq!(moved.await.unwrap(), 1);
    assert_eq!((balance(&pool, 1).await, balance(&pool, 2).await), (90, 110));
    // An error of the closure.
    let failed = pool.transaction::<(), &str, _>(options, async |tx| {
        add(tx, 1, -10).await.map_err(|_| "update")?;
        Err("no")
    });
    assert!(matches!(failed.await, Err(Failure::Work("no"))));
    // Too long.
    let late = pool.transaction::<(), Error, _>(
        options.timeout(Some(Duration::from_millis(100))),
        async |tx| {
            add(tx, 1, -10).await?;
            tx.query_drop("SELECT SLEEP(30)").await.map(drop)
        },
    );
    assert!(matches!(late.await, Err(Failure::Timeout { committing: false, .. })));
    // Dropped.
    let dropped = pool.transaction::<(), Error, _>(options, async |tx| {
        add(tx, 1, -10).await?;
        std::future::pending().await
    });
    assert!(tokio::time::timeout(Duration::from_millis(200), dropped).await.is_err());
    // Panicked, in a task of its own.
    let panicked = tokio::spawn({
        let pool = pool.clone();
        async move {
            let lost = pool.transaction::<(), Error, _>(Options::default(), async |tx| {
                add(tx, 1, -10).await?;
                panic!("on purpose");
            });
            lost.await
        }
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(balance(&pool, 1).await, 90, "nothing of these stayed");
    // Read only, as the server sees it.
    let written = pool.transaction(options.read_only(), async |tx| add(tx, 1, -10).await).await;
    assert!(matches!(written, Err(Failure::Work(error)) if error.code() == Some(1792)));
    let options = options.isolation(Isolation::Serializable);
    assert_eq!(pool.transaction(options, async |tx| add(tx, 1, 0).await).await.unwrap(), 0);
    assert_eq!(pool.status().in_use, 0);
}

#[tokio::test]
async fn a_deadlock_runs_the_whole_closure_again() {
    let server = Server::start().await;
    let pool = prepared(&server).await;
    let (runs, meet) = (Arc::new(AtomicU32::new(0)), Arc::new(Barrier::new(2)));
    let both = [(1, 2), (2, 1)].map(|(first, second)| {
        let (pool, runs, meet) = (pool.clone(), Arc::clone(&runs), Arc::clone(&meet));
        async move {
            let done = pool.transaction(Options::default(), async |tx| {
                let run = runs.fetch_add(1, Relaxed);
                add(tx, first, 1).await?;
                // Each has one row and wants the other's.
                if run < 2 {
                    meet.wait().await;
                }
                add(tx, second, 1).await
            });
            done.await
        }
    });
    let [left, right] = both;
    let (left, right) = tokio::join!(left, right);
    assert_eq!((left.unwrap(), right.unwrap()), (1, 1));
    assert_eq!(runs.load(Relaxed), 3, "the victim ran again");
    assert_eq!((balance(&pool, 1).await, balance(&pool, 2).await), (102, 102));
}

#[tokio::test]
async fn a_deadlock_that_the_closure_hides_commits_nothing() {
    let server = Server::start().await;
    let pool = prepared(&server).await;
    let mut other = pool.get().await.unwrap();
    other.query_drop("START TRANSACTION").await.unwrap();
    // More rows than the other will have: the server rolls back who has fewer.
    other.query_drop("INSERT INTO account SELECT seq + 100, 0 FROM seq_1_to_100").await.unwrap();
    other.query_drop("UPDATE account SET balance = balance + 1 WHERE id = 2").await.unwrap();
    let other = std::cell::RefCell::new(Some(other));
    let options = Options::default().retries(0);
    let hidden = pool.transaction::<(), Error, _>(options, async |tx| {
        add(tx, 1, 1).await?;
        let mut other = other.borrow_mut().take().unwrap();
        let theirs = async {
            other.query_drop("UPDATE account SET balance = 0 WHERE id = 1").await.unwrap();
            other.query_drop("ROLLBACK").await.unwrap();
        };
        let (mine, ()) = tokio::join!(add(tx, 2, 1), theirs);
        assert_eq!(mine.unwrap_err().code(), Some(1213));
        let after = add(tx, 1, 1000).await;
        assert!(matches!(after, Err(Error::RolledBack)), "{after:?}");
        Ok(())
    });
    assert!(matches!(hidden.await, Err(Failure::Aborted)));
    assert_eq!((balance(&pool, 1).await, balance(&pool, 2).await), (100, 100));
}
