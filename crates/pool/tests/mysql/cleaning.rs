//! Nobody sees what another left in a session.

use headpond::Manager as _;
use headpond::mysql::driver::prelude::Queryable;
use headpond::mysql::{self, Cleaning, Config, Connection};

use super::mariadb::Server;

/// What leaves a trace in a session.
const TRACES: [&str; 9] = [
    "SET @leak = 1",
    "SET SESSION sql_mode = 'ANSI'",
    "CREATE TEMPORARY TABLE leak (a INT)",
    "START TRANSACTION",
    "SELECT GET_LOCK('leak', 0)",
    "LOCK TABLES t WRITE",
    "SET autocommit = 0",
    "USE other",
    "SET NAMES latin1",
];

/// Returns what of those traces is there.
pub async fn traces(connection: &mut Connection) -> Vec<String> {
    let mut found = Vec::new();
    let asked = "SELECT COALESCE(@leak, 'none'), @@sql_mode, @@in_transaction, @@autocommit, \
                 DATABASE(), COALESCE(IS_USED_LOCK('leak') = CONNECTION_ID(), 0), \
                 @@character_set_client, @@foreign_key_checks";
    let state: (String, String, u8, u8, String, u8, String, u8) =
        connection.query_first(asked).await.unwrap().unwrap();
    if state.0 != "none"
        || state.1.contains("ANSI")
        || state.2 != 0
        || state.3 != 1
        || state.4 != "app"
        || state.5 != 0
        || state.6 != "utf8mb4"
        || state.7 != 1
    {
        found.push(format!("{state:?}"));
    }
    if connection.query_drop("SELECT * FROM leak").await.is_ok() {
        found.push("the temporary table".into());
    }
    // With a table locked, no other can be read.
    if connection.query_drop("SELECT * FROM u").await.is_err() {
        found.push("the lock".into());
    }
    found
}

async fn prepared(server: &Server, cleaning: Cleaning) -> headpond::Pool<mysql::Manager> {
    let config = Config::from_url(&server.url("pool_max=1")).unwrap().cleaning(cleaning);
    let pool = config.builder().build().unwrap();
    pool.exec_drop("CREATE OR REPLACE TABLE t (a INT)", ()).await.unwrap();
    pool.exec_drop("CREATE OR REPLACE TABLE u (a INT)", ()).await.unwrap();
    pool
}

#[tokio::test]
async fn a_session_is_lent_without_a_trace_of_its_last_user() {
    let server = Server::start().await;
    for cleaning in [Cleaning::Always, Cleaning::WhenChanged] {
        let pool = prepared(&server, cleaning).await;
        let id = pool.get().await.unwrap().id();
        for trace in TRACES {
            pool.get().await.unwrap().query_drop(trace).await.unwrap();
            let mut connection = pool.get().await.unwrap();
            assert_eq!(traces(&mut connection).await, [""; 0], "{cleaning:?}: {trace}");
            assert_eq!(connection.id(), id, "{cleaning:?}: cleaned, not replaced: {trace}");
            drop(connection);
            // What is done behind the adapter's back.
            let mut connection = pool.get().await.unwrap();
            connection.driver().query_drop(trace).await.unwrap();
            drop(connection);
            let mut connection = pool.get().await.unwrap();
            assert_eq!(traces(&mut connection).await, [""; 0], "{cleaning:?}, driver: {trace}");
        }
    }
}

#[tokio::test]
async fn plain_statements_need_no_cleaning_if_the_settings_trust_them() {
    let server = Server::start().await;
    for (cleaning, expected) in [(Cleaning::Always, 10), (Cleaning::WhenChanged, 0)] {
        let pool = prepared(&server, cleaning).await;
        drop(pool.get().await.unwrap());
        let before = pool.status().totals.resets;
        for number in 0..10 {
            pool.exec_drop("INSERT INTO t VALUES (?)", (number,)).await.unwrap();
        }
        drop(pool.get().await.unwrap());
        assert_eq!(pool.status().totals.resets - before, expected, "{cleaning:?}");
        // A loan that ran nothing costs nothing.
        drop(pool.get().await.unwrap());
        assert_eq!(pool.status().totals.resets - before, expected, "{cleaning:?}");
    }
}

#[tokio::test]
async fn the_traces_are_found_where_nothing_is_cleaned() {
    // The positive control of this file: the same questions on a session that was not cleaned.
    let server = Server::start().await;
    drop(prepared(&server, Cleaning::Always).await);
    let manager = mysql::Manager::new(&Config::from_url(&server.url("")).unwrap());
    for trace in TRACES {
        let mut connection = manager.connect().await.unwrap();
        connection.query_drop(trace).await.unwrap();
        assert!(!traces(&mut connection).await.is_empty(), "{trace}");
        manager.close(connection).await;
    }
}
