//! Futures dropped at random points: no reply reaches another, no trace is left, no room is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use headpond::mysql::driver::{Row, prelude::Queryable};
use headpond::mysql::{self, Cleaning, Config, Connection, Manager};
use headpond::{ConnectFailure, Fate, Pool};

use super::chance::{Cut, Random, seed};
use super::mariadb::{Server, sessions};
use super::slicer::Slicer;
use super::until;

/// What a storm of cancellations found.
#[derive(Default, Debug)]
struct Found {
    cancelled: AtomicU64,
    finished: AtomicU64,
    /// Replies to somebody else's question.
    foreign: AtomicU64,
    /// Connections that were lent with something on them.
    dirty: AtomicU64,
    broken: AtomicU64,
}

/// One loan: looks for traces, asks something with a tag, and leaves traces of its own.
async fn loan<M>(pool: &Pool<M>, tag: String, kind: u64, found: &Found)
where
    M: headpond::Manager<Connection = Connection>,
{
    let Ok(mut connection) = pool.get().await else { return };
    let sql = format!(
        "SELECT '{tag}', COALESCE(@leak, 'none'), @@in_transaction, @@sql_notes, DATABASE()"
    );
    let first: Option<(String, String, u8, u8, String)> = match connection.query_first(sql).await {
        Ok(row) => row,
        Err(_) => {
            found.broken.fetch_add(1, Relaxed);
            return;
        }
    };
    match first {
        Some((echo, leak, transaction, notes, database)) if echo == tag => {
            if (&*leak, transaction, notes, &*database) != ("none", 0, 1, "app") {
                found.dirty.fetch_add(1, Relaxed);
            }
        }
        _ => {
            found.foreign.fetch_add(1, Relaxed);
        }
    }
    let rows = format!("SELECT CONCAT('{tag}', ':', seq) FROM seq_1_to_50");
    let asked = match kind {
        0 => connection.query::<String>(rows).await,
        1 => {
            connection.exec::<String>("SELECT CONCAT(?, ':', seq) FROM seq_1_to_50", (&tag,)).await
        }
        2 => {
            let _ = connection.query_drop("START TRANSACTION").await;
            let _ = connection.exec_drop("INSERT INTO t VALUES (1)", ()).await;
            connection.query(rows).await
        }
        3 => {
            let _ = connection.query_drop(format!("SET @leak = '{tag}', sql_notes = 0")).await;
            connection.query(rows).await
        }
        4 => {
            if connection.query_drop("CREATE TEMPORARY TABLE leak (a INT)").await.is_err() {
                found.dirty.fetch_add(1, Relaxed);
            }
            connection.query(rows).await
        }
        5 => raw(&mut connection, rows).await,
        _ => {
            let _ = connection.query_drop("USE other").await;
            connection.query(rows).await
        }
    };
    match asked {
        Ok(rows) => {
            let mine = rows.iter().zip(1..).all(|(row, n)| *row == format!("{tag}:{n}"));
            if !mine || rows.len() != 50 {
                found.foreign.fetch_add(1, Relaxed);
            }
            found.finished.fetch_add(1, Relaxed);
        }
        Err(_) => {
            found.broken.fetch_add(1, Relaxed);
        }
    }
}

/// Asks past the adapter. As rows: the driver panics if one is not what it was asked for.
async fn raw(connection: &mut Connection, sql: String) -> Result<Vec<String>, mysql::Error> {
    let rows: Vec<Row> = connection.driver().query(sql).await?;
    Ok(rows.iter().map(|row| row.get_opt(0).and_then(Result::ok).unwrap_or_default()).collect())
}

/// Cancels so many loans at random points.
async fn storm<M>(pool: &Pool<M>, cancels: u64, seed: u64) -> Arc<Found>
where
    M: headpond::Manager<Connection = Connection>,
{
    eprintln!("seed {seed}");
    let found = Arc::new(Found::default());
    let tasks = (0..8).map(|task: u64| {
        let (pool, found) = (pool.clone(), Arc::clone(&found));
        tokio::spawn(async move {
            let mut random = Random(seed.wrapping_mul(8).wrapping_add(task + 1));
            let mut number = 0;
            while found.cancelled.load(Relaxed) < cancels {
                number += 1;
                let (tag, kind) = (format!("t{task}-{number}"), random.below(7));
                let polls = u32::try_from(random.below(24)).unwrap() + 1;
                let loan = Cut::after(polls, loan(&pool, tag, kind, &found));
                if loan.await.is_none() {
                    found.cancelled.fetch_add(1, Relaxed);
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    eprintln!("{found:?} {:?}", pool.status().totals);
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_cancellations_reach_nobody_else() {
    let server = Server::start().await;
    let slicer = Slicer::start(server.port()).await;
    let url = server.url("pool_max=4&pool_min=0&ssl-mode=DISABLED");
    let url = url.replace(&format!(":{}/", server.port()), &format!(":{}/", slicer.port()));
    let builder = Config::from_url(&url).unwrap().builder();
    // A busy machine takes its time to kill; who is not waited for still counts there.
    let pool = builder.close_timeout(Duration::from_secs(60)).build().unwrap();
    pool.exec_drop("CREATE TABLE t (a INT)", ()).await.unwrap();

    let most = Arc::new(AtomicU32::new(0));
    let watch = tokio::spawn({
        let (most, mut root) = (Arc::clone(&most), server.root().await);
        async move {
            loop {
                most.fetch_max(sessions(&mut root).await, Relaxed);
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        }
    });
    let found = storm(&pool, 10_000, seed()).await;
    watch.abort();
    assert_eq!((found.foreign.load(Relaxed), found.dirty.load(Relaxed)), (0, 0));
    assert!(found.finished.load(Relaxed) > 100, "the storm let nothing through");
    // Four of the pool, and the side connection that kills.
    eprintln!("sessions at once: {}", most.load(Relaxed));
    assert!(most.load(Relaxed) <= 5, "{most:?}");

    until("everything came back", async || pool.status().in_use == 0).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(pool.get_timeout(Duration::from_secs(5)).await.expect("no room is lost"));
    }
    pool.check_invariants();
    until("only the pool has sessions", async || sessions(&mut server.root().await).await == 4)
        .await;
}

/// A manager that trusts everybody.
struct Careless(Manager);

impl headpond::Manager for Careless {
    type Connection = Connection;
    type Error = mysql::Error;

    async fn connect(&self) -> Result<Connection, mysql::Error> {
        self.0.connect().await
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), mysql::Error> {
        self.0.ping(connection).await
    }

    async fn reset(&self, connection: &mut Connection) -> Result<(), mysql::Error> {
        self.0.reset(connection).await
    }

    fn fate(&self, _: &mut Connection) -> Fate {
        Fate::Reuse
    }

    fn failure(&self, error: &mysql::Error) -> ConnectFailure {
        self.0.failure(error)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storm_finds_a_manager_that_always_reuses() {
    let server = Server::start().await;
    let config = Config::from_url(&server.url("ssl-mode=DISABLED")).unwrap();
    let pool = Pool::builder(Careless(Manager::new(&config))).max(4).min(0).build().unwrap();
    pool.get().await.unwrap().query_drop("CREATE TABLE t (a INT)").await.unwrap();
    let found = storm(&pool, 300, seed()).await;
    assert!(found.foreign.load(Relaxed) > 0, "{found:?}");
    assert!(found.dirty.load(Relaxed) > 0, "{found:?}");
}

#[tokio::test]
async fn a_dropped_statement_ends_on_the_server_and_costs_no_room() {
    let server = Server::start().await;
    let mut root = server.root().await;
    let config = Config::from_url(&server.url("pool_max=1&pool_min=0")).unwrap();
    let pool = config.cleaning(Cleaning::WhenChanged).builder().build().unwrap();
    drop(pool.get().await.unwrap());
    let asleep =
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP%'";
    for _ in 0..3 {
        let mut connection = pool.get().await.unwrap();
        let long = connection.query_drop("SELECT SLEEP(60)");
        assert!(tokio::time::timeout(Duration::from_millis(50), long).await.is_err());
        drop(connection);
        let dropped = Instant::now();
        let mut connection = pool.get_timeout(Duration::from_secs(2)).await.expect("room");
        connection.query_drop("SELECT 1").await.unwrap();
        let running: Option<u32> = root.query_first(asleep).await.unwrap();
        assert_eq!(running, Some(0));
        assert!(dropped.elapsed() < Duration::from_millis(1500), "{:?}", dropped.elapsed());
    }
}
