//! Where a line of points is going, and when it gets there.
//!
//! Invariant: pure arithmetic: least squares over what was seen. A forecast is made only of a line
//! that fits, and not further ahead than it was seen back.
//! Not here: seasons. Whoever is busy at noon is told so by yesterday's line.

use serde::Serialize;

/// Fewer points than this say nothing.
const POINTS_MIN: usize = 10;
/// How much of the movement the line must explain before it is followed (R²).
const FIT_MIN: f64 = 0.5;

/// A line through points.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// The line's value now.
    pub now: f64,
    /// How much it grows per hour.
    pub per_hour: f64,
    /// How much of the movement it explains, from 0 to 1.
    pub fit: f64,
    /// Over how many seconds it was seen.
    pub seen_seconds: f64,
}

impl Trend {
    /// Puts a line through points of (seconds, value); none if there are too few.
    #[must_use]
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < POINTS_MIN {
            return None;
        }
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|p| p.0), mean(|p| p.1));
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (x, y) in points {
            let (dx, dy) = (x - mean_x, y - mean_y);
            xx += dx * dx;
            xy += dx * dy;
            yy += dy * dy;
        }
        let (first, last) = (points.first()?.0, points.last()?.0);
        if xx <= 0.0 {
            return None;
        }
        let slope = xy / xx;
        let fit = if yy > 0.0 { (xy * xy) / (xx * yy) } else { 1.0 };
        let now = mean_y + slope * (last - mean_x);
        Some(Self { now, per_hour: slope * 3600.0, fit, seen_seconds: last - first })
    }

    /// Returns in how many seconds the line reaches `limit`; none if it does not rise, does not
    /// fit, or gets there later than it can be followed.
    #[must_use]
    pub fn seconds_until(&self, limit: f64) -> Option<f64> {
        if self.fit < FIT_MIN || self.per_hour <= 0.0 {
            return None;
        }
        let seconds = ((limit - self.now) / self.per_hour * 3600.0).max(0.0);
        (seconds <= self.seen_seconds).then_some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(slope: f64, noise: f64) -> Vec<(f64, f64)> {
        let point = |n: i32| {
            let wobble = if n % 2 == 0 { noise } else { -noise };
            (f64::from(n) * 60.0, 5.0 + slope * f64::from(n) + wobble)
        };
        (0..60).map(point).collect()
    }

    #[test]
    fn a_rising_line_says_when_it_reaches_the_limit() {
        let trend = Trend::of(&line(0.1, 0.0)).expect("enough points");
        assert!((trend.now - 10.9).abs() < 1e-9 && (trend.per_hour - 6.0).abs() < 1e-9);
        assert!((trend.fit - 1.0).abs() < 1e-9);
        let seconds = trend.seconds_until(13.9).expect("it rises");
        assert!((seconds - 1800.0).abs() < 1e-6, "{seconds}");
    }

    #[test]
    fn noise_a_flat_line_and_the_far_future_are_not_forecast() {
        let noisy = Trend::of(&line(0.001, 3.0)).expect("enough points");
        assert_eq!(noisy.seconds_until(12.0), None);
        let flat = Trend::of(&line(0.0, 0.0)).expect("enough points");
        assert_eq!(flat.seconds_until(12.0), None);
        let slow = Trend::of(&line(0.01, 0.0)).expect("enough points");
        assert_eq!(slow.seconds_until(500.0), None, "that is days away, and an hour was seen");
        assert_eq!(Trend::of(&line(0.1, 0.0)[..9]), None);
    }

    #[test]
    fn what_is_over_the_limit_already_is_there_now() {
        let trend = Trend::of(&line(0.1, 0.0)).expect("enough points");
        assert_eq!(trend.seconds_until(8.0), Some(0.0));
    }
}
