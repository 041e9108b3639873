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
pub mod text;
mod verdict;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use headpond_core::Random;
use headpond_core::sizing::Usl;
use serde::Serialize;

use self::fleet::Fleet;
pub use self::verdict::{Tie, judge};
use crate::arrival::Arrival;
use crate::error::Error;
use crate::progress::Observer;
use crate::result::Run;
use crate::run::{self, Protocol, measure};
use crate::statistics::Mean;
use crate::target::{Kind, Target};
use crate::workload::Workload;

/// The sizes that are measured first.
const COARSE: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Larger sizes are not tried once throughput has fallen below this share of the best.
const FALLEN: f64 = 0.85;

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
    let mut search = Search { options, observer, stop, began, runs: Vec::new(), cut_short: false };
    let searched = search.search(&fleet);
    let (runs, cut_short) = (search.runs, search.cut_short);
    // Removed whatever happened; the first error is the one to tell.
    let removed = prepared.remove();
    searched?;
    removed?;
    Ok((evaluate(&runs, fleet, cut_short, began.elapsed()), runs))
}

struct Search<'a, O> {
    options: &'a Options,
    observer: O,
    stop: &'a AtomicBool,
    began: Instant,
    runs: Vec<Run>,
    cut_short: bool,
}

impl<O: FnMut(&str) -> Box<dyn Observer>> Search<'_, O> {
    fn search(&mut self, fleet: &Fleet) -> Result<(), Error> {
        let options = self.options;
        let most = fleet.room().unwrap_or(u32::MAX).min(options.size_max).max(1);
        if !options.sizes.is_empty() {
            let sizes: Vec<u32> = options.sizes.iter().copied().filter(|n| *n <= most).collect();
            if sizes.is_empty() {
                return Err(Error::usage("sizes", format!("the server has room for {most}")));
            }
            return self.rounds(&sizes, options.repeats);
        }
        // The first round goes up and stops where more is clearly less.
        let mut coarse: Vec<u32> = COARSE.into_iter().filter(|size| *size <= most).collect();
        let mut reached = Vec::new();
        for size in std::mem::take(&mut coarse) {
            if !self.one(size)? {
                return Ok(());
            }
            reached.push(size);
            if self.has_fallen(&reached) {
                break;
            }
        }
        self.rounds(&reached, options.repeats - 1)?;
        let between = between(&reached, best(&points(&self.runs)), most);
        self.rounds(&between, options.repeats)
    }

    /// Whether the last two sizes are both far below the best.
    fn has_fallen(&self, sizes: &[u32]) -> bool {
        let points = points(&self.runs);
        let rate = |size: u32| {
            points.iter().find(|point| point.size == size).map_or(0.0, |point| point.rate.mean)
        };
        let best = sizes.iter().map(|size| rate(*size)).fold(0.0, f64::max);
        let fallen = sizes.iter().rev().take(2).all(|size| rate(*size) < FALLEN * best);
        sizes.len() > 2 && fallen
    }

    fn rounds(&mut self, sizes: &[u32], rounds: u32) -> Result<(), Error> {
        let mut random = Random::new(self.options.seed);
        for _ in 0..rounds {
            let mut order = sizes.to_vec();
            for last in (1..order.len()).rev() {
                let other = usize::try_from(random.up_to(last as u64)).unwrap_or(0);
                order.swap(last, other);
            }
            for size in order {
                if !self.one(size)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Measures one size once; `false` when the search is to end.
    fn one(&mut self, size: u32) -> Result<bool, Error> {
        let over = self.began.elapsed() > self.options.budget;
        if self.stop.load(Relaxed) || (over && !self.runs.is_empty()) {
            self.cut_short = true;
            return Ok(false);
        }
        let label = format!("size {size}");
        let mut options =
            run::Options::new(self.options.target.clone(), self.options.workload.clone());
        options.label.clone_from(&label);
        options.clients = size;
        options.arrival = Arrival::Closed { think: Duration::ZERO };
        options.protocol = self.options.protocol;
        options.duration = self.options.step;
        options.warm_up = self.options.step.mul_f64(0.25);
        options.seed = self.options.seed.wrapping_add(self.runs.len() as u64);
        let run = measure(&options, &mut *(self.observer)(&label), self.stop)?;
        // What was stopped in the middle is no measurement.
        if run.interrupted {
            self.cut_short = true;
            return Ok(false);
        }
        self.runs.push(run);
        Ok(true)
    }
}

/// Returns sizes between the best and its neighbours.
fn between(sizes: &[u32], best: u32, most: u32) -> Vec<u32> {
    let smaller = sizes.iter().copied().filter(|size| *size < best).max();
    let larger = sizes.iter().copied().filter(|size| *size > best).min().unwrap_or(best * 2);
    let middle = |a: u32, b: u32, part: f64| (f64::from(a) + part * f64::from(b - a)) as u32;
    let mut new = Vec::new();
    if let Some(smaller) = smaller {
        new.extend([middle(smaller, best, 0.5), middle(smaller, best, 0.75)]);
    }
    new.extend([middle(best, larger, 0.25), middle(best, larger, 0.5)]);
    new.retain(|size| !sizes.contains(size) && *size >= 1 && *size <= most);
    new.sort_unstable();
    new.dedup();
    new
}

/// Gathers the runs of each size.
fn points(runs: &[Run]) -> Vec<Point> {
    let mut sizes: Vec<u32> = runs.iter().map(|run| run.settings.connections).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let point = |size: u32| {
        let of: Vec<&Run> = runs.iter().filter(|run| run.settings.connections == size).collect();
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

fn evaluate(runs: &[Run], fleet: Fleet, cut_short: bool, took: Duration) -> Tuning {
    let points = points(runs);
    let (recommended, ties) = judge(&points);
    let pairs: Vec<(f64, f64)> =
        points.iter().map(|point| (f64::from(point.size), point.rate.mean)).collect();
    let usl = Usl::fit(&pairs);
    let power = |point: &&Point| point.rate.mean / point.p99_us.mean.max(1.0);
    let p99_knee = points.iter().max_by(|a, b| power(a).total_cmp(&power(b)));
    let mut warnings: Vec<String> = Vec::new();
    for run in runs {
        if let Some(warning) = run.generator.verdict.warning()
            && !warnings.iter().any(|known| known == warning)
        {
            warnings.push(warning.to_owned());
        }
    }
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
        warnings,
        took_s: took.as_secs_f64(),
        points,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_sizes_lie_around_the_best_and_were_not_measured_before() {
        assert_eq!(between(&[1, 2, 4, 8, 16, 32], 8, 128), [6, 7, 10, 12]);
        assert_eq!(between(&[1, 2, 4], 1, 128), [] as [u32; 0]);
        assert_eq!(between(&[1, 2, 4, 8], 8, 10), [6, 7, 10]);
        assert_eq!(between(&[1, 2, 4, 8], 8, 9), [6, 7]);
    }
}
