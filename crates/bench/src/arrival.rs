//! When requests begin.
//!
//! In a closed loop a client asks again when it was answered, so a slow server is asked less: the
//! figures of its worst moments are left out by those who wait (coordinated omission). In an open
//! loop requests begin when their time has come, whatever the server does, and their latency is
//! counted from that moment.
//!
//! Invariant: the begin of a request never depends on when an earlier one was answered, unless the
//! loop is closed.
//! Left out: who sends it (`lean`, `drive`).

use std::time::Duration;

use headpond_core::Random;

/// When requests begin.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Arrival {
    /// Each client asks again after its answer and a pause of this mean, drawn exponentially.
    Closed {
        /// Zero for at once.
        think: Duration,
    },
    /// So many a second, however many are unanswered.
    Open {
        /// Requests per second; above zero.
        rate: f64,
        /// How regular they are.
        shape: Shape,
    },
}

/// How regular the arrivals of an open loop are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Shape {
    /// Independent of each other, as those of many users are.
    #[default]
    Poisson,
    /// At equal distances.
    Even,
}

/// The begin of one request after the other, in nanoseconds since an origin of the caller's choice.
#[derive(Clone, Debug)]
pub struct Schedule {
    next: f64,
    mean: f64,
    shape: Shape,
    random: Random,
}

impl Schedule {
    /// Plans `rate` requests a second from `start` on.
    ///
    /// # Panics
    /// If the rate is not above zero.
    #[must_use]
    pub fn new(start: u64, rate: f64, shape: Shape, seed: u64) -> Self {
        assert!(rate > 0.0 && rate.is_finite(), "a rate is above zero: checked where it is read");
        let mut schedule =
            Self { next: start as f64, mean: 1e9 / rate, shape, random: Random::new(seed) };
        schedule.advance();
        schedule
    }

    /// When the next request begins.
    #[must_use]
    pub fn peek(&self) -> u64 {
        self.next as u64
    }

    /// Takes the next request if it has begun by `now`, and returns when that was.
    pub fn take(&mut self, now: u64) -> Option<u64> {
        let due = self.peek();
        if due > now {
            return None;
        }
        self.advance();
        Some(due)
    }

    fn advance(&mut self) {
        self.next += match self.shape {
            Shape::Poisson => self.mean * exponential(&mut self.random),
            Shape::Even => self.mean,
        };
    }
}

/// Draws from the exponential distribution of mean 1.
pub fn exponential(random: &mut Random) -> f64 {
    -uniform(random).ln()
}

/// Draws from above 0 up to 1.
pub fn uniform(random: &mut Random) -> f64 {
    // 53 bits, as many as a double has; never zero, so that the logarithm exists.
    ((random.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(shape: Shape) -> (f64, f64) {
        let mut schedule = Schedule::new(0, 1000.0, shape, 7);
        let times: Vec<f64> =
            (0..100_000).filter_map(|_| schedule.take(u64::MAX)).map(|t| t as f64).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn requests_of_many_users_come_at_the_rate_and_with_variation_one() {
        let (mean, variation) = gaps(Shape::Poisson);
        assert!((mean / 1e6 - 1.0).abs() < 0.02, "{mean}");
        assert!((variation - 1.0).abs() < 0.02, "{variation}");
    }

    #[test]
    fn even_requests_have_no_variation() {
        let (mean, variation) = gaps(Shape::Even);
        assert!((mean / 1e6 - 1.0).abs() < 1e-6 && variation < 1e-6, "{mean} {variation}");
    }

    #[test]
    fn a_request_whose_time_has_not_come_is_not_taken_and_a_late_one_keeps_its_time() {
        let mut schedule = Schedule::new(0, 10.0, Shape::Even, 1);
        assert_eq!(schedule.take(99_999_999), None);
        // A second late: all of its requests are still due at their own times.
        let due: Vec<u64> = std::iter::from_fn(|| schedule.take(1_000_000_000)).collect();
        assert_eq!(due.len(), 10);
        assert_eq!(due[0], 100_000_000);
    }
}
