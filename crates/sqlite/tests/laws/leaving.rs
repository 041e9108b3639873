//! What closures leave behind: nothing that the next one would notice.

use headpond_sqlite::{Sqlite, rusqlite};

use super::bench::{Bench, count, insert};

async fn one_reader(bench: &Bench) -> Sqlite {
    bench.numbers(|builder| builder.readers(1)).await
}

/// Runs statements on the only reader and returns how many readers there have been then.
async fn readers_after(db: &Sqlite, sql: &'static str) -> u64 {
    db.read(move |c| c.execute_batch(sql)).await.unwrap();
    assert_eq!(count(db).await, 0);
    let clean = db.read(|c| {
        let temporary: i64 =
            c.query_row("SELECT count(*) FROM temp.sqlite_master", [], |row| row.get(0))?;
        let attached: i64 =
            c.query_row("SELECT count(*) FROM pragma_database_list", [], |row| row.get(0))?;
        let cache: i64 = c.pragma_query_value(None, "cache_size", |row| row.get(0))?;
        Ok((c.is_autocommit(), temporary, attached <= 2, cache))
    });
    assert_eq!(clean.await.unwrap(), (true, 0, true, 1000), "after {sql}");
    db.readers().status().totals.opened
}

#[tokio::test]
async fn a_transaction_that_was_left_open_is_rolled_back() {
    let bench = Bench::new();
    let db = one_reader(&bench).await;
    assert_eq!(readers_after(&db, "BEGIN; SELECT * FROM numbers").await, 1);
    assert_eq!(readers_after(&db, "SAVEPOINT somewhere").await, 1);
    insert(&db, 1).await.unwrap();
    assert_eq!(count(&db).await, 1, "no old state is seen");
}

#[tokio::test]
async fn a_connection_with_settings_of_its_own_is_replaced() {
    let bench = Bench::new();
    let db = one_reader(&bench).await;
    for (round, sql) in (2..).zip([
        "PRAGMA cache_size = 17",
        "PRAGMA foreign_keys = off",
        "PRAGMA temp_store = file",
        "ATTACH ':memory:' AS other",
        "PRAGMA busy_timeout = 1",
    ]) {
        assert_eq!(readers_after(&db, sql).await, round, "{sql}");
    }
}

#[tokio::test]
async fn a_connection_with_temporary_objects_is_replaced() {
    let bench = Bench::new();
    let db = bench.numbers(|builder| builder).await;
    for (round, sql) in (2..).zip([
        "CREATE TEMP TABLE scratch (n)",
        "CREATE TEMP VIEW seen AS SELECT * FROM numbers",
        "CREATE TEMP TRIGGER t AFTER INSERT ON numbers BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE temp.words USING fts5(word)",
    ]) {
        db.write(move |tx| tx.execute_batch(sql)).await.unwrap();
        let temporary = db.write(|tx| {
            tx.query_row("SELECT count(*) FROM temp.sqlite_master", [], |row| row.get::<_, i64>(0))
        });
        assert_eq!(temporary.await.unwrap(), 0, "after {sql}");
        assert_eq!(db.status().writer.unwrap().totals.opened, round, "{sql}");
    }
}

#[tokio::test]
async fn questions_cost_no_connection() {
    let bench = Bench::new();
    let db = one_reader(&bench).await;
    for sql in ["PRAGMA table_info(numbers)", "PRAGMA cache_size", "PRAGMA quick_check(1)"] {
        assert_eq!(readers_after(&db, sql).await, 1, "{sql}");
    }
}

#[tokio::test]
async fn statements_are_prepared_once() {
    let bench = Bench::new();
    let db = one_reader(&bench).await;
    let status = rusqlite::StatementStatus::Run;
    for run in 0..5 {
        let runs = db.read(move |c| {
            let mut statement = c.prepare_cached("SELECT n FROM numbers")?;
            let runs = statement.get_status(status);
            statement.query([])?.next()?;
            Ok(runs)
        });
        assert_eq!(runs.await.unwrap(), run);
    }
}

#[tokio::test]
async fn what_was_prepared_for_every_connection_is_there_after_a_replacement() {
    let bench = Bench::new();
    let db = bench
        .numbers(|builder| {
            builder.readers(1).on_connect(|c| c.execute_batch("CREATE TEMP TABLE mine (n)"))
        })
        .await;
    for sql in ["PRAGMA cache_size = 3", "SELECT 1"] {
        db.read(move |c| c.execute_batch(sql)).await.unwrap();
        let mine = db.read(|c| c.execute_batch("SELECT * FROM mine"));
        mine.await.unwrap();
    }
}
