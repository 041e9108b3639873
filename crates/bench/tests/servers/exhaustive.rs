//! Tuning against an exhaustive sweep, on real servers.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use headpond_bench::progress::{Observer, Silent};
use headpond_bench::tune::{self, text};
use headpond_bench::workload::Workload;

use crate::{mariadb, postgres, postgres_url, redis, target};

/// How far the recommended size may be from the best throughput of the sweep.
const WITHIN: f64 = 0.05;

fn compare(url: &str) {
    let target = target(url);
    let kind = target.kind();
    let observer = |_: &str| -> Box<dyn Observer> { Box::new(Silent) };
    let workload = Workload::simple(kind, 0.2).expect("a share");
    let base = tune::Options::new(target, workload);
    let stop = AtomicBool::new(false);
    let searching = tune::Options { step: Duration::from_secs(1), size_max: 64, ..base.clone() };
    let began = Instant::now();
    let (tuning, _) = tune::tune(&searching, observer, &stop).expect("tuned");
    let took = began.elapsed();
    println!("{kind}, {took:.0?}\n{}", text::text(&tuning, kind));
    assert!(took < Duration::from_secs(600));
    // The sweep measures the recommended size again, among all others, in the same rounds.
    let mut sizes = vec![1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, tuning.recommended];
    sizes.sort_unstable();
    sizes.dedup();
    let sweep = tune::Options { sizes, repeats: 3, step: Duration::from_secs(1), ..base };
    let (sweep, _) = tune::tune(&sweep, observer, &stop).expect("swept");
    let rate = |size: u32| {
        sweep.points.iter().find(|point| point.size == size).map_or(0.0, |p| p.rate.mean)
    };
    let (best, ours) = (rate(sweep.best), rate(tuning.recommended));
    println!(
        "{kind}: recommended {} with {ours:.0}/s, best of the sweep {} with {best:.0}/s: {:+.1} %",
        tuning.recommended,
        sweep.best,
        (ours / best - 1.0) * 100.0
    );
    assert!(ours >= (1.0 - WITHIN) * best);
}

#[test]
#[ignore = "measures: a quiet machine, one at a time"]
fn postgres_is_tuned_to_within_five_percent_of_the_best() {
    compare(&postgres_url(&postgres::Postgres::start()));
}

#[test]
#[ignore = "measures: a quiet machine, one at a time"]
fn mariadb_is_tuned_to_within_five_percent_of_the_best() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    compare(&runtime.block_on(mariadb::Server::start()).url("ssl-mode=DISABLED"));
}

#[test]
#[ignore = "measures: a quiet machine, one at a time"]
fn redis_is_tuned_to_within_five_percent_of_the_best() {
    compare(&redis::Server::start().url(""));
}
