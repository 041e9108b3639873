//! Throughput, percentiles and the knee against the theory of queues, within five percent.

use std::time::Duration;

use headpond_bench::model::theory::Queue;
use headpond_bench::run::Options;
use headpond_core::sizing::Usl;

use crate::fake::{Fake, Service};
use crate::{open, options, postgres, run};

/// How far from theory is still the truth.
const WITHIN: f64 = 0.05;

fn check(what: &str, found: f64, expected: f64) -> bool {
    let off = found / expected - 1.0;
    println!("{what:<42} {found:>12.1} theory {expected:>12.1}  {:+.1}%", off * 100.0);
    off.abs() <= WITHIN
}

#[test]
#[ignore = "measures: a quiet machine, one at a time"]
fn an_open_loop_agrees_with_the_formula_of_erlang() {
    let (workers, mean) = (8u32, Duration::from_millis(10));
    let mut good = true;
    for share in [0.5, 0.8] {
        let rate = f64::from(workers) / mean.as_secs_f64() * share;
        let fake = Fake::start(workers as usize, Service::Exponential(mean));
        // More connections than ever wait at once: the queue is the server's.
        let base = Options { clients: 200, arrival: open(rate), ..options(&fake) };
        let duration = Duration::from_secs(50);
        let run = run(&Options { duration, warm_up: Duration::from_secs(2), ..base });
        let queue = Queue { rate, service_s: mean.as_secs_f64(), servers: workers };
        good &= check(&format!("rate at {share}"), run.rate, rate);
        for q in [0.5, 0.9, 0.95, 0.99] {
            let theory = queue.latency(q).expect("no overload") * 1e6;
            good &= check(&format!("p{} at {share}, us", q * 100.0), run.latency.at(q), theory);
        }
    }
    assert!(good, "more than {WITHIN} off");
}

#[test]
#[ignore = "measures: a quiet machine, one at a time"]
fn a_closed_loop_finds_the_capacity_and_the_knee() {
    let (workers, time) = (8u32, Duration::from_millis(10));
    let fake = Fake::start(workers as usize, Service::Fixed(time));
    let (mut good, mut points) = (true, Vec::new());
    for clients in [1u32, 2, 4, 6, 8, 10, 12, 16, 24, 32] {
        let base = Options { clients, ..options(&fake) };
        let run = run(&Options { duration: Duration::from_secs(4), ..base });
        let (rate, latency) = Queue::closed(workers, time.as_secs_f64(), clients);
        good &= check(&format!("rate of {clients} clients"), run.rate, rate);
        good &=
            check(&format!("mean of {clients} clients, us"), run.latency.mean_us, latency * 1e6);
        points.push((clients, run.rate, run.latency.at(0.99)));
    }
    let best = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let knee = points.iter().find(|point| point.1 >= 0.97 * best).expect("the best itself").0;
    let power = points.iter().max_by(|a, b| (a.1 / a.2).total_cmp(&(b.1 / b.2))).expect("ten").0;
    println!("knee by throughput {knee}, by p99 {power}, theory {workers}");
    let law = Usl::fit(&points.iter().map(|p| (f64::from(p.0), p.1)).collect::<Vec<_>>());
    println!("usl {law:?}");
    assert!(good, "more than {WITHIN} off");
    assert_eq!((knee, power), (workers, workers));
}

#[test]
#[ignore = "measures: a quiet machine, one at a time"]
fn a_closed_loop_agrees_with_pgbench_on_the_same_work() {
    let (workers, time) = (8u32, Duration::from_millis(10));
    let fake = Fake::start(workers as usize, Service::Fixed(time));
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("one.sql");
    std::fs::write(&script, "\\set n random(1, 9)\nSELECT :n;\n").expect("written");
    let mut good = true;
    for clients in [1u32, 4, 8, 16, 32] {
        let base = Options { clients, ..options(&fake) };
        let run = run(&Options { duration: Duration::from_secs(4), ..base });
        let (rate, latency) = pgbench(fake.port(), clients, &script);
        good &= check(&format!("rate of {clients} clients (pgbench)"), run.rate, rate);
        let what = format!("mean of {clients} clients, us (pgbench)");
        good &= check(&what, run.latency.mean_us, latency * 1e3);
    }
    assert!(good, "more than {WITHIN} off");
}

/// Returns transactions per second and the mean latency in milliseconds.
fn pgbench(port: u16, clients: u32, script: &std::path::Path) -> (f64, f64) {
    let mut command = std::process::Command::new(postgres::program("pgbench"));
    command.args(["-n", "-M", "prepared", "-j", "1", "-T", "4"]);
    command.args(["-c", &clients.to_string()]).arg("-f").arg(script);
    command.arg(format!("postgres://bench@127.0.0.1:{port}/bench?sslmode=disable"));
    let output = command.output().expect("pgbench runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let field = |start: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(start));
        let line = line.unwrap_or_else(|| panic!("{start}: {text} {output:?}"));
        let word = line.split_whitespace().find_map(|word| word.parse().ok());
        word.unwrap_or_else(|| panic!("{start}: {line}"))
    };
    (field("tps ="), field("latency average ="))
}
