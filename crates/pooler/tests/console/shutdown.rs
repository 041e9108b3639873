//! SHUTDOWN: how the process ends, and who is served until then.

use crate::bench::{Bench, describe, refused, run, tell};
use crate::support::postgres::{APP, SUPERUSER, connect};

#[test]
fn a_shutdown_ends_the_process_at_once() {
    let mut bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let client = bench.client(APP, APP).await;
        client.batch_execute("BEGIN").await.expect("a transaction");
        // The answer is the end of the connection.
        assert!(console.simple_query("SHUTDOWN").await.is_err());
        assert!(client.simple_query("SELECT 1").await.is_err());
    });
    assert_eq!(bench.pooler.wait(), Some(0));
}

#[test]
fn a_shutdown_that_waits_for_clients_serves_them_to_their_end() {
    let mut bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let client = bench.client(APP, APP).await;
        let asked = tokio::spawn(async move {
            console.simple_query("SHUTDOWN WAIT_FOR_CLIENTS").await.is_err()
        });
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port(&bench)));
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        // The console stays in reach over the unix socket; nobody else gets in there.
        let console = bench.console_over_unix().await;
        tell(&console, "SHOW VERSION").await;
        assert_eq!(refused(&console, "RESUME").await, "08P01 pooler is shutting down");
        let mut config = bench.config(APP, APP);
        config = {
            let mut over_unix = tokio_postgres::Config::new();
            over_unix.host_path(&crate::support::Pooler::place(&bench.pooler).directory);
            over_unix.port(port(&bench)).user(APP).dbname(APP);
            if let Some(password) = config.get_password() {
                over_unix.password(password);
            }
            over_unix
        };
        let error = connect(&config).await.expect_err("no new clients");
        assert!(describe(&error).contains("pooler is shutting down"), "{}", describe(&error));
        for _ in 0..20 {
            client.simple_query("SELECT 1").await.expect("the client is served");
        }
        assert!(!asked.is_finished());
        drop(client);
        assert!(asked.await.expect("no panic"), "the answer is the end");
    });
    assert_eq!(bench.pooler.wait(), Some(0));
}

#[test]
fn a_shutdown_that_waits_for_servers_lets_transactions_end() {
    let mut bench = Bench::start("");
    run(async {
        let console = bench.console(SUPERUSER).await;
        let client = bench.client(APP, APP).await;
        client.batch_execute("BEGIN").await.expect("a transaction");
        let asked = tokio::spawn(async move {
            console.simple_query("SHUTDOWN WAIT_FOR_SERVERS").await.is_err()
        });
        let console = bench.console_over_unix().await;
        crate::bench::until(&console, "SHOW STATE", |shown| {
            shown.rows[1][1].as_deref() == Some("yes")
        })
        .await;
        for _ in 0..20 {
            client.simple_query("SELECT 1").await.expect("the transaction goes on");
        }
        assert!(!asked.is_finished());
        client.batch_execute("COMMIT").await.expect("the transaction ends in order");
        assert!(asked.await.expect("no panic"));
    });
    assert_eq!(bench.pooler.wait(), Some(0));
}

#[test]
fn a_second_shutdown_does_not_wait() {
    let mut bench = Bench::start("");
    run(async {
        let client = bench.client(APP, APP).await;
        client.batch_execute("BEGIN").await.expect("a transaction");
        let console = bench.console_over_unix().await;
        let other = bench.console_over_unix().await;
        let asked = tokio::spawn(async move {
            console.simple_query("SHUTDOWN WAIT_FOR_CLIENTS").await.is_err()
        });
        assert!(other.simple_query("SHUTDOWN").await.is_err());
        assert!(asked.await.expect("no panic"));
    });
    assert_eq!(bench.pooler.wait(), Some(0));
}

fn port(bench: &Bench) -> u16 {
    crate::support::Pooler::place(&bench.pooler).port
}
