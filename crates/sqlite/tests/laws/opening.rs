//! Opening: what the settings say holds on every connection, and what is wrong is said at once.

use std::time::{Duration, Instant};

use headpond_sqlite::{Sqlite, rusqlite};

use super::bench::{Bench, count, insert};

async fn refused(url: &str) -> String {
    let began = Instant::now();
    let error = Sqlite::open(url).await.expect_err(url).to_string();
    assert!(began.elapsed() < Duration::from_secs(5), "it is said at once");
    error
}

fn pragmas(c: &rusqlite::Connection) -> rusqlite::Result<Vec<String>> {
    let names = ["journal_mode", "synchronous", "cache_size", "foreign_keys", "temp_store"];
    let ask = |name| {
        c.pragma_query_value(None, name, |row| {
            Ok(row.get_ref(0)?.as_str().map(str::to_owned).unwrap_or_default()
                + &row.get::<_, i64>(0).map(|n| n.to_string()).unwrap_or_default())
        })
    };
    names.into_iter().map(ask).collect()
}

#[tokio::test]
async fn every_connection_has_the_promised_settings() {
    let bench = Bench::new();
    let db = bench.numbers(|builder| builder).await;
    let promised = ["wal", "1", "1000", "1", "2"];
    assert_eq!(db.read(|c| pragmas(c)).await.unwrap(), promised);
    assert_eq!(db.write(|tx| pragmas(tx)).await.unwrap(), promised);
}

#[tokio::test]
async fn settings_can_be_said_in_the_url() {
    let bench = Bench::new();
    let url = bench.url("mode=rwc&journal_mode=delete&synchronous=extra&cache_size=-64");
    let db = Sqlite::open(&url).await.unwrap();
    assert_eq!(db.write(|tx| pragmas(tx)).await.unwrap(), ["delete", "3", "-64", "1", "2"]);
}

#[tokio::test]
async fn what_cannot_be_opened_is_named_with_the_reason() {
    let bench = Bench::new();
    let error = refused(&bench.url("")).await;
    assert!(error.contains("test.db does not exist") && error.contains("mode=rwc"), "{error}");
    let folder = bench.path();
    let folder = folder.parent().unwrap().display();
    assert!(refused(&format!("sqlite://{folder}?mode=rwc")).await.contains("is a folder"));
    let error = refused(&format!("sqlite://{folder}/none/x.db?mode=rwc")).await;
    assert!(error.contains("none does not exist"), "{error}");
    std::fs::write(bench.path(), [b'x'; 4096]).unwrap();
    let error = refused(&bench.url("")).await;
    assert!(error.contains("not a database"), "{error}");
    assert!(refused(&bench.url("mode=ro")).await.contains("not a database"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_a_clear_error() {
    // Not even the superuser makes files here.
    let error = refused("sqlite:///proc/headpond.db?mode=rwc").await;
    assert!(error.contains("/proc/headpond.db may not be written to"), "{error}");
}

#[tokio::test]
async fn a_preparation_that_fails_is_an_error_of_opening() {
    let bench = Bench::new();
    let fails = bench.builder().on_connect(|c| c.execute_batch("nonsense"));
    let error = fails.open().await.unwrap_err().to_string();
    assert!(error.contains("preparing the connection failed"), "{error}");
    let panics = bench.builder().on_connect(|_| panic!("on purpose"));
    let error = panics.open().await.unwrap_err().to_string();
    assert!(error.contains("ended before it was ready"), "{error}");
}

#[tokio::test]
async fn a_file_with_a_strange_name_is_opened() {
    let bench = Bench::new();
    let folder = bench.path().parent().unwrap().display().to_string();
    let url = format!("sqlite://{folder}/a%3Fb%20c%25%23é.db?mode=rwc");
    let db = Sqlite::open(&url).await.unwrap();
    db.write(|tx| tx.execute_batch("CREATE TABLE numbers (n)")).await.unwrap();
    assert!(bench.path().with_file_name("a?b c%#é.db").exists());
}

#[tokio::test]
async fn a_file_that_nobody_changes_is_read_without_a_lock() {
    let bench = Bench::new();
    let db = bench.numbers(|builder| builder).await;
    insert(&db, 1).await.unwrap();
    db.close(Duration::from_secs(5)).await.unwrap();
    let log = bench.path().with_file_name("test.db-wal");
    assert!(!log.exists(), "the last connection moved the log into the file");
    let reading = Sqlite::open(&bench.url("immutable=1")).await.unwrap();
    assert_eq!(count(&reading).await, 1);
    assert!(!log.exists());
}

#[tokio::test]
async fn a_database_can_be_opened_while_another_process_writes() {
    let bench = Bench::new();
    // Closed, not dropped: a connection that says goodbye in a thread of its own has the lock.
    let first = bench.numbers(|builder| builder).await;
    first.close(Duration::from_secs(30)).await.unwrap();
    let stranger = bench.stranger();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let db = Sqlite::open(&bench.url("")).await.unwrap();
    assert_eq!(count(&db).await, 0);
}

#[tokio::test]
async fn hooks_of_the_pools_run() {
    let bench = Bench::new();
    let db = bench
        .numbers(|builder| {
            builder.readers(1).pools(|pool| {
                pool.after_connect(|connection| {
                    Box::pin(async move {
                        connection.call(|c| c.execute_batch("SELECT 1")).await.map_err(Into::into)
                    })
                })
            })
        })
        .await;
    assert_eq!(count(&db).await, 0);
}
