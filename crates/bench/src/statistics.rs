//! Means with their uncertainty, and whether two differ.
//!
//! Invariant: no answer from fewer than two values; an interval is at 95 % unless it says so.
//! Left out: what the values are. Windows of one run depend on each other; repeats do not.

use serde::{Deserialize, Serialize};

/// A mean with its 95 % interval.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Half the width of the interval; infinite from a single value.
    pub margin: f64,
    /// How many values.
    pub count: usize,
}

impl Mean {
    /// Returns the mean of values; `None` without any.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let margin = match deviation(values) {
            Some(deviation) => student_95(count as f64 - 1.0) * deviation / (count as f64).sqrt(),
            None => f64::INFINITY,
        };
        Some(Self { mean, margin, count })
    }

    /// Returns the interval.
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        (self.mean - self.margin, self.mean + self.margin)
    }
}

/// Returns the standard deviation of a sample; `None` from fewer than two values.
#[must_use]
pub fn deviation(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() as f64 - 1.0)).sqrt())
}

/// Returns the median; `None` without values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The verdict on two samples.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// How much the second mean is above the first, as a share of the first.
    pub change: f64,
    /// Half the width of the 95 % interval of `change`.
    pub margin: f64,
    /// The probability of such a difference or a larger one if there were none.
    pub p: f64,
}

impl Difference {
    /// Whether the samples differ at the 5 % level.
    #[must_use]
    pub fn is_significant(&self) -> bool {
        self.p < 0.05
    }
}

/// Compares two samples by Welch's test, which does not ask for equal variances; `None` when one
/// has fewer than two values or the first mean is zero.
#[must_use]
pub fn welch(first: &[f64], second: &[f64]) -> Option<Difference> {
    let (a, b) = (Mean::of(first)?, Mean::of(second)?);
    if a.mean.abs() < f64::MIN_POSITIVE {
        return None;
    }
    let part = |values: &[f64]| Some(deviation(values)?.powi(2) / values.len() as f64);
    let (va, vb) = (part(first)?, part(second)?);
    let change = (b.mean - a.mean) / a.mean;
    let error = (va + vb).sqrt();
    if error < a.mean.abs() * 1e-12 {
        // Two constants: either the same or certainly not.
        let p = if change.abs() < 1e-9 { 1.0 } else { 0.0 };
        return Some(Difference { change, margin: 0.0, p });
    }
    let counts = (first.len() as f64 - 1.0, second.len() as f64 - 1.0);
    let freedom = (va + vb).powi(2) / (va.powi(2) / counts.0 + vb.powi(2) / counts.1);
    let t = (b.mean - a.mean).abs() / error;
    let margin = student_95(freedom) * error / a.mean.abs();
    Some(Difference { change, margin, p: student_two_sided(t, freedom) })
}

/// Returns what a share of Student's distribution of 95 % lies within, either side.
#[must_use]
pub fn student_95(freedom: f64) -> f64 {
    // Falls with the freedom, so halving finds it; 12.706 at 1, 1.960 at infinity.
    let (mut low, mut high) = (1.9, 13.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if student_two_sided(middle, freedom.max(1.0)) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Returns the probability of a value beyond `t` on either side.
fn student_two_sided(t: f64, freedom: f64) -> f64 {
    incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5)
}

/// The regularised incomplete beta function, by its continued fraction (Lentz).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(x, a, b) / a
    } else {
        1.0 - front * fraction(1.0 - x, b, a) / b
    }
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let keep = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / keep(1.0 - (a + b) * x / (a + 1.0));
    let mut sum = d;
    for m in 1..500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / keep(1.0 + even * d);
        c = keep(1.0 + even / c);
        sum *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / keep(1.0 + odd * d);
        c = keep(1.0 + odd / c);
        let step = d * c;
        sum *= step;
        if (step - 1.0).abs() < 1e-14 {
            break;
        }
    }
    sum
}

/// The logarithm of the gamma function for arguments above zero (Lanczos, seven terms).
fn ln_gamma(x: f64) -> f64 {
    const FACTORS: [f64; 7] = [
        1.000_000_000_190_015,
        76.180_091_729_471_46,
        -86.505_320_329_416_77,
        24.014_098_240_830_91,
        -1.231_739_572_450_155,
        0.001_208_650_973_866_179,
        -0.000_005_395_239_384_953,
    ];
    let [first, rest @ ..] = FACTORS;
    let sum =
        rest.iter().zip(1u32..).fold(first, |sum, (factor, n)| sum + factor / (x + f64::from(n)));
    let base = x + 5.5;
    (x + 0.5) * base.ln() - base + (2.506_628_274_631_000_5 * sum / x).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_use_the_table_of_student() {
        for (freedom, expected) in [(1.0, 12.706), (4.0, 2.776), (9.0, 2.262), (30.0, 2.042)] {
            let found = student_95(freedom);
            assert!((found - expected).abs() < 0.002, "{freedom}: {found}");
        }
    }

    #[test]
    fn a_mean_of_one_value_is_not_certain_at_all() {
        let mean = Mean::of(&[5.0]).expect("a value");
        assert!(mean.margin.is_infinite());
        assert!(Mean::of(&[]).is_none());
    }

    #[test]
    fn welch_agrees_with_a_worked_example() {
        // Values of the usual textbook example; t = 2.46, 25 degrees of freedom, p about 0.021.
        let a = [
            27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7,
            21.4,
        ];
        let b = [
            27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5,
            24.4,
        ];
        let difference = welch(&a, &b).expect("fifteen each");
        assert!((difference.p - 0.021).abs() < 0.001, "{difference:?}");
        assert!(difference.is_significant());
    }

    #[test]
    fn equal_samples_do_not_differ_and_constants_may() {
        let same = welch(&[10.0, 11.0, 9.0], &[10.0, 11.0, 9.0]).expect("three each");
        assert!(same.p > 0.99 && !same.is_significant());
        assert!(welch(&[5.0, 5.0], &[6.0, 6.0]).expect("two each").is_significant());
        assert!(welch(&[5.0], &[6.0, 7.0]).is_none());
    }
}
