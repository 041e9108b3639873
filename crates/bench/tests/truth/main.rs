//! Whether the tool tells the truth, against a server whose capacity is known.
//!
//! The laws that hold on any machine run always. Those that compare figures with theory measure,
//! so they are ignored and run by hand, one at a time, on a machine that is quiet:
//! `cargo test -p headpond-bench --test truth --release -- --ignored --test-threads 1 --nocapture`

mod capacity;
mod fake;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../../pooler/tests/support/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "shared with the pooler's tests, which need more of it")]
#[path = "../../../pooler/tests/support/process.rs"]
mod process;
mod theory;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use fake::{Fake, Service};
use headpond_bench::arrival::{Arrival, Shape};
use headpond_bench::progress::Silent;
use headpond_bench::result::{Run, Verdict};
use headpond_bench::run::{Options, measure};
use headpond_bench::target::Target;
use headpond_bench::workload::Workload;

const WORKLOAD: &str = "name = 'queue'\n[[statement]]\nname = 'one'\naccess = 'read'\n\
                        text = 'SELECT $1'\nparameters = [{ uniform = [1, 9] }]";

fn options(fake: &Fake) -> Options {
    let target = Target::parse(&fake.url()).expect("a url");
    let workload = Workload::parse(WORKLOAD).expect("a workload");
    Options { warm_up: Duration::from_millis(300), ..Options::new(target, workload) }
}

fn run(options: &Options) -> Run {
    measure(options, &mut Silent, &AtomicBool::new(false)).expect("the server answers")
}

fn open(rate: f64) -> Arrival {
    Arrival::Open { rate, shape: Shape::Poisson }
}

/// Stalls the server for a second in the middle of a run of three: when it has served so many.
fn with_a_stall(options: &Options, fake: &Fake, after: u64) -> Run {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while fake.served() < after {
                std::thread::sleep(Duration::from_millis(5));
            }
            fake.stall(Duration::from_secs(1));
        });
        run(options)
    })
}

#[test]
fn a_stall_of_a_second_shows_in_an_open_loop_and_hides_in_a_closed_one() {
    let fake = Fake::start(4, Service::Fixed(Duration::from_millis(2)));
    let base = Options { clients: 4, duration: Duration::from_secs(3), ..options(&fake) };
    let open = with_a_stall(&Options { arrival: open(300.0), ..base.clone() }, &fake, 300);
    assert!(open.latency.at(0.999) > 700_000.0, "p99.9 {} us", open.latency.at(0.999));
    // A quarter of the requests fell into the stall: even p90 shows it.
    assert!(open.latency.at(0.9) > 100_000.0, "p90 {} us", open.latency.at(0.9));

    let fake = Fake::start(4, Service::Fixed(Duration::from_millis(2)));
    let base = Options { target: Target::parse(&fake.url()).expect("a url"), ..base };
    let closed = with_a_stall(&base, &fake, 1500);
    assert!(closed.latency.max_us > 700_000.0, "one request of each client was caught");
    assert!(closed.latency.at(0.99) < 500_000.0, "and is lost among the others");
}

#[test]
fn every_request_is_counted_once() {
    let fake = Fake::start(8, Service::Fixed(Duration::from_millis(1)));
    let arrival = Arrival::Open { rate: 500.0, shape: Shape::Even };
    let base = Options { clients: 8, arrival, ..options(&fake) };
    let run = run(&Options { duration: Duration::from_secs(2), ..base });
    // 500 a second at equal distances for two seconds: one at either end may fall outside.
    assert!(run.latency.count.abs_diff(1000) <= 1, "{}", run.latency.count);
    assert_eq!((run.errors.len(), run.unfinished), (0, 0));
}

#[test]
fn a_run_that_is_stopped_still_has_figures() {
    let fake = Fake::start(4, Service::Fixed(Duration::from_millis(1)));
    let options = Options { clients: 4, duration: Duration::from_secs(3600), ..options(&fake) };
    let stop = Arc::new(AtomicBool::new(false));
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            while fake.served() < 1500 {
                std::thread::sleep(Duration::from_millis(5));
            }
            stop.store(true, Relaxed);
        });
        measure(&options, &mut Silent, &stop).expect("the server answers")
    });
    assert!(run.interrupted && run.completed > 100, "{} completed", run.completed);
    assert!(run.measured_s < 60.0);
}

#[test]
fn fewer_connections_than_clients_make_requests_wait_and_the_wait_is_told_apart() {
    let fake = Fake::start(64, Service::Fixed(Duration::from_millis(5)));
    let base = Options { clients: 20, connections: Some(2), ..options(&fake) };
    let run = run(&Options { duration: Duration::from_secs(2), ..base });
    // Nine of ten clients wait, for nine services of two connections each.
    assert!(run.wait.at(0.5) > 5.0 * run.service.at(0.5), "{:?}", run.wait.percentiles_us);
    assert!(run.service.at(0.5) >= 5_000.0);
    let utilisation = run.utilisation.expect("it was sampled");
    assert!(utilisation.p50 > 0.99, "{utilisation:?}");
}

#[test]
fn a_generator_that_is_at_its_limit_says_so_and_one_that_is_not_does_not() {
    let fake = Fake::start(64, Service::Fixed(Duration::ZERO));
    let base = Options { clients: 32, threads: Some(1), ..options(&fake) };
    let base = Options { duration: Duration::from_secs(1), ..base };
    // No thread can send two million requests a second, whatever the server does.
    let beyond = run(&Options { arrival: open(2e6), timeout: Duration::from_secs(2), ..base });
    let warning = beyond.generator.verdict.warning().expect("it could not");
    assert!(warning.contains("generator"), "{warning}");
    let idle =
        run(&Options { arrival: open(50.0), duration: Duration::from_secs(1), ..options(&fake) });
    assert_ne!(idle.generator.verdict, Verdict::Saturated);
}

#[test]
fn a_server_that_is_gone_is_an_error_and_no_result() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let target = Target::parse(&format!("postgres://a:s3cret@127.0.0.1:{port}/b")).expect("a url");
    let options = Options::new(target, Workload::parse(WORKLOAD).expect("a workload"));
    let error = measure(&options, &mut Silent, &AtomicBool::new(false)).expect_err("nobody there");
    assert!(error.to_string().contains("refused") && !error.to_string().contains("s3cret"));
}
