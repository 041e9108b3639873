//! An alert from a queue in a pool to a real Alertmanager, to its receiver, and to our own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

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
