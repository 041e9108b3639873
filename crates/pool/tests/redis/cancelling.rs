//! Futures dropped at random points: no reply reaches another, no trace is left, no room is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use headpond::redis::{self, AsyncCommands, Config, Connection, Error, Manager};
use headpond::{ConnectFailure, Fate, Pool};

use super::chance::{Cut, Random, seed};
use super::cleaning::state;
use super::server::{Server, clients};
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
async fn loan<M>(pool: &Pool<M>, tag: &str, kind: u64, clean: &str, found: &Found)
where
    M: headpond::Manager<Connection = Connection>,
{
    let Ok(mut connection) = pool.get().await else { return };
    if state(&mut connection).await != clean {
        found.dirty.fetch_add(1, Relaxed);
    }
    let echo = |kind: &str| format!("{tag}:{kind}");
    let mut asked = Vec::new();
    let mut replies: Vec<Result<String, Error>> = Vec::new();
    let mut ask = redis::cmd("ECHO");
    ask.arg(echo("echo"));
    match kind {
        0 => {
            let _: Result<redis::driver::Value, _> =
                connection.query(redis::cmd("WATCH").arg("k")).await;
        }
        1 => {
            let _: Result<redis::driver::Value, _> = connection.query(&redis::cmd("MULTI")).await;
            let _: Result<redis::driver::Value, _> =
                connection.query(redis::cmd("SET").arg("k").arg(1)).await;
            return;
        }
        2 => {
            let _: Result<(), _> = connection.query(redis::cmd("SELECT").arg(5)).await;
        }
        3 => {
            let _ = connection.subscribe("channel").await;
        }
        4 => {
            let mut pipe = redis::pipe();
            pipe.atomic().cmd("ECHO").arg(echo("a")).cmd("ECHO").arg(echo("b"));
            match pipe.query_async::<Option<(String, String)>>(&mut *connection).await {
                // Somebody left a key watched.
                Ok(None) => {
                    found.dirty.fetch_add(1, Relaxed);
                }
                Ok(Some((a, b))) => {
                    asked.extend([echo("a"), echo("b")]);
                    replies.extend([Ok(a), Ok(b)]);
                }
                Err(_) => {
                    found.broken.fetch_add(1, Relaxed);
                }
            }
        }
        5 => {
            // Blocks until it is dropped.
            let _: Result<redis::driver::Value, _> =
                connection.query(redis::cmd("BLPOP").arg("never").arg(0)).await;
        }
        _ => {
            // Changes what others watch.
            let _: Result<u64, _> = connection.query(redis::cmd("INCR").arg("k")).await;
        }
    }
    asked.push(echo("echo"));
    replies.push(connection.query::<String>(&ask).await);
    for (asked, reply) in asked.iter().zip(replies) {
        match reply {
            Ok(reply) if reply == *asked => found.finished.fetch_add(1, Relaxed),
            Ok(_) => found.foreign.fetch_add(1, Relaxed),
            Err(_) => found.broken.fetch_add(1, Relaxed),
        };
    }
}

/// Cancels so many loans at random points.
async fn storm<M>(pool: &Pool<M>, cancels: u64, clean: &str) -> Arc<Found>
where
    M: headpond::Manager<Connection = Connection>,
{
    let seed = seed();
    eprintln!("seed {seed}");
    let found = Arc::new(Found::default());
    let tasks = (0..8).map(|task: u64| {
        let (pool, found, clean) = (pool.clone(), Arc::clone(&found), clean.to_owned());
        tokio::spawn(async move {
            let mut random = Random(seed.wrapping_mul(8).wrapping_add(task + 1));
            let mut number = 0;
            while found.cancelled.load(Relaxed) < cancels {
                number += 1;
                let (tag, kind) = (format!("t{task}-{number}"), random.below(8));
                let polls = u32::try_from(random.below(9)).unwrap() + 1;
                let loan = Cut::after(polls, loan(&pool, &tag, kind, &clean, &found));
                // What blocks is polled once and never again.
                let limit = Duration::from_millis(20);
                if !matches!(tokio::time::timeout(limit, loan).await, Ok(Some(()))) {
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
    let server = Server::start();
    let slicer = Slicer::start(server.port()).await;
    let url = format!("redis://127.0.0.1:{}/1?pool_max=4&pool_min=0", slicer.port());
    let pool = redis::pool(&url).unwrap();
    let clean = state(&mut pool.get().await.unwrap()).await;
    let found = storm(&pool, 10_000, &clean).await;
    assert_eq!((found.foreign.load(Relaxed), found.dirty.load(Relaxed)), (0, 0));
    assert!(found.finished.load(Relaxed) > 100, "the storm let nothing through");
    until("everything came back", async || pool.status().in_use == 0).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(pool.get_timeout(Duration::from_secs(5)).await.expect("no room is lost"));
    }
    pool.check_invariants();
    let mut root = server.root().await;
    until("only the pool has connections", async || clients(&mut root).await == 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_never_sees_more_than_the_maximum() {
    let server = Server::start();
    let pool = redis::pool(&server.url("/1?pool_max=4&pool_min=0")).unwrap();
    let clean = state(&mut pool.get().await.unwrap()).await;
    let most = Arc::new(AtomicUsize::new(0));
    let watch = tokio::spawn({
        let (most, mut root) = (Arc::clone(&most), server.root().await);
        async move {
            loop {
                most.fetch_max(clients(&mut root).await, Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let found = storm(&pool, 2_000, &clean).await;
    watch.abort();
    assert_eq!((found.foreign.load(Relaxed), found.dirty.load(Relaxed)), (0, 0));
    assert!(most.load(Relaxed) <= 4, "{most:?}");
}

/// A manager that trusts everybody.
struct Careless(Manager);

impl headpond::Manager for Careless {
    type Connection = Connection;
    type Error = Error;

    async fn connect(&self) -> Result<Connection, Error> {
        self.0.connect().await
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), Error> {
        self.0.ping(connection).await
    }

    async fn reset(&self, connection: &mut Connection) -> Result<(), Error> {
        self.0.reset(connection).await
    }

    fn fate(&self, _: &mut Connection) -> Fate {
        Fate::Reuse
    }

    fn failure(&self, error: &Error) -> ConnectFailure {
        self.0.failure(error)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storm_finds_a_manager_that_always_reuses() {
    let server = Server::start();
    let manager = Manager::new(&Config::from_url(&server.url("/1")).unwrap());
    let pool = Pool::builder(Careless(manager)).max(4).min(0).build().unwrap();
    let clean = state(&mut pool.get().await.unwrap()).await;
    let found = storm(&pool, 300, &clean).await;
    assert!(found.dirty.load(Relaxed) > 0, "{found:?}");
}

#[tokio::test]
async fn a_dropped_command_that_blocks_ends_on_the_server() {
    let server = Server::start();
    let mut root = server.root().await;
    let pool = redis::pool(&server.url("?pool_max=1&pool_min=0")).unwrap();
    for _ in 0..3 {
        let mut connection = pool.get().await.unwrap();
        let blocking = connection.blpop::<_, ()>("never", 0.0);
        assert!(tokio::time::timeout(Duration::from_millis(50), blocking).await.is_err());
        drop(connection);
        let dropped = Instant::now();
        let mut connection = pool.get_timeout(Duration::from_secs(2)).await.expect("room");
        let () = connection.set("k", 1).await.unwrap();
        assert!(dropped.elapsed() < Duration::from_millis(1500));
        until("nobody blocks", async || {
            let list: String =
                redis::cmd("CLIENT").arg("LIST").query_async(&mut root).await.unwrap();
            !list.contains("cmd=blpop")
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_commands_on_a_shared_connection_disturb_nobody() {
    let server = Server::start();
    let slicer = Slicer::start(server.port()).await;
    let redis = redis::shared(&format!("redis://127.0.0.1:{}", slicer.port())).unwrap();
    let seed = seed();
    eprintln!("seed {seed}");
    let tasks = (0..8_u64).map(|task| {
        let redis = redis.clone();
        tokio::spawn(async move {
            let mut random = Random(seed.wrapping_mul(8).wrapping_add(task + 1));
            for number in 0..1250 {
                let tag = format!("t{task}-{number}");
                let mut cmd = redis::cmd("ECHO");
                cmd.arg(&tag);
                let polls = u32::try_from(random.below(3)).unwrap();
                if let Some(reply) = Cut::after(polls, redis.query::<String>(&cmd)).await {
                    assert_eq!(reply.unwrap(), tag);
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    // However many gave up while it was being opened.
    redis.ping().await.unwrap();
    assert_eq!(redis.status().opened, 1);
}
