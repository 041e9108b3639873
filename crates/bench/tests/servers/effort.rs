//! What the generator itself costs, beside pgbench on the same prepared select.

use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use headpond_bench::progress::Silent;
use headpond_bench::run::{self, Options};
use headpond_bench::workload::{OWN, ROWS, Workload};

use crate::{options, postgres, postgres_url};

/// The least share of pgbench's transactions per processor second.
const LEAST: f64 = 0.6;
const CLIENTS: u32 = 8;
const SECONDS: u32 = 10;

#[test]
#[ignore = "measures: a quiet machine, built with --release"]
fn the_generator_does_most_of_what_pgbench_does_with_a_processor() {
    let server = postgres::Postgres::start();
    let url = postgres_url(&server);
    let base = options(&url);
    let workload = Workload::simple(base.target.kind(), 0.0).expect("a share");
    let duration = Duration::from_secs(SECONDS.into());
    let warm_up = Duration::from_secs(1);
    let base = Options { clients: CLIENTS, workload, duration, warm_up, ..base };
    let prepared = run::prepare(&base.target, &base.workload).expect("tables");
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("select.sql");
    let text =
        format!("\\set id random(1, {ROWS})\nSELECT balance FROM {OWN}.account WHERE id = :id;\n");
    std::fs::write(&script, text).expect("written");
    let mut shares = Vec::new();
    for round in 0..3 {
        let ours = run::measure(&base, &mut Silent, &AtomicBool::new(false)).expect("measured");
        let (theirs, rate) = pgbench(&url, &script);
        let (ours, own_rate) = (ours.generator.per_cpu_s, ours.rate);
        println!(
            "round {round}: {ours:.0} per CPU second at {own_rate:.0}/s; pgbench {theirs:.0} at \
             {rate:.0}/s: {:.2}, throughput {:.3}",
            ours / theirs,
            own_rate / rate
        );
        shares.push(ours / theirs);
    }
    prepared.remove().expect("removed");
    shares.sort_by(f64::total_cmp);
    assert!(shares[1] >= LEAST, "{shares:?}");
}

/// Returns transactions per processor second, and per second.
fn pgbench(url: &str, script: &std::path::Path) -> (f64, f64) {
    let line = format!(
        "TIMEFORMAT='cpu %U %S'; time {} -n -M prepared -c {CLIENTS} -j 2 -T {SECONDS} -f {} '{url}'",
        postgres::program("pgbench").display(),
        script.display()
    );
    let output = Command::new("bash").args(["-c", &line]).output().expect("bash runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let field = |start: &str| -> Vec<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(start));
        let words = line.unwrap_or_else(|| panic!("{start} in {text}")).split_whitespace();
        words.map_while(|word| word.parse().ok()).collect()
    };
    let done = field("number of transactions actually processed:")[0];
    let cpu: f64 = field("cpu ").iter().sum();
    (done / cpu, field("tps =")[0])
}
