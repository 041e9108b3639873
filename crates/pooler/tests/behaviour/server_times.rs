//! Servers whose time runs out: idle, old, or silent at their login.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::bench::{
    Bench, Setup, backends, client, config, console, kept_out, pooler, run, server, until, value,
};
use crate::support::postgres::{APP, Options};

#[test]
fn servers_are_closed_when_idle_for_long_or_old_and_nobody_notices() {
    let postgres = server(&Options::default());
    let idle = Setup { keys: "server_idle_timeout = 0.5", ..Setup::default() };
    let old = Setup { keys: "server_lifetime = 0.5", ..Setup::default() };
    let (idle, old) = (pooler(postgres.port(), &idle), pooler(postgres.port(), &old));
    run(async {
        let direct = postgres.connect("postgres").await;
        let one = client(&idle, APP, APP).await;
        let used = Instant::now();
        value(&one, "SELECT 1").await;
        until("the idle server is closed", async || backends(&direct, APP).await == 0).await;
        assert!(used.elapsed() >= Duration::from_millis(500), "{:?}", used.elapsed());
        assert!(used.elapsed() < Duration::from_secs(5), "{:?}", used.elapsed());
        value(&one, "SELECT 1").await;
        drop(one);

        // A server in use all the time is replaced between two transactions.
        let one = client(&old, APP, APP).await;
        let start = Instant::now();
        let mut pids = vec![value(&one, "SELECT pg_backend_pid()").await];
        until("a third server serves", async || {
            let pid = value(&one, "SELECT pg_backend_pid()").await;
            if pids.last() != Some(&pid) {
                pids.push(pid);
            }
            pids.len() == 3
        })
        .await;
        assert!(start.elapsed() >= Duration::from_millis(700), "{:?}", start.elapsed());
        // Not within one.
        one.batch_execute("BEGIN").await.expect("a transaction");
        let pid = value(&one, "SELECT pg_backend_pid() FROM pg_sleep(0.7)").await;
        assert_eq!(value(&one, "SELECT pg_backend_pid()").await, pid);
        one.batch_execute("COMMIT").await.expect("an end");
        drop(one);
        until("the old server is closed", async || backends(&direct, APP).await == 0).await;
    });
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_not_stormed() {
    let setup = Setup { keys: "server_connect_timeout = 0.5", ..Setup::default() };
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                kept.push(stream);
            }
        });
        // The pooler's only server is the mute one.
        let pooler = pooler(port, &setup);
        let start = Instant::now();
        let error = kept_out(&config(&pooler, APP, APP)).await;
        let text = "08006 server login has been failing, cached error: connect timeout \
                    (server_login_retry)";
        assert_eq!(error, text);
        assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        // Many at once make no more attempts than one.
        let mut tasks = Vec::new();
        for _ in 0..30 {
            let settings = config(&pooler, APP, APP);
            tasks.push(tokio::spawn(async move { kept_out(&settings).await }));
        }
        for task in tasks {
            assert_eq!(task.await.expect("no panic"), text);
        }
        let attempts = asked.load(Ordering::Relaxed);
        assert!(attempts <= 5, "{attempts} attempts");
        // The console does not depend on any server.
        value(&console(&pooler).await, "SHOW VERSION").await;
    });
}

#[test]
fn a_pool_keeps_its_least_size_whatever_its_idle_servers_cost() {
    let bench = Bench::start(&Setup {
        entry: "min_pool_size=2 pool_size=4",
        keys: "server_idle_timeout = 0.3",
        ..Setup::default()
    });
    run(async {
        let direct = bench.postgres.connect("postgres").await;
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(client(&bench.pooler, APP, APP).await);
        }
        for one in &all {
            one.batch_execute("BEGIN").await.expect("a server each");
        }
        assert_eq!(backends(&direct, APP).await, 4);
        for one in &all {
            one.batch_execute("COMMIT").await.expect("an end");
        }
        until("two are closed", async || backends(&direct, APP).await == 2).await;
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(500) {
            assert_eq!(backends(&direct, APP).await, 2, "the others stay");
        }
    });
}
