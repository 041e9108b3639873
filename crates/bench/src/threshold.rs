//! What must not be so: `p95>200ms`, `errors>0.1%`, `rate<500`.
//!
//! Invariant: a threshold that is met says nothing; one that is crossed says by how much.

use std::fmt;
use std::str::FromStr;

use crate::duration;
use crate::result::{Run, name};

/// A condition under which a run counts as failed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Threshold {
    figure: Figure,
    relation: Relation,
    /// In microseconds, requests per second, or a share.
    bound: f64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Figure {
    Latency(f64),
    Wait(f64),
    Mean,
    Max,
    Rate,
    Errors,
    Timeouts,
    Utilisation,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Relation {
    Above,
    Below,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no condition; p95>200ms, wait.p99>50ms, mean>20ms, max>1s, rate<500, \
                 errors>0.1%, timeouts>0 and utilisation>80% are"
            )
        };
        let at = text.find(['>', '<']).ok_or_else(wrong)?;
        let (left, right) = text.split_at(at);
        let relation = if right.starts_with('>') { Relation::Above } else { Relation::Below };
        let right = right.trim_start_matches(['>', '<', '=']).trim();
        let quantile = |text: &str| {
            let percent: f64 = text.strip_prefix('p')?.parse().ok()?;
            (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
        };
        let left = left.trim();
        let figure = match left {
            "mean" => Figure::Mean,
            "max" => Figure::Max,
            "rate" => Figure::Rate,
            "errors" => Figure::Errors,
            "timeouts" => Figure::Timeouts,
            "utilisation" | "utilization" => Figure::Utilisation,
            _ => match left.strip_prefix("wait.") {
                Some(rest) => Figure::Wait(quantile(rest).ok_or_else(wrong)?),
                None => Figure::Latency(quantile(left).ok_or_else(wrong)?),
            },
        };
        let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite());
        let bound = match figure {
            Figure::Latency(_) | Figure::Wait(_) | Figure::Mean | Figure::Max => {
                duration::parse(right).map_err(|_| wrong())?.as_secs_f64() * 1e6
            }
            Figure::Rate | Figure::Timeouts => number(right).ok_or_else(wrong)?,
            Figure::Errors | Figure::Utilisation => match right.strip_suffix('%') {
                Some(percent) => number(percent).ok_or_else(wrong)? / 100.0,
                None => number(right).ok_or_else(wrong)?,
            },
        };
        Ok(Self { figure, relation, bound })
    }
}

impl Threshold {
    fn measured(&self, run: &Run) -> f64 {
        match self.figure {
            Figure::Latency(q) => run.latency.at(q),
            Figure::Wait(q) => run.wait.at(q),
            Figure::Mean => run.latency.mean_us,
            Figure::Max => run.latency.max_us,
            Figure::Rate => run.rate,
            Figure::Errors => run.error_share,
            Figure::Timeouts => run.errors.get("timeout").copied().unwrap_or(0) as f64,
            Figure::Utilisation => run.utilisation.map_or(0.0, |of| of.p90),
        }
    }

    /// Returns what to say if a run crosses the threshold.
    #[must_use]
    pub fn crossed(&self, run: &Run) -> Option<String> {
        let measured = self.measured(run);
        let crossed = match self.relation {
            Relation::Above => measured > self.bound,
            Relation::Below => measured < self.bound,
        };
        crossed.then(|| format!("{}: {self}: it is {}", run.label, self.shown(measured)))
    }

    fn shown(&self, value: f64) -> String {
        match self.figure {
            Figure::Latency(_) | Figure::Wait(_) | Figure::Mean | Figure::Max => {
                duration::micros(value)
            }
            Figure::Rate => format!("{}/s", duration::digits(value)),
            Figure::Timeouts => duration::digits(value),
            Figure::Errors | Figure::Utilisation => format!("{}%", duration::digits(value * 100.0)),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.figure {
            Figure::Latency(q) => f.write_str(&name(q))?,
            Figure::Wait(q) => write!(f, "wait.{}", name(q))?,
            Figure::Mean => f.write_str("mean")?,
            Figure::Max => f.write_str("max")?,
            Figure::Rate => f.write_str("rate")?,
            Figure::Errors => f.write_str("errors")?,
            Figure::Timeouts => f.write_str("timeouts")?,
            Figure::Utilisation => f.write_str("utilisation")?,
        }
        f.write_str(if self.relation == Relation::Above { ">" } else { "<" })?;
        f.write_str(&self.shown(self.bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    fn crossed(text: &str) -> bool {
        text.parse::<Threshold>().expect(text).crossed(&example::run("a", 1000.0, 10.0)).is_some()
    }

    #[test]
    fn a_threshold_is_crossed_only_on_its_side() {
        // The example has a rate of 1000/s, all latencies at 10 ms, and no error.
        for (text, expected) in [
            ("p95>200ms", false),
            ("p95>9ms", true),
            ("p99.9 > 9ms", true),
            ("mean>11ms", false),
            ("rate<500", false),
            ("rate<2000", true),
            ("errors>0.1%", false),
            ("errors<1%", true),
            ("timeouts>0", false),
            ("utilisation>40%", true),
            ("wait.p99>1s", false),
        ] {
            assert_eq!(crossed(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_answered_with_examples() {
        for text in ["", "p95", "p101>1ms", "speed>3", "p95>fast", "errors>many", "wait.x>1s"] {
            let error = text.parse::<Threshold>().expect_err(text);
            assert!(error.contains("p95>200ms"), "{error}");
        }
    }
}
