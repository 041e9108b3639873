//! Clients whose time runs out: what they are told, and what becomes of their server.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::Client;

use crate::bench::{
    Bench, Setup, ask, client, config, doing, failure, kept_out, password_of, pooler, raw, run,
    try_raw, until, until_closed, value, within,
};
use crate::support::Pooler;
use crate::support::client::Reply;
use crate::support::message::{Messages, startup};
use crate::support::postgres::APP;

#[test]
fn a_client_hears_that_it_waits_and_then_why_it_was_not_served() {
    let bench = Bench::start(&Setup {
        entry: "pool_size=1",
        keys: "query_wait_notify = 1\nquery_wait_timeout = 1.5",
        ..Setup::default()
    });
    run(async {
        let mut holder = raw(&bench.pooler).await;
        let mut waiter = raw(&bench.pooler).await;
        let driver = client(&bench.pooler, APP, APP).await;
        ask(&mut holder, "BEGIN").await;
        let asked = Instant::now();
        waiter.ask(&Messages::new().query("SELECT 1")).await.expect("the pooler listens");
        let Reply::Noticed(notice) = within("a notice", waiter.reply()).await.expect("a reply")
        else {
            panic!("first comes the notice");
        };
        assert!(asked.elapsed() >= Duration::from_secs(1));
        let text = "No server connection available in postgres backend, client being queued";
        assert_eq!((&*notice.severity, &*notice.message), ("NOTICE", text));
        let replies = until_closed(&mut waiter).await;
        let waited = asked.elapsed();
        assert_eq!(failure(&replies).as_deref(), Some("08P01 query_wait_timeout"));
        assert!(waited >= Duration::from_millis(1500) && waited < Duration::from_secs(4));
        let error = within("an end", driver.simple_query("SELECT 1")).await;
        let error = error.expect_err("it waits in vain");
        let error = error.as_db_error().expect("an error of the pooler");
        assert_eq!(error.message(), "query_wait_timeout");
        let detail = error.detail().expect("a reason");
        assert!(detail.contains("place 1") && detail.contains("pool_full"), "{detail}");
        let replies = ask(&mut holder, "COMMIT").await;
        assert_eq!(replies.last(), Some(&Reply::Ready('I')), "the holder knows nothing of it");
    });
}

/// Roles with a limit each.
const USERS: &str = "query = query_timeout=0.5\nidle = idle_transaction_timeout=0.5\n\
                     long = transaction_timeout=0.5\nsilent = client_idle_timeout=0.5";

#[test]
fn clients_over_their_time_are_told_and_closed_and_leave_nothing_running() {
    let bench = Bench::start(&Setup {
        users: USERS,
        auth_file: Some(
            ["query", "idle", "long", "silent", APP]
                .map(|user| format!("\"{user}\" \"{}\"\n", password_of(user)))
                .concat(),
        ),
        ..Setup::default()
    });
    for role in ["query", "idle", "long", "silent"] {
        let sql = format!("CREATE ROLE {role} LOGIN PASSWORD '{}'", password_of(role));
        bench.postgres.psql("postgres", &sql);
    }
    run(async {
        let direct = bench.postgres.connect(APP).await;
        let untouched = client(&bench.pooler, APP, APP).await;
        untouched.batch_execute("BEGIN").await.expect("a transaction");
        tokio::join!(
            query_timeout(&bench.pooler),
            idle_transaction_timeout(&bench.pooler),
            transaction_timeout(&bench.pooler),
            client_idle_timeout(&bench.pooler),
        );
        until("nothing is left running", async || {
            let (active, idle) = ("active", "idle in transaction");
            doing(&direct, active, "%pg_sleep(30)%").await == 0
                && doing(&direct, idle, "%ledger%").await == 0
        })
        .await;
        assert_eq!(value(&direct, "SELECT count(*) FROM ledger").await, "0");
        untouched.batch_execute("COMMIT").await.expect("others have no limit");
    });
}

async fn query_timeout(pooler: &impl Pooler) {
    let mut one = try_raw(pooler, "query", APP).await.expect("gets in");
    // What is quick enough is let be, also in a transaction that takes longer as a whole.
    ask(&mut one, "BEGIN").await;
    for _ in 0..3 {
        assert_eq!(failure(&ask(&mut one, "SELECT pg_sleep(0.25)").await), None);
    }
    ask(&mut one, "COMMIT").await;
    let asked = Instant::now();
    one.ask(&Messages::new().query("SELECT pg_sleep(30)")).await.expect("the pooler listens");
    let replies = until_closed(&mut one).await;
    assert_eq!(failure(&replies).as_deref(), Some("57014 query_timeout"));
    assert!(asked.elapsed() >= Duration::from_millis(500));
    assert!(asked.elapsed() < Duration::from_secs(3));
}

async fn idle_transaction_timeout(pooler: &impl Pooler) {
    let mut one = try_raw(pooler, "idle", APP).await.expect("gets in");
    ask(&mut one, "BEGIN").await;
    // A transaction at work is not idle.
    assert_eq!(failure(&ask(&mut one, "SELECT pg_sleep(0.8)").await), None);
    ask(&mut one, "INSERT INTO ledger VALUES ('idle')").await;
    let replies = until_closed(&mut one).await;
    assert_eq!(failure(&replies).as_deref(), Some("25P03 idle transaction timeout"));
}

async fn transaction_timeout(pooler: &impl Pooler) {
    let mut one = try_raw(pooler, "long", APP).await.expect("gets in");
    ask(&mut one, "BEGIN").await;
    ask(&mut one, "INSERT INTO ledger VALUES ('long')").await;
    let begun = Instant::now();
    let mut replies = Vec::new();
    while replies.is_empty() || failure(&replies).is_none() {
        one.ask(&Messages::new().query("SELECT pg_sleep(0.05)")).await.expect("it listens");
        replies.clear();
        loop {
            match within("a reply", one.reply()).await {
                Ok(Reply::Ready(_)) => break,
                Ok(reply) => replies.push(reply),
                Err(_) => break,
            }
        }
    }
    assert_eq!(failure(&replies).as_deref(), Some("25P04 transaction timeout"));
    assert!(begun.elapsed() < Duration::from_secs(3));
}

async fn client_idle_timeout(pooler: &impl Pooler) {
    let mut one = try_raw(pooler, "silent", APP).await.expect("gets in");
    // In a transaction it may be as silent as it likes: another setting limits that.
    ask(&mut one, "BEGIN").await;
    assert_eq!(failure(&ask(&mut one, "SELECT pg_sleep(0.8)").await), None);
    let ended = Instant::now();
    ask(&mut one, "COMMIT").await;
    let replies = until_closed(&mut one).await;
    assert_eq!(failure(&replies).as_deref(), Some("57P05 client_idle_timeout"));
    assert!(ended.elapsed() >= Duration::from_millis(500));
}

#[test]
fn a_login_that_takes_too_long_is_ended_however_busy_it_looks() {
    let setup = Setup { keys: "client_login_timeout = 0.6", ..Setup::default() };
    let bench = Bench::start(&setup);
    run(async {
        let busy: Client = client(&bench.pooler, APP, APP).await;
        let packet = startup(&[("user", APP), ("database", APP)]);
        let (dripped, silent) =
            tokio::join!(drip(&bench.pooler, &packet), drip(&bench.pooler, &packet[..0]));
        for (waited, answer) in [dripped, silent] {
            assert!(waited >= Duration::from_millis(600), "{waited:?}");
            assert!(waited < Duration::from_secs(3), "{waited:?}");
            let text = String::from_utf8_lossy(&answer);
            assert!(text.is_empty() || text.contains("client_login_timeout"), "{text}");
        }
        value(&busy, "SELECT 1").await;
    });
}

/// Sends a byte at a time, never all; returns how long that was borne, and the answer.
async fn drip(pooler: &impl Pooler, bytes: &[u8]) -> (Duration, Vec<u8>) {
    let stream = TcpStream::connect(pooler.address()).await.expect("the pooler listens");
    let start = Instant::now();
    let (mut from, mut to) = stream.into_split();
    let mut drops = tokio::time::interval(Duration::from_millis(100));
    let mut bytes = bytes.iter();
    let mut answer = Vec::new();
    let read = within("an end", async {
        loop {
            tokio::select! {
                _ = drops.tick() => if let Some(byte) = bytes.next() {
                    // An end shows in what is read.
                    let _ = to.write_all(&[*byte]).await;
                },
                read = from.read_buf(&mut answer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                },
            }
        }
    });
    read.await;
    (start.elapsed(), answer)
}

#[test]
fn a_login_that_waits_for_a_server_in_vain_is_told_that_it_is_the_servers_fault() {
    // It takes connections, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("it is bound").port();
    let keys = "client_login_timeout = 0.6\nserver_connect_timeout = 30";
    let pooler = pooler(port, &Setup { keys, ..Setup::default() });
    run(async {
        let began = Instant::now();
        let error = kept_out(&config(&pooler, APP, APP)).await;
        assert_eq!(error, "08P01 client_login_timeout (server down)");
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(600), "{waited:?}");
        assert!(waited < Duration::from_secs(5), "{waited:?}");
    });
}
