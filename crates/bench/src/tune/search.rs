//! How a search goes through what it may measure: first up, then in rounds of random order.
//!
//! What is measured (an arm) is a size, or a mode with a size.
//!
//! Invariant: every round visits each arm once, and nothing is begun after the budget, once there
//! is a first measurement, or after `stop`.
//! Left out: which arms there are.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use headpond_core::Random;

use super::{Point, best, points};
use crate::error::Error;
use crate::result::Run;

/// The sizes that are measured first.
pub const COARSE: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Larger sizes are not tried once throughput has fallen below this share of the best.
const FALLEN: f64 = 0.85;

/// A search under way.
pub struct Search<'a, A, F> {
    /// Measures an arm once; is told how many runs there were before.
    pub measure: F,
    /// Ends the search.
    pub stop: &'a AtomicBool,
    /// When it began.
    pub began: Instant,
    /// When nothing further is begun.
    pub budget: Duration,
    /// What the order of the rounds begins with.
    pub seed: u64,
    /// What was measured, in this order.
    pub runs: Vec<(A, Run)>,
    /// Whether it ended before its time.
    pub cut_short: bool,
}

impl<A, F> Search<'_, A, F>
where
    A: Copy + PartialEq,
    F: FnMut(A, u64) -> Result<Run, Error>,
{
    /// Measures arms that were not measured yet once each, smallest first, and stops where more is
    /// clearly less; returns those it reached.
    ///
    /// # Errors
    /// With the first measurement that fails.
    pub fn climb(&mut self, arms: &[A]) -> Result<Vec<A>, Error> {
        let mut reached = Vec::new();
        for arm in arms {
            let known = self.runs.iter().any(|(other, _)| other == arm);
            if !known && !self.one(*arm)? {
                break;
            }
            reached.push(*arm);
            if self.has_fallen(&reached) {
                break;
            }
        }
        Ok(reached)
    }

    /// Whether the last two arms are both far below the best.
    fn has_fallen(&self, arms: &[A]) -> bool {
        let rates: Vec<f64> = arms.iter().map(|arm| self.rate(*arm)).collect();
        let best = rates.iter().copied().fold(0.0, f64::max);
        arms.len() > 2 && rates.iter().rev().take(2).all(|rate| *rate < FALLEN * best)
    }

    fn rate(&self, arm: A) -> f64 {
        let rates = self.runs.iter().filter(|(other, _)| *other == arm).map(|(_, run)| run.rate);
        let (sum, count) = rates.fold((0.0, 0u32), |(sum, count), rate| (sum + rate, count + 1));
        sum / f64::from(count.max(1))
    }

    /// Measures each arm so many times, in rounds of random order.
    ///
    /// # Errors
    /// With the first measurement that fails.
    pub fn rounds(&mut self, arms: &[A], rounds: u32) -> Result<(), Error> {
        let mut random = Random::new(self.seed);
        for _ in 0..rounds {
            let mut order = arms.to_vec();
            for last in (1..order.len()).rev() {
                let other = usize::try_from(random.up_to(last as u64)).unwrap_or(0);
                order.swap(last, other);
            }
            for arm in order {
                if !self.one(arm)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Measures an arm once; `false` when the search is to end.
    ///
    /// # Errors
    /// When the measurement fails.
    pub fn one(&mut self, arm: A) -> Result<bool, Error> {
        let over = self.began.elapsed() > self.budget && !self.runs.is_empty();
        if self.cut_short || self.stop.load(Relaxed) || over {
            self.cut_short = true;
            return Ok(false);
        }
        let run = (self.measure)(arm, self.runs.len() as u64)?;
        // What was stopped in the middle is no measurement.
        if run.interrupted {
            self.cut_short = true;
            return Ok(false);
        }
        self.runs.push((arm, run));
        Ok(true)
    }

    /// Gathers the runs of the arms that `size` gives a size to.
    pub fn points(&self, size: impl Fn(A) -> Option<u32>) -> Vec<Point> {
        let sized = self.runs.iter().filter_map(|(arm, run)| Some((size(*arm)?, run)));
        points(&sized.collect::<Vec<_>>())
    }

    /// Returns sizes around the best that were not measured yet, none above `most`.
    pub fn around_best(&self, size: impl Fn(A) -> Option<u32>, most: u32) -> Vec<u32> {
        let points = self.points(size);
        let sizes: Vec<u32> = points.iter().map(|point| point.size).collect();
        between(&sizes, best(&points), most)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn new_sizes_lie_around_the_best_and_were_not_measured_before() {
        assert_eq!(between(&[1, 2, 4, 8, 16, 32], 8, 128), [6, 7, 10, 12]);
        assert_eq!(between(&[1, 2, 4], 1, 128), [] as [u32; 0]);
        assert_eq!(between(&[1, 2, 4, 8], 8, 10), [6, 7, 10]);
        assert_eq!(between(&[1, 2, 4, 8], 8, 9), [6, 7]);
    }

    #[test]
    fn a_climb_stops_where_more_is_clearly_less_and_a_round_visits_each_arm_once() {
        let stop = AtomicBool::new(false);
        let rate = |size: u32| if size > 4 { 500.0 } else { 250.0 * f64::from(size) };
        let mut search = Search {
            measure: |size, _| Ok(example::run("a", rate(size), 1.0)),
            stop: &stop,
            began: Instant::now(),
            budget: Duration::from_secs(60),
            seed: 1,
            runs: Vec::new(),
            cut_short: false,
        };
        let reached = search.climb(&COARSE).expect("nothing fails");
        assert_eq!(reached, [1, 2, 4, 8, 16]);
        search.rounds(&reached, 2).expect("nothing fails");
        let points = search.points(Some);
        assert!(points.len() == 5 && points.iter().all(|point| point.rates.len() == 3));
        stop.store(true, Relaxed);
        search.rounds(&reached, 1).expect("nothing fails");
        assert!(search.cut_short && search.runs.len() == 15);
    }
}
