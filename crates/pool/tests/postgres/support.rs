//! A PostgreSQL of the test's own, and pools for it.

#![allow(dead_code)]

use std::time::Duration;

use headpond::postgres::{self, Connection, Postgres};
use headpond::{Builder, Guard, Pool};

#[path = "../../../pooler/tests/support/postgres.rs"]
pub mod server;

#[path = "../../../pooler/tests/support/process.rs"]
pub mod process;

pub use server::Postgres as Server;

/// Returns the URL of the database `app`, with the role that owns it.
pub fn url(server: &Server) -> String {
    let (role, password) = (server::APP, server::APP_PASSWORD);
    format!("postgresql://{role}:{password}@127.0.0.1:{}/{role}?sslmode=disable", server.port())
}

/// Begins a pool of at most `max` sessions.
pub fn builder(server: &Server, max: u32) -> Builder<Postgres> {
    builder_at(&url(server), max)
}

pub fn builder_at(url: &str, max: u32) -> Builder<Postgres> {
    let config = postgres::Config::parse(url).expect("the URL is right");
    postgres::builder(config).expect("the configuration is right").max(max).min(0)
}

pub fn pool(server: &Server, max: u32) -> Pool<Postgres> {
    builder(server, max).build().expect("the settings are right")
}

/// Runs a test on a runtime of several threads.
pub fn run(test: impl Future<Output = ()>) {
    run_for(Duration::from_secs(240), test);
}

pub fn run_for(limit: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(limit, test).await.expect("the test ends in time");
    });
}

/// Runs a test on one thread, so that the driver never runs while the test looks.
pub fn run_on_one_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let limit = Duration::from_secs(240);
        tokio::time::timeout(limit, test).await.expect("the test ends in time");
    });
}

/// Waits until something is so; a condition that never comes fails the test.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a query that returns one text.
pub async fn text(connection: &Connection, query: &str) -> String {
    let rows = connection.simple_query(query).await.expect("the query is right");
    let row = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    row.and_then(|row| row.get(0)).unwrap_or_default().to_owned()
}

pub async fn backend(connection: &Guard<'_, Postgres>) -> String {
    text(connection, "SELECT pg_backend_pid()").await
}
