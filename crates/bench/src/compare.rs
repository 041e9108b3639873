//! What changed between two results, and whether that is more than chance.
//!
//! Runs of the same label are compared. Repeats of a label are independent of each other and the
//! best evidence. With a single run on each side its seconds are grouped into ten windows: they
//! depend on each other a little, so the interval is somewhat too narrow, and the report says so.
//!
//! Invariant: a change is called significant only if Welch's test says so at 5 %.

use serde::Serialize;

use crate::result::{Results, Run};
use crate::statistics::{Difference, Mean, welch};

/// Into how many windows a single run is cut.
const WINDOWS: usize = 10;

/// What the samples of a comparison are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Whole runs, repeated.
    Repeats,
    /// Windows of one run on each side.
    Windows,
}

/// One figure in two results.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Change {
    /// The label of the runs.
    pub label: String,
    /// What is compared.
    pub figure: &'static str,
    /// The first result's.
    pub before: Mean,
    /// The second result's.
    pub after: Mean,
    /// The verdict; none if there are too few values.
    pub difference: Option<Difference>,
    /// What the samples are.
    pub basis: Basis,
}

/// Compares two results label by label. Labels that only one of them has are left out.
#[must_use]
pub fn compare(before: &Results, after: &Results) -> Vec<Change> {
    let mut labels: Vec<&str> = Vec::new();
    for run in &before.runs {
        if !labels.contains(&run.label.as_str()) {
            labels.push(&run.label);
        }
    }
    let of = |results: &'_ Results, label: &str| -> Vec<Run> {
        results.runs.iter().filter(|run| run.label == label).cloned().collect()
    };
    let mut changes = Vec::new();
    for label in labels {
        let (a, b) = (of(before, label), of(after, label));
        if !a.is_empty() && !b.is_empty() {
            changes.extend(runs(label, &a, &b));
        }
    }
    changes
}

/// Compares the runs of one label.
#[must_use]
pub fn runs(label: &str, before: &[Run], after: &[Run]) -> Vec<Change> {
    let basis = if before.len() > 1 && after.len() > 1 { Basis::Repeats } else { Basis::Windows };
    let change = |figure, of: fn(&Run) -> f64, window: fn(&Run) -> Vec<f64>| {
        let sample = |runs: &[Run]| match basis {
            Basis::Repeats => runs.iter().map(of).collect::<Vec<_>>(),
            Basis::Windows => runs.iter().flat_map(window).collect(),
        };
        let (a, b) = (sample(before), sample(after));
        Some(Change {
            label: label.to_owned(),
            figure,
            before: Mean::of(&a)?,
            after: Mean::of(&b)?,
            difference: welch(&a, &b),
            basis,
        })
    };
    let rate = change(
        "rate",
        |run| run.rate,
        |run| {
            windows(run, |w| {
                w.iter().map(|second| second.completed as f64).sum::<f64>() / w.len() as f64
            })
        },
    );
    let p50 = change(
        "p50",
        |run| run.latency.at(0.5),
        |run| windows(run, |w| w.iter().map(|second| second.p50_us).sum::<f64>() / w.len() as f64),
    );
    let p99 = change(
        "p99",
        |run| run.latency.at(0.99),
        |run| windows(run, |w| w.iter().map(|second| second.p99_us).sum::<f64>() / w.len() as f64),
    );
    let errors = change(
        "errors",
        |run| run.error_share,
        |run| {
            windows(run, |w| {
                w.iter().map(|second| second.errors as f64).sum::<f64>() / w.len() as f64
            })
        },
    );
    let some = |change: &Change| change.before.mean != 0.0 || change.after.mean != 0.0;
    [rate, p50, p99, errors].into_iter().flatten().filter(some).collect()
}

fn windows(run: &Run, of: impl Fn(&[crate::result::Second]) -> f64) -> Vec<f64> {
    // The first second is the end of the warm-up as well.
    let counted: Vec<_> = run.seconds.iter().filter(|s| s.at_s >= 1.0).cloned().collect();
    let size = counted.len().div_ceil(WINDOWS).max(1);
    counted.chunks(size).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    fn results(rates: &[f64]) -> Results {
        let runs = rates.iter().map(|rate| example::run("load", *rate, 10.0)).collect();
        Results { runs, ..Results::new() }
    }

    fn rate(before: &[f64], after: &[f64]) -> Change {
        compare(&results(before), &results(after)).remove(0)
    }

    #[test]
    fn repeats_that_overlap_do_not_differ() {
        let change = rate(&[1000.0, 1040.0, 960.0], &[1010.0, 1050.0, 980.0]);
        assert_eq!((change.figure, change.basis), ("rate", Basis::Repeats));
        assert!(!change.difference.expect("three each").is_significant());
    }

    #[test]
    fn repeats_far_apart_differ() {
        let change = rate(&[1000.0, 1040.0, 960.0], &[1310.0, 1290.0, 1330.0]);
        let difference = change.difference.expect("three each");
        assert!(difference.is_significant() && (difference.change - 0.31).abs() < 0.01);
    }

    #[test]
    fn single_runs_are_compared_by_their_windows() {
        let change = rate(&[1000.0], &[1500.0]);
        assert_eq!((change.basis, change.before.count), (Basis::Windows, 10));
        assert!(change.difference.expect("ten each").is_significant());
    }

    #[test]
    fn a_label_that_is_missing_on_one_side_is_left_out() {
        let mut other = results(&[1000.0]);
        other.runs[0].label = "something else".to_owned();
        assert!(compare(&results(&[1000.0]), &other).is_empty());
    }
}
