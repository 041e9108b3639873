//! A real PgBouncer beside the pooler: its figures, its end, and consoles that are none.

use serde_json::Value;

use crate::browser::Browser;
use crate::stage::{ask, read, start_with, until};
use crate::support::console::{self, Manner};
use crate::support::pooler::{Headpond, PgBouncer};
use crate::support::postgres::{APP, APP_PASSWORD, SUPERUSER, SUPERUSER_PASSWORD, connect};
use crate::support::{Pooler, Postgres, Settings, Target};

const VARIABLE: &str = "HEADPOND_HTTP__PGBOUNCER_URL";

fn pgbouncer(postgres: &Postgres, more: &str) -> PgBouncer {
    let settings = Settings { pool_size: 2, ..Settings::default() };
    PgBouncer::start(|place| {
        format!("{}{more}\n", settings.ini(postgres, place, Target::PgBouncer))
    })
}

fn url(user: &str, password: &str, port: u16) -> String {
    format!("postgres://{user}:{password}@127.0.0.1:{port}/pgbouncer")
}

async fn row(pooler: &Headpond, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    // There is no row before it was asked.
    let row = || read(pooler.http(), "/api/v1/bouncers").1["bouncers"].get(0).cloned();
    until(what, || row().filter(|row| is_so(row))).await
}

#[tokio::test]
async fn a_pgbouncer_beside_the_pooler_is_shown_and_its_end_makes_nothing_here_unhealthy() {
    let postgres = Postgres::start();
    let neighbour = pgbouncer(&postgres, &format!("stats_users = {APP}"));
    let port = neighbour.place().port;
    let client = connect(&neighbour.config()).await.expect("a client");
    client.simple_query("BEGIN; SELECT 1").await.expect("served");
    let pooler = start_with(&postgres, 2, "", &[(VARIABLE, &url(APP, APP_PASSWORD, port))]);
    let http = pooler.http();
    let active = |row: &Value| row["check"]["figures"]["sum"]["sv_active"] == 1;
    let told = row(&pooler, "its figures", active).await;
    assert_eq!((&told["user"], &told["through"]), (&APP.into(), &Value::Array(Vec::new())));
    let there = &told["check"]["figures"]["pools"][0];
    assert_eq!((&there["database"], &there["pool_size"]), (&APP.into(), &2.into()), "{told}");
    let (_, metrics) = ask(http, "GET", "/metrics", "", "");
    let up = format!("headpond_pgbouncer_up{{pgbouncer=\"127.0.0.1:{port}\"}}");
    assert!(metrics.contains(&format!("{up} 1")), "{metrics}");
    let mut browser = Browser::start();
    for width in [320, 1280] {
        browser.resize(width, 900, "light");
        browser.open("about:blank");
        browser.open(&format!("http://{http}/#overview"));
        let shown = "document.querySelector('#bouncers')?.textContent.includes('PgBouncer 1.')";
        browser.wait(shown).await;
        let overflow =
            "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.value(overflow), 0, "{width}");
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
    let (_, config) = read(http, "/api/v1/config");
    let settings = config["settings"].as_array().expect("settings");
    let setting = settings.iter().find(|setting| setting["key"] == "pgbouncer_url");
    assert_eq!(setting.expect("it is shown")["value"], "***");

    drop((client, neighbour));
    let down = |row: &Value| row["health"]["status"] == "unhealthy";
    let told = row(&pooler, "its end", down).await;
    assert_eq!(told["check"]["failed"]["kind"], "unreachable", "{told}");
    for path in ["/health", "/health/quick", "/health/connections", "/api/health"] {
        let (code, body) = read(http, path);
        let word = body["status"].as_str().unwrap_or_default();
        assert!(code == 200 && word.starts_with("warn"), "{path}: {code} {body}");
    }
    let (_, metrics) = ask(http, "GET", "/metrics", "", "");
    assert!(metrics.contains(&format!("{up} 0")), "{metrics}");
}

#[tokio::test]
async fn who_may_not_look_is_said_once_and_a_reload_asks_as_somebody_else() {
    let postgres = Postgres::start();
    let neighbour = pgbouncer(&postgres, "");
    let port = neighbour.place().port;
    let file = |user, password| format!("pgbouncer_url = {}\n", url(user, password, port));
    let pooler = start_with(&postgres, 2, &file(APP, APP_PASSWORD), &[]);
    let refused = |row: &Value| row["check"]["failed"]["kind"] == "not_allowed";
    let told = row(&pooler, "a refusal", refused).await;
    assert_eq!(told["health"]["status"], "healthy", "{told}");
    let asked = told["check"]["ago_seconds"].as_f64().expect("a number");
    let again = |row: &Value| row["check"]["ago_seconds"].as_f64().is_some_and(|ago| ago < asked);
    row(&pooler, "another question", again).await;
    let hint = format!("add {APP} to its stats_users");
    let lines = pooler.log().lines();
    assert_eq!(lines.iter().filter(|line| line.contains(&hint)).count(), 1, "{lines:#?}");

    let path = pooler.place().directory.join("pgbouncer.ini");
    let text = std::fs::read_to_string(&path).expect("ours");
    let text = text.replace(&file(APP, APP_PASSWORD), &file(SUPERUSER, SUPERUSER_PASSWORD));
    std::fs::write(&path, text).expect("ours");
    pooler.signal("HUP");
    let told = row(&pooler, "figures", |row| row["check"]["figures"].is_object()).await;
    assert_eq!(told["user"], SUPERUSER);
    let lines = pooler.log().lines().join("\n");
    assert!(!lines.contains(APP_PASSWORD) && !lines.contains(SUPERUSER_PASSWORD), "{lines}");
}

#[tokio::test]
async fn a_console_that_is_none_is_an_error_in_words_and_costs_no_memory() {
    let postgres = Postgres::start();
    for manner in Manner::ALL {
        let port = console::start(manner).port();
        let pooler = start_with(&postgres, 2, "", &[(VARIABLE, &url(APP, APP_PASSWORD, port))]);
        let failed = |row: &Value| row["check"]["failed"].is_object();
        let told = row(&pooler, "an answer", failed).await;
        let expected = match manner {
            Manner::Silence => "timeout",
            Manner::HangUp => "unreachable",
            _ => "protocol",
        };
        assert_eq!(told["check"]["failed"]["kind"], expected, "{manner:?}: {told}");
        let (code, status) = read(pooler.http(), "/api/v1/status");
        let memory = status["process"]["memory_bytes"].as_u64().expect("a number");
        assert!(code == 200 && memory < 200 << 20, "{manner:?}: {} MiB", memory >> 20);
        let lines = pooler.log().lines();
        assert!(!lines.iter().any(|line| line.contains("panicked")), "{lines:#?}");
    }
}
