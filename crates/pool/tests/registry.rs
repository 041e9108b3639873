//! Laws of several databases that are looked after together.
#![cfg(feature = "config")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headpond::config::{Kind, Sources, Vars};
use headpond::registry::{Builder, Databases, LookupError, Opened, Plan, StartError, Verdict};
use headpond::testing::{Connect, FakeManager};
use headpond::{ConnectFailure, Pool};

const CANARY: &str = "Tr0ub4dor";

type Fake = Pool<FakeManager>;

fn builder(more: &[(&str, &str)], manager: &FakeManager) -> Builder {
    let vars = [
        ("MYSQL_GPS_URL", "mysql://a:Tr0ub4dor@db/gps?pool_max_conns=4&pool_min_conns=1"),
        ("REDIS_HOST", "cache"),
        ("REDIS_PASSWORD", CANARY),
        ("REDIS_POOL_MIN", "0"),
        ("DATABASE_URL", "postgres://a:Tr0ub4dor@db/main?pool_min_conns=0"),
    ];
    let vars: Vars = vars.iter().chain(more).copied().collect();
    let config = Sources::new(vars).load().unwrap_or_else(|errors| panic!("{errors}"));
    [Kind::Mysql, Kind::Redis, Kind::Postgres].into_iter().fold(
        Databases::builder(config),
        |builder, kind| {
            let manager = manager.clone();
            builder.opener(kind, move |plan: Plan| {
                let pool = plan.builder(manager.clone()).tokio_clock().build();
                async move { Opened::Ok(Arc::new(pool?)) }
            })
        },
    )
}

async fn started(more: &[(&str, &str)]) -> (Databases, FakeManager) {
    let manager = FakeManager::default();
    let databases = builder(more, &manager).start().await;
    (databases.unwrap_or_else(|error| panic!("{error}")), manager)
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn databases_are_had_by_name_and_type() {
    let (databases, _) = started(&[]).await;
    let gps: &Fake = databases.get("gps").unwrap();
    assert_eq!((gps.name(), gps.settings().max, gps.settings().min), ("gps", 4, 1));
    let error = databases.get::<Fake>("pgs").unwrap_err().to_string();
    assert_eq!(error, "there is no database pgs; there are gps, main, redis");
    let other = databases.database("redis").unwrap();
    assert_eq!(other.settings().max, 10);
    struct Other;
    impl headpond::Manager for Other {
        type Connection = ();
        type Error = std::io::Error;
        async fn connect(&self) -> std::io::Result<()> {
            Ok(())
        }
        async fn ping(&self, _: &mut ()) -> std::io::Result<()> {
            Ok(())
        }
        async fn reset(&self, _: &mut ()) -> std::io::Result<()> {
            Ok(())
        }
        fn fate(&self, _: &mut ()) -> headpond::Fate {
            headpond::Fate::Reuse
        }
    }
    let error = databases.get::<Pool<Other>>("gps").unwrap_err();
    assert!(matches!(error, LookupError::Type { kind: Kind::Mysql, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn statistics_have_the_shapes_that_dashboards_know() {
    let (databases, manager) = started(&[]).await;
    let gps: &Fake = databases.get("gps").unwrap();
    let _held = (gps.get().await.unwrap(), gps.get().await.unwrap());
    manager.script(|script| script.connect = Connect::Fails(ConnectFailure::Rejected));
    gps.get_timeout(Duration::from_millis(100)).await.unwrap_err();
    let errors = gps.errors().count;
    assert!(errors >= 2, "a connect, and the caller");
    let json = databases.statistics_json();
    let pool = &json["pools"]["gps"];
    for (name, expected) in [
        ("size", 2),
        ("available", 0),
        ("borrowed", 2),
        ("pending", 0),
        ("created", 2),
        ("destroyed", 0),
        ("errors", errors),
        ("max", 4),
    ] {
        assert_eq!(pool[name], expected, "{name} of {pool}");
    }
    assert_eq!(json["total"]["borrowed"], 2);
    assert_eq!(json["total"]["created"], 4, "{json}");
    let connections = &databases.connections_json()["gps"];
    for (name, expected) in [
        ("totalConnections", 2),
        ("idleConnections", 0),
        ("activeConnections", 2),
        ("waitingCount", 0),
        ("errorCount", errors),
    ] {
        assert_eq!(connections[name], expected, "{name} of {connections}");
    }
    assert!(
        connections["lastError"].as_str().unwrap().contains("pretended failure"),
        "{connections}"
    );
    let time = connections["lastErrorTime"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    assert!(databases.connections_json()["redis"]["lastErrorTime"].is_null());
}

#[tokio::test(start_paused = true)]
async fn health_names_what_does_not_work_and_why() {
    let (databases, manager) = started(&[]).await;
    let healthy = databases.health().await;
    assert_eq!(healthy.verdict(), Verdict::Healthy);
    let json = healthy.to_json();
    assert_eq!(json["status"], "healthy");
    for check in ["database", "redis", "connectionPool"] {
        assert_eq!(json["checks"][check]["status"], "healthy", "{json}");
    }
    assert!(json["timestamp"].as_str().unwrap().starts_with("20"));

    let gps: &Fake = databases.get("gps").unwrap();
    let held = [
        gps.get().await.unwrap(),
        gps.get().await.unwrap(),
        gps.get().await.unwrap(),
        gps.get().await.unwrap(),
    ];
    let json = databases.health().await.to_json();
    assert_eq!(json["checks"]["connectionPool"]["status"], "warning", "{json}");
    assert_eq!(json["checks"]["connectionPool"]["error"], "gps: 4 of 4 in use, 0 waiting");
    drop(held);

    manager.script(|script| script.ping_fails = true);
    let json = databases.health().await.to_json();
    assert_eq!(
        (&json["status"], &json["checks"]["redis"]["status"]),
        (&"unhealthy".into(), &"unhealthy".into())
    );
    let error = json["checks"]["database"]["error"].as_str().unwrap();
    assert_eq!(error, "gps: pretended failure: Refused; main: pretended failure: Refused");
    let tested = databases.test_all().await;
    let names: Vec<&str> = tested.iter().map(|tested| tested.name.as_str()).collect();
    assert_eq!(names, ["gps", "main", "redis"]);
    assert!(tested.iter().all(|tested| tested.outcome.is_err()));
}

#[tokio::test(start_paused = true)]
async fn health_does_not_hang_with_a_server() {
    let (databases, manager) = started(&[]).await;
    manager.script(|script| script.ping_delay = Duration::from_secs(3600));
    let before = tokio::time::Instant::now();
    assert_eq!(databases.health().await.verdict(), Verdict::Unhealthy);
    assert!(before.elapsed() <= Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_start_fails_in_time_and_says_which_databases_cannot_be_reached() {
    let manager = FakeManager::default();
    manager.script(|script| script.connect = Connect::Hangs);
    let before = tokio::time::Instant::now();
    let error = builder(&[], &manager).start().await.unwrap_err();
    assert!(before.elapsed() <= Duration::from_secs(31), "{:?}", before.elapsed());
    let StartError::Unreachable { failed, .. } = &error else { panic!("{error}") };
    let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["gps", "main", "redis"], "{error}");
    assert!(!error.to_string().contains(CANARY));
    settle().await;
    assert_eq!(manager.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_kind_without_an_adapter_is_named() {
    let vars = Vars::from_iter([("AUDIT_DATABASE_URL", "sqlite:audit.db")]);
    let config = Sources::new(vars).load().unwrap();
    let error = Databases::builder(config).open().await.unwrap_err().to_string();
    let said =
        "database audit: there is no adapter for sqlite, enable its feature or add an opener";
    assert_eq!(error, said);
}

#[tokio::test(start_paused = true)]
async fn all_pools_share_the_budget() {
    let (databases, manager) = started(&[("HEADPOND_BUDGET", "3")]).await;
    let gps: &Fake = databases.get("gps").unwrap();
    let main: &Fake = databases.get("main").unwrap();
    let held = [gps.get().await.unwrap(), main.get().await.unwrap(), main.get().await.unwrap()];
    let redis: &Fake = databases.get("redis").unwrap();
    redis.get_timeout(Duration::from_millis(100)).await.unwrap_err();
    assert_eq!((manager.live(), databases.budget().unwrap().used()), (3, 3));
    assert_eq!(databases.statistics_json()["budget"]["used"], 3);
    drop(held);
    drop(redis.get_timeout(Duration::from_millis(100)).await.unwrap());
    assert!(manager.live_max() <= 3);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_what_is_lent_and_names_who_did_not_finish() {
    let (databases, manager) = started(&[]).await;
    let gps: Fake = databases.get::<Fake>("gps").unwrap().clone();
    let held = gps.get_owned().await.unwrap();
    let line = line!() - 1;
    let report = databases.shutdown_within(Duration::from_secs(2)).await;
    assert_eq!(report.unfinished.len(), 1);
    let text = report.to_string();
    assert!(text.starts_with("gps: 1 connections left, "), "{text}");
    assert!(text.contains(&format!("registry.rs:{line}")), "{text}");
    gps.get().await.unwrap_err();
    drop(held);
    assert!(databases.shutdown().await.is_complete(), "and it is complete then");
    settle().await;
    assert_eq!(manager.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn monitoring_starts_and_stops() {
    let (databases, _) = started(&[("HEADPOND_HEALTH_INTERVAL", "off")]).await;
    assert!(!databases.is_monitoring());
    let samples = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&samples);
    databases.monitor_with(Duration::from_secs(60), move |sample| {
        to.lock().unwrap().push(sample.clone());
    });
    let gps: &Fake = databases.get("gps").unwrap();
    let held = (gps.get().await.unwrap(), gps.get().await.unwrap());
    tokio::time::sleep(Duration::from_secs(61)).await;
    let first: Vec<_> = samples.lock().unwrap().drain(..).collect();
    assert_eq!(first.len(), 3, "one for each pool");
    let of_gps = &first[0];
    assert_eq!((of_gps.name.as_str(), of_gps.utilisation, of_gps.created), ("gps", 0.5, 2));
    assert_eq!(of_gps.error_rate, 0.0);
    held.0.discard();
    drop(held.1);
    gps.get_timeout(Duration::ZERO).await.map(drop).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let second: Vec<_> = samples.lock().unwrap().drain(..).collect();
    assert_eq!((second[0].created, second[0].destroyed, second[0].acquired), (0, 1, 1));
    databases.stop_monitoring();
    assert!(!databases.is_monitoring());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(samples.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn monitoring_begins_by_itself_if_it_is_configured() {
    let (databases, _) = started(&[("POOL_MONITORING_ENABLED", "true")]).await;
    assert!(databases.is_monitoring());
    databases.shutdown().await;
    assert!(!databases.is_monitoring());
}

#[tokio::test(start_paused = true)]
async fn logging_listens_to_events() {
    let (databases, _) = started(&[("ENABLE_POOL_LOGGING", "true")]).await;
    let mut events = databases.database("gps").unwrap().events().unwrap();
    drop(databases.get::<Fake>("gps").unwrap().get().await.unwrap());
    assert_eq!(events.next().await.unwrap().kind, headpond::EventKind::Acquire);
    let (silent, _) = started(&[]).await;
    assert!(silent.database("gps").unwrap().events().is_none());
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_ever_shown() {
    let manager = FakeManager::default();
    let builder = builder(&[], &manager);
    assert!(!format!("{builder:?}").contains(CANARY));
    let databases = builder.start().await.unwrap();
    manager.script(|script| script.connect = Connect::Fails(ConnectFailure::Rejected));
    databases.database("main").unwrap().evict();
    let health = databases.health().await;
    for text in [
        format!("{databases:?}"),
        databases.statistics_json().to_string(),
        databases.connections_json().to_string(),
        health.to_json().to_string(),
        format!("{health:?}"),
        format!("{:?}", databases.statistics()),
    ] {
        assert!(!text.contains(CANARY), "{text}");
    }
}

/// Run in a process of its own by the test below.
#[tokio::test]
#[ignore = "waits for a signal"]
async fn child_that_drains() {
    let (databases, _) = started(&[]).await;
    let held = databases.get::<Fake>("gps").unwrap().get_owned().await.unwrap();
    tokio::spawn(async move {
        // Work that ends well after the signal.
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(held);
    });
    let ended = tokio::spawn({
        let databases = databases.clone();
        async move { databases.shutdown_on_signal().await }
    });
    settle().await;
    println!("ready");
    let report = ended.await.unwrap().unwrap();
    assert!(report.is_complete(), "{report}");
}

#[cfg(unix)]
#[test]
fn a_signal_drains_every_pool_and_the_process_exits_with_zero() {
    for signal in ["TERM", "INT", "USR2"] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_drains", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line.contains("ready"))));
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "after {signal}");
    }
}
