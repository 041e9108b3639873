//! What a session can do.

use bytes::Bytes;

use super::support::{Server, builder_at, pool, run, run_on_one_thread, text, url};

#[test]
fn a_statement_is_prepared_once_and_the_oldest_is_closed_when_there_are_too_many() {
    let server = Server::start();
    run_on_one_thread(async {
        let url = format!("{}&statement_cache_size=2", url(&server));
        let pool = builder_at(&url, 1).build().unwrap();
        for round in 0..3 {
            let connection = pool.get().await.unwrap();
            for query in ["SELECT $1::int4 + 1", "SELECT $1::int4 + 2"] {
                let rows = connection.query(query, &[&round]).await.unwrap();
                assert!(rows[0].get::<_, i32>(0) > round);
            }
            assert_eq!(connection.cached_statements(), 2);
        }
        assert_eq!(pool.status().totals.opened, 1);
        assert_eq!(pool.status().totals.resets, 0, "plain queries leave nothing to clean");
        let connection = pool.get().await.unwrap();
        connection.query("SELECT $1::int4 + 3", &[&1]).await.unwrap();
        let kept = text(&connection, "SELECT count(*) FROM pg_prepared_statements").await;
        assert_eq!((connection.cached_statements(), kept.as_str()), (2, "2"));
    });
}

#[test]
fn every_session_has_the_limits_and_they_survive_a_reset() {
    let server = Server::start();
    run(async {
        let pool = pool(&server, 1);
        let limits = "SELECT concat_ws(' ', current_setting('statement_timeout'), \
                      current_setting('lock_timeout'), \
                      current_setting('idle_in_transaction_session_timeout'))";
        for _ in 0..2 {
            let connection = pool.get().await.unwrap();
            assert_eq!(text(&connection, limits).await, "30s 10s 30s");
            connection.batch("SET statement_timeout = 1; SET lock_timeout = 2").await.unwrap();
        }
        assert_eq!(pool.status().totals.opened, 1);
    });
}

#[test]
fn copy_goes_both_ways_and_leaves_a_session_that_is_lent_again() {
    let server = Server::start();
    run_on_one_thread(async {
        let pool = pool(&server, 1);
        let connection = pool.get().await.unwrap();
        connection.batch("CREATE TABLE item (id int, name text)").await.unwrap();
        let rows = (0..1000).map(|i| Bytes::from(format!("{i}\tname {i}\n")));
        let copied = connection.copy_from("COPY item FROM STDIN", rows).await.unwrap();
        assert_eq!(copied, 1000);
        let mut bytes = 0;
        let copy = "COPY item TO STDOUT";
        connection.copy_to(copy, |piece| bytes += piece.len()).await.unwrap();
        assert_eq!(bytes, (0..1000).map(|i| format!("{i}\tname {i}\n").len()).sum::<usize>());
        drop(connection);
        let connection = pool.get().await.unwrap();
        assert_eq!(text(&connection, "SELECT count(*) FROM item").await, "1000");
        assert_eq!(pool.status().totals.opened, 1);
    });
}

#[test]
fn what_the_application_is_called_and_what_the_server_reports_is_there() {
    let server = Server::start();
    run(async {
        let url = format!("{}&application_name=shop%20front", url(&server));
        let pool = builder_at(&url, 1).build().unwrap();
        let connection = pool.get().await.unwrap();
        assert_eq!(connection.parameter("application_name").as_deref(), Some("shop front"));
        assert!(connection.parameter("server_version").is_some());
        assert!(!format!("{connection:?}{pool:?}").contains(super::support::server::APP_PASSWORD));
    });
}
