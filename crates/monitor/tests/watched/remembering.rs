//! History that outlives the monitor, in a file, as it is asked for.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use headpond_monitor::Settings;
use headpond_monitor::history::disk;
use headpond_monitor::model::{Counts, Pool};
use serde_json::{Value, json};

use crate::Server;

const DAY: i64 = 86_400;

fn pool(name: &str, used: u32) -> Pool {
    let connections = Counts { used, ..Counts::default() };
    Pool { name: name.into(), connections, size_max: 10, ..Pool::default() }
}

fn kept_in(path: &Path) -> Settings {
    let store = disk::open(disk::Settings::new(path)).expect("it opens");
    Settings { store: Some(store), ..Settings::default() }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("not that far")
}

/// Watches a pool for a moment, and ends.
fn watch(path: &Path, name: &str, used: u32) {
    let server = Server::start(kept_in(path));
    server.set_pools(vec![pool(name, used)]);
    server.monitor.look_now();
    server.monitor.close();
}

/// Makes everything in the file so much older.
fn age(path: &Path, seconds: i64) {
    let file = rusqlite::Connection::open(path).expect("a database");
    for sql in ["UPDATE point SET at = at - ?1", "UPDATE series SET seen = seen - ?1"] {
        file.execute(sql, [seconds]).expect("updated");
    }
}

fn used(body: &Value) -> Vec<f64> {
    let points = body["points"].as_array().expect("points");
    points.iter().map(|point| point[1].as_f64().expect("a number")).collect()
}

#[test]
fn after_a_restart_the_page_shows_what_was_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.db");
    watch(&path, "a/b", 7);
    let server = Server::start(kept_in(&path));
    let (code, body) = server.get("/api/v1/history?pool=a%2Fb&range=900");
    assert_eq!((code, &body["on_disk"], &body["trouble"]), (200, &json!(true), &Value::Null));
    assert!(used(&body).contains(&7.0), "{body}");
    assert_eq!(body["pools"], json!(["a/b"]));
    std::fs::remove_file(&path).expect("it is ours");
    let (_, body) = server.get("/api/v1/history?pool=a%2Fb&range=900");
    assert!(used(&body).contains(&7.0), "it is in memory: {body}");
    let metrics = server.ask("GET", "/metrics", "", "").2;
    for name in ["bytes", "errors_total 0", "dropped_total 0"] {
        assert!(metrics.contains(&format!("\nheadpond_history_{name}")), "{name}: {metrics}");
    }
}

#[test]
fn who_is_gone_for_days_can_be_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.db");
    let before = now();
    watch(&path, "gone/web", 5);
    age(&path, 10 * DAY);
    let server = Server::start(kept_in(&path));
    server.set_pools(vec![pool("here/web", 3)]);
    server.monitor.look_now();
    let ask = |query: &str| server.get(&format!("/api/v1/history?{query}"));
    let (code, body) = ask("pool=gone%2Fweb&range=604800");
    assert_eq!((code, used(&body)), (200, vec![]), "a week is too short");
    let (code, body) = ask("pool=gone%2Fweb&range=2592000");
    assert_eq!((code, &body["step_seconds"]), (200, &json!(3600.0)), "{body}");
    assert_eq!(used(&body).first(), Some(&5.0), "{body}");
    assert_eq!(body["pools"], json!(["gone/web", "here/web"]));
    assert_eq!(body["full_in_seconds"], Value::Null);

    let (from, to) = (before - 10 * DAY - 120, before - 10 * DAY + 120);
    let (code, body) = ask(&format!("pool=gone%2Fweb&from={from}&to={to}"));
    assert_eq!((code, used(&body).first()), (200, Some(&5.0)), "{body}");
    let ago = body["points"][0][0].as_f64().expect("a number");
    assert!((ago - 10.0 * DAY as f64).abs() < 3_700.0, "{ago}");
    // The same moments as others write them.
    let (from, to) = (&body["from"], &body["to"]);
    let (from, to) = (from.as_str().expect("a text"), to.as_str().expect("a text"));
    let (code, again) = ask(&format!("pool=gone%2Fweb&from={from}&to={to}"));
    assert_eq!((code, used(&again)), (200, used(&body)));
    let (_, all) = ask(&format!("from={from}&to={to}"));
    assert!(used(&all).first().is_some_and(|used| *used > 0.0), "the sum was kept as well");

    assert_eq!(ask("pool=none&range=2592000").0, 404);
    assert_eq!(ask("from=5&to=4").0, 400);
    let (_, here) = ask("pool=here%2Fweb&range=2592000");
    assert_eq!(used(&here).last(), Some(&3.0), "memory has what the file has not yet: {here}");
}

#[test]
fn a_file_that_is_lost_is_an_event_and_memory_still_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).expect("a folder");
    let server = Server::start(kept_in(&inside.join("history.db")));
    server.set_pools(vec![pool("a/b", 4)]);
    server.monitor.look_now();
    std::fs::remove_dir_all(&inside).expect("removed");
    let (code, body) = server.get("/api/v1/history?pool=a%2Fb&range=604800");
    assert_eq!((code, used(&body).last()), (200, Some(&4.0)));
    let trouble = body["trouble"].as_str().expect("a reason");
    assert!(trouble.contains("cannot be read"), "{trouble}");
    assert_eq!(server.get("/api/v1/history?pool=gone&range=604800").0, 503);
    let before = std::time::Instant::now();
    server.monitor.close();
    assert!(before.elapsed().as_secs() < 5, "the end does not wait for a disk");
    server.monitor.look_now();
    let (_, events) = server.get("/api/v1/events");
    let mut events = events["events"].as_array().expect("events").iter();
    let event = events.find(|event| event["sort"] == "history").expect("it was said");
    assert_eq!(event["status"], "warning");
    assert!(event["text"].as_str().is_some_and(|text| text.contains("cannot be written")));
}

#[test]
fn without_a_file_nothing_is_said_of_one() {
    let server = Server::start(Settings::default());
    server.set_pools(vec![pool("a/b", 4)]);
    server.monitor.look_now();
    let (code, body) = server.get("/api/v1/history?pool=a%2Fb&range=604800");
    assert_eq!((code, &body["on_disk"], used(&body).last()), (200, &json!(false), Some(&4.0)));
    assert!(!server.ask("GET", "/metrics", "", "").2.contains("headpond_history_"));
}
