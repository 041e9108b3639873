//! "What if": many simulated scenarios, and what they say about sizes.
//!
//! Invariant: the recommended size is the smallest simulated one that keeps the promise asked for;
//! if none does, none is recommended.
//! Left out: the simulation itself (`model::simulate`).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::duration::{digits, micros};
use crate::error::Error;
use crate::model::simulate::{Arrivals, Outcome, Scenario, simulate};
use crate::model::theory::Queue;

/// What to find out.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything but the sizes and the number of instances.
    pub base: Scenario,
    /// Sizes of each instance's pool. Empty: chosen around what the formulae say.
    pub sizes: Vec<u32>,
    /// Numbers of instances.
    pub instances: Vec<u32>,
    /// Connections that the server lets in.
    pub connections_max: Option<u32>,
    /// Connections set aside for administration.
    pub reserved: u32,
    /// How long all but a hundredth of the requests may wait.
    pub wait_p99: Duration,
}

/// One simulated combination.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Processes.
    pub instances: u32,
    /// Connections of each at most.
    pub size: u32,
    /// All of them together.
    pub total: u32,
    /// Answered requests per second.
    pub rate: f64,
    /// Connections in use as a share.
    pub utilisation: f64,
    /// Half of the waits.
    pub wait_p50_us: f64,
    /// All but a hundredth of the waits.
    pub wait_p99_us: f64,
    /// All but a thousandth of the waits.
    pub wait_p999_us: f64,
    /// From asking to the answer, all but a hundredth.
    pub latency_p99_us: f64,
    /// The wait that the formula of Erlang gives for one pool; none in overload, or when the load
    /// is no plain rate.
    pub erlang_p99_us: Option<f64>,
    /// Share of requests that were not answered.
    pub error_share: f64,
    /// The most connections that the server had.
    pub connections_max: u32,
    /// Seconds from the end of the last incident until waits were as before.
    pub recovered_after_s: Option<f64>,
    /// Whether it keeps the promise and fits the server.
    pub verdict: Verdict,
    /// Simulated events.
    pub events: u64,
}

/// Whether a combination will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It keeps the promise and fits.
    Good,
    /// Requests wait too long.
    Slow,
    /// Requests are refused, or break.
    Failing,
    /// The server has not so many connections.
    TooMany,
}

/// What was found out.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Every combination.
    pub rows: Vec<Row>,
    /// How long all but a hundredth may wait.
    pub wait_p99_us: f64,
    /// Connections that the server has for the fleet.
    pub room: Option<u32>,
}

impl Plan {
    /// Returns the smallest size that will do for so many instances.
    #[must_use]
    pub fn recommended(&self, instances: u32) -> Option<&Row> {
        let good = |row: &&Row| row.instances == instances && row.verdict == Verdict::Good;
        self.rows.iter().filter(good).min_by_key(|row| row.size)
    }
}

/// Simulates every combination, on all cores.
///
/// # Errors
/// When a scenario makes no sense.
pub fn plan(options: &Options) -> Result<Plan, Error> {
    let room = match options.connections_max {
        Some(max) => {
            Some(max.checked_sub(options.reserved).filter(|room| *room > 0).ok_or_else(|| {
                Error::usage("max_connections", "all of them are reserved for administration")
            })?)
        }
        None => None,
    };
    let mut jobs = Vec::new();
    for instances in options.instances.iter().copied() {
        for size in sizes(options, instances) {
            jobs.push((instances, size));
        }
    }
    if jobs.is_empty() {
        return Err(Error::usage("instances", "at least one number is needed"));
    }
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<(usize, Result<Row, Error>)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, job)) = take(&next, &jobs) {
                    let row = one(options, room, job.0, job.1);
                    rows.lock().push((index, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner();
    rows.sort_by_key(|(index, _)| *index);
    let rows = rows.into_iter().map(|(_, row)| row).collect::<Result<Vec<_>, _>>()?;
    Ok(Plan { rows, wait_p99_us: options.wait_p99.as_secs_f64() * 1e6, room })
}

fn take<'a>(next: &AtomicUsize, jobs: &'a [(u32, u32)]) -> Option<(usize, &'a (u32, u32))> {
    let index = next.fetch_add(1, Relaxed);
    jobs.get(index).map(|job| (index, job))
}

/// Returns requests per second of the fleet, if that is known beforehand.
fn rate(arrivals: &Arrivals, service_s: f64) -> f64 {
    match arrivals {
        Arrivals::Rate(rate) => *rate,
        // The busiest second counts: that is when people wait.
        Arrivals::Recorded(seconds) => seconds.iter().copied().fold(0.0, f64::max),
        Arrivals::Clients { count, think_s } => f64::from(*count) / (think_s + service_s),
    }
}

/// Chooses sizes: around the size that the formula gives for the promise.
fn sizes(options: &Options, instances: u32) -> Vec<u32> {
    if !options.sizes.is_empty() {
        return options.sizes.clone();
    }
    let service = options.base.service.mean();
    let rate = rate(&options.base.arrivals, service) / f64::from(instances.max(1));
    let queue = Queue { rate, service_s: service, servers: 0 };
    let wanted = queue.fewest(0.99, options.wait_p99.as_secs_f64(), 1.0);
    let middle = wanted.unwrap_or(64).max(1);
    let factors = [0.5, 0.7, 0.85, 1.0, 1.15, 1.3, 1.6, 2.0];
    let mut sizes: Vec<u32> =
        factors.iter().map(|factor| (f64::from(middle) * factor).round().max(1.0) as u32).collect();
    sizes.extend([middle.saturating_sub(1).max(1), middle + 1]);
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn one(options: &Options, room: Option<u32>, instances: u32, size: u32) -> Result<Row, Error> {
    let mut scenario = options.base.clone();
    scenario.instances = instances;
    scenario.limits.size = size;
    scenario.limits.min = scenario.limits.min.min(size);
    scenario.connections_max = room;
    let outcome = simulate(&scenario)?;
    let total = instances.saturating_mul(size);
    let us = |nanos: u64| nanos as f64 / 1e3;
    let wait_p99_us = us(outcome.wait.quantile(0.99));
    let verdict = verdict(options, room, total, &outcome);
    let queue = match &scenario.arrivals {
        Arrivals::Rate(rate) => Some(Queue {
            rate: rate / f64::from(instances.max(1)),
            service_s: scenario.service.mean(),
            servers: size,
        }),
        _ => None,
    };
    Ok(Row {
        instances,
        size,
        total,
        rate: outcome.rate,
        utilisation: outcome.utilisation,
        wait_p50_us: us(outcome.wait.quantile(0.5)),
        wait_p99_us,
        wait_p999_us: us(outcome.wait.quantile(0.999)),
        latency_p99_us: us(outcome.latency.quantile(0.99)),
        erlang_p99_us: queue.and_then(|queue| queue.wait(0.99)).map(|seconds| seconds * 1e6),
        error_share: outcome.error_share,
        connections_max: outcome.connections_max,
        recovered_after_s: outcome.recovered_after_s,
        verdict,
        events: outcome.events,
    })
}

fn verdict(options: &Options, room: Option<u32>, total: u32, outcome: &Outcome) -> Verdict {
    // Some requests break with a failover whatever the size is; nobody is blamed for those.
    const ERRORS: f64 = 0.001;
    if room.is_some_and(|room| total > room) {
        return Verdict::TooMany;
    }
    if options.base.incidents.is_empty() && outcome.error_share > ERRORS {
        return Verdict::Failing;
    }
    match Duration::from_nanos(outcome.wait.quantile(0.99)) > options.wait_p99 {
        true => Verdict::Slow,
        false => Verdict::Good,
    }
}

/// Writes a plan for the terminal.
#[must_use]
pub fn text(plan: &Plan) -> String {
    use std::fmt::Write as _;
    let mut out = String::from(
        "instances  size  total        rate  in use   wait p50   wait p99  wait p99.9     erlang  \
         errors  verdict\n",
    );
    for row in &plan.rows {
        let verdict = match row.verdict {
            Verdict::Good => "good",
            Verdict::Slow => "slow",
            Verdict::Failing => "failing",
            Verdict::TooMany => "too many",
        };
        let _ = write!(
            out,
            "{:>9} {:>5} {:>6} {:>11} {:>6}% {:>10} {:>10} {:>11} {:>10} {:>6}%  {verdict}",
            row.instances,
            row.size,
            row.total,
            digits(row.rate),
            digits(row.utilisation * 100.0),
            micros(row.wait_p50_us),
            micros(row.wait_p99_us),
            micros(row.wait_p999_us),
            row.erlang_p99_us.map_or("–".to_owned(), micros),
            digits(row.error_share * 100.0),
        );
        if let Some(after) = row.recovered_after_s {
            let _ = write!(out, ", as before after {} s", digits(after));
        }
        out.push('\n');
    }
    let mut instances: Vec<u32> = plan.rows.iter().map(|row| row.instances).collect();
    instances.dedup();
    for instances in instances {
        let promise = micros(plan.wait_p99_us);
        let _ = match plan.recommended(instances) {
            Some(row) => writeln!(
                out,
                "{instances} instances: {} connections each, {} in all, keep p99 of the wait \
                 within {promise}",
                row.size, row.total
            ),
            None => writeln!(
                out,
                "{instances} instances: none of these sizes keeps p99 of the wait within {promise}"
            ),
        };
    }
    if let Some(room) = plan.room {
        let _ = writeln!(out, "the server has {room} connections for the fleet");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::service::Service;

    fn options(rate: f64) -> Options {
        let base = Scenario {
            warm_up_s: 5.0,
            seed: 7,
            ..Scenario::new(Arrivals::Rate(rate), Service::Exponential(0.01))
        };
        Options {
            base,
            sizes: Vec::new(),
            instances: vec![4],
            connections_max: Some(100),
            reserved: 3,
            wait_p99: Duration::from_millis(20),
        }
    }

    #[test]
    fn the_smallest_size_that_keeps_the_promise_is_recommended() {
        let plan = plan(&options(2000.0)).expect("makes sense");
        let row = plan.recommended(4).expect("there is one");
        // A load of 5 for each instance: fewer than six connections are an overload.
        assert!((6..=10).contains(&row.size), "{row:?}");
        let smaller = plan.rows.iter().filter(|other| other.size < row.size);
        assert!(smaller.into_iter().all(|other| other.verdict != Verdict::Good));
        assert!(text(&plan).contains("4 instances:"));
    }

    #[test]
    fn a_fleet_that_does_not_fit_the_server_is_no_answer() {
        let plan = plan(&Options { instances: vec![20], sizes: vec![5], ..options(2000.0) });
        let plan = plan.expect("makes sense");
        assert_eq!(plan.rows[0].verdict, Verdict::TooMany);
        assert!(plan.recommended(20).is_none());
        assert!(text(&plan).contains("none of these sizes"));
    }

    #[test]
    fn an_overload_is_never_good() {
        let options = Options { sizes: vec![2], instances: vec![1], ..options(1000.0) };
        let plan = plan(&options).expect("makes sense");
        assert_ne!(plan.rows[0].verdict, Verdict::Good);
        assert_eq!(plan.rows[0].erlang_p99_us, None);
    }
}
