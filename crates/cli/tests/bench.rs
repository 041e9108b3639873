//! `headpond bench`, `tune` and `plan` as a shell sees them: what goes where, and how they end.
//!
//! Everything runs on an SQLite file or no server at all: real servers are in headpond-bench.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn headpond(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headpond"));
    command.current_dir(folder).stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    headpond(folder).args(arguments).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the results that were kept, oldest first.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("logs")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

const SHORT: [&str; 8] = ["bench", "-c", "4", "-d", "600ms", "--warm-up", "100ms", "--quiet"];

#[test]
fn without_a_url_an_empty_machine_is_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path(), &["bench", "-c", "4", "-d", "600", "--warm-up", "100ms"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(out.contains("SQLite") && out.contains("throughput") && out.contains("p99"), "{out}");
    // A pipe sees no line that rewrites itself.
    assert!(!err.contains('\r') && !err.contains('\u{1b}'), "{err:?}");
    let files = kept(folder.path());
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
    assert!(name.starts_with("connection-pool-optimization-"), "{name}");
    let page = std::fs::read_to_string(file.with_extension("html")).expect("a page");
    assert!(page.contains("<svg") && !page.contains("<script"));
}

#[test]
fn a_threshold_that_is_crossed_ends_with_three_and_one_that_is_not_with_zero() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = [&SHORT[..], &["--fail-if", "p50>1h", "--fail-if", "errors>0%"]].concat();
    assert_eq!(run(folder.path(), &arguments).status.code(), Some(0));
    let output = run(folder.path(), &[&SHORT[..], &["--fail-if", "rate<1000000000"]].concat());
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("rate<"), "{}", text(&output.stderr));
    assert_eq!(kept(folder.path()).len(), 2, "both are kept");
    let output = run(folder.path(), &[&SHORT[..], &["--fail-if", "speed>3"]].concat());
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn two_results_are_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        assert!(run(folder.path(), &[&SHORT[..], &["--repeat", "2"]].concat()).status.success());
    }
    let files = kept(folder.path());
    let [before, after] = files.as_slice() else { panic!("{files:?}") };
    let mut compare = headpond(folder.path());
    let output = compare.args(["bench", "compare"]).args([before, after]).output().expect("runs");
    let out = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(out.contains("rate") && out.contains("p ="), "{out}");
}

#[test]
fn a_run_that_is_interrupted_keeps_its_results() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = headpond(folder.path());
    command.env("TMPDIR", folder.path());
    command.args(["bench", "-c", "2", "-d", "1h", "--warm-up", "0ms", "--json", "--quiet"]);
    let child = command.stdout(Stdio::piped()).spawn().expect("the program runs");
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut least = u64::MAX;
    loop {
        let (table, log) = sizes(folder.path());
        // The table lies in the file since its maker closed it, and the log grows again.
        if table > 500_000 && log > least {
            break;
        }
        if table > 500_000 {
            least = least.min(log);
        }
        assert!(Instant::now() < deadline, "it does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    let results: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(results["schema"], "headpond-bench/1");
    assert_eq!(results["runs"][0]["interrupted"], true);
    assert_eq!(kept(folder.path()).len(), 1);
}

/// Returns how large the database and its log are.
fn sizes(folder: &Path) -> (u64, u64) {
    let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |found| found.len());
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| {
        (size(entry.path().join("bench.db")), size(entry.path().join("bench.db-wal")))
    };
    entries.map(of).max().unwrap_or_default()
}

#[test]
fn a_plan_needs_no_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["plan", "--rate", "500", "--service", "8ms", "--duration", "20s"];
    let output = run(folder.path(), &[&arguments[..], &["--max-connections", "100"]].concat());
    let out = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(out.contains("1 instances:") && out.contains("erlang"), "{out}");
    assert_eq!(run(folder.path(), &["plan"]).status.code(), Some(2), "something is missing");
}

#[test]
fn an_embedded_database_is_tuned() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["tune", "--sizes", "1,2", "--repeat", "2", "--step", "200ms", "--quiet"];
    let output = run(folder.path(), &arguments);
    let out = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(out.contains("recommended") && out.contains("readers"), "{out}");
}

#[test]
fn metrics_are_advice_enough() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, count: u32, seconds: f64| {
        let pool = r#"{db_client_connection_pool_name="main"}"#;
        let text = format!(
            "db_client_connection_use_time_seconds_count{pool} {count}\n\
             db_client_connection_use_time_seconds_sum{pool} {seconds}\n\
             db_client_connection_max{pool} 10\n"
        );
        std::fs::write(folder.path().join(name), text).expect("written");
    };
    write("a.txt", 0, 0.0);
    write("b.txt", 60_000, 480.0);
    let arguments = ["tune", "--from-metrics", "a.txt", "b.txt", "--interval", "60s"];
    let output = run(folder.path(), &arguments);
    let out = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(out.contains("main: 1,000/s") && out.contains("recommended"), "{out}");
    let output = run(folder.path(), &["tune", "--from-metrics", "a.txt"]);
    assert_eq!(output.status.code(), Some(2));
}
