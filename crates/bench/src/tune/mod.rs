//! The best number of connections, by measured runs.
//!
//! First sizes far apart are measured, then those around the best. Every round visits each size
//! once, in an order of its own, so that what the machine does meanwhile hits all of them. A size
//! is recommended if it is the smallest that does not fall behind the best.
//!
//! Invariant: whatever was made on the server is removed, also when a run fails; nothing outside
//! [`workload::OWN`](crate::workload::OWN) is written.
//! Left out: changing any setting. The lines to paste are printed, and pasted by people.

pub mod fleet;
pub mod guard;
pub mod mode;
mod search;
pub mod text;
mod verdict;

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use headpond_core::sizing::Usl;
use serde::Serialize;

use self::fleet::Fleet;
use self::search::{COARSE, Search};
pub use self::verdict::{BEHIND, Tie, judge};
use crate::arrival::Arrival;
use crate::error::Error;
use crate::progress::Observer;
use crate::result::Run;
use crate::run::{self, Protocol, measure};
use crate::statistics::Mean;
use crate::target::{Kind, Target};
use crate::workload::Workload;

/// What to search.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub target: Target,
    /// What is asked of it.
    pub workload: Workload,
    /// How statements are sent.
    pub protocol: Protocol,
    /// Sizes to measure. Empty: searched.
    pub sizes: Vec<u32>,
    /// The largest size to try.
    pub size_max: u32,
    /// How often each size is measured.
    pub repeats: u32,
    /// How long each time.
    pub step: Duration,
    /// When no further size is begun.
    pub budget: Duration,
    /// Processes that will have such a pool each.
    pub instances: u32,
    /// Whether other load on the database does not matter.
    pub yes: bool,
    /// What the randomness begins with.
    pub seed: u64,
}

impl Options {
    /// Begins with the defaults: three repeats of two seconds each, five minutes in all, because
    /// that tells apart what differs by a few percent and is over before attention is.
    #[must_use]
    pub fn new(target: Target, workload: Workload) -> Self {
        Self {
            target,
            workload,
            protocol: Protocol::default(),
            sizes: Vec::new(),
            size_max: 128,
            repeats: 3,
            step: Duration::from_secs(2),
            budget: Duration::from_secs(300),
            instances: 1,
            yes: false,
            seed: 1,
        }
    }
}

/// One size, measured.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Point {
    /// Connections.
    pub size: u32,
    /// Requests per second in each repeat.
    pub rates: Vec<f64>,
    /// All but a hundredth of the latencies in each repeat, in microseconds.
    pub p99s_us: Vec<f64>,
    /// Requests per second.
    pub rate: Mean,
    /// All but a hundredth of the latencies, in microseconds.
    pub p99_us: Mean,
    /// Share of requests that failed.
    pub error_share: f64,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Tuning {
    /// Every size that was measured, smallest first.
    pub points: Vec<Point>,
    /// The size with the highest throughput.
    pub best: u32,
    /// The smallest size that does not fall behind it.
    pub recommended: u32,
    /// Sizes that cannot be told from the recommended one.
    pub ties: Vec<Tie>,
    /// The fitted law of scalability: gamma, sigma, kappa.
    pub usl: Option<(f64, f64, f64)>,
    /// Where the law has its maximum; none if it has none.
    pub usl_knee: Option<f64>,
    /// How much of the variation the law explains.
    pub usl_r2: Option<f64>,
    /// Where throughput for each microsecond of p99 is highest: beyond it, waiting grows faster
    /// than work.
    pub p99_knee: u32,
    /// The arithmetic of the fleet.
    pub fleet: Fleet,
    /// Whether the search was cut short by its budget or by a signal.
    pub cut_short: bool,
    /// What made figures doubtful.
    pub warnings: Vec<String>,
    /// How long it took, in seconds.
    pub took_s: f64,
}

/// Searches.
///
/// # Errors
/// When the server cannot be reached, carries other load, or refuses.
pub fn tune(
    options: &Options,
    observer: impl FnMut(&str) -> Box<dyn Observer>,
    stop: &AtomicBool,
) -> Result<(Tuning, Vec<Run>), Error> {
    if options.repeats == 0 {
        return Err(Error::usage("repeats", "at least one is needed"));
    }
    let began = Instant::now();
    if !options.yes {
        guard::check(&options.target)?;
    }
    let fleet = fleet::look(&options.target, options.instances)?;
    let prepared = run::prepare(&options.target, &options.workload)?;
    let mut observer = observer;
    let mut search = Search {
        measure: |size, nth| {
            let label = format!("size {size}");
            measure(&step(options, &label, size, nth), &mut *observer(&label), stop)
        },
        stop,
        began,
        budget: options.budget,
        seed: options.seed,
        runs: Vec::new(),
        cut_short: false,
    };
    let searched = sizes(options, &fleet, &mut search);
    // Removed whatever happened; the first error is the one to tell.
    let removed = prepared.remove();
    searched?;
    removed?;
    let (points, cut_short) = (search.points(Some), search.cut_short);
    let runs: Vec<Run> = search.runs.into_iter().map(|(_, run)| run).collect();
    Ok((evaluate(points, &runs, fleet, cut_short, began.elapsed()), runs))
}

/// Searches sizes; what was measured stays in `search` also when it fails.
fn sizes<F: FnMut(u32, u64) -> Result<Run, Error>>(
    options: &Options,
    fleet: &Fleet,
    search: &mut Search<'_, u32, F>,
) -> Result<(), Error> {
    let most = fleet.room().unwrap_or(u32::MAX).min(options.size_max).max(1);
    if !options.sizes.is_empty() {
        let sizes: Vec<u32> = options.sizes.iter().copied().filter(|n| *n <= most).collect();
        if sizes.is_empty() {
            return Err(Error::usage("sizes", format!("the server has room for {most}")));
        }
        return search.rounds(&sizes, options.repeats);
    }
    let coarse: Vec<u32> = COARSE.into_iter().filter(|size| *size <= most).collect();
    let reached = search.climb(&coarse)?;
    search.rounds(&reached, options.repeats - 1)?;
    let between = search.around_best(Some, most);
    search.rounds(&between, options.repeats)
}

/// Returns how one size is measured: as many clients as connections.
fn step(options: &Options, label: &str, size: u32, nth: u64) -> run::Options {
    run::Options {
        label: label.to_owned(),
        clients: size,
        arrival: Arrival::Closed { think: Duration::ZERO },
        protocol: options.protocol,
        duration: options.step,
        warm_up: options.step.mul_f64(0.25),
        seed: options.seed.wrapping_add(nth),
        ..run::Options::new(options.target.clone(), options.workload.clone())
    }
}

/// Gathers the runs of each size.
fn points(runs: &[(u32, &Run)]) -> Vec<Point> {
    let mut sizes: Vec<u32> = runs.iter().map(|(size, _)| *size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let point = |size: u32| {
        let of: Vec<&Run> =
            runs.iter().filter(|(other, _)| *other == size).map(|(_, run)| *run).collect();
        let rates: Vec<f64> = of.iter().map(|run| run.rate).collect();
        let p99s_us: Vec<f64> = of.iter().map(|run| run.latency.at(0.99)).collect();
        Some(Point {
            size,
            rate: Mean::of(&rates)?,
            p99_us: Mean::of(&p99s_us)?,
            rates,
            p99s_us,
            error_share: of.iter().map(|run| run.error_share).sum::<f64>() / of.len() as f64,
        })
    };
    sizes.into_iter().filter_map(point).collect()
}

fn best(points: &[Point]) -> u32 {
    let best = points.iter().max_by(|a, b| a.rate.mean.total_cmp(&b.rate.mean));
    best.map_or(1, |point| point.size)
}

fn evaluate(
    points: Vec<Point>,
    runs: &[Run],
    fleet: Fleet,
    cut_short: bool,
    took: Duration,
) -> Tuning {
    let (recommended, ties) = judge(&points);
    let pairs: Vec<(f64, f64)> =
        points.iter().map(|point| (f64::from(point.size), point.rate.mean)).collect();
    let usl = Usl::fit(&pairs);
    let power = |point: &&Point| point.rate.mean / point.p99_us.mean.max(1.0);
    let p99_knee = points.iter().max_by(|a, b| power(a).total_cmp(&power(b)));
    Tuning {
        best: best(&points),
        recommended,
        ties,
        usl: usl.map(|law| (law.gamma, law.sigma, law.kappa)),
        usl_knee: usl.and_then(|law| law.best()),
        usl_r2: usl.and_then(|law| r_squared(&pairs, &law)),
        p99_knee: p99_knee.map_or(1, |point| point.size),
        fleet,
        cut_short,
        warnings: warnings(runs),
        took_s: took.as_secs_f64(),
        points,
    }
}

/// Returns what made the figures of runs doubtful, each once.
fn warnings(runs: &[Run]) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for warning in runs.iter().filter_map(|run| run.generator.verdict.warning()) {
        if !warnings.iter().any(|known| known == warning) {
            warnings.push(warning.to_owned());
        }
    }
    warnings
}

fn r_squared(pairs: &[(f64, f64)], law: &Usl) -> Option<f64> {
    let mean = pairs.iter().map(|(_, x)| x).sum::<f64>() / pairs.len() as f64;
    let all: f64 = pairs.iter().map(|(_, x)| (x - mean).powi(2)).sum();
    let left: f64 = pairs.iter().map(|(n, x)| (x - law.throughput(*n)).powi(2)).sum();
    (all > 0.0).then(|| 1.0 - left / all)
}

/// Returns the built-in workload of a kind of server, for searches.
///
/// # Errors
/// HTTP has none: what is asked of a web server cannot be guessed.
pub fn workload(kind: Kind, write: f64) -> Result<Workload, Error> {
    Workload::simple(kind, write)
}
