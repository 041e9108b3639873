//! `headpond tune` with a real PostgreSQL and a real pooler: each mode has the servers that it
//! should, nothing is left behind, and a peak is remembered when it is over.

#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../pooler/tests/support/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../pooler/tests/support/process.rs"]
mod process;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use postgres::{APP, APP_PASSWORD, Options, Postgres};
use process::free_port;
use serde_json::Value;

fn tune(folder: &Path, url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headpond"));
    command.current_dir(folder).env("TMPDIR", folder).stdin(Stdio::null());
    command.args(["tune", url, "--yes", "--quiet", "--json"]).args(arguments);
    // Of another pooler; the private one must not hear of it.
    command.env("HEADPOND_POOL_MODE", "session");
    command
}

fn url(server: &Postgres) -> String {
    format!("postgres://{APP}:{APP_PASSWORD}@127.0.0.1:{}/{APP}", server.port())
}

/// Returns the poolers whose settings lie in this folder.
fn poolers(folder: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let lines = processes.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    let settings = folder.join("headpond-private-").display().to_string();
    lines.filter(|line| line.contains("serve") && line.contains(&settings)).collect()
}

fn is_clean(folder: &Path, server: &Postgres) {
    assert_eq!(poolers(folder), [] as [String; 0]);
    let left = std::fs::read_dir(folder).expect("a folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| name == "logs"), "{left:?}");
    let schema = "SELECT count(*) FROM pg_namespace WHERE nspname = 'headpond_bench'";
    assert_eq!(server.psql(APP, schema).trim(), "0");
}

#[test]
fn session_needs_a_server_for_each_client_and_transaction_works_with_fewer() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder");
    let arguments =
        ["--clients", "6", "--modes", "all", "--sizes", "1,3", "--repeat", "2", "--step", "300ms"];
    let output = tune(folder.path(), &url(&server), &arguments).output().expect("it runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&found["schema"], &found["clients"]), (&"headpond-tune-modes/1".into(), &6.into()));
    let points = found["points"].as_array().expect("points");
    let choices: Vec<(&str, u64, u64)> = points
        .iter()
        .map(|point| {
            assert_eq!(point["error_share"], 0.0, "{point}");
            assert!(point["rate"]["mean"].as_f64().is_some_and(|rate| rate > 10.0), "{point}");
            let number = |key: &str| point[key].as_u64().expect("a number");
            (point["mode"].as_str().expect("a mode"), number("size"), number("servers_counted"))
        })
        .collect();
    assert_eq!(
        choices,
        [
            ("session", 6, 6),
            ("transaction", 1, 1),
            ("transaction", 3, 3),
            ("statement", 1, 1),
            ("statement", 3, 3)
        ]
    );
    assert!(found["recommended"]["mode"].is_string(), "{}", found["recommended"]);
    let comparisons = found["comparisons"].as_array().expect("comparisons");
    assert!(comparisons.iter().any(|c| c["text"].as_str().is_some_and(|t| t.contains(" server"))));
    is_clean(folder.path(), &server);
}

#[test]
fn a_mode_that_does_not_fit_is_left_out_with_the_reason() {
    let server = Postgres::start_with(&Options { max_connections: 12, ..Options::default() });
    let folder = tempfile::tempdir().expect("a folder");
    let workload = folder.path().join("logs");
    std::fs::create_dir(&workload).expect("a folder");
    let workload = workload.join("pay.toml");
    let text = "name = 'pay'\n[[statement]]\nname = 'pay'\naccess = 'read'\n\
                text = 'BEGIN; SELECT 1; COMMIT'\n";
    std::fs::write(&workload, text).expect("written");
    let workload = workload.to_str().expect("a path");
    let arguments = ["--clients", "20", "--modes", "all", "--sizes", "2", "--repeat", "1"];
    let arguments = [&arguments[..], &["--step", "200ms", "--protocol", "simple"]].concat();
    let arguments = [&arguments[..], &["--workload", workload]].concat();
    let output = tune(folder.path(), &url(&server), &arguments).output().expect("it runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let reason = |place: usize| {
        let left = &found["left_out"][place];
        format!(
            "{}: {}",
            left["mode"].as_str().unwrap_or(""),
            left["reason"].as_str().unwrap_or("")
        )
    };
    assert!(reason(0).starts_with("session: 20 clients need a server each"), "{}", reason(0));
    assert!(reason(0).contains("it lets in 12, 3 of them reserved"), "{}", reason(0));
    assert!(reason(1).starts_with("statement: statement \"pay\": BEGIN"), "{}", reason(1));
    assert_eq!(found["recommended"]["mode"], "transaction");
    is_clean(folder.path(), &server);
}

#[test]
fn an_interrupted_search_leaves_nothing_behind() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = tune(folder.path(), &url(&server), &["--clients", "4", "--step", "1h"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let deadline = Instant::now() + Duration::from_secs(60);
    let at_work =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%headpond_bench.account%'";
    while poolers(folder.path()).is_empty() || server.psql("postgres", at_work).trim() < "2" {
        assert!(Instant::now() < deadline, "it does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "nothing was measured");
    is_clean(folder.path(), &server);
}

#[test]
fn other_servers_have_no_pool_modes() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["sqlite:a.db?mode=rwc", "redis://127.0.0.1:1"] {
        let output = tune(folder.path(), url, &["--clients", "4"]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("PostgreSQL"));
    }
    let url = "postgres://127.0.0.1:1/a";
    let output = tune(folder.path(), url, &["--clients", "4", "--modes", "mad"]).output();
    assert_eq!(output.expect("it runs").status.code(), Some(2));
}

/// A pooler with four connections; ended when dropped.
struct Pooler {
    child: std::process::Child,
    port: u16,
    http: u16,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pooler {
    fn start(folder: &Path, server: &Postgres) -> Self {
        let (port, http) = (free_port(), free_port());
        let settings = format!(
            "[databases]\n{APP} = host=127.0.0.1 port={} password={APP_PASSWORD}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = 4\n[http]\nlisten = 127.0.0.1:{http}\n",
            server.port(),
            folder.join("users").display()
        );
        std::fs::write(folder.join("users"), format!("\"{APP}\" \"{APP_PASSWORD}\"\n"))
            .expect("written");
        std::fs::write(folder.join("pooler.ini"), settings).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_headpond"));
        command.args(["serve", "--quiet", "--with-parent"]).arg(folder.join("pooler.ini"));
        let child = command.stdin(Stdio::null()).spawn().expect("it runs");
        let pooler = Self { child, port, http };
        let deadline = Instant::now() + Duration::from_secs(30);
        while [port, http]
            .iter()
            .any(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_err())
        {
            assert!(Instant::now() < deadline, "the pooler does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        pooler
    }
}

#[test]
fn the_history_of_a_pooler_remembers_a_peak_that_is_over() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder");
    let pooler = Pooler::start(folder.path(), &server);
    let workload = folder.path().join("sleep.toml");
    let text = "name = 'sleep'\n[[statement]]\nname = 'sleep'\naccess = 'read'\n\
                text = 'SELECT pg_sleep(0.02)'\n";
    std::fs::write(&workload, text).expect("written");
    let url = format!("postgres://{APP}@127.0.0.1:{}/{APP}?sslmode=disable", pooler.port);
    let mut load = Command::new(env!("CARGO_BIN_EXE_headpond"));
    load.current_dir(folder.path()).args(["bench", &url, "-c", "8", "-d", "22s"]);
    let load = load.args(["--warm-up", "0ms", "--quiet", "--workload"]).arg(&workload).output();
    let load = load.expect("it runs");
    assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
    let advise = |more: &[&str]| {
        let metrics = format!("http://127.0.0.1:{}/metrics", pooler.http);
        let mut command = Command::new(env!("CARGO_BIN_EXE_headpond"));
        command.args(["tune", "--from-metrics", &metrics, "--interval", "1s"]).args(more);
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let found: Value = serde_json::from_str(&advise(&["--json"])).expect("JSON");
    assert_eq!(found["schema"], "headpond-tune-history/1");
    let pool = &found["pools"][0];
    assert_eq!((&pool["pool"], &pool["size"]), (&"app/app".into(), &4.into()), "{found}");
    let number = |key: &str| pool[key].as_f64().expect("a number");
    assert!(number("used_max") > 3.5 && number("used_max") <= 4.0, "{pool}");
    assert!(number("waiting_max") >= 3.0 && number("wait_p99_us") > 5_000.0, "{pool}");
    // Four at once, 20 ms each; less where the machine has other work.
    assert!((20.0..=200.0).contains(&number("rate")) && number("seen_s") >= 20.0, "{pool}");
    assert!(pool["was_full"] == true && number("recommended") > 4.0, "{pool}");
    assert!(pool["from"].as_str() < pool["until"].as_str(), "{pool}");
    let text = advise(&["--quiet"]);
    assert!(text.contains("app/app: from 2") && text.contains("the pool was full"), "{text}");
    // The moment is quiet, and has nothing to say of the peak.
    let moment = advise(&["--quiet", "--history", "0"]);
    assert!(!moment.contains("recommended"), "{moment}");
}
