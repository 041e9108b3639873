//! Cancels: they hit the query they are meant for, or nothing.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

use crate::bench::{
    Bench, Setup, ask, client, console, doing, failure, first, pooler, raw, run, send, server,
    until, value, waiting, within,
};
use crate::support::Pooler;
use crate::support::client::Reply;
use crate::support::message::{Messages, cancel_request};
use crate::support::postgres::{APP, Options};

const CANCELED: &str = "57014 canceling statement due to user request";

#[test]
fn a_cancel_ends_the_running_query_and_only_that() {
    let bench = Bench::start(&Setup::default());
    run(async {
        let direct = bench.postgres.connect(APP).await;
        let one = client(&bench.pooler, APP, APP).await;
        let mut bystander = raw(&bench.pooler).await;
        let slow = Messages::new().query("SELECT 'bystander' FROM pg_sleep(1)");
        bystander.ask(&slow).await.expect("the pooler listens");
        let query = one.simple_query("SELECT pg_sleep(30)");
        let cancel = async {
            until("it runs", async || doing(&direct, "active", "%pg_sleep(30)%").await == 1).await;
            one.cancel_token().cancel_query(NoTls).await.expect("the pooler listens");
        };
        let (result, ()) = within("an end", async { tokio::join!(query, cancel) }).await;
        let error = crate::bench::describe(&result.expect_err("it was cancelled"));
        assert_eq!(error, CANCELED);
        assert_eq!(value(&one, "SELECT 'alive'").await, "alive");
        let replies = within("an answer", bystander.until_ready()).await.expect("a reply");
        assert_eq!(first(&replies).as_deref(), Some("bystander"));
    });
}

#[test]
fn a_waiting_client_leaves_the_queue_at_once_and_its_query_never_runs() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let console = console(&bench.pooler).await;
        let direct = bench.postgres.connect(APP).await;
        let (mut holder, mut waiter) = (raw(&bench.pooler).await, raw(&bench.pooler).await);
        ask(&mut holder, "BEGIN").await;
        let insert = "INSERT INTO ledger VALUES ('cancelled')";
        let batches = [
            Messages::new().query(insert),
            Messages::new().parse("", insert).bind("", &[]).execute().sync(),
        ];
        for batch in &batches {
            waiter.ask(batch).await.expect("the pooler listens");
            until("it waits", async || waiting(&console).await == 1).await;
            within("a cancel", waiter.canceller()).await.expect("the pooler listens");
            let replies = within("an answer", waiter.until_ready()).await.expect("a reply");
            assert_eq!(failure(&replies).as_deref(), Some(CANCELED));
            assert_eq!(replies.len(), 2, "{replies:?}");
            assert_eq!(replies.last(), Some(&Reply::Ready('I')));
            assert_eq!(waiting(&console).await, 0);
        }
        assert_eq!(ask(&mut holder, "COMMIT").await.last(), Some(&Reply::Ready('I')));
        assert_eq!(first(&ask(&mut waiter, "SELECT 'alive'").await).as_deref(), Some("alive"));
        assert_eq!(value(&direct, "SELECT count(*) FROM ledger").await, "0");
    });
}

#[test]
fn a_cancel_that_comes_late_never_hits_the_next_client() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let (mut early, mut next) = (raw(&bench.pooler).await, raw(&bench.pooler).await);
        let mut hits = 0;
        for round in 0..200 {
            // The cancel sets out with the query, or just as it has ended.
            let cancel = early.canceller();
            let length = if round % 2 == 0 { 0 } else { round % 20 };
            let quick = format!("SELECT 'early {round}' FROM pg_sleep({length} / 1000.0)");
            early.ask(&Messages::new().query(&quick)).await.expect("the pooler listens");
            let mut replies = Vec::new();
            if round % 2 == 0 {
                replies = within("an answer", early.until_ready()).await.expect("a reply");
            }
            let tag = format!("next {round}");
            let sql = format!("SELECT '{tag}' FROM pg_sleep(0.002)");
            next.ask(&Messages::new().query(&sql)).await.expect("the pooler listens");
            let cancelled = tokio::spawn(cancel);
            let answer = within("an answer", next.until_ready()).await.expect("a reply");
            assert_eq!(failure(&answer), None, "round {round}");
            assert_eq!(first(&answer), Some(tag));
            if replies.is_empty() {
                replies = within("an answer", early.until_ready()).await.expect("a reply");
            }
            match failure(&replies) {
                None => assert_eq!(first(&replies), Some(format!("early {round}"))),
                Some(error) => {
                    assert_eq!(error, CANCELED);
                    hits += 1;
                }
            }
            within("a cancel", cancelled).await.expect("no panic").expect("it listens");
        }
        println!("{hits} of 200 queries were cancelled themselves");
        assert!(hits > 0, "no cancel came in time: the late ones prove nothing");
    });
}

#[test]
fn cancels_get_through_when_neither_pool_nor_database_has_room() {
    // Three connections are left for whoever is no superuser, besides our own.
    let options = Options {
        max_connections: 9,
        settings: vec![
            ("superuser_reserved_connections", "5".into()),
            ("max_wal_senders", "0".into()),
        ],
        ..Options::default()
    };
    let postgres = server(&options);
    let pooler = pooler(postgres.port(), &Setup { entry: "pool_size=3", ..Setup::default() });
    run(async {
        let direct = postgres.connect(APP).await;
        let console = console(&pooler).await;
        let mut busy = Vec::new();
        for _ in 0..3 {
            let mut one = raw(&pooler).await;
            one.ask(&Messages::new().query("SELECT pg_sleep(30)")).await.expect("it listens");
            busy.push(one);
        }
        let sleeping = "%pg_sleep(30)%";
        until("all sleep", async || doing(&direct, "active", sleeping).await == 3).await;
        let mut queued = Vec::new();
        for _ in 0..10 {
            let mut one = raw(&pooler).await;
            one.ask(&Messages::new().query("SELECT 'served'")).await.expect("it listens");
            queued.push(one);
        }
        until("ten wait", async || waiting(&console).await == 10).await;
        let start = Instant::now();
        for one in &mut busy {
            within("a cancel", one.canceller()).await.expect("the pooler listens");
            let replies = within("an answer", one.until_ready()).await.expect("a reply");
            assert_eq!(failure(&replies).as_deref(), Some(CANCELED));
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        for one in &mut queued {
            let replies = within("an answer", one.until_ready()).await.expect("a reply");
            assert_eq!(first(&replies).as_deref(), Some("served"));
        }
    });
}

#[test]
fn a_key_that_fits_nothing_does_nothing_and_says_nothing() {
    let bench = Bench::start(&Setup::default());
    run(async {
        let direct = bench.postgres.connect(APP).await;
        let mut idle = raw(&bench.pooler).await;
        let mut busy = raw(&bench.pooler).await;
        let sql = "SELECT 'busy' FROM pg_sleep(0.7)";
        busy.ask(&Messages::new().query(sql)).await.expect("the pooler listens");
        until("it runs", async || doing(&direct, "active", "%busy%").await == 1).await;
        for pid in 0..50_u32 {
            let key = [pid.to_be_bytes(), pid.wrapping_mul(2_654_435_761).to_be_bytes()].concat();
            let mut stream = TcpStream::connect(bench.pooler.address()).await.expect("it listens");
            stream.write_all(&cancel_request(&key)).await.expect("it reads");
            let mut answer = Vec::new();
            // A reset is an end as well.
            let _ = within("an end", stream.read_to_end(&mut answer)).await;
            assert_eq!(answer, b"");
        }
        // The right key of a client that does nothing.
        within("a cancel", idle.canceller()).await.expect("the pooler listens");
        let replies = within("an answer", busy.until_ready()).await.expect("a reply");
        assert_eq!(first(&replies).as_deref(), Some("busy"));
        let replies = send(&mut idle, &Messages::new().query("SELECT 'idle'")).await;
        assert_eq!(first(&replies).as_deref(), Some("idle"));
        // The right key of a client that has left.
        let cancel = idle.canceller();
        drop(idle);
        within("a cancel", cancel).await.expect("the pooler listens");
        // In a transaction there is a server, but no query.
        ask(&mut busy, "BEGIN").await;
        within("a cancel", busy.canceller()).await.expect("the pooler listens");
        let replies = ask(&mut busy, "SELECT 'still in it'").await;
        assert_eq!(replies.last(), Some(&Reply::Ready('T')));
    });
}
