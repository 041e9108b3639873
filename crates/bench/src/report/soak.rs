//! What only a long run shows: memory that grows and latencies that drift.
//!
//! Invariant: nothing is said of runs that are too short to tell.

use crate::duration::micros;
use crate::result::{Run, Second};

/// A run shorter than this says nothing about a trend.
const SHORTEST_S: f64 = 300.0;

/// A straight line through a run.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Trend {
    /// How much the value grows in an hour.
    pub per_hour: f64,
    /// Its value at the begin.
    pub begin: f64,
}

/// Fits a straight line by least squares; `None` with fewer than two different times.
#[must_use]
pub fn trend(points: &[(f64, f64)]) -> Option<Trend> {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    if points.len() < 2 || spread <= 0.0 {
        return None;
    }
    let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / spread;
    Some(Trend { per_hour: slope * 3600.0, begin: y - slope * x })
}

/// Returns what a long run shows, one line each.
#[must_use]
pub fn lines(run: &Run) -> Vec<String> {
    if run.measured_s < SHORTEST_S {
        return Vec::new();
    }
    let counted: Vec<&Second> = run.seconds.iter().filter(|s| s.at_s >= 1.0).collect();
    let mut lines = Vec::new();
    // The first fifth is the warming up of caches and allocators, in any program.
    let settled = counted.get(counted.len() / 5..).unwrap_or_default();
    let memory: Vec<(f64, f64)> =
        settled.iter().filter_map(|s| Some((s.at_s, s.memory_kib? as f64))).collect();
    if let Some(trend) = trend(&memory) {
        lines.push(format!(
            "memory      {:.0} KiB, {:+.1} KiB an hour",
            trend.begin + trend.per_hour * run.measured_s / 3600.0,
            trend.per_hour
        ));
    }
    let quarter = counted.len() / 4;
    let mean = |part: &[&Second]| part.iter().map(|s| s.p99_us).sum::<f64>() / part.len() as f64;
    if let (Some(first), Some(last)) =
        (counted.get(..quarter), counted.get(counted.len() - quarter..))
        && quarter > 0
    {
        let (first, last) = (mean(first), mean(last));
        lines.push(format!(
            "drift       p99 {} in the first quarter, {} in the last ({:+.1}%)",
            micros(first),
            micros(last),
            (last / first - 1.0) * 100.0
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn a_leak_shows_as_a_slope() {
        let points: Vec<(f64, f64)> =
            (0..600).map(|n| (f64::from(n), 1000.0 + 0.5 * f64::from(n))).collect();
        let trend = trend(&points).expect("a line");
        assert!((trend.per_hour - 1800.0).abs() < 1e-6 && (trend.begin - 1000.0).abs() < 1e-6);
    }

    #[test]
    fn a_short_run_says_nothing_and_a_long_one_says_both() {
        let mut run = example::run("soak", 50.0, 5.0);
        assert!(lines(&run).is_empty());
        run.measured_s = 600.0;
        let second = |n: u32| Second {
            at_s: f64::from(n),
            p99_us: 5000.0 + f64::from(n),
            memory_kib: Some(10_000 + u64::from(n)),
            ..Second::default()
        };
        run.seconds = (1..=600).map(second).collect();
        let lines = lines(&run).join("\n");
        assert!(lines.contains("+3600.0 KiB an hour") && lines.contains("(+8.9%)"), "{lines}");
    }
}
