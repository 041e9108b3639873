//! Callers who go away: nothing of theirs is committed late, and nothing of it is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use headpond_sqlite::{Sqlite, rusqlite};
use tokio::sync::oneshot;

use super::bench::{Bench, ENDLESS, count, in_memory, insert, until};

/// Callers who go away in the long test.
const ROUNDS: u64 = 10_000;

#[tokio::test]
async fn a_closure_whose_caller_left_before_it_began_never_runs() {
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
    let ran = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ran);
    let leaving = tokio::spawn({
        let db = db.clone();
        async move {
            db.write(move |_| {
                seen.store(true, SeqCst);
                Ok(())
            })
            .await
        }
    });
    until("it waits", || writer.status().waiting == 1).await;
    leaving.abort();
    let _ = leaving.await;
    release.send(()).unwrap();
    holder.await.unwrap();
    insert(&db, 1).await.unwrap();
    assert!(!ran.load(SeqCst));
}

#[tokio::test]
async fn a_query_whose_caller_left_is_interrupted_and_its_transaction_rolled_back() {
    let db = in_memory().await;
    let (began, begin) = oneshot::channel();
    let leaving = tokio::spawn({
        let db = db.clone();
        async move {
            db.write(move |tx| {
                tx.execute("INSERT INTO numbers VALUES (1)", [])?;
                began.send(()).unwrap();
                tx.query_row(ENDLESS, [], |row| row.get::<_, i64>(0))
            })
            .await
        }
    });
    begin.await.unwrap();
    leaving.abort();
    let _ = leaving.await;
    insert(&db, 2).await.unwrap();
    assert_eq!(count(&db).await, 1);
    assert_eq!(db.status().writer.unwrap().totals.opened, 1, "interrupted, not replaced");
}

#[tokio::test]
async fn a_closure_that_cannot_be_interrupted_runs_to_its_end_and_is_rolled_back() {
    let db = in_memory().await;
    let (began, begin) = oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let leaving = tokio::spawn({
        let db = db.clone();
        async move {
            db.write(move |tx| {
                tx.execute("INSERT INTO numbers VALUES (1)", [])?;
                began.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            })
            .await
        }
    });
    begin.await.unwrap();
    leaving.abort();
    let _ = leaving.await;
    assert_eq!(db.status().writer.unwrap().in_use, 1, "the loan lasts as long as the closure");
    release.send(()).unwrap();
    insert(&db, 2).await.unwrap();
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn a_caller_who_left_does_not_interrupt_the_next() {
    let bench = Bench::new();
    let db = bench.numbers(|builder| builder.readers(1)).await;
    for _ in 0..300 {
        let leaving = tokio::spawn({
            let db = db.clone();
            async move { count(&db).await }
        });
        tokio::task::yield_now().await;
        leaving.abort();
        // Long enough to be hit by an interruption that is meant for the one before.
        let sum = db.read(|c| {
            c.query_row(
                "WITH RECURSIVE few(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM few LIMIT 2000) \
                 SELECT sum(n) FROM few",
                [],
                |row| row.get::<_, i64>(0),
            )
        });
        assert_eq!(sum.await.unwrap(), 2_001_000);
    }
}

/// What a caller finds of others' leavings; it must be nothing.
fn leavings(c: &rusqlite::Connection) -> rusqlite::Result<(bool, i64, i64)> {
    let temporary = c.query_row("SELECT count(*) FROM temp.sqlite_master", [], |row| row.get(0))?;
    let cache = c.pragma_query_value(None, "cache_size", |row| row.get(0))?;
    Ok((c.is_autocommit(), temporary, cache))
}

/// One caller who does something that leaves traces, in pairs that must stay pairs.
async fn leave_traces(db: Sqlite, n: i64) {
    let _ = match n % 4 {
        0 => db.write(move |tx| pair(tx, n)).await,
        1 => {
            db.write(move |tx| {
                tx.execute_batch("CREATE TEMP TABLE scratch (n); PRAGMA cache_size = 5")?;
                pair(tx, n)
            })
            .await
        }
        2 => db.read(|c| c.execute_batch("BEGIN; SELECT * FROM numbers")).await,
        _ => db.read(|c| c.execute_batch("PRAGMA cache_size = 7; SAVEPOINT here")).await,
    };
}

fn pair(c: &rusqlite::Connection, n: i64) -> rusqlite::Result<()> {
    for _ in 0..2 {
        c.execute("INSERT INTO numbers VALUES (?1)", [n])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_who_leave_at_random_leave_nothing_behind() {
    let bench = Bench::new();
    let db = bench.numbers(|builder| builder.readers(2)).await;
    let seed = std::env::var("HEADPOND_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("HEADPOND_TEST_SEED={seed}");
    let mut random = seed | 1;
    for n in 0..ROUNDS {
        // xorshift: enough to be at other points each time.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let patience = Duration::from_nanos(random % 400_000);
        let number = i64::try_from(n).unwrap();
        let leaving = tokio::spawn(leave_traces(db.clone(), number));
        let began = std::time::Instant::now();
        while began.elapsed() < patience {
            tokio::task::yield_now().await;
        }
        leaving.abort();
        if n % 10 == 0 {
            assert_eq!(db.read(|c| leavings(c)).await.unwrap(), (true, 0, 1000), "round {n}");
            let found = db.write(|tx| leavings(tx)).await.unwrap();
            assert_eq!(found, (false, 0, 1000), "round {n}");
        }
    }
    // Everything that still runs comes to its end.
    let idle = || {
        let status = db.status();
        status.writer.unwrap().in_use == 0 && status.readers.in_use == 0
    };
    until("all loans are over", idle).await;
    let torn = db.read(|c| {
        c.query_row(
            "SELECT count(*) FROM (SELECT n FROM numbers GROUP BY n HAVING count(*) <> 2)",
            [],
            |row| row.get::<_, i64>(0),
        )
    });
    assert_eq!(torn.await.unwrap(), 0, "a transaction was committed by half");
    let kept = count(&db).await;
    println!("{kept} rows of {} were committed", ROUNDS);
    db.writer().unwrap().check_invariants();
    db.readers().check_invariants();
    db.close(Duration::from_secs(10)).await.unwrap();
}
