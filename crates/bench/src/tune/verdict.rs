//! Which size to recommend, and which cannot be told from it.
//!
//! Invariant: a recommended size is never above the best one, and never behind it by more than
//! [`BEHIND`] as measured.

use serde::Serialize;

use super::Point;
use crate::statistics::welch;

/// How far a smaller size may be behind the best, as measured, to be recommended nevertheless:
/// below what repeats of a few seconds tell apart, and less than a connection is worth.
pub const BEHIND: f64 = 0.03;

/// A size that cannot be told from the recommended one.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Tie {
    /// The size.
    pub size: u32,
    /// How much its throughput is above the recommended one's, as a share.
    pub change: f64,
    /// Half the width of the 95 % interval of that.
    pub margin: f64,
    /// The probability of such a difference if there were none.
    pub p: f64,
}

/// Returns the size to recommend, and the larger ones that are no better as far as can be told.
#[must_use]
pub fn judge(points: &[Point]) -> (u32, Vec<Tie>) {
    let Some(best) = points.iter().max_by(|a, b| a.rate.mean.total_cmp(&b.rate.mean)) else {
        return (1, Vec::new());
    };
    let keeps_up = |point: &&Point| point.rate.mean >= (1.0 - BEHIND) * best.rate.mean;
    let recommended = points.iter().find(keeps_up).unwrap_or(best);
    let tie = |point: &Point| {
        let difference = welch(&recommended.rates, &point.rates)?;
        (!difference.is_significant()).then_some(Tie {
            size: point.size,
            change: difference.change,
            margin: difference.margin,
            p: difference.p,
        })
    };
    let larger = points.iter().filter(|point| point.size > recommended.size);
    (recommended.size, larger.filter_map(tie).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Mean;

    fn point(size: u32, rates: [f64; 3]) -> Point {
        let rate = Mean::of(&rates).expect("three");
        Point {
            size,
            rates: rates.to_vec(),
            p99s_us: vec![1000.0; 3],
            rate,
            p99_us: Mean::of(&[1000.0; 3]).expect("three"),
            error_share: 0.0,
        }
    }

    #[test]
    fn the_smallest_size_that_keeps_up_is_recommended_and_its_equals_are_named() {
        let points = [
            point(4, [500.0, 505.0, 495.0]),
            point(8, [900.0, 910.0, 905.0]),
            point(16, [1000.0, 1020.0, 980.0]),
            point(24, [1005.0, 1022.0, 985.0]),
            point(64, [700.0, 710.0, 705.0]),
        ];
        let (recommended, ties) = judge(&points);
        assert_eq!(recommended, 16);
        assert_eq!(ties.iter().map(|tie| tie.size).collect::<Vec<_>>(), [24]);
    }

    #[test]
    fn noise_does_not_make_a_pool_larger() {
        let points = [point(8, [990.0, 1000.0, 1010.0]), point(32, [1000.0, 1012.0, 1018.0])];
        assert_eq!(judge(&points).0, 8);
    }

    #[test]
    fn nothing_measured_recommends_one() {
        assert_eq!(judge(&[]), (1, Vec::new()));
    }
}
