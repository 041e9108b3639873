//! Metrics pushed by OTLP: to a receiver that fails for a while, read by another implementation.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use crate::stage::{ask, client, start, start_with, until};
use crate::support::install::{install, installed, sources};
use crate::support::pooler::Headpond;
use crate::support::{Pooler, Postgres};

/// Takes pushes and answers with this status; hands their heads and bodies on.
fn receiver(status: Arc<AtomicU16>) -> (SocketAddr, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let head = head.to_lowercase();
            let length = head.split("content-length: ").nth(1).expect("a length");
            let length = length.lines().next().expect("a line").parse().expect("a number");
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("the body");
            let status = status.load(Relaxed);
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            // The pooler may have gone.
            let _ = stream.get_mut().write_all(answer.as_bytes());
            if tell.send((head, body)).is_err() {
                return;
            }
        }
    });
    (address, told)
}

/// Lines of the log that hold a text.
fn lines(pooler: &Headpond, text: &str) -> usize {
    pooler.log().lines().iter().filter(|line| line.contains(text)).count()
}

/// Counts families and series of an exposition; a histogram is one series for each set of labels.
fn series(text: &str) -> (usize, usize) {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let kinds: Vec<(&str, &str)> = types.filter_map(|line| line.split_once(' ')).collect();
    let histograms: BTreeSet<&str> =
        kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| *name).collect();
    let names = text.lines().filter(|line| !line.starts_with('#'));
    let names = names.filter_map(|line| line.split(['{', ' ']).next());
    let is_part = |name: &str| {
        let of = |suffix| name.strip_suffix(suffix).is_some_and(|name| histograms.contains(name));
        of("_bucket") || of("_sum")
    };
    (kinds.len(), names.filter(|name| !name.is_empty() && !is_part(name)).count())
}

/// What OpenTelemetry's own messages make of a push.
fn decoded(body: &[u8]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("push");
    std::fs::write(&file, body).expect("ours");
    let mut python = Command::new(installed().join("otlp/bin/python"));
    let output = python.arg("-B").arg(sources().join("otlp_reader.py")).arg(&file).output();
    let output = output.expect("it was installed");
    let told = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{why}");
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

#[tokio::test]
async fn another_implementation_reads_every_metric_of_the_last_push() {
    let status = Arc::new(AtomicU16::new(503));
    let (address, told) = receiver(Arc::clone(&status));
    let postgres = Postgres::start();
    let section = format!(
        "\n[otlp]\nendpoint = http://{address}/base/\nheaders = api-key=a%20b\ninterval = 1\n\
         resource_attributes = zone=here%2C there,service.instance.id=seven\n"
    );
    let variables = [("OTEL_SERVICE_NAME", "front")];
    let mut pooler = start_with(&postgres, 3, &section, &variables);
    let client = client(&pooler, "used").await;
    client.simple_query("SELECT 1").await.expect("served");
    let failing = "metrics are not delivered: answered 503";
    until("a failure", || (lines(&pooler, failing) > 0).then_some(())).await;
    let pushes = "headpond_otlp_exports_total{outcome=\"failed\"} ";
    until("more failures", || {
        let (_, text) = ask(pooler.http(), "GET", "/metrics", "", "");
        let count = text.lines().find_map(|line| line.strip_prefix(pushes)?.parse::<u32>().ok());
        count.filter(|count| *count >= 3)
    })
    .await;
    status.store(200, Relaxed);
    let again = "metrics are delivered again";
    until("a recovery", || (lines(&pooler, again) > 0).then_some(())).await;
    // Everything that appears with time is there.
    until("a check", || {
        let (_, text) = ask(pooler.http(), "GET", "/metrics", "", "");
        text.contains("headpond_database_up{database=\"app\"} 1").then_some(())
    })
    .await;
    drop(client);
    let (_, text) = ask(pooler.http(), "GET", "/metrics", "", "");
    pooler.signal("INT");
    assert_eq!(pooler.wait(), Some(0), "it ends in order");
    assert_eq!((lines(&pooler, failing), lines(&pooler, again)), (1, 1), "each is told once");
    assert_eq!(lines(&pooler, &format!("metrics are pushed to {address} every 1 s")), 1);
    let (head, body) = told.try_iter().last().expect("a last push");
    assert!(head.starts_with("post /base/v1/metrics http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\napi-key: a b\r\n"), "{head}");

    if !install("otlp") {
        return;
    }
    let push = decoded(&body);
    let metrics = push["metrics"].as_array().expect("metrics");
    let points = |metric: &Value| metric["points"].as_array().map_or(0, Vec::len);
    let count: usize = metrics.iter().map(points).sum();
    println!("{} metrics, {count} points in {} bytes", metrics.len(), body.len());
    assert_eq!((metrics.len(), count), series(&text), "all that a scrape has: {text}");
    let names: BTreeSet<&str> = metrics.iter().filter_map(|m| m["name"].as_str()).collect();
    assert_eq!(names.len(), metrics.len(), "no name occurs twice");
    for (name, kind, unit, is_monotonic) in [
        ("headpond_queries", "sum", "", true),
        ("headpond_client_received", "sum", "By", true),
        ("headpond_query", "histogram", "s", false),
        ("headpond_worker_busy", "gauge", "1", false),
        ("headpond_memory", "gauge", "By", false),
        ("headpond_build_info", "sum", "", false),
    ] {
        let metric = metrics.iter().find(|metric| metric["name"] == name);
        let metric = metric.unwrap_or_else(|| panic!("{name} in {names:?}"));
        assert_eq!(
            (&metric["kind"], &metric["unit"], &metric["monotonic"], &metric["scope"]),
            (&kind.into(), &unit.into(), &is_monotonic.into(), &"headpond".into()),
            "{name}"
        );
        assert_ne!(metric["description"], "", "{name}");
    }
    let queries = metrics.iter().find(|metric| metric["name"] == "headpond_queries");
    let queries = &queries.expect("looked at above")["points"][0];
    assert_eq!(queries["attributes"], serde_json::json!({"database": "app", "user": "app"}));
    assert!(queries["value"].as_u64() >= Some(1), "{queries}");
    let expected = serde_json::json!({
        "service.name": "front", "service.instance.id": "seven", "zone": "here, there",
        "service.version": env!("CARGO_PKG_VERSION"),
    });
    assert_eq!(push["resource"], expected);
}

#[tokio::test]
async fn nothing_is_pushed_by_a_pooler_that_is_not_told_where_to() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, 3, "");
    let (_, text) = ask(pooler.http(), "GET", "/metrics", "", "");
    assert!(text.contains("headpond_clients_max") && !text.contains("headpond_otlp"), "{text}");
    assert_eq!(lines(&pooler, "metrics are pushed"), 0);
    let (address, told) = receiver(Arc::new(AtomicU16::new(200)));
    let base = format!("http://{address}");
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", base.as_str()), ("OTEL_SDK_DISABLED", "true")];
    let mut pooler = start_with(&postgres, 3, "", &variables);
    pooler.signal("INT");
    assert_eq!(pooler.wait(), Some(0));
    assert!(told.try_recv().is_err(), "not even at the end");
}
