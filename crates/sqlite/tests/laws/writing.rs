//! Writes: one at a time, in order, whole or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use headpond_sqlite::{Error, Sqlite, TransactionError, TransactionOptions, rusqlite};
use tokio::sync::oneshot;

use super::bench::{Bench, ENDLESS, count, in_memory, insert, until};

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_write_and_nobody_hears_of_a_lock() {
    let bench = Bench::new();
    let db = bench.numbers(|builder| builder).await;
    let inside = Arc::new(AtomicU32::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (db, inside) = (db.clone(), Arc::clone(&inside));
        tasks.spawn(async move {
            for n in 0..20 {
                let inside = Arc::clone(&inside);
                db.write(move |tx| {
                    assert_eq!(inside.fetch_add(1, SeqCst), 0, "two writers at once");
                    tx.execute("INSERT INTO numbers VALUES (?1)", [n])?;
                    assert_eq!(inside.fetch_sub(1, SeqCst), 1, "two writers at once");
                    Ok(())
                })
                .await
                .unwrap();
                count(&db).await;
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(count(&db).await, 1000);
    let status = db.status();
    assert_eq!(status.writer.unwrap().totals.opened, 1, "one writer, never replaced");
    assert!(status.readers.size <= status.readers.max);
}

#[tokio::test]
async fn writes_run_in_the_order_in_which_they_were_asked_for() {
    let db = in_memory().await;
    let (release, released) = std::sync::mpsc::channel::<()>();
    let holder = tokio::spawn({
        let db = db.clone();
        async move {
            db.write(move |_| {
                released.recv().unwrap();
                Ok(())
            })
            .await
            .unwrap()
        }
    });
    let writer = db.writer().unwrap().clone();
    until("the writer is taken", || writer.status().in_use == 1).await;
    let mut tasks = Vec::new();
    for n in 0..20_u32 {
        let task_db = db.clone();
        tasks.push(tokio::spawn(async move { insert(&task_db, i64::from(n)).await.unwrap() }));
        until("it waits", || writer.status().waiting == n + 1).await;
    }
    release.send(()).unwrap();
    holder.await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    let order = db.read(|c| {
        c.prepare("SELECT n FROM numbers ORDER BY rowid")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<i64>>>()
    });
    assert_eq!(order.await.unwrap(), (0..20).collect::<Vec<i64>>());
}

#[tokio::test]
async fn an_error_rolls_everything_back() {
    let db = in_memory().await;
    let outcome = db.write(|tx| {
        tx.execute("INSERT INTO numbers VALUES (1)", [])?;
        tx.execute("INSERT INTO nothing VALUES (1)", [])
    });
    assert!(matches!(outcome.await, Err(Error::Query(_))));
    assert_eq!(count(&db).await, 0);
    let outcome = db
        .with_transaction(TransactionOptions::default(), |tx| {
            tx.execute("INSERT INTO numbers VALUES (1)", []).unwrap();
            Err::<(), _>("changed my mind")
        })
        .await;
    assert!(matches!(outcome, Err(TransactionError::Aborted("changed my mind"))));
    assert_eq!(count(&db).await, 0);
}

#[tokio::test]
async fn an_error_rolls_back_whatever_the_closure_chose_for_the_transactions_end() {
    let db = in_memory().await;
    let outcome = db.write(|tx| {
        tx.set_drop_behavior(rusqlite::DropBehavior::Commit);
        tx.execute("INSERT INTO numbers VALUES (1)", [])?;
        Err::<(), _>(rusqlite::Error::QueryReturnedNoRows)
    });
    outcome.await.unwrap_err();
    let outcome = db.write::<(), _>(|tx| {
        tx.set_drop_behavior(rusqlite::DropBehavior::Commit);
        tx.execute("INSERT INTO numbers VALUES (1)", [])?;
        panic!("on purpose")
    });
    outcome.await.unwrap_err();
    assert_eq!(count(&db).await, 0);
}

#[tokio::test]
async fn a_panic_is_an_error_of_the_caller_and_costs_the_connection_not_the_slot() {
    let db = in_memory().await;
    let outcome = db.write::<(), _>(|tx| {
        tx.execute("INSERT INTO numbers VALUES (1)", [])?;
        panic!("on purpose")
    });
    let error = outcome.await.unwrap_err();
    assert!(matches!(&error, Error::Panicked { message } if message == "on purpose"), "{error}");
    assert_eq!(count(&db).await, 0);
    insert(&db, 2).await.unwrap();
    assert_eq!(db.status().writer.unwrap().totals.opened, 2, "the connection was replaced");
    let error = db.read::<(), _>(|_| panic!("as well")).await.unwrap_err();
    assert!(matches!(error, Error::Panicked { .. }));
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn a_transaction_that_its_closure_ended_is_not_reported_as_committed() {
    let db = in_memory().await;
    let outcome = db.write(|tx| tx.execute_batch("ROLLBACK")).await;
    assert!(matches!(outcome, Err(Error::Ended)), "{outcome:?}");
    let outcome = db.write(|tx| tx.execute_batch("COMMIT")).await;
    assert!(matches!(outcome, Err(Error::Ended)), "{outcome:?}");
}

#[tokio::test]
async fn a_violation_that_only_the_commit_finds_is_an_error() {
    let db = in_memory().await;
    let outcome = db.write(|tx| {
        tx.execute_batch(
            "CREATE TABLE parents (id INTEGER PRIMARY KEY);
             CREATE TABLE children (parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
             INSERT INTO children VALUES (7)",
        )
    });
    let error = outcome.await.unwrap_err();
    assert!(error.to_string().contains("FOREIGN KEY"), "{error}");
    insert(&db, 1).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_rolled_back() {
    let db = in_memory().await;
    let options = TransactionOptions::default().timeout(Some(Duration::from_millis(50)));
    let outcome = db
        .with_transaction(options, |tx| {
            tx.execute("INSERT INTO numbers VALUES (1)", [])?;
            tx.query_row(ENDLESS, [], |row| row.get::<_, i64>(0))
        })
        .await;
    let failed = matches!(outcome, Err(TransactionError::Failed(Error::Timeout { .. })));
    assert!(failed, "{outcome:?}");
    assert_eq!(count(&db).await, 0);
    insert(&db, 2).await.unwrap();
    assert_eq!(db.status().writer.unwrap().totals.opened, 1, "interrupted, not replaced");
}

#[tokio::test]
async fn every_statement_of_a_stopped_closure_is_interrupted() {
    let db = in_memory().await;
    let options = TransactionOptions::default().timeout(Some(Duration::from_millis(50)));
    let (ended, end) = oneshot::channel();
    let outcome = db.with_transaction(options, |tx| {
        // Swallows the interruption, twice.
        let first = tx.query_row(ENDLESS, [], |row| row.get::<_, i64>(0)).is_err();
        let second = tx.query_row(ENDLESS, [], |row| row.get::<_, i64>(0)).is_err();
        let _ = ended.send((first, second));
        Ok::<(), rusqlite::Error>(())
    });
    assert!(outcome.await.is_err());
    assert_eq!(end.await.unwrap(), (true, true));
}

#[tokio::test]
async fn a_write_waits_for_another_process_that_has_the_lock() {
    let bench = Bench::new();
    let db = bench.numbers(|builder| builder).await;
    let stranger = bench.stranger();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = tokio::spawn({
        let db = db.clone();
        async move { insert(&db, 1).await }
    });
    let writer = db.writer().unwrap().clone();
    until("the writer tries", || writer.status().in_use == 1).await;
    assert_eq!(count(&db).await, 0, "reading goes on");
    stranger.execute_batch("COMMIT").unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn a_write_gives_up_at_its_deadline_when_another_process_keeps_the_lock() {
    let bench = Bench::new();
    let db = bench.numbers(|builder| builder).await;
    let stranger = bench.stranger();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let options = TransactionOptions::default().max_wait(Some(Duration::from_millis(60)));
    let began = std::time::Instant::now();
    let outcome = db.with_transaction(options, |_| Ok::<_, rusqlite::Error>(())).await;
    let busy = matches!(outcome, Err(TransactionError::Failed(Error::Busy { .. })));
    assert!(busy, "{outcome:?}");
    assert!(began.elapsed() >= Duration::from_millis(60));
    stranger.execute_batch("COMMIT").unwrap();
    insert(&db, 1).await.unwrap();
}

#[tokio::test]
async fn a_write_that_waits_for_the_writer_gives_up_at_its_deadline() {
    let db = in_memory().await;
    let (release, released) = std::sync::mpsc::channel::<()>();
    let holder = tokio::spawn({
        let db = db.clone();
        async move {
            db.write(move |_| {
                released.recv().unwrap();
                Ok(())
            })
            .await
            .unwrap()
        }
    });
    let writer = db.writer().unwrap().clone();
    until("the writer is taken", || writer.status().in_use == 1).await;
    let site = writer.holders()[0].site;
    assert!(site.file().ends_with("writing.rs"), "the loan names its place: {site}");
    let options = TransactionOptions::default().max_wait(Some(Duration::from_millis(20)));
    let began = AtomicBool::new(false);
    let began = Arc::new(began);
    let seen = Arc::clone(&began);
    let outcome = db
        .with_transaction(options, move |_| {
            seen.store(true, SeqCst);
            Ok::<_, rusqlite::Error>(())
        })
        .await;
    assert!(matches!(&outcome, Err(TransactionError::Failed(e)) if e.is_timeout()), "{outcome:?}");
    release.send(()).unwrap();
    holder.await.unwrap();
    insert(&db, 1).await.unwrap();
    assert!(!began.load(SeqCst), "what gave up waiting is never begun");
}

#[tokio::test]
async fn a_full_disk_is_a_clear_error_and_nothing_is_changed() {
    let bench = Bench::new();
    let limit = |c: &mut rusqlite::Connection| c.pragma_update(None, "max_page_count", 8);
    let db = bench.numbers(|builder| builder.on_connect(limit)).await;
    let error = db
        .write(|tx| tx.execute("INSERT INTO numbers VALUES (zeroblob(1000000))", []))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("full"), "{error}");
    assert_eq!(count(&db).await, 0);
    insert(&db, 1).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_open_for_reading_only_has_no_writer() {
    let bench = Bench::new();
    let db = bench.numbers(|builder| builder).await;
    insert(&db, 1).await.unwrap();
    let reading = Sqlite::open(&bench.url("mode=ro")).await.unwrap();
    assert_eq!(count(&reading).await, 1);
    assert!(matches!(insert(&reading, 2).await, Err(Error::ReadOnly)));
    assert!(reading.status().writer.is_none());
}
