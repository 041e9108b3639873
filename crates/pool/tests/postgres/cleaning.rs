//! What one user leaves in a session, the next never sees.

use futures_util::StreamExt;
use headpond::Pool;
use headpond::postgres::{Config, Postgres, Recycling, builder};

use super::support::{Server, backend, pool, run, text, until, url};

/// What is left, and a query that is `t` if it is still there.
const LEFT: [(&str, &str); 15] = [
    ("BEGIN", IN_TRANSACTION),
    ("BEGIN; SELECT 1/0", IN_TRANSACTION),
    ("SET application_name = 'left'", "SELECT current_setting('application_name') = 'left'"),
    (
        "SELECT set_config('my.tenant', 'left', false)",
        "SELECT coalesce(current_setting('my.tenant', true), '') = 'left'",
    ),
    ("LISTEN left_channel", "SELECT count(*) > 0 FROM pg_listening_channels()"),
    ("CREATE TEMP TABLE left_table ()", "SELECT to_regclass('pg_temp.left_table') IS NOT NULL"),
    ("SELECT 1 AS x INTO TEMP left_table", "SELECT to_regclass('pg_temp.left_table') IS NOT NULL"),
    ("SELECT pg_advisory_lock(4711)", LOCKED),
    ("DO $$ BEGIN PERFORM pg_advisory_lock(4712); END $$", LOCKED),
    (
        "BEGIN; DECLARE left_cursor CURSOR WITH HOLD FOR SELECT 1; COMMIT",
        "SELECT count(*) > 0 FROM pg_cursors WHERE name = 'left_cursor'",
    ),
    (
        "PREPARE left_statement AS SELECT 1",
        "SELECT count(*) > 0 FROM pg_prepared_statements WHERE name = 'left_statement'",
    ),
    ("SET ROLE left_role", "SELECT current_user = 'left_role'"),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", READ_ONLY),
    ("SET search_path = pg_temp", "SELECT current_setting('search_path') = 'pg_temp'"),
    ("BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'", "SELECT current_setting('TimeZone') LIKE 'Asia%'"),
];

const IN_TRANSACTION: &str = "SELECT transaction_timestamp() <> statement_timestamp()";
const LOCKED: &str =
    "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
const READ_ONLY: &str = "SELECT current_setting('transaction_read_only') = 'on'";

#[test]
fn whatever_is_left_in_a_session_is_gone_for_the_next_and_the_session_stays() {
    let server = Server::start();
    server.psql("app", "CREATE ROLE left_role; GRANT left_role TO app");
    run(async {
        let pool = pool(&server, 1);
        for (leave, is_left) in LEFT {
            let connection = pool.get().await.unwrap();
            let process = backend(&connection).await;
            let _ = connection.batch(leave).await;
            drop(connection);
            let connection = pool.get().await.unwrap();
            assert_eq!(text(&connection, is_left).await, "f", "left: {leave}");
            assert_eq!(backend(&connection).await, process, "a new session after: {leave}");
        }
    });
}

#[test]
fn a_cached_statement_that_locks_is_seen_every_time_it_runs() {
    let server = Server::start();
    run(async {
        let pool = pool(&server, 1);
        for round in 0..3 {
            let connection = pool.get().await.unwrap();
            assert_eq!(text(&connection, LOCKED).await, "f", "round {round}");
            connection.query("SELECT pg_advisory_lock($1)", &[&7_i64]).await.unwrap();
            assert_eq!(text(&connection, LOCKED).await, "t");
        }
        assert_eq!(pool.status().totals.opened, 1);
    });
}

#[test]
fn a_request_that_was_given_up_before_a_byte_of_it_was_sent_is_seen() {
    let server = Server::start();
    run(async {
        let pool = pool(&server, 1);
        for _ in 0..200 {
            let connection = pool.get().await.unwrap();
            assert_eq!(text(&connection, IN_TRANSACTION).await, "f");
            let mut begin = Box::pin(connection.batch("BEGIN"));
            // Polled once: the driver has the request, and nothing more.
            let _ = futures_util::poll!(&mut begin);
            drop(begin);
        }
        assert_eq!(pool.status().totals.opened, 1, "a rollback is enough");
    });
}

#[test]
fn rows_that_nobody_read_never_reach_the_next() {
    let server = Server::start();
    run(async {
        let pool = pool(&server, 1);
        for _ in 0..20 {
            let connection = pool.get().await.unwrap();
            assert_eq!(text(&connection, "SELECT 'mine'").await, "mine");
            let none: [&str; 0] = [];
            let query = "SELECT repeat('x', 1000) FROM generate_series(1, 5000)";
            let rows = connection.query_raw(query, none).await.unwrap();
            tokio::pin!(rows);
            assert!(rows.next().await.is_some());
        }
    });
}

#[test]
fn a_stream_that_is_kept_after_its_session_was_given_back_stops_nobody() {
    let server = Server::start();
    run(async {
        let pool = pool(&server, 1);
        let none: [&str; 0] = [];
        let connection = pool.get().await.unwrap();
        let query = "SELECT repeat('x', 1000) FROM generate_series(1, 100)";
        let kept = connection.query_raw(query, none).await.unwrap();
        drop(connection);
        let connection = pool.get().await.unwrap();
        assert_eq!(text(&connection, "SELECT 'mine'").await, "mine");
        drop(kept);
    });
}

#[test]
fn a_query_that_runs_when_its_session_is_given_back_ends_within_a_second() {
    let server = Server::start();
    run(async {
        let pool = pool(&server, 2);
        let observer = server.connect("postgres").await;
        let running = "SELECT count(*) FROM pg_stat_activity \
                       WHERE usename = 'app' AND state = 'active'";
        let count = async || observer.query_one(running, &[]).await.unwrap().get::<_, i64>(0);
        let connection = pool.get().await.unwrap();
        let query = tokio::time::timeout(
            std::time::Duration::from_millis(100),
            connection.batch("SELECT pg_sleep(20)"),
        );
        assert!(query.await.is_err());
        assert_eq!(count().await, 1);
        let began = std::time::Instant::now();
        drop(connection);
        until("the query ends", async || count().await == 0).await;
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    });
}

fn pool_with(server: &Server, recycling: Recycling) -> Pool<Postgres> {
    let mut config = Config::parse(&url(server)).unwrap();
    config.recycling = recycling;
    builder(config).unwrap().max(1).min(0).build().unwrap()
}

#[test]
fn what_functions_do_inside_is_cleaned_only_always() {
    let server = Server::start();
    let hide = "CREATE FUNCTION hide() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock(1)'";
    server.psql("app", hide);
    run(async {
        for (recycling, expected) in
            [(Recycling::Clean, "t"), (Recycling::Always, "f"), (Recycling::Fast, "t")]
        {
            let pool = pool_with(&server, recycling);
            let connection = pool.get().await.unwrap();
            connection.batch("SELECT hide()").await.unwrap();
            drop(connection);
            let connection = pool.get().await.unwrap();
            assert_eq!(text(&connection, LOCKED).await, expected, "{recycling:?}");
            connection.soil();
            drop(connection);
            let connection = pool.get().await.unwrap();
            if recycling == Recycling::Clean {
                assert_eq!(text(&connection, LOCKED).await, "f", "its user said so");
            }
            drop(connection);
            pool.close(std::time::Duration::from_secs(5)).await.unwrap();
        }
    });
}
