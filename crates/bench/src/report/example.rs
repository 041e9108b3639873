//! A run as tests need it.

use std::collections::BTreeMap;

use crate::measure::Times;
use crate::result::{Generator, Percentiles, Run, Second, Settings, Utilisation, Verdict};
use crate::target::Kind;

/// Returns a run of 20 seconds with this rate and every latency the same.
pub fn run(label: &str, rate: f64, latency_ms: f64) -> Run {
    let mut times = Times::default();
    let nanos = (latency_ms * 1e6) as u64;
    (0..1000).for_each(|_| times.record(nanos));
    let second = |n: u32| Second {
        at_s: f64::from(n),
        // A little up and down: nothing real is constant.
        completed: (rate * (1.0 + 0.01 * f64::from(n % 3))) as u64,
        p50_us: latency_ms * 1e3,
        p99_us: latency_ms * 1e3 * (1.0 + 0.01 * f64::from(n % 2)),
        max_us: latency_ms * 1e3,
        in_use: 5,
        ..Second::default()
    };
    Run {
        label: label.to_owned(),
        kind: Kind::Postgres,
        target: "postgres://app:***@db/<shop>".to_owned(),
        settings: Settings { connections: 10, clients: 10, ..Settings::default() },
        started: "2026-11-27T09:56:35Z".to_owned(),
        measured_s: 20.0,
        interrupted: false,
        completed: (rate * 20.0) as u64,
        rate,
        errors: BTreeMap::new(),
        unfinished: 0,
        error_share: 0.0,
        latency: Percentiles::of(&times),
        wait: Percentiles::default(),
        service: Percentiles::of(&times),
        utilisation: Some(Utilisation { mean: 0.5, p50: 0.5, p90: 0.6, ..Utilisation::default() }),
        seconds: (1..=20).map(second).collect(),
        generator: Generator {
            cpu_s: 1.0,
            per_cpu_s: rate,
            busy: 0.1,
            starved: 0.0,
            lag_p50_us: 0.0,
            lag_p99_us: 0.0,
            verdict: Verdict::Sound,
        },
    }
}
