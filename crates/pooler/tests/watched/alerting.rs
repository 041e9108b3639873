//! An alert from a queue in a pool to a real Alertmanager, to its receiver, and to our own.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use headpond_monitor::alert::{Routes, Severity, built_in};
use headpond_monitor::model::{
    self, Breaker, CheckError, CheckErrorKind, Checked, Connections, Counts, Later, Outcome,
    Process as Watched, Setting, Source, Totals, Truth,
};
use headpond_monitor::{Check, Monitor, Probe, Target};
use headpond_stats::Snapshot;
use serde_json::Value;

use crate::stage::{client, read, start, until};
use crate::support::Postgres;
use crate::support::process::{Process, free_port};

/// Takes whatever is posted, and hands it on with its path.
fn receiver() -> (SocketAddr, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut stream = BufReader::new(stream.expect("a connection"));
                // A receiver is kept open by those who post often.
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if stream.read_line(&mut head).unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let length = head.to_lowercase();
                    let length = length.split("content-length: ").nth(1).expect("a length");
                    let length = length.lines().next().expect("a line").parse().expect("a number");
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).expect("the body");
                    let path = head.split(' ').nth(1).expect("a path").to_owned();
                    let body = serde_json::from_slice(&body).expect("JSON");
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    stream.get_mut().write_all(answer).expect("answered");
                    if tell.send((path, body)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, told)
}

async fn alertmanager(folder: &Path, receiver: SocketAddr) -> (Process, SocketAddr) {
    let port = free_port();
    let config = folder.join("alertmanager.yml");
    let text = format!(
        "route:\n  receiver: test\n  group_by: [alertname]\n  group_wait: 0s\n  \
         group_interval: 1s\n  repeat_interval: 1h\nreceivers:\n  - name: test\n    \
         webhook_configs:\n      - url: http://{receiver}/from-alertmanager\n        \
         send_resolved: true\n"
    );
    std::fs::write(&config, text).expect("the folder is ours");
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", folder.join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--cluster.listen-address=".to_owned(),
    ];
    let arguments: Vec<&Path> = arguments.iter().map(Path::new).collect();
    let program = Path::new("/usr/bin/prometheus-alertmanager");
    let process = Process::start("alertmanager", None, program, &arguments, &[], "TERM");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    until("Alertmanager", || std::net::TcpStream::connect(address).ok()).await;
    (process, address)
}

/// Waits for a message about our alert with this status on this path.
async fn hear(told: &Receiver<(String, Value)>, path: &str, status: &str) -> Value {
    let message =
        || told.try_recv().ok().filter(|(at, body)| at == path && body["status"] == status);
    until(&format!("{path} {status}"), message).await.1
}

#[tokio::test]
async fn an_alert_fires_and_resolves_once_at_every_receiver() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, told) = receiver();
    let (theirs, told_by_manager) = receiver();
    let (_manager, manager) = alertmanager(folder.path(), theirs).await;
    let postgres = Postgres::start();
    let more = format!(
        "\n[alerts]\nbuilt_in = 0\nwebhook_url = http://{own}/hook\n\
         alertmanager_url = http://{manager}\n\
         [rules]\nTestQueue = metric=waiting above=0 severity=critical cool_down=1 \
         summary='somebody waits'\n"
    );
    let pooler = start(&postgres, 1, &more);
    let holder = client(&pooler, "holder").await;
    holder.simple_query("BEGIN").await.expect("served");
    let waiter = client(&pooler, "waiter").await;
    let waiting = tokio::spawn(async move { waiter.simple_query("SELECT 1").await.is_ok() });

    let fired = hear(&told, "/hook", "firing").await;
    assert_eq!(fired["version"], "4");
    let labels = fired["alerts"][0]["labels"].clone();
    assert_eq!(
        (&labels["alertname"], &labels["subject"]),
        (&"TestQueue".into(), &"app/app".into())
    );
    let relayed = hear(&told_by_manager, "/from-alertmanager", "firing").await;
    assert_eq!(relayed["alerts"][0]["labels"], labels, "the same alert by both ways");
    assert_eq!(relayed["alerts"][0]["annotations"]["summary"], "somebody waits");
    let active = || read(manager, "/api/v2/alerts?active=true").1;
    assert_eq!(active()[0]["labels"], labels);
    let (_, alerts) = read(pooler.http(), "/api/v1/alerts");
    assert_eq!(alerts["active"][0]["phase"], "firing");
    // It burns on: nobody is told twice, not even by looking often.
    until("several looks", || {
        let (_, alerts) = read(pooler.http(), "/api/v1/alerts");
        (alerts["active"][0]["value"] == 1.0).then_some(())
    })
    .await;

    holder.simple_query("COMMIT").await.expect("it had begun");
    assert!(waiting.await.expect("no panic"), "the waiter was served");
    let over = hear(&told, "/hook", "resolved").await;
    assert_eq!(over["alerts"][0]["labels"], labels);
    let relayed = hear(&told_by_manager, "/from-alertmanager", "resolved").await;
    assert_eq!(relayed["alerts"][0]["labels"], labels);
    until("Alertmanager to forget it", || {
        active().as_array().filter(|all| all.is_empty()).map(|_| ())
    })
    .await;
    assert!(told.try_recv().is_err(), "one beginning and one end");
    let (_, alerts) = read(pooler.http(), "/api/v1/alerts");
    let deliveries = alerts["deliveries"].as_array().expect("deliveries");
    assert!(deliveries.iter().all(|route| route["failed"] == 0), "{deliveries:?}");
}

/// Something to watch where everything is wrong, until nothing is.
struct Rigged {
    is_bad: AtomicBool,
    looks: AtomicU64,
}

impl Probe for Rigged {
    fn live(&self) -> Check {
        Check::all(Vec::new())
    }

    fn ready(&self) -> Check {
        Check::all(Vec::new())
    }

    fn started(&self) -> Check {
        Check::all(Vec::new())
    }

    fn collect(&self, _: &mut Snapshot) {}
}

impl Source for Rigged {
    fn process(&self) -> Watched {
        let used = if self.is_bad.load(Relaxed) { 95 } else { 5 };
        Watched {
            phase: "running",
            clients: used,
            clients_max: 100,
            memory_bytes: used,
            memory_max_bytes: Some(100),
            ..Watched::default()
        }
    }

    /// A pool at its end; with it everything that is counted over an hour goes.
    fn pools(&self) -> Vec<model::Pool> {
        if !self.is_bad.load(Relaxed) {
            return Vec::new();
        }
        let looks = self.looks.fetch_add(1, Relaxed);
        vec![model::Pool {
            name: "pool".to_owned(),
            breaker: Breaker::Open,
            connections: Counts { used: 10, ..Counts::default() },
            size_max: 10,
            waiting: 20,
            oldest_wait_seconds: 30.0,
            totals: Totals {
                connect_failures: 10 * looks,
                errors: 20 * looks,
                timeouts: 5 * looks,
                leaks: looks,
                ..Totals::default()
            },
            ..model::Pool::default()
        }]
    }

    fn databases(&self) -> Vec<model::Database> {
        let is_bad = self.is_bad.load(Relaxed);
        let database = |name: &str, outcome| model::Database {
            name: name.to_owned(),
            check: Some(Checked { ago_seconds: 0.0, took_seconds: 0.01, outcome }),
            ..model::Database::default()
        };
        let error = CheckError { kind: CheckErrorKind::Unreachable, text: "refused".to_owned() };
        let down = if is_bad { Outcome::Failed(error) } else { Outcome::Truth(Truth::default()) };
        let truth = Truth {
            read_only: is_bad,
            replication_lag_seconds: Some(if is_bad { 60.0 } else { 0.0 }),
            connections_max: 100,
            active: if is_bad { 50 } else { 1 },
            total: if is_bad { 99 } else { 2 },
            ..Truth::default()
        };
        vec![database("down", down), database("odd", Outcome::Truth(truth))]
    }

    fn connections(&self) -> Later<'_, Connections> {
        Box::pin(std::future::ready(Connections::default()))
    }

    fn settings(&self) -> Vec<Setting> {
        Vec::new()
    }
}

/// Waits until every rule was heard of with a status.
async fn hear_all(told: &Receiver<(String, Value)>, status: &str, names: &BTreeSet<String>) {
    let mut heard = BTreeSet::new();
    until(&format!("all {status}"), || {
        while let Ok((_, body)) = told.try_recv() {
            for alert in body["alerts"].as_array().expect("alerts") {
                let name = alert["labels"]["alertname"].as_str().expect("a name").to_owned();
                if alert["status"] == status {
                    heard.insert(name);
                }
            }
        }
        (heard == *names).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_built_in_alert_fires_and_resolves_at_every_receiver() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, told) = receiver();
    let (theirs, told_by_manager) = receiver();
    let (_manager, manager) = alertmanager(folder.path(), theirs).await;
    let mut rules = built_in();
    for rule in &mut rules {
        // As they are, but for the minutes that they wait.
        rule.for_seconds = rule.for_seconds.min(1.0);
    }
    let names: BTreeSet<String> = rules.iter().map(|rule| rule.name.clone()).collect();
    assert_eq!(names.len(), 17);
    let target = |url: &str| Target::new(url, None).expect("a URL");
    let routes = Routes {
        webhook: Some((target(&format!("http://{own}/hook")), None, Severity::Info)),
        alertmanager: Some((target(&format!("http://{manager}")), Severity::Info)),
        ..Routes::default()
    };
    let source = Arc::new(Rigged { is_bad: AtomicBool::new(true), looks: AtomicU64::new(0) });
    let settings = headpond_monitor::Settings { rules, routes, ..Default::default() };
    let (_monitor, watching) = Monitor::new(Arc::clone(&source) as _, None, settings);
    tokio::spawn(watching);
    hear_all(&told, "firing", &names).await;
    hear_all(&told_by_manager, "firing", &names).await;
    source.is_bad.store(false, Relaxed);
    hear_all(&told, "resolved", &names).await;
    hear_all(&told_by_manager, "resolved", &names).await;
}
