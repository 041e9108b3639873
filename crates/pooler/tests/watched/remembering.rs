//! History that outlives the pooler: what was before the restart is told after it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::Browser;
use crate::stage::{ask, client, read, start, start_with, until};
use crate::support::pooler::Headpond;
use crate::support::process::Account;
use crate::support::{Pooler, Postgres};

/// A folder that the pooler may write to and that is there after it has gone.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::Builder::new().prefix("hp-history").tempdir().expect("a folder");
    Account::own(Account::unprivileged(), folder.path());
    let path = folder.path().join("history.db");
    (folder, path)
}

fn remembering(postgres: &Postgres, path: &Path) -> Headpond {
    let path = path.to_str().expect("a path of letters");
    start_with(postgres, 3, "", &[("HEADPOND_HISTORY__FILE", path)])
}

/// Lets the last client leave, then the pooler.
async fn end(pooler: &mut Headpond) {
    let http = pooler.http();
    let left = || (read(http, "/api/v1/clients").1["found"] == 0).then_some(());
    until("the last client to leave", left).await;
    pooler.signal("TERM");
    assert_eq!(pooler.wait(), Some(0));
}

/// The most of a value that is told.
fn most(body: &Value, field: &str) -> f64 {
    let fields = body["fields"].as_array().expect("fields");
    let place = 1 + fields.iter().position(|name| name == field).expect("a field");
    let points = body["points"].as_array().expect("points");
    points.iter().filter_map(|point| point[place].as_f64()).fold(0.0, f64::max)
}

const OF_APP: &str = "/api/v1/history?pool=app%2Fapp&range=3600";

#[tokio::test]
async fn what_was_before_the_restart_is_told_after_it() {
    let postgres = Postgres::start();
    let (_folder, path) = folder();
    let mut pooler = remembering(&postgres, &path);
    let http = pooler.http();
    let busy = client(&pooler, "busy").await;
    busy.simple_query("BEGIN").await.expect("served");
    until("the load to be seen", || {
        let (status, body) = read(http, OF_APP);
        (status == 200 && most(&body, "used") >= 1.0).then_some(())
    })
    .await;
    busy.simple_query("COMMIT").await.expect("it had begun");
    drop(busy);
    end(&mut pooler).await;
    let file = std::fs::metadata(&path).expect("the history was written");
    assert_eq!(file.mode() & 0o777, 0o600);

    let pooler = remembering(&postgres, &path);
    let http = pooler.http();
    let (status, body) = read(http, OF_APP);
    assert_eq!((status, &body["on_disk"], &body["trouble"]), (200, &json!(true), &Value::Null));
    assert!(most(&body, "used") > 0.0, "nobody has connected since: {body}");
    assert_eq!(body["pools"], json!(["app/app"]));
    let (_, pools) = read(http, "/api/v1/pools");
    assert_eq!(pools["total"], 0, "the pool is not there yet, its history is");
    // From the file itself, which goes back further than memory.
    let (from, to) = (body["from"].as_str().expect("a text"), body["to"].as_str().expect("a text"));
    let (status, again) = read(http, &format!("/api/v1/history?from={from}&to={to}"));
    assert_eq!((status, most(&again, "used") > 0.0), (200, true), "{again}");
    let (_, metrics) = ask(http, "GET", "/metrics", "", "");
    assert!(metrics.contains("\nheadpond_history_errors_total 0\n"), "{metrics}");
}

#[tokio::test]
async fn the_page_offers_a_year_if_there_is_one() {
    let postgres = Postgres::start();
    let (_folder, path) = folder();
    let mut browser = Browser::start();
    browser.resize(1280, 900, "light");
    let year = "[...document.querySelectorAll('#history-range option')]\
                .some((option) => option.textContent === '1 year')";
    for (pooler, expected) in
        [(remembering(&postgres, &path), true), (start(&postgres, 3, ""), false)]
    {
        browser.open(&format!("http://{}/#history", pooler.http()));
        browser.wait("document.querySelector('#history-range') !== null").await;
        assert_eq!(browser.value(year), json!(expected));
        if expected {
            browser.value(
                "{ const box = document.querySelector('#history-range'); box.value = '31536000'; \
                 box.dispatchEvent(new Event('change')); } 1",
            );
            let drawn = "[...document.querySelectorAll('.chart .then')]\
                         .some((label) => label.textContent === '365 days ago')";
            browser.wait(drawn).await;
        }
        // Before the pooler goes, or the page would miss its stream.
        browser.open("about:blank");
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[tokio::test]
async fn two_poolers_share_a_file_while_one_takes_over() {
    let postgres = Postgres::start();
    let (_folder, path) = folder();
    let mut poolers = [remembering(&postgres, &path), remembering(&postgres, &path)];
    let mut clients = Vec::new();
    for pooler in &poolers {
        let one = client(pooler, "both").await;
        one.simple_query("BEGIN").await.expect("served");
        clients.push(one);
        let http = pooler.http();
        until("the load to be seen", || {
            let (status, body) = read(http, OF_APP);
            (status == 200 && most(&body, "used") >= 1.0).then_some(())
        })
        .await;
    }
    drop(clients);
    for pooler in &mut poolers {
        end(pooler).await;
        let lines = pooler.log().lines();
        assert!(!lines.iter().any(|line| line.contains("history")), "{lines:?}");
    }
    let pooler = remembering(&postgres, &path);
    let (status, body) = read(pooler.http(), OF_APP);
    assert_eq!((status, most(&body, "used") > 0.0), (200, true), "{body}");
}
