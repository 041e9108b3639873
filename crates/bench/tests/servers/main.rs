//! Whole runs against real servers that the tests start: what is made is removed, what is measured
//! is counted, and a busy server is left alone.

mod effort;
mod exhaustive;
#[expect(dead_code, reason = "shared with the library's tests, which need more of it")]
#[path = "../../../pool/tests/mysql/mariadb.rs"]
mod mariadb;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../../pooler/tests/support/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../../pooler/tests/support/process.rs"]
mod process;
#[expect(dead_code, reason = "shared with the library's tests, which need more of it")]
#[path = "../../../pool/tests/redis/server.rs"]
mod redis;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use headpond_bench::Error;
use headpond_bench::arrival::{Arrival, Shape};
use headpond_bench::progress::Silent;
use headpond_bench::result::Run;
use headpond_bench::run::{self, Options, Through};
use headpond_bench::target::Target;
use headpond_bench::tune::{self, guard};
use headpond_bench::workload::Workload;

fn target(url: &str) -> Target {
    Target::parse(url).expect("a url")
}

fn postgres_url(server: &postgres::Postgres) -> String {
    let (role, password) = (postgres::APP, postgres::APP_PASSWORD);
    format!("postgresql://{role}:{password}@127.0.0.1:{}/{role}?sslmode=disable", server.port())
}

/// Runs the built-in workload for a second, and removes it.
fn bench(options: &Options) -> Run {
    let prepared = run::prepare(&options.target, &options.workload).expect("tables");
    let run = run::measure(options, &mut Silent, &AtomicBool::new(false));
    prepared.remove().expect("removed");
    run.expect("measured")
}

fn options(url: &str) -> Options {
    let target = target(url);
    let workload = Workload::simple(target.kind(), 0.3).expect("a share");
    let warm_up = Duration::from_millis(200);
    let duration = Duration::from_secs(1);
    Options { clients: 4, warm_up, duration, ..Options::new(target, workload) }
}

fn check(run: &Run) {
    assert!(run.errors.is_empty() && run.unfinished == 0, "{:?} {}", run.errors, run.unfinished);
    assert!(run.completed > 10 && run.latency.count > 10, "{}", run.completed);
    assert!(run.latency.at(0.5) > 0.0 && run.latency.at(0.5) <= run.latency.max_us);
}

#[test]
fn postgres_is_measured_in_every_protocol_and_left_as_it_was() {
    let server = postgres::Postgres::start();
    for protocol in [run::Protocol::Simple, run::Protocol::Extended, run::Protocol::Prepared] {
        let run = bench(&Options { protocol, ..options(&postgres_url(&server)) });
        check(&run);
        assert_eq!(run.settings.through, "lean");
    }
    let arrival = Arrival::Open { rate: 200.0, shape: Shape::Poisson };
    check(&bench(&Options { arrival, ..options(&postgres_url(&server)) }));
    let library = Options { through: Through::Library, ..options(&postgres_url(&server)) };
    check(&bench(&library));
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname = 'headpond_bench'";
    assert_eq!(server.psql(postgres::APP, left).trim(), "0");
}

#[test]
fn a_refused_statement_is_an_error_before_the_run_and_one_in_the_run_is_counted() {
    let server = postgres::Postgres::start();
    let workload = |text: &str| {
        let text =
            format!("name = 'x'\n[[statement]]\nname = 'a'\naccess = 'read'\ntext = {text:?}");
        Workload::parse(&text).expect("a workload")
    };
    let url = postgres_url(&server);
    let bad = Options { workload: workload("SELECT nothing"), ..options(&url) };
    let error = run::measure(&bad, &mut Silent, &AtomicBool::new(false)).expect_err("no column");
    assert!(error.to_string().contains("nothing") && error.to_string().contains("42703"));
    let failing = Options { workload: workload("SELECT 1 / (random() * 0)::int"), ..options(&url) };
    let run = run::measure(&failing, &mut Silent, &AtomicBool::new(false)).expect("it runs");
    assert!(run.errors["server 22012"] > 3 && run.completed == 0, "{:?}", run.errors);
    assert!((run.error_share - 1.0).abs() < 1e-9);
}

#[test]
fn connections_that_are_killed_are_counted_and_replaced() {
    let server = postgres::Postgres::start();
    let options = Options { duration: Duration::from_secs(3), ..options(&postgres_url(&server)) };
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = \
                        'headpond bench' AND state = 'active' AND query LIKE 'SELECT pg_sleep%'";
            while server.psql(postgres::APP, ours).trim() == "0" {
                std::thread::sleep(Duration::from_millis(20));
            }
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE \
                        application_name = 'headpond bench'";
            std::thread::sleep(Duration::from_millis(500));
            server.psql(postgres::APP, kill);
        });
        let text = "name = 'x'\n[[statement]]\nname = 'a'\naccess = 'read'\n\
                    text = 'SELECT pg_sleep(0.005)'";
        let workload = Workload::parse(text).expect("a workload");
        let options = Options { workload, ..options };
        run::measure(&options, &mut Silent, &AtomicBool::new(false)).expect("it runs")
    });
    let killed: u64 = run.errors.values().sum();
    assert!((1..=8).contains(&killed), "{:?}", run.errors);
    assert!(run.completed > 100, "it went on: {}", run.completed);
}

#[test]
fn mariadb_redis_and_sqlite_are_measured_and_left_as_they_were() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mariadb = runtime.block_on(mariadb::Server::start());
    check(&bench(&options(&mariadb.url("ssl-mode=DISABLED"))));
    let again = options(&mariadb.url("ssl-mode=DISABLED"));
    run::prepare(&again.target, &again.workload).expect("nothing is left").remove().expect("gone");
    drop(mariadb);

    let redis = redis::Server::start();
    check(&bench(&options(&redis.url(""))));
    let keys: i64 = runtime.block_on(async {
        let mut root = redis.root().await;
        headpond::redis::cmd("DBSIZE").query_async(&mut root).await.expect("it answers")
    });
    assert_eq!(keys, 0);
    drop(redis);

    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("a.db").display());
    let run = bench(&options(&url));
    check(&run);
    assert_eq!(run.settings.through, "library");
}

#[test]
fn a_busy_server_is_left_alone_and_a_quiet_one_is_tuned() {
    let server = postgres::Postgres::start();
    let url = postgres_url(&server);
    guard::check(&target(&url)).expect("nobody else is there");
    let load = Options { duration: Duration::from_secs(60), ..options(&url) };
    let prepared = run::prepare(&load.target, &load.workload).expect("tables");
    let stop = AtomicBool::new(false);
    let busy = std::thread::scope(|scope| {
        let running = scope.spawn(|| run::measure(&load, &mut Silent, &stop).expect("it runs"));
        let mut busy = guard::check(&target(&url));
        // The load may not have begun when the first look ended.
        for _ in 0..3 {
            if busy.is_ok() {
                busy = guard::check(&target(&url));
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        running.join().expect("no panic");
        busy
    });
    prepared.remove().expect("removed");
    assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
    let workload = Workload::simple(target(&url).kind(), 0.0).expect("a share");
    let options = tune::Options {
        sizes: vec![1, 2],
        repeats: 2,
        step: Duration::from_millis(300),
        yes: true,
        instances: 4,
        ..tune::Options::new(target(&url), workload)
    };
    let observer = |_: &str| -> Box<dyn headpond_bench::progress::Observer> { Box::new(Silent) };
    let (tuning, runs) = tune::tune(&options, observer, &AtomicBool::new(false)).expect("tuned");
    assert_eq!((runs.len(), tuning.points.len()), (4, 2));
    assert!([1, 2].contains(&tuning.recommended));
    assert_eq!((tuning.fleet.connections_max, tuning.fleet.reserved), (Some(100), 3));
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname = 'headpond_bench'";
    assert_eq!(server.psql(postgres::APP, left).trim(), "0");
}
