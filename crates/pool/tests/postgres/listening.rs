//! Listeners hear everything, or that they did not; and code that is not async.

use std::time::Duration;

use headpond::blocking;
use headpond::postgres::Heard;
use headpond::transaction::Options;

use super::support::{Server, pool, run, until};

#[test]
fn a_listener_hears_in_order_and_costs_the_pool_nothing() {
    let server = Server::start();
    run(async {
        let pool = pool(&server, 1);
        let mut listener = pool.listen(&["orders"]).await.unwrap();
        listener.listen("odd \"name\"").await.unwrap();
        assert_eq!(pool.status().size, 0);
        let connection = pool.get().await.unwrap();
        for i in 0..10 {
            connection.batch(&format!("NOTIFY orders, '{i}'")).await.unwrap();
        }
        connection.batch("NOTIFY \"odd \"\"name\"\"\"").await.unwrap();
        for i in 0..10 {
            match listener.next().await.unwrap() {
                Heard::Notification { channel, payload, .. } => {
                    assert_eq!((channel.as_str(), payload), ("orders", i.to_string()));
                }
                heard => panic!("{heard:?}"),
            }
        }
        let heard = listener.next().await.unwrap();
        assert!(matches!(heard, Heard::Notification { channel, .. } if channel == "odd \"name\""));
        listener.unlisten("orders").await.unwrap();
        connection.batch("NOTIFY orders, 'unheard'").await.unwrap();
        assert_eq!(listener.try_next(), None);
    });
}

#[test]
fn a_listener_that_lost_its_session_says_so_and_hears_again() {
    let server = Server::start();
    run(async {
        let pool = pool(&server, 1);
        let mut listener = pool.listen(&["orders"]).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";
        server.psql("postgres", end);
        assert!(matches!(listener.next().await, Some(Heard::Gap { .. })));
        server.psql("app", "NOTIFY orders, 'again'");
        let heard = listener.next().await.unwrap();
        assert!(matches!(heard, Heard::Notification { payload, .. } if payload == "again"));
        drop(listener);
        let count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
        until("its session ends", async || server.psql("postgres", count).trim() == "0").await;
    });
}

#[test]
fn code_that_is_not_async_gets_connections_too() {
    let server = Server::start();
    let pool = blocking::Pool::new(pool(&server, 2)).unwrap();
    let threads: Vec<_> = (0..4_i32)
        .map(|i| {
            let pool = pool.clone();
            std::thread::spawn(move || {
                let mut connection = pool.get().unwrap();
                let rows = connection.query("SELECT $1::int4 * 2", &[&i]).unwrap();
                assert_eq!(rows[0].get::<_, i32>(0), i * 2);
                assert_eq!(connection.execute("SELECT 1", &[]).unwrap(), 1);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let sum = pool.with_transaction(Options::default(), async |tx| {
        let rows = tx.query("SELECT 40 + 2", &[]).await?;
        Ok::<i32, tokio_postgres::Error>(rows[0].get(0))
    });
    assert_eq!(sum.unwrap(), 42);
    assert!(pool.status().totals.opened <= 2);
    pool.close(Duration::from_secs(5)).unwrap();
}
