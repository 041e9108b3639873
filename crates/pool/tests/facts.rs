//! What real servers say of themselves: numbers that the tests themselves brought about.

#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../pooler/tests/support/http.rs"]
mod http;
#[expect(dead_code, reason = "shared with the tests of the adapter, which need more of it")]
#[path = "mysql/mariadb.rs"]
mod mariadb;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../pooler/tests/support/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../pooler/tests/support/process.rs"]
mod process;
#[expect(dead_code, reason = "shared with the tests of the adapter, which need more of it")]
#[path = "redis/server.rs"]
mod redis;

use std::time::{Duration, Instant};

use headpond::config::{Sources, Vars};
use headpond::mysql::driver::prelude::Queryable;
use headpond::registry::{Databases, DynDatabase};
use headpond::{Facts, monitor};

use http::read;
use postgres::{APP, APP_PASSWORD, Postgres};

/// Opens one database of a URL, with room for one connection.
async fn open(url: &str) -> Databases {
    let file = format!("[databases.it]\nurl = \"{url}\"\npool.max = 1\npool.min = 0\n");
    let config = Sources::new(Vars::default()).file("headpond.toml", file).load();
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    Databases::builder(config).start().await.unwrap_or_else(|error| panic!("{error}"))
}

fn only(databases: &Databases) -> &dyn DynDatabase {
    databases.iter().next().expect("there is one").2
}

async fn facts(databases: &Databases) -> Facts {
    let said = only(databases).facts().await;
    said.unwrap_or_else(|error| panic!("{error}")).expect("it speaks of itself")
}

/// Asks again and again until the answer is as it should be.
async fn until(what: &str, databases: &Databases, is: impl Fn(&Facts) -> bool) -> Facts {
    let begin = Instant::now();
    loop {
        let facts = facts(databases).await;
        if is(&facts) {
            return facts;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "in vain: {what}: {facts:?}");
        // The pause only spares the processor: what is waited for is the condition.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn setting<'a>(facts: &'a Facts, name: &str) -> &'a str {
    let known = facts.settings.iter().find(|(known, _)| known == name);
    known.map_or("", |(_, value)| value.as_str())
}

/// What is the same of all: whoever is connected beside the pool is counted, and the pool's own
/// connection stays the same one. `others` are there all the while.
async fn count<C>(databases: &Databases, others: u64, connect: impl AsyncFn() -> C) {
    // Who prepared the server may be on his way out.
    until("nobody else", databases, |facts| facts.total == others).await;
    let guests = [connect().await, connect().await, connect().await];
    until("three more", databases, |facts| facts.total == others + 3).await;
    drop(guests);
    until("three less", databases, |facts| facts.total == others).await;
    assert_eq!(only(databases).status().totals.opened, 1, "one connection did it all");
}

fn postgres_url(server: &Postgres) -> String {
    format!("postgresql://{APP}:{APP_PASSWORD}@127.0.0.1:{}/{APP}?sslmode=disable", server.port())
}

#[tokio::test]
async fn postgresql_says_how_full_it_is() {
    let options = postgres::Options { max_connections: 42, ..postgres::Options::default() };
    let server = Postgres::start_with(&options);
    let databases = open(&postgres_url(&server)).await;
    let said = facts(&databases).await;
    assert_eq!((said.connections_max, said.connections_reserved), (42, 3));
    assert_eq!(said.version, server.psql(APP, "SHOW server_version").trim());
    assert_eq!((said.in_recovery, said.read_only), (false, false));
    assert_eq!(said.replication_lag_seconds, None);
    count(&databases, 0, async || server.connect(APP).await).await;
}

#[tokio::test]
async fn a_standby_of_postgresql_says_how_far_it_is_behind() {
    let primary = Postgres::start();
    let standby = primary.standby();
    primary.psql(APP, "CREATE TABLE first ()");
    let databases = open(&postgres_url(&standby)).await;
    let current = |facts: &Facts| facts.in_recovery && facts.replication_lag_seconds == Some(0.0);
    until("a standby that is up to date", &databases, current).await;
    standby.psql(APP, "SELECT pg_wal_replay_pause()");
    primary.psql(APP, "CREATE TABLE second ()");
    let late = |facts: &Facts| facts.replication_lag_seconds.is_some_and(|lag| lag > 1.0);
    until("a lag", &databases, late).await;
    standby.psql(APP, "SELECT pg_wal_replay_resume()");
    until("a standby that has caught up", &databases, current).await;
}

#[tokio::test]
async fn mariadb_says_how_full_it_is() {
    let server = mariadb::Server::start_with(&["--max-connections=42"]).await;
    let databases = open(&server.url("")).await;
    let said = facts(&databases).await;
    assert_eq!((said.connections_max, said.connections_reserved), (42, 0));
    assert_eq!(setting(&said, "max_connections"), "42");
    let mut root = server.root().await;
    let version: Option<String> = root.query_first("SELECT VERSION()").await.expect("it answers");
    assert_eq!(Some(said.version), version);
    assert_eq!((said.in_recovery, said.read_only), (false, false));
    count(&databases, 1, async || server.root().await).await;
    root.query_drop("SET GLOBAL read_only = ON").await.expect("root may");
    assert!(facts(&databases).await.read_only);
}

/// A user without the right to see a replica gets all but that, by the same connection.
#[tokio::test]
async fn a_replica_of_mariadb_says_how_far_it_is_behind_to_those_who_may_know() {
    let primary = mariadb::Server::start_with(&["--server-id=1", "--log-bin"]).await;
    let replica = mariadb::Server::start_with(&["--server-id=2"]).await;
    let (mut above, mut below) = (primary.root().await, replica.root().await);
    for sql in [
        "CREATE TABLE app.it (n INT)",
        "CREATE USER copy@'%' IDENTIFIED BY 'copy-secret'",
        "GRANT REPLICATION SLAVE ON *.* TO copy@'%'",
    ] {
        above.query_drop(sql).await.expect("root may");
    }
    below.query_drop("CREATE TABLE app.it (n INT)").await.expect("root may");
    let at: Option<(String, u64, String, String)> =
        above.query_first("SHOW MASTER STATUS").await.expect("root may");
    let (file, place, ..) = at.expect("it writes a log");
    let follow = format!(
        "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='copy', \
         MASTER_PASSWORD='copy-secret', MASTER_LOG_FILE='{file}', MASTER_LOG_POS={place}",
        primary.port()
    );
    below.query_drop(follow).await.expect("root may");

    let databases = open(&replica.url("")).await;
    let said = facts(&databases).await;
    assert!(!said.in_recovery, "it may not know");
    assert_eq!(said.connections_max, 151);
    assert_eq!(only(&databases).status().totals.opened, 1);
    below.query_drop("GRANT SLAVE MONITOR ON *.* TO app@'%'").await.expect("root may");
    only(&databases).evict();
    let stopped = |facts: &Facts| facts.in_recovery && facts.replication_lag_seconds.is_none();
    until("a replica that does not run", &databases, stopped).await;

    below.query_drop("START SLAVE").await.expect("root may");
    let current = |facts: &Facts| facts.replication_lag_seconds == Some(0.0);
    until("a replica that is up to date", &databases, current).await;
    let upper = open(&primary.url("")).await;
    until("a replica that is counted", &upper, |facts| facts.standbys == Some(1)).await;
    below.query_drop("LOCK TABLES app.it READ").await.expect("root may");
    above.query_drop("INSERT INTO app.it VALUES (1)").await.expect("root may");
    let late = |facts: &Facts| facts.replication_lag_seconds.is_some_and(|lag| lag > 1.0);
    until("a lag", &databases, late).await;
    below.query_drop("UNLOCK TABLES").await.expect("root may");
    until("a replica that has caught up", &databases, current).await;
}

#[tokio::test]
async fn redis_says_how_full_it_is_unless_it_must_not() {
    let server = redis::Server::start_with(&["--maxclients", "42", "--maxmemory", "64mb"]);
    let databases = open(&server.url("/")).await;
    let said = facts(&databases).await;
    assert_eq!((said.connections_max, said.connections_reserved), (42, 0));
    assert_eq!(setting(&said, "maxmemory"), (64 << 20).to_string());
    assert!(said.version.starts_with(|first: char| first.is_ascii_digit()), "{said:?}");
    assert_eq!((said.in_recovery, said.replication_lag_seconds), (false, None));
    count(&databases, 0, async || server.root().await).await;

    let mut root = server.root().await;
    let mut deny = headpond::redis::cmd("ACL");
    deny.arg("SETUSER").arg("default").arg("-info").arg("-config");
    deny.exec_async(&mut root).await.expect("it may still");
    let silent = only(&databases).facts().await;
    assert_eq!(silent.expect("it is alive"), None);
    assert_eq!(only(&databases).status().totals.opened, 1, "the connection is in order");
}

#[tokio::test]
async fn a_replica_of_redis_says_how_long_it_has_heard_nothing() {
    let mut primary = redis::Server::start();
    let port = primary.port().to_string();
    let replica = redis::Server::start_with(&["--replicaof", "127.0.0.1", &port]);
    let databases = open(&replica.url("/")).await;
    let linked = |facts: &Facts| setting(facts, "master_link_status") == "up";
    let said = until("a link", &databases, linked).await;
    assert!(said.in_recovery && said.read_only);
    assert!(said.replication_lag_seconds.expect("it is linked") <= 10.0, "{said:?}");
    let above = open(&primary.url("/")).await;
    let counted = |facts: &Facts| facts.standbys == Some(1) && facts.standby_lag_seconds.is_some();
    until("a replica that is counted", &above, counted).await;
    primary.kill();
    let lost = |facts: &Facts| {
        !linked(facts) && facts.replication_lag_seconds.is_some_and(|lag| lag >= 1.0)
    };
    until("a lag", &databases, lost).await;
}

#[tokio::test]
async fn the_monitor_of_a_program_shows_what_its_servers_say() {
    let postgres = Postgres::start();
    let mariadb = mariadb::Server::start_with(&["--max-connections=42"]).await;
    let redis = redis::Server::start_with(&["--maxclients", "43"]);
    let file = format!(
        "[databases.my]\nurl = \"{}\"\n[databases.pg]\nurl = \"{}\"\n\
         [databases.re]\nurl = \"{}\"\n",
        mariadb.url(""),
        postgres_url(&postgres),
        redis.url("/"),
    );
    let config = Sources::new(Vars::default()).file("headpond.toml", file).load();
    let databases = Databases::builder(config.expect("it makes sense")).start().await;
    let databases = databases.expect("all are there");
    let (monitor, watching) = databases.monitor("shop", monitor::Settings::default());
    tokio::spawn(watching);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let http = listener.local_addr().expect("an address");
    let router = monitor.router();
    tokio::spawn(monitor::serve(listener, router, std::future::pending::<()>()));
    // What asks blocks: the program must be able to answer meanwhile.
    let all = tokio::task::spawn_blocking(move || {
        let begin = Instant::now();
        loop {
            let (_, all) = read(http, "/api/v1/databases");
            let databases = all["databases"].as_array().expect("databases").clone();
            let version = |d: &serde_json::Value| d["check"]["truth"]["version"].is_string();
            if databases.len() == 3 && databases.iter().all(version) {
                let (_, metrics) = http::ask(http, "GET", "/metrics", "", "");
                return (databases, metrics);
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "in vain: {all}");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let (shown, metrics) = all.await.expect("no panic");
    let max: Vec<_> =
        shown.iter().map(|d| d["check"]["truth"]["connections_max"].as_u64()).collect();
    assert_eq!(max, [Some(42), Some(100), Some(43)]);
    for line in [
        "headpond_database_connections_max{database=\"my\"} 42",
        "headpond_database_connections_max{database=\"pg\"} 97",
        "headpond_database_connections_max{database=\"re\"} 43",
        "headpond_database_sessions{database=\"pg\",state=\"idle_in_transaction\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let unknown = "headpond_database_sessions{database=\"my\",state=\"idle_in_transaction\"}";
    assert!(!metrics.contains(unknown), "nobody said so");
    assert!(!metrics.contains("replication_lag_seconds{"), "none of them is a standby");
}
