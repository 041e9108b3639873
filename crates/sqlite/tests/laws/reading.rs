//! Reads: beside the writer, of what is committed, without writing.

use std::time::Duration;

use headpond_sqlite::{Access, Error, Sqlite, TransactionOptions, rusqlite};
use tokio::sync::oneshot;

use super::bench::{Bench, count, in_memory, insert, until};

#[tokio::test]
async fn readers_see_committed_data_only() {
    let bench = Bench::new();
    let db = bench.numbers(|builder| builder).await;
    let (written, wrote) = oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let writing = tokio::spawn({
        let db = db.clone();
        async move {
            db.write(move |tx| {
                tx.execute("INSERT INTO numbers VALUES (1)", [])?;
                written.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            })
            .await
        }
    });
    wrote.await.unwrap();
    assert_eq!(count(&db).await, 0, "reads go on beside a write, and do not see it");
    release.send(()).unwrap();
    writing.await.unwrap().unwrap();
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn a_reading_transaction_sees_one_state() {
    let bench = Bench::new();
    let db = bench.numbers(|builder| builder).await;
    let (looked, look) = oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let options = TransactionOptions::default().access(Access::Read);
    let reading = tokio::spawn({
        let db = db.clone();
        async move {
            db.with_transaction(options, move |tx| {
                let count = || tx.query_row("SELECT count(*) FROM numbers", [], |r| r.get(0));
                let before: i64 = count()?;
                looked.send(()).unwrap();
                released.recv().unwrap();
                Ok::<_, rusqlite::Error>((before, count()?))
            })
            .await
        }
    });
    look.await.unwrap();
    insert(&db, 1).await.unwrap();
    release.send(()).unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), (0, 0));
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn readers_cannot_write() {
    for db in [in_memory().await, Bench::new().numbers(|builder| builder).await] {
        let error = db.read(|c| c.execute("INSERT INTO numbers VALUES (1)", [])).await.unwrap_err();
        assert!(error.to_string().contains("readonly"), "{error}");
        let error = db.read(|c| c.pragma_update(None, "query_only", false)).await.unwrap_err();
        assert!(error.to_string().contains("not authorized"), "{error}");
        let error = db.read(|c| c.execute_batch("BEGIN IMMEDIATE")).await.unwrap_err();
        assert!(error.to_string().contains("readonly"), "{error}");
    }
}

#[tokio::test]
async fn all_readers_can_be_busy_at_once_and_one_more_waits() {
    let bench = Bench::new();
    let db = bench.numbers(|builder| builder.readers(3)).await;
    let mut releases = Vec::new();
    let mut reads = Vec::new();
    for _ in 0..3 {
        let (release, released) = std::sync::mpsc::channel::<()>();
        releases.push(release);
        let db = db.clone();
        reads.push(tokio::spawn(async move {
            db.read(move |_| {
                released.recv().unwrap();
                Ok(())
            })
            .await
            .unwrap();
        }));
    }
    until("all are busy", || db.readers().status().in_use == 3).await;
    let late = tokio::spawn({
        let db = db.clone();
        async move { count(&db).await }
    });
    until("one waits", || db.readers().status().waiting == 1).await;
    releases.remove(0).send(()).unwrap();
    assert_eq!(late.await.unwrap(), 0);
    drop(releases.into_iter().map(|release| release.send(()).unwrap()).collect::<Vec<_>>());
    for read in reads {
        read.await.unwrap();
    }
    assert!(db.readers().status().totals.opened <= 3);
}

#[tokio::test]
async fn connections_of_a_database_in_memory_see_the_same_one() {
    let db = in_memory().await;
    for n in 0..10 {
        insert(&db, n).await.unwrap();
    }
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let db = db.clone();
        reads.spawn(async move { count(&db).await });
    }
    while let Some(read) = reads.join_next().await {
        assert_eq!(read.unwrap(), 10);
    }
    let other = in_memory().await;
    assert_eq!(count(&other).await, 0, "another database is another one");
}

#[tokio::test]
async fn a_named_database_in_memory_is_shared_by_name() {
    let one = Sqlite::open("sqlite:shared-name?mode=memory&cache=shared").await.unwrap();
    one.write(|tx| tx.execute_batch("CREATE TABLE numbers (n INTEGER)")).await.unwrap();
    let other = Sqlite::open("file:shared-name?mode=memory").await.unwrap();
    insert(&other, 1).await.unwrap();
    assert_eq!(count(&one).await, 1);
}

#[tokio::test]
async fn a_database_in_memory_outlives_all_its_connections() {
    let reap = |pool: headpond::Builder<_>| pool.idle_timeout(Some(Duration::from_millis(1)));
    let builder = Sqlite::builder("sqlite::memory:").unwrap().readers_min(0).pools(reap);
    let db = builder.open().await.unwrap();
    db.write(|tx| tx.execute_batch("CREATE TABLE numbers (n INTEGER)")).await.unwrap();
    insert(&db, 1).await.unwrap();
    // Every connection there is is replaced.
    db.writer().unwrap().evict();
    db.readers().evict();
    until("the readers are gone", || db.readers().status().size == 0).await;
    until("the writer was replaced", || db.writer().unwrap().status().totals.closed > 0).await;
    assert_eq!(count(&db).await, 1);
}

#[tokio::test]
async fn a_database_in_memory_is_gone_when_it_was_closed() {
    let db = in_memory().await;
    insert(&db, 1).await.unwrap();
    db.close(Duration::from_secs(5)).await.unwrap();
    let closed = db.read(|_| Ok(())).await.unwrap_err();
    assert!(matches!(closed, Error::Pool(headpond::Error::Closed { .. })), "{closed}");
}
