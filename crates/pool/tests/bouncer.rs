//! A real PgBouncer on the way of a program's pool: its figures beside the pool's own, and what
//! follows when it is paused, stopped, full, or no PgBouncer at all.

#[path = "../../pooler/tests/support/console.rs"]
mod console;
#[path = "../../pooler/tests/support/http.rs"]
mod http;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../pooler/tests/support/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../pooler/tests/support/process.rs"]
mod process;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headpond::config::{Sources, Vars};
use headpond::monitor::health::Patience;
use headpond::monitor::{self, Settings};
use headpond::postgres::Postgres as Adapter;
use headpond::registry::Databases;
use headpond::{BoxError, Pool};
use serde_json::Value;

use console::Manner;
use http::{ask, read, until};
use postgres::{APP, APP_PASSWORD, Postgres, SUPERUSER, SUPERUSER_PASSWORD, connect};
use process::{Account, Process, free_port};

/// A PgBouncer with two servers for the database `app`, which can be started again where it was.
struct PgBouncer {
    process: Option<Process>,
    ini: PathBuf,
    port: u16,
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    fn start(postgres: &Postgres, more: &str) -> Self {
        let account = Account::unprivileged();
        let folder = tempfile::Builder::new().prefix("hp-pgb").tempdir().expect("a directory");
        let users = folder.path().join("users.txt");
        let list =
            format!("\"{APP}\" \"{APP_PASSWORD}\"\n\"{SUPERUSER}\" \"{SUPERUSER_PASSWORD}\"\n");
        fs::write(&users, list).expect("ours");
        let ini = folder.path().join("pgbouncer.ini");
        let mut bouncer = Self { process: None, ini, port: 0, _folder: folder };
        for _ in 0..5 {
            bouncer.port = free_port();
            let text = format!(
                "[databases]\napp = host=127.0.0.1 port={} dbname=app\n[pgbouncer]\n\
                 listen_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
                 auth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n\
                 default_pool_size = 2\nserver_tls_sslmode = disable\nmax_client_conn = 50\n\
                 admin_users = {SUPERUSER}\n{more}\n",
                postgres.port(),
                bouncer.port,
                users.display()
            );
            fs::write(&bouncer.ini, text).expect("ours");
            let folder = bouncer.ini.parent().expect("a folder");
            for path in [folder, &users, &bouncer.ini] {
                Account::own(account, path);
            }
            if bouncer.launch() {
                return bouncer;
            }
        }
        panic!("PgBouncer does not start");
    }

    fn launch(&mut self) -> bool {
        let program = Path::new("/usr/sbin/pgbouncer");
        assert!(program.exists(), "PgBouncer is not installed");
        let account = Account::unprivileged();
        let process = Process::start("pgbouncer", account, program, &[&self.ini], &[], "TERM");
        let is_up = process.log().wait_for(|line| line.contains("process up"));
        self.process = Some(process);
        is_up
    }

    fn stop(&mut self) {
        drop(self.process.take());
    }

    fn url(&self, options: &str) -> String {
        format!("postgresql://{APP}:{APP_PASSWORD}@127.0.0.1:{}/app?{options}", self.port)
    }

    fn admin_url(&self) -> String {
        let (user, password) = (SUPERUSER, SUPERUSER_PASSWORD);
        format!("postgresql://{user}:{password}@127.0.0.1:{}/pgbouncer", self.port)
    }

    /// Says something to its console as an administrator.
    async fn tell(&self, command: &str) {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).dbname("pgbouncer");
        config.user(SUPERUSER).password(SUPERUSER_PASSWORD);
        let client = connect(&config).await.expect("the console");
        client.simple_query(command).await.expect("it obeys");
    }
}

/// A program with a page about its pools.
struct Program {
    databases: Databases,
    http: SocketAddr,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Program {
    /// Goes through a PgBouncer as `USE_PGBOUNCER` says it.
    async fn through(url: &str, more: &[(&str, &str)]) -> Result<Self, BoxError> {
        Self::over(Self::databases(url, more).await?).await
    }

    async fn databases(url: &str, more: &[(&str, &str)]) -> Result<Databases, BoxError> {
        let own = [("USE_PGBOUNCER", "true"), ("PGBOUNCER_URL", url)];
        let vars: Vars = own.iter().chain(more).copied().collect();
        // Not held across the opening: what reads files of secrets need not be sendable.
        let config = Sources::new(vars).load()?;
        Ok(Databases::builder(config).open().await?)
    }

    async fn over(databases: Databases) -> Result<Self, BoxError> {
        let patience = Patience { worsen_seconds: 0.0, improve_seconds: 0.0 };
        let settings = Settings { patience, ..Settings::default() };
        let (monitor, watching) = databases.monitor("shop", settings);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let http = listener.local_addr()?;
        let router = monitor.router();
        let served = async move {
            let served = monitor::serve(listener, router, std::future::pending()).await;
            served.expect("it is served");
        };
        let tasks = vec![tokio::spawn(watching), tokio::spawn(served)];
        Ok(Self { databases, http, tasks })
    }

    fn pool(&self) -> &Pool<Adapter> {
        self.databases.postgres("main").expect("it is PostgreSQL")
    }

    fn bouncer(&self) -> Value {
        read(self.http, "/api/v1/bouncers").1["bouncers"][0].take()
    }

    /// Waits until its row says something.
    async fn row(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        until(what, || Some(self.bouncer()).filter(|row| is_so(row))).await
    }

    fn advice(&self) -> Vec<String> {
        let (_, told) = read(self.http, "/api/v1/advice");
        let all = told["advice"].as_array().expect("a list").iter();
        all.map(|advice| advice["title"].as_str().expect("a title").to_owned()).collect()
    }
}

fn health(row: &Value) -> &str {
    row["health"]["status"].as_str().unwrap_or_default()
}

const ENOUGH: &str = "pool_max_conns=6&pool_min_conns=0&sslmode=disable";

#[tokio::test(flavor = "multi_thread")]
async fn real_figures_stand_beside_the_pools_own_and_waits_there_are_seen() {
    let postgres = Postgres::start();
    let bouncer = PgBouncer::start(&postgres, &format!("stats_users = {APP}"));
    let program = Program::through(&bouncer.url(ENOUGH), &[]).await.expect("it opens");
    let (pool, http) = (program.pool(), program.http);
    let busy = [pool.get().await.expect("one"), pool.get().await.expect("two")];
    for connection in &busy {
        connection.simple_query("BEGIN; SELECT 1").await.expect("a server");
    }
    let third = pool.clone();
    let third = tokio::spawn(async move {
        third.get().await.expect("a connection").simple_query("SELECT 1").await.is_ok()
    });

    // The monitor's own test of the database may wait there too.
    let waiting = |row: &Value| row["check"]["figures"]["sum"]["cl_waiting"].as_u64();
    let waits = |row: &Value| {
        let sum = &row["check"]["figures"]["sum"];
        waiting(row) >= Some(1) && sum["sv_active"] == 2
    };
    let row = program.row("a wait inside", waits).await;
    let figures = &row["check"]["figures"];
    assert!(figures["version"].as_str().is_some_and(|v| v.starts_with("PgBouncer 1.")), "{row}");
    assert_eq!((&row["user"], &row["through"][0]["pool"]), (&APP.into(), &"main".into()));
    let there = &figures["pools"][0];
    assert_eq!((&there["database"], &there["user"]), (&"app".into(), &APP.into()), "{row}");
    assert_eq!((&there["sv_active"], &there["pool_size"]), (&2.into(), &2.into()), "{row}");
    assert_eq!(there["pool_mode"], "transaction");
    assert_eq!((&figures["clients_max"], &figures["servers"]), (&50.into(), &2.into()), "{row}");
    assert!(figures["clients"].as_u64().is_some_and(|clients| clients >= 3), "{row}");
    assert!(figures["totals"]["queries"].is_u64(), "{row}");
    let advice = program.advice();
    for wanted in [
        "callers of main wait inside the PgBouncer",
        "6 connections to a PgBouncer that has 2 servers for them: callers will wait there, unseen",
    ] {
        assert!(advice.iter().any(|title| title == wanted), "{wanted}: {advice:?}");
    }
    let (_, metrics) = ask(http, "GET", "/metrics", "", "");
    let label = format!("{{pgbouncer=\"127.0.0.1:{}\"", bouncer.port);
    for wanted in [
        format!("headpond_pgbouncer_up{label}}} 1"),
        format!("headpond_pgbouncer_clients{label},state=\"waiting\"}} "),
        format!("headpond_pgbouncer_servers{label},state=\"active\"}} 2"),
        format!("headpond_pgbouncer_clients_max{label}}} 50"),
        format!("headpond_pgbouncer_queries_total{label}}} "),
        format!("headpond_pgbouncer_maxwait_seconds{label}}} "),
    ] {
        assert!(metrics.contains(&wanted), "{wanted}\n{metrics}");
    }
    for connection in &busy {
        connection.simple_query("COMMIT").await.expect("it had begun");
    }
    assert!(third.await.expect("no panic"), "it was served in the end");
    let row = program
        .row("nobody waiting", |row| row["check"]["figures"]["sum"]["cl_waiting"] == 0)
        .await;
    assert!(row["check"]["figures"]["totals"]["queries"].as_u64() > Some(0), "{row}");
    let log = bouncer.process.as_ref().expect("it runs").log().lines().join("\n");
    assert!(!log.contains("pooler error"), "no question that it would complain about: {log}");
    for path in ["/health", "/health/connections", "/health/database", "/api/v1/status", "/"] {
        assert!(!ask(http, "GET", path, "", "").1.contains(APP_PASSWORD), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_a_warning_a_stop_is_unhealthy_and_a_start_is_healthy() {
    let postgres = Postgres::start();
    let mut bouncer = PgBouncer::start(&postgres, &format!("stats_users = {APP}"));
    let program = Program::through(&bouncer.url(ENOUGH), &[]).await.expect("it opens");
    let http = program.http;
    program.row("figures", |row| row["check"]["figures"].is_object()).await;
    assert_eq!(read(http, "/health").0, 200);

    bouncer.tell("PAUSE app").await;
    let row = program.row("a warning", |row| health(row) == "warning").await;
    assert_eq!(row["health"]["text"], "paused: app");
    bouncer.tell("RESUME app").await;
    program.row("health again", |row| health(row) == "healthy").await;

    bouncer.stop();
    let row = program.row("the end seen", |row| health(row) == "unhealthy").await;
    assert_eq!(row["check"]["failed"]["kind"], "unreachable", "{row}");
    for path in ["/health", "/health/quick", "/health/connections", "/api/health"] {
        assert_eq!(read(http, path).0, 503, "{path}: it is on the way");
    }
    let name = format!("127.0.0.1:{}:pgbouncer", bouncer.port);
    let (_, told) = read(http, "/health");
    assert_eq!(told["checks"][&name][0]["status"], "fail", "{told}");
    let (_, metrics) = ask(http, "GET", "/metrics", "", "");
    let down = format!("headpond_pgbouncer_up{{pgbouncer=\"127.0.0.1:{}\"}} 0", bouncer.port);
    assert!(metrics.contains(&down), "{metrics}");

    assert!(bouncer.launch(), "it starts again");
    program.row("the start seen", |row| health(row) == "healthy").await;
    until("all healthy", || (read(http, "/health").0 == 200).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_look_is_healthy_and_told_what_to_change() {
    let postgres = Postgres::start();
    let bouncer = PgBouncer::start(&postgres, "");
    let program = Program::through(&bouncer.url(ENOUGH), &[]).await.expect("it opens");
    let row = program.row("a refusal", |row| row["check"]["failed"].is_object()).await;
    assert_eq!(row["check"]["failed"]["kind"], "not_allowed", "{row}");
    assert_eq!(health(&row), "healthy");
    let (_, told) = read(program.http, "/api/v1/advice");
    let setting = format!("[pgbouncer]\nstats_users = {APP}");
    assert!(
        told["advice"].as_array().expect("a list").iter().any(|a| a["setting"] == setting.as_str()),
        "{told}"
    );

    // An administrator is asked instead, and the pool stays who it is.
    let admin = [("PGBOUNCER_ADMIN_URL", bouncer.admin_url())];
    let admin = admin.each_ref().map(|(name, value)| (*name, value.as_str()));
    let program = Program::through(&bouncer.url(ENOUGH), &admin).await.expect("it opens");
    let row = program.row("figures", |row| row["check"]["figures"].is_object()).await;
    assert_eq!((&row["user"], &row["through"][0]["user"]), (&SUPERUSER.into(), &APP.into()));

    // A wrong password is no stranger: somebody should look.
    let wrong = bouncer.admin_url().replace(SUPERUSER_PASSWORD, "no-secret");
    let wrong = [("PGBOUNCER_ADMIN_URL", wrong.as_str())];
    let program = Program::through(&bouncer.url(ENOUGH), &wrong).await.expect("it opens");
    let row = program.row("a refusal", |row| row["check"]["failed"].is_object()).await;
    assert_eq!((health(&row), &row["check"]["failed"]["kind"]), ("warning", &"refused".into()));
    assert!(!row.to_string().contains("no-secret"));
    let url = bouncer.url(ENOUGH);
    let refused = Program::through(
        &url,
        &[("PGBOUNCER_ADMIN_URL", "postgresql://a:no-secret@h:port/pgbouncer")],
    );
    let error = refused.await.err().expect("there is no such port").to_string();
    assert!(error.contains("PGBOUNCER_ADMIN_URL") && !error.contains("no-secret"), "{error}");
}

/// Memory of this process, in bytes.
fn memory() -> u64 {
    headpond::monitor::model::Memory::now().used
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_that_is_none_is_an_error_in_words_and_costs_no_memory() {
    let before = memory();
    let mut programs = Vec::new();
    for manner in Manner::ALL {
        let port = console::start(manner).port();
        let url = format!("postgresql://{APP}:{APP_PASSWORD}@127.0.0.1:{port}/app?{ENOUGH}");
        let databases = Program::databases(&url, &[]).await.expect("it opens");
        // Its driver would believe what its server says: here it is about the console alone.
        databases.database("main").expect("it is there").pause();
        programs.push((manner, Program::over(databases).await.expect("it is served")));
    }
    for (manner, program) in &programs {
        let answered = |row: &Value| row["check"]["failed"].is_object();
        let row = program.row(&format!("{manner:?}"), answered).await;
        let failed = &row["check"]["failed"];
        let (kind, status) = match manner {
            Manner::Silence => ("timeout", "unhealthy"),
            Manner::HangUp => ("unreachable", "unhealthy"),
            _ => ("protocol", "warning"),
        };
        assert_eq!((&failed["kind"], health(&row)), (&kind.into(), status), "{manner:?}: {row}");
        assert!(failed["text"].as_str().is_some_and(|text| !text.is_empty()), "{row}");
    }
    // They go on for a while; none may add up.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let grown = memory().saturating_sub(before);
    assert!(grown < 200 << 20, "{} MiB more than before", grown >> 20);
}
