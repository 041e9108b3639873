//! What the plan predicts against what a pool of the library measures, for combinations of load
//! and size; the table of docs/capacity-model.md.

use std::time::Duration;

use headpond_bench::model::service::Service as Hold;
use headpond_bench::model::simulate::{Arrivals, Scenario, simulate};
use headpond_bench::run::{Options, Through};
use headpond_core::Limits;

use crate::fake::{Fake, Service};
use crate::{open, options, run};

/// Median and worst relative error that the model may have.
const LIMITS: (f64, f64) = (0.15, 0.40);

#[test]
#[ignore = "measures: a quiet machine, one at a time"]
fn the_plan_predicts_the_wait_for_a_small_pool() {
    check(&[(2, 0.6), (2, 0.75), (2, 0.85), (4, 0.6), (4, 0.75), (4, 0.85)]);
}

#[test]
#[ignore = "measures: a quiet machine, one at a time"]
fn the_plan_predicts_the_wait_for_a_large_pool() {
    check(&[(8, 0.7), (8, 0.8), (8, 0.9), (16, 0.8), (16, 0.85), (16, 0.9)]);
}

/// The shorter a service, the more of them a run has, and the more a hiccup of this machine weighs:
/// some thousand requests a second are between both.
fn service(size: u32) -> Duration {
    Duration::from_millis(match size {
        0..=4 => 1,
        5..=8 => 2,
        _ => 5,
    })
}

fn check(combinations: &[(u32, f64)]) {
    let mut errors = Vec::new();
    println!("| size | load | requests/s | service | predicted p99 | measured p99 | error |");
    println!("|---|---|---|---|---|---|---|");
    for (size, load) in combinations.iter().copied() {
        let mean = service(size);
        // The server has a worker for each connection: all waiting is for the pool.
        let fake = Fake::start(1000, Service::Exponential(mean));
        let rate = f64::from(size) * load / mean.as_secs_f64();
        let base = Options { clients: size, arrival: open(rate), ..options(&fake) };
        let base = Options { through: Through::Library, warm_up: Duration::from_secs(1), ..base };
        // Waits depend on each other over 1 / (1 - sqrt(load))^2 services of the whole pool. Of the
        // least favourable of these, 2 connections at 0.85, 50 s are 600 times that; with 100 times
        // (5 ms, 40 s) the measured p99 was off by two thirds in one run of twelve.
        let run = run(&Options { duration: Duration::from_secs(50), seed: 11, ..base });
        // Service times as recorded in this run: what is predicted is the queue. Taken from
        // another run they would be off by some percent, which a load of 0.9 multiplies by ten.
        let recorded = Hold::recorded(&run.service).expect("it answered");
        let predicted = predict(&recorded, size, run.rate);
        let measured = run.wait.at(0.99) / 1e3;
        let error = (predicted - measured).abs() / measured;
        errors.push(error);
        println!(
            "| {size} | {load} | {:.0} | {:.2} ms | {predicted:.1} ms | {measured:.1} ms | \
             {:.0} % |",
            run.rate,
            run.service.mean_us / 1e3,
            error * 100.0
        );
    }
    let median = headpond_bench::statistics::median(&errors).expect("there are some");
    let worst = errors.iter().copied().fold(0.0, f64::max);
    println!("median error {:.0} %, worst {:.0} %", median * 100.0, worst * 100.0);
    assert!(median <= LIMITS.0 && worst <= LIMITS.1, "{median} {worst}");
}

/// Returns the predicted p99 of the wait in milliseconds.
fn predict(service: &Hold, size: u32, rate: f64) -> f64 {
    let scenario = Scenario {
        limits: Limits { size, min: size, ..Limits::default() },
        // A million requests: the simulation is not what varies.
        duration_s: (1e6 / rate).max(150.0),
        seed: 5,
        ..Scenario::new(Arrivals::Rate(rate), service.clone())
    };
    simulate(&scenario).expect("makes sense").wait.quantile(0.99) as f64 / 1e6
}
