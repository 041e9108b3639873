//! What the laws are tried on: a database in a temporary folder, and a stranger who opens it too.

use std::path::PathBuf;
use std::time::Duration;

use headpond_sqlite::{Builder, Sqlite, rusqlite};
use tempfile::TempDir;

/// A folder with a database in it; gone when it is dropped.
pub struct Bench {
    folder: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("test.db")
    }

    pub fn url(&self, options: &str) -> String {
        format!("sqlite://{}?{options}", self.path().display())
    }

    pub fn builder(&self) -> Builder {
        Sqlite::builder(&self.url("mode=rwc")).expect("the URL is right")
    }

    /// Opens the database with a table of numbers in it.
    pub async fn numbers(&self, more: impl FnOnce(Builder) -> Builder) -> Sqlite {
        let db = more(self.builder()).open().await.expect("it opens");
        let made = db.write(|tx| tx.execute_batch("CREATE TABLE numbers (n INTEGER)"));
        made.await.expect("the table can be made");
        db
    }

    /// Opens the database past the pool, as another process would.
    pub fn stranger(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.path()).expect("it opens");
        connection.busy_timeout(Duration::ZERO).expect("it is a number");
        connection
    }
}

/// Opens a database in memory with a table of numbers in it.
pub async fn in_memory() -> Sqlite {
    let db = Sqlite::open("sqlite::memory:").await.expect("it opens");
    let made = db.write(|tx| tx.execute_batch("CREATE TABLE numbers (n INTEGER)"));
    made.await.expect("the table can be made");
    db
}

pub async fn count(db: &Sqlite) -> i64 {
    let count = db.read(|c| c.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0)));
    count.await.expect("numbers can be counted")
}

pub async fn insert(db: &Sqlite, n: i64) -> Result<usize, headpond_sqlite::Error> {
    db.write(move |tx| tx.prepare_cached("INSERT INTO numbers VALUES (?1)")?.execute([n])).await
}

/// Waits until something is so; fails after ten seconds.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(tokio::time::Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A query that runs until it is interrupted.
pub const ENDLESS: &str = "WITH RECURSIVE forever(n) AS (VALUES (1) UNION ALL \
                           SELECT n + 1 FROM forever) SELECT count(*) FROM forever";
