//! Two or more targets side by side: in turns, so that what the machine does meanwhile hits both.
//!
//! Invariant: rounds go A B, then B A; a ratio has an interval from whole rounds, never from within
//! one.
//! Left out: starting the rivals.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde::Serialize;

use crate::duration::{digits, micros};
use crate::error::Error;
use crate::progress::Observer;
use crate::result::Run;
use crate::run::{Options, measure};
use crate::statistics::{Mean, deviation, student_95};

/// One figure of a target as a ratio to the first target's.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Ratio {
    /// The target.
    pub label: String,
    /// What is compared.
    pub figure: &'static str,
    /// The figure of the target.
    pub value: Mean,
    /// The figure of the first target.
    pub base: Mean,
    /// The ratio: the geometric mean over rounds.
    pub ratio: f64,
    /// Its 95 % interval.
    pub interval: (f64, f64),
}

/// Measures several targets in turns.
///
/// # Errors
/// When one of them cannot be measured.
pub fn interleave(
    targets: &[Options],
    rounds: u32,
    mut observer: impl FnMut(&str) -> Box<dyn Observer>,
    stop: &AtomicBool,
) -> Result<Vec<Run>, Error> {
    let mut runs = Vec::new();
    for round in 0..rounds {
        let mut order: Vec<&Options> = targets.iter().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for options in order {
            if stop.load(Relaxed) {
                return Ok(runs);
            }
            let label = format!("{} {}/{rounds}", options.label, round + 1);
            let mut options = options.clone();
            options.seed = options.seed.wrapping_add(u64::from(round));
            runs.push(measure(&options, &mut *observer(&label), stop)?);
        }
    }
    Ok(runs)
}

/// Returns the ratios of every target to the first, `labels[0]`.
#[must_use]
pub fn ratios(runs: &[Run], labels: &[String]) -> Vec<Ratio> {
    let of = |label: &str, figure: &str| -> Vec<f64> {
        let value = |run: &Run| match figure {
            "rate" => run.rate,
            "p50" => run.latency.at(0.5),
            _ => run.latency.at(0.99),
        };
        runs.iter().filter(|run| run.label == label).map(value).collect()
    };
    let Some((first, others)) = labels.split_first() else { return Vec::new() };
    let mut ratios = Vec::new();
    for label in others {
        for figure in ["rate", "p50", "p99"] {
            ratios.extend(ratio(label, figure, &of(label, figure), &of(first, figure)));
        }
    }
    ratios
}

fn ratio(label: &str, figure: &'static str, values: &[f64], base: &[f64]) -> Option<Ratio> {
    // Paired by round: what slowed the machine down in one round slowed both.
    let logs: Vec<f64> = values
        .iter()
        .zip(base)
        .filter(|(value, base)| **value > 0.0 && **base > 0.0)
        .map(|(value, base)| (value / base).ln())
        .collect();
    let mean = Mean::of(&logs)?;
    let margin = match deviation(&logs) {
        Some(deviation) => {
            let count = logs.len() as f64;
            student_95(count - 1.0) * deviation / count.sqrt()
        }
        None => f64::INFINITY,
    };
    Some(Ratio {
        label: label.to_owned(),
        figure,
        value: Mean::of(values)?,
        base: Mean::of(base)?,
        ratio: mean.mean.exp(),
        interval: ((mean.mean - margin).exp(), (mean.mean + margin).exp()),
    })
}

/// Writes ratios for the terminal.
#[must_use]
pub fn text(ratios: &[Ratio], first: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for one in ratios {
        let shown = |value: f64| match one.figure {
            "rate" => format!("{}/s", digits(value)),
            _ => micros(value),
        };
        let (low, high) = one.interval;
        let verdict = match low > 1.0 || high < 1.0 {
            true => "significant",
            false => "no significant difference",
        };
        let _ = writeln!(
            out,
            "{:<12} {:<5} {:>12} against {:>12} of {first}: {:.3} times ({low:.3} to {high:.3})  \
             {verdict}",
            one.label,
            one.figure,
            shown(one.value.mean),
            shown(one.base.mean),
            one.ratio,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    fn runs(pairs: &[(f64, f64)]) -> Vec<Run> {
        let both = |(a, b): &(f64, f64)| [example::run("a", *a, 10.0), example::run("b", *b, 10.0)];
        pairs.iter().flat_map(both).collect()
    }

    fn rate(pairs: &[(f64, f64)]) -> Ratio {
        ratios(&runs(pairs), &["a".to_owned(), "b".to_owned()]).remove(0)
    }

    #[test]
    fn what_slows_both_down_does_not_blur_the_ratio() {
        // The machine is three times as slow in the second round.
        let ratio = rate(&[(3000.0, 3600.0), (1000.0, 1200.0), (2000.0, 2401.0)]);
        assert!((ratio.ratio - 1.2).abs() < 0.001);
        assert!(ratio.interval.0 > 1.19 && ratio.interval.1 < 1.21, "{ratio:?}");
    }

    #[test]
    fn rounds_that_disagree_give_an_interval_that_holds_one() {
        let ratio = rate(&[(1000.0, 1100.0), (1000.0, 900.0), (1000.0, 1010.0)]);
        assert!(ratio.interval.0 < 1.0 && ratio.interval.1 > 1.0);
        assert!(text(&[ratio], "a").contains("no significant difference"));
    }

    #[test]
    fn a_single_round_proves_nothing() {
        let ratio = rate(&[(1000.0, 2000.0)]);
        assert!(ratio.interval.1.is_infinite());
    }
}
