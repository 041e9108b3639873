//! Laws of several databases from one configuration, against real servers.

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
#[expect(dead_code, reason = "shared with the tests of the adapter, which need more of it")]
#[path = "http/server.rs"]
mod web;

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use headpond::config::{Config, Origin, Sources, Vars};
use headpond::registry::{Databases, LookupError, StartError, Verdict};
use headpond::retry::{Classify, Retryable};

/// What a service has at hand.
struct Servers {
    mariadb: mariadb::Server,
    postgres: postgres::Postgres,
    redis: redis::Server,
}

impl Servers {
    async fn start() -> Self {
        // On the test's own thread: a server ends with the thread that started it, and those of the
        // runtime that may block end when they have been idle for ten seconds.
        let (postgres, redis) = (postgres::Postgres::start(), redis::Server::start());
        Self { mariadb: mariadb::Server::start().await, postgres, redis }
    }

    /// Returns the configuration: two databases from the file, two from the environment.
    fn config(&self, more: &[(&str, &str)]) -> Config {
        let file = format!(
            "[databases.gps]\nurl = \"{}\"\npool.max = 3\npool.min = 1\n\
             session.statement_timeout = \"7s\"\nsession.lock_timeout = \"3s\"\n\
             [databases.cache]\nurl = \"{}\"\npool.max = 4\npool.min = 1\n",
            self.mariadb.url(""),
            self.redis.url("/"),
        );
        let password = mariadb::PASSWORD;
        let (my_port, pg_port) = (self.mariadb.port().to_string(), self.postgres.port());
        let (role, secret) = (postgres::APP, postgres::APP_PASSWORD);
        let main = format!(
            "postgresql://{role}:{secret}@127.0.0.1:{pg_port}/{role}?sslmode=disable&\
             pool_max_conns=3&pool_min_conns=1"
        );
        let vars = [
            ("MYSQL_ELIOT_HOST", "127.0.0.1"),
            ("MYSQL_ELIOT_PORT", &my_port),
            ("MYSQL_ELIOT_USER", "app"),
            ("MYSQL_ELIOT_PASSWORD", password),
            ("MYSQL_ELIOT_DATABASE", "other"),
            ("MYSQL_ELIOT_POOL_MAX", "3"),
            ("MYSQL_ELIOT_POOL_MIN", "1"),
            ("DATABASE_URL", &main),
            ("DATABASE_QUERY_TIMEOUT_MS", "9000"),
        ];
        let vars: Vars = vars.iter().chain(more).copied().collect();
        let config = Sources::new(vars).file("headpond.toml", file).load();
        config.unwrap_or_else(|errors| panic!("{errors}"))
    }

    async fn open(&self, more: &[(&str, &str)]) -> Databases {
        let databases = Databases::builder(self.config(more)).start().await;
        databases.unwrap_or_else(|error| panic!("{error}"))
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !is_so().await {
        assert!(begin.elapsed() < Duration::from_secs(30), "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn named_databases_start_from_a_file_and_the_environment_and_are_had_as_what_they_are() {
    let servers = Servers::start().await;
    let databases = servers.open(&[]).await;
    let kinds: Vec<_> = databases.iter().map(|(name, kind, _)| (name, kind.as_str())).collect();
    let expected =
        [("cache", "redis"), ("eliot", "mysql"), ("gps", "mysql"), ("main", "postgresql")];
    assert_eq!(kinds, expected);

    let (gps, eliot) = (databases.mysql("gps").unwrap(), databases.mysql("eliot").unwrap());
    let database = "SELECT DATABASE()";
    let both =
        tokio::join!(gps.query_first::<String>(database), eliot.query_first::<String>(database));
    assert_eq!(
        (both.0.unwrap().unwrap(), both.1.unwrap().unwrap()),
        ("app".into(), "other".into())
    );
    let main = databases.postgres("main").unwrap().get().await.unwrap();
    let one: i32 = main.query("SELECT 1", &[]).await.unwrap()[0].get(0);
    assert_eq!(one, 1);
    let shared = databases.redis_shared("cache").unwrap();
    shared.set("greeting", "hello").await.unwrap();
    let mut own = databases.redis("cache").unwrap().get().await.unwrap();
    let greeting: String =
        headpond::redis::AsyncCommands::get(&mut *own, "greeting").await.unwrap();
    assert_eq!(greeting, "hello", "both shapes are one server");

    let wrong = databases.postgres("gps").unwrap_err();
    assert!(matches!(wrong, LookupError::Type { .. }), "{wrong}");
    let unknown = databases.redis("gsp").unwrap_err().to_string();
    assert_eq!(unknown, "there is no database gsp; there are cache, eliot, gps, main");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_sessions_reach_the_servers_and_stay_when_a_session_is_cleaned() {
    let servers = Servers::start().await;
    let databases = servers.open(&[]).await;
    let gps = databases.mysql("gps").unwrap();
    let limits = "SELECT @@max_statement_time, @@innodb_lock_wait_timeout, @@lock_wait_timeout";
    for _ in 0..2 {
        let mut connection = gps.get().await.unwrap();
        let row: Option<(f64, u64, u64)> = connection.query_first(limits).await.unwrap();
        // The environment says nine seconds to all, and wins over the seven of the file.
        assert_eq!(row, Some((9.0, 3, 3)));
        connection.query_drop("SET max_statement_time = 1").await.unwrap();
    }
    let main = databases.postgres("main").unwrap().get().await.unwrap();
    for (name, expected) in [
        ("statement_timeout", "9s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "30s"),
    ] {
        let row = &main.query(&*format!("SHOW {name}"), &[]).await.unwrap()[0];
        assert_eq!(row.get::<_, String>(0), expected, "{name}");
    }
    let of_main = &servers.config(&[]).databases["main"];
    assert_ne!(of_main.origin("session.statement_timeout"), Origin::Default);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_statistics_are_those_of_the_servers() {
    let mut servers = Servers::start().await;
    let databases = servers.open(&[]).await;
    let gps = databases.mysql("gps").unwrap();
    let held = gps.get().await.unwrap();
    let json = databases.statistics_json();
    for pool in ["cache", "eliot", "gps", "main"] {
        let names = ["size", "available", "borrowed", "pending", "created", "destroyed", "errors"];
        for name in names {
            assert!(json["pools"][pool][name].is_u64(), "{pool} {name}: {json}");
        }
        assert_eq!(json["pools"][pool]["created"], 1, "{pool}: what is kept, no more: {json}");
    }
    assert_eq!(
        (&json["pools"]["gps"]["borrowed"], &json["total"]["borrowed"]),
        (&1.into(), &1.into())
    );
    assert_eq!(json["total"]["size"], 4, "{json}");
    drop(held);

    let health = databases.health().await;
    assert_eq!(health.verdict(), Verdict::Healthy, "{health:?}");
    let json = health.to_json();
    for check in ["database", "redis", "connectionPool"] {
        assert_eq!(json["checks"][check]["status"], "healthy", "{json}");
    }
    assert!(json["checks"]["database"]["responseTime"].is_f64(), "{json}");

    servers.redis.kill();
    // A socket is looked at once in a tick of the kernel, which lasts 10 ms at most.
    std::thread::sleep(Duration::from_millis(10));
    // The connection that lay idle is dead, and nobody gets it.
    let error = databases.redis("cache").unwrap().get().await.unwrap_err();
    assert!(matches!(error.retryable(), Retryable::Connection(_)), "{error}");
    let down: Vec<String> = databases
        .test_all()
        .await
        .into_iter()
        .filter_map(|tested| tested.outcome.err().map(|_| tested.name))
        .collect();
    assert_eq!(down, ["cache"]);
    let json = databases.health().await.to_json();
    assert_eq!(
        (&json["status"], &json["checks"]["database"]["status"]),
        (&"unhealthy".into(), &"healthy".into())
    );
    let why = json["checks"]["redis"]["error"].as_str().unwrap();
    assert!(why.starts_with("cache: "), "{why}");
    let shown = format!("{json} {databases:?} {}", databases.connections_json());
    assert!(!shown.contains(mariadb::PASSWORD), "{shown}");

    servers.redis.restart();
    until("it is well again", async || databases.health().await.verdict() == Verdict::Healthy)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_names_the_one_that_cannot_be_reached() {
    let mut servers = Servers::start().await;
    servers.redis.kill();
    let started = Databases::builder(servers.config(&[("HEADPOND_STARTUP_TIMEOUT", "5s")]));
    let error = started.start().await.unwrap_err();
    let StartError::Unreachable { failed, .. } = &error else { panic!("{error}") };
    let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["cache"], "{error}");
    let mut root = servers.mariadb.root().await;
    until("the others were closed", async || mariadb::sessions(&mut root).await == 0).await;
}

/// Returns how many sessions each server has: MariaDB, PostgreSQL, Redis.
async fn counted(servers: &Servers) -> [i64; 3] {
    let superuser = servers.postgres.connect(postgres::APP).await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
    let postgres = superuser.query_one(sql, &[]).await.unwrap().get(0);
    let mariadb = mariadb::sessions(&mut servers.mariadb.root().await).await;
    let redis = redis::clients(&mut servers.redis.root().await).await;
    [mariadb.into(), postgres, i64::try_from(redis).unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_together_keep_to_the_budget_as_the_servers_count() {
    let servers = Servers::start().await;
    let databases = servers.open(&[("HEADPOND_BUDGET", "4")]).await;
    assert_eq!(counted(&servers).await, [2, 1, 1], "each of the four keeps one");
    let (gps, eliot) = (databases.mysql("gps").unwrap(), databases.mysql("eliot").unwrap());
    let soon = Duration::from_millis(200);
    // Whoever waits counts for more than what is kept for those who may come: PostgreSQL and Redis
    // give up theirs. So it is four and not two that MariaDB may see, and never five.
    let mut held = Vec::new();
    for pool in [gps, gps, gps, eliot] {
        held.push(pool.get().await.unwrap());
    }
    assert_eq!(counted(&servers).await, [4, 0, 0]);
    assert!(eliot.get_timeout(soon).await.unwrap_err().is_timeout(), "a fifth");
    assert!(databases.postgres("main").unwrap().get_timeout(soon).await.unwrap_err().is_timeout());
    assert_eq!(counted(&servers).await, [4, 0, 0]);
    assert_eq!(databases.budget().unwrap().used(), 4);
    // What comes back goes to whoever waits, whatever it is.
    let main = databases.postgres("main").unwrap().get();
    let (main, ()) = tokio::join!(main, async { drop(held.pop()) });
    let main = main.unwrap();
    until("MariaDB has one less", async || counted(&servers).await == [3, 1, 0]).await;
    drop((main, held));
    // And all of them serve, in turn.
    for _ in 0..3 {
        gps.query_first::<u32>("SELECT 1").await.unwrap();
        databases.postgres("main").unwrap().get().await.unwrap().batch("SELECT 1").await.unwrap();
        drop(databases.redis("cache").unwrap().get().await.unwrap());
        eliot.query_first::<u32>("SELECT 1").await.unwrap();
        assert!(databases.budget().unwrap().used() <= 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_busy_pools_take_turns_within_the_budget() {
    let settings = vec![("log_connections", "on".into()), ("log_disconnections", "on".into())];
    let options = postgres::Options { settings, ..postgres::Options::default() };
    let server = postgres::Postgres::start_with(&options);
    let (role, secret) = (postgres::APP, postgres::APP_PASSWORD);
    let url = format!(
        "postgresql://{role}:{secret}@127.0.0.1:{}/{role}?sslmode=disable&pool_max_conns=3&\
         pool_min_conns=1",
        server.port()
    );
    let vars = [("DATABASE_URL_A", &*url), ("DATABASE_URL_B", &url), ("HEADPOND_BUDGET", "4")];
    let config = Sources::new(vars.into_iter().collect()).load().unwrap();
    let databases = Databases::builder(config).start().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for name in ["a", "a", "a", "b", "b", "b"] {
        let databases = databases.clone();
        tasks.spawn(async move {
            for _ in 0..20 {
                let connection = databases.postgres(name).unwrap().get().await.unwrap();
                connection.batch("SELECT pg_sleep(0.001)").await.unwrap();
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert!(databases.budget().unwrap().used() <= 4);
    assert!(databases.shutdown().await.is_complete());
    // By the log, which has an order: a session that ended is not counted with the next.
    let (mut now, mut most, mut all) = (0, 0, 0);
    for line in server.log().lines() {
        if line.contains("connection authorized: user=app") {
            (now, all) = (now + 1, all + 1);
            most = most.max(now);
        } else if line.contains("disconnection: ") && line.contains("user=app") {
            now -= 1;
        }
    }
    println!("{all} sessions, {most} at once at most");
    assert!((3..=4).contains(&most), "{most} sessions at once, of four");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_server_is_a_database_like_others() {
    let web = web::Server::start(web::Speaks::Http1).await;
    let url = format!("{}?connection_limit=3", web.url("/"));
    let vars = |budget| [("DATABASE_URL_API", &*url), ("HEADPOND_BUDGET", budget)];
    for (budget, most) in [("2", 2), ("off", 3)] {
        let config = Sources::new(vars(budget).into_iter().collect()).load().unwrap();
        let databases = Databases::builder(config).start().await.unwrap();
        let kinds: Vec<_> = databases.iter().map(|(name, kind, _)| (name, kind.as_str())).collect();
        assert_eq!(kinds, [("api", "http")]);
        let api = databases.http("api").unwrap().clone();
        assert_eq!(api.pool().settings().max, 3);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let api = api.clone();
            tasks.spawn(async move { api.get("/slow/500").await.unwrap().text().await.unwrap() });
        }
        while let Some(text) = tasks.join_next().await {
            assert_eq!(text.unwrap(), "slow");
        }
        let seen = web.seen.open_max.swap(0, SeqCst);
        assert!(seen <= most, "{seen} connections with a budget of {budget}");
        let json = databases.statistics_json();
        assert!(json["pools"]["api"]["created"].as_u64() <= Some(most.into()), "{json}");
        assert_eq!(databases.health().await.to_json()["checks"]["http"]["status"], "healthy");
        assert!(databases.shutdown().await.is_complete());
        api.get("/").await.unwrap_err();
        until("nothing is open", async || web.seen.open.load(SeqCst) == 0).await;
    }
    let config = Sources::new(vars("off").into_iter().collect()).load().unwrap();
    let databases = Databases::builder(config).start().await.unwrap();
    web.leave.notify_waiters();
    drop(web);
    until("it is missed", async || {
        databases.health().await.to_json()["checks"]["http"]["status"] == "unhealthy"
    })
    .await;
    let wrong = databases.mysql("api").unwrap_err();
    assert!(matches!(wrong, LookupError::Type { .. }), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_reports_who_is_late_and_leaves_no_session_behind() {
    let servers = Servers::start().await;
    let databases = servers.open(&[]).await;
    databases.redis_shared("cache").unwrap().set("a", 1).await.unwrap();
    let late = databases.mysql("eliot").unwrap().get_owned().await.unwrap();
    let report = databases.shutdown_within(Duration::from_millis(200)).await;
    let text = report.to_string();
    assert!(
        text.starts_with("eliot: 1 connections left, ") && text.contains("databases.rs"),
        "{text}"
    );
    databases.postgres("main").unwrap().get().await.unwrap_err();
    drop(late);
    let report = databases.shutdown().await;
    assert!(report.is_complete(), "{report}");
    let mut root = servers.mariadb.root().await;
    until("MariaDB has no session", async || mariadb::sessions(&mut root).await == 0).await;
    let mut beside = servers.redis.root().await;
    until("Redis has no client", async || redis::clients(&mut beside).await == 0).await;
    let superuser = servers.postgres.connect(postgres::APP).await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
    until("PostgreSQL has no session", async || {
        superuser.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
}
