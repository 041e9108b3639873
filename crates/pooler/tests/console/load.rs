//! Commands while twenty clients run queries without a break: none of them may notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::bench::{Bench, SECOND, describe, refused, run, tell, until};
use crate::support::Pooler;
use crate::support::postgres::{APP, SUPERUSER, connect};
use crate::support::random::scaled;

const CLIENTS: usize = 20;

/// Clients at work.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Result<u64, String>>>,
}

impl Load {
    /// Starts clients that ask, in turn, in each form that clients ask.
    async fn start(bench: &Bench, databases: &[&str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let database = databases[number % databases.len()];
            let client = bench.client(APP, database).await;
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            clients.push(tokio::spawn(async move { work(&client, number, &stop, &done).await }));
        }
        Self { stop, done, clients }
    }

    /// Waits until `more` further queries were answered, whoever asked them.
    async fn proceed(&self, more: u64) {
        let until = self.done.load(Ordering::Relaxed) + more;
        while self.done.load(Ordering::Relaxed) < until {
            assert!(!self.clients.iter().all(JoinHandle::is_finished), "all clients gave up");
            tokio::task::yield_now().await;
        }
    }

    /// Ends the work; every client must have been served without an error.
    async fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut answered = 0;
        let mut errors = Vec::new();
        for client in self.clients {
            match client.await.expect("no panic") {
                Ok(count) => answered += count,
                Err(error) => errors.push(error),
            }
        }
        assert_eq!(errors, Vec::<String>::new());
        answered
    }
}

async fn work(
    client: &Client,
    number: usize,
    stop: &AtomicBool,
    done: &AtomicU64,
) -> Result<u64, String> {
    let text = |error: tokio_postgres::Error| format!("client {number}: {}", describe(&error));
    let statement = client.prepare("SELECT $1::bigint + 1").await.map_err(text)?;
    let mut answered: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        let asked = i64::try_from(answered).expect("few questions");
        match answered % 3 {
            0 => {
                let row = client.query_one(&statement, &[&asked]).await.map_err(text)?;
                let answer: i64 = row.get(0);
                if answer != asked + 1 {
                    return Err(format!("client {number}: {asked} + 1 = {answer}"));
                }
            }
            1 => {
                client.simple_query("SELECT 1").await.map_err(text)?;
            }
            _ => {
                client.batch_execute("BEGIN; SELECT 1").await.map_err(text)?;
                client.batch_execute("COMMIT").await.map_err(text)?;
            }
        }
        answered += 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(answered)
}

#[test]
fn no_client_notices_fifty_pauses() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let load = Load::start(&bench, &[APP, SECOND]).await;
        load.proceed(100).await;
        let cycles = scaled(50);
        for cycle in 0..cycles {
            let (pause, resume) =
                if cycle % 2 == 0 { ("PAUSE", "RESUME") } else { ("PAUSE app", "RESUME app") };
            tell(&console, pause).await;
            if cycle % 10 == 0 {
                assert_eq!(bench.backends().await, 0, "no server is left during a pause");
                let pools = tell(&console, "SHOW POOLS").await;
                assert_eq!(pools.of(APP, "sv_active").as_deref(), Some("0"));
            }
            tell(&console, resume).await;
            load.proceed(40).await;
        }
        let answered = load.finish().await;
        println!("{answered} queries over {cycles} pauses");
    });
}

#[test]
fn no_client_notices_that_the_database_restarts_during_a_pause() {
    let mut bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let load = Load::start(&bench, &[APP, SECOND]).await;
        for _ in 0..scaled(3) {
            load.proceed(100).await;
            tell(&console, "PAUSE").await;
            bench.postgres.restart();
            tell(&console, "RESUME").await;
        }
        load.proceed(100).await;
        load.finish().await;
    });
}

#[test]
fn no_client_notices_fifty_reconnects() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let load = Load::start(&bench, &[APP]).await;
        for _ in 0..scaled(50) {
            load.proceed(20).await;
            tell(&console, "RECONNECT").await;
            tell(&console, "WAIT_CLOSE").await;
        }
        let answered = load.finish().await;
        println!("{answered} queries");
    });
}

#[test]
fn no_client_notices_fifty_reloads() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let load = Load::start(&bench, &[APP]).await;
        let port = bench.postgres.port();
        let reloads = scaled(50);
        for reload in 0..reloads {
            // The pool's size goes up and down; a database comes and goes.
            let size = 1 + (reload * 7) % 9;
            let third = format!("third = host=127.0.0.1 port={port} dbname={SECOND}\n");
            let there = reload % 2 == 0;
            let text = bench
                .ini(if there { &third } else { "" }, &format!("default_pool_size = {size}\n"));
            bench.write(&text);
            tell(&console, "RELOAD").await;
            let databases = tell(&console, "SHOW DATABASES").await;
            assert_eq!(databases.of(APP, "pool_size"), Some(size.to_string()));
            assert_eq!(databases.column("name").contains(&"third".to_owned()), there);
            if there {
                let client = bench.client(APP, "third").await;
                client.simple_query("SELECT 1").await.expect("the new database answers");
                if reload % 4 == 0 {
                    // It is taken away from under the client.
                    bench.write(&bench.ini("", ""));
                    tell(&console, "RELOAD").await;
                    let error = client.simple_query("SELECT 1").await.expect_err("removed");
                    let told = describe(&error);
                    assert!(error.is_closed() || told.contains("database removed"), "{told}");
                    let gone = connect(&bench.config(APP, "third")).await;
                    let told = describe(&gone.expect_err("no such database"));
                    assert!(told.contains("no such database: third"), "{told}");
                }
            }
            load.proceed(20).await;
        }
        let answered = load.finish().await;
        println!("{answered} queries over {reloads} reloads");
        // What the last reload asked for is what is left.
        let fits = |shown: &crate::bench::Shown| shown.of(APP, "sv_login").as_deref() == Some("0");
        until(&console, "SHOW POOLS", fits).await;
    });
}

#[test]
fn a_wrong_configuration_leaves_the_old_one_in_force() {
    let bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let load = Load::start(&bench, &[APP]).await;
        let right = bench.ini("", "");
        for (wrong, why) in [
            (format!("{right}\nno_such_key = 1\n"), "an unknown key"),
            (format!("{right}\ndefault_pool_size = many\n"), "a wrong value"),
            (right.replace("[users]", "[users"), "a broken section"),
            (right.replace("userlist.txt", "no-such-file.txt"), "a missing file"),
            (format!("{right}\nclient_tls_sslmode = require\n"), "TLS without a certificate"),
        ] {
            bench.write(&wrong);
            let expected = "F0000 RELOAD failed, see logs for additional details";
            assert_eq!(refused(&console, "RELOAD").await, expected, "{why}");
            let databases = tell(&console, "SHOW DATABASES").await;
            assert_eq!(databases.of(APP, "pool_size").as_deref(), Some("5"), "{why}");
            load.proceed(20).await;
        }
        let said = |line: &str| line.contains("RELOAD Failed, see logs for more details");
        assert!(bench.pooler.log().wait_for(said));
        let port = bench.pooler.place().port.to_string();
        let other = right.replace(&format!("listen_port = {port}"), "listen_port = 1");
        bench.write(&other.replace("default_pool_size = 5", "default_pool_size = 6"));
        tell(&console, "RELOAD").await;
        let config = tell(&console, "SHOW CONFIG").await;
        assert_eq!(config.of("default_pool_size", "value").as_deref(), Some("6"));
        assert_eq!(config.of("listen_port", "value"), Some(port), "shown is what is in force");
        let warned =
            |line: &str| line.contains("listen_port changed, which takes effect at the next start");
        assert!(bench.pooler.log().wait_for(warned));
        load.finish().await;
    });
}
