//! The simulation against closed formulae, and the laws that hold in every one.

use super::*;
use crate::model::theory::Queue;

fn scenario(size: u32, rate: f64) -> Scenario {
    Scenario {
        limits: Limits { size, min: size, ..Limits::default() },
        warm_up_s: 20.0,
        duration_s: 1000.0,
        seed: 42,
        ..Scenario::new(Arrivals::Rate(rate), Service::Exponential(0.01))
    }
}

fn run(scenario: &Scenario) -> Outcome {
    simulate(scenario).expect("makes sense")
}

#[test]
fn waits_agree_with_the_formula_of_erlang() {
    for (size, rate) in [(1, 70.0), (4, 320.0), (8, 640.0), (16, 1400.0)] {
        let queue = Queue { rate, service_s: 0.01, servers: size };
        let outcome = run(&scenario(size, rate));
        for q in [0.9, 0.99] {
            let expected = queue.wait(q).expect("not overloaded") * 1e9;
            let found = outcome.wait.quantile(q) as f64;
            let off = (found - expected).abs() / expected.max(1e6);
            assert!(off < 0.08, "{size} at {rate}, {q}: {found} instead of {expected}");
        }
        let load = queue.load() / f64::from(size);
        assert!((outcome.utilisation / load - 1.0).abs() < 0.02, "{}", outcome.utilisation);
        assert!((outcome.rate / rate - 1.0).abs() < 0.02, "{}", outcome.rate);
    }
}

#[test]
fn a_closed_loop_without_pauses_keeps_every_connection_busy() {
    let arrivals = Arrivals::Clients { count: 32, think_s: 0.0 };
    let outcome = run(&Scenario { arrivals, duration_s: 200.0, ..scenario(8, 1.0) });
    let (rate, latency) = Queue::closed(8, 0.01, 32);
    assert!((outcome.rate / rate - 1.0).abs() < 0.02, "{}", outcome.rate);
    assert!((outcome.latency.mean() / 1e9 / latency - 1.0).abs() < 0.02);
    assert!(outcome.utilisation > 0.99, "{}", outcome.utilisation);
}

#[test]
fn a_server_with_two_cores_gains_nothing_from_more_connections() {
    let arrivals = Arrivals::Clients { count: 64, think_s: 0.0 };
    let base =
        Scenario { arrivals, server_cores: Some(2.0), duration_s: 100.0, ..scenario(2, 1.0) };
    let few = run(&base);
    let many = run(&Scenario { limits: Limits { size: 32, min: 32, ..base.limits }, ..base });
    assert!((many.rate / few.rate - 1.0).abs() < 0.1, "{} and {}", few.rate, many.rate);
}

#[test]
fn the_same_seed_gives_the_same_outcome() {
    let scenario = Scenario { duration_s: 20.0, ..scenario(4, 380.0) };
    let (a, b) = (run(&scenario), run(&scenario));
    assert_eq!(a.events, b.events);
    assert_eq!(a.wait.quantile(0.99), b.wait.quantile(0.99));
    let other = run(&Scenario { seed: 43, ..scenario });
    assert_ne!(a.events, other.events);
}

#[test]
fn a_fleet_never_has_more_connections_than_its_limits_allow() {
    let arrivals = Arrivals::Rate(20_000.0);
    let fleet =
        Scenario { instances: 50, arrivals, duration_s: 5.0, warm_up_s: 1.0, ..scenario(4, 1.0) };
    let outcome = run(&fleet);
    assert!(outcome.connections_max <= 200, "{}", outcome.connections_max);
    let capped = run(&Scenario { connections_max: Some(120), ..fleet });
    assert!(capped.connections_max <= 120, "{}", capped.connections_max);
}

#[test]
fn a_failover_costs_requests_and_is_over_soon_after_the_server_is_back() {
    let failover = Incident { what: What::Failover, from_s: 10.0, until_s: 13.0 };
    let incidents = vec![failover];
    let outcome = run(&Scenario { incidents, duration_s: 60.0, ..scenario(8, 400.0) });
    assert!(outcome.failures > 0, "those under way break");
    let after = outcome.recovered_after_s.expect("it recovers");
    assert!(after <= 12.0, "{after} s: the pool probes at least every ten seconds");
}

#[test]
fn a_burst_beyond_the_capacity_makes_callers_wait() {
    let burst = Incident { what: What::Burst(3.0), from_s: 10.0, until_s: 12.0 };
    let calm = run(&Scenario { duration_s: 40.0, ..scenario(8, 400.0) });
    let storm = run(&Scenario { incidents: vec![burst], duration_s: 40.0, ..scenario(8, 400.0) });
    assert!(storm.wait.quantile(0.99) > 20 * calm.wait.quantile(0.99).max(1_000_000));
    assert!(storm.recovered_after_s.is_some());
}

#[test]
fn an_overloaded_pool_refuses_by_the_deadline_and_counts_who_still_waits() {
    let timeout = Duration::from_millis(500);
    let outcome = run(&Scenario { timeout, duration_s: 20.0, ..scenario(2, 400.0) });
    assert!((outcome.error_share - 0.5).abs() < 0.05, "{}", outcome.error_share);
    assert!(outcome.wait.quantile(0.999) <= 510_000_000);
    let patient =
        Scenario { timeout: Duration::from_secs(3600), duration_s: 20.0, ..scenario(2, 400.0) };
    let outcome = run(&patient);
    assert_eq!(outcome.timeouts, 0);
    assert!(outcome.wait.quantile(0.99) > 5_000_000_000, "those who wait still are in there");
}

#[test]
fn internet_scale_is_simulated_in_seconds() {
    // A tenth of the requests of the real thing, because tests run without optimisation.
    let arrivals = Arrivals::Clients { count: 100_000, think_s: 10.0 };
    let fleet = Scenario {
        instances: 1000,
        arrivals,
        service: Service::Exponential(0.005),
        warm_up_s: 2.0,
        duration_s: 5.0,
        ..scenario(2, 1.0)
    };
    let outcome = run(&fleet);
    assert!((outcome.rate / 10_000.0 - 1.0).abs() < 0.05, "{}", outcome.rate);
    assert!(outcome.connections_max <= 2000);
}
