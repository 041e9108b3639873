//! A limit that follows latency: shrinks when calls take longer than they used to, grows when
//! they do not (the second gradient algorithm of Netflix' concurrency limits).
//!
//! Invariant: the limit stays within its bounds and moves at most by half or by `headroom` per
//! sample.
//! Left out: sampling. Feed it one median per window, never single calls, and freeze it while
//! the server is failing.

/// A limit that follows latency.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gradient {
    limit: f64,
    usual: Option<f64>,
    min: f64,
    max: f64,
}

/// How much longer than usual a call may take before the limit shrinks.
const TOLERANCE: f64 = 1.5;
/// How much of a step is taken at once.
const SMOOTHING: f64 = 0.2;
/// How many calls may queue at the server: what growing adds.
const HEADROOM: f64 = 4.0;
/// Over how many samples the usual time is averaged.
const MEMORY: f64 = 600.0;

impl Gradient {
    /// Returns a limit that starts at `start` and stays from `min` to `max`.
    #[must_use]
    pub fn new(start: u32, min: u32, max: u32) -> Self {
        let (min, max) = (f64::from(min.max(1)), f64::from(max.max(min).max(1)));
        Self { limit: f64::from(start).clamp(min, max), usual: None, min, max }
    }

    /// Takes the time a window's calls took, while `busy` connections were, and returns the limit.
    pub fn sample(&mut self, time_s: f64, busy: f64) -> u32 {
        if time_s > 0.0 && time_s.is_finite() {
            let mut usual = self.usual.unwrap_or(time_s);
            usual += (time_s - usual) * 2.0 / (MEMORY + 1.0);
            if usual > 2.0 * time_s {
                // After a long slow time the average would take for ever to come down.
                usual *= 0.95;
            }
            self.usual = Some(usual);
            // A limit nobody reaches says nothing about whether it is right.
            if busy >= self.limit / 2.0 {
                let gradient = (TOLERANCE * usual / time_s).clamp(0.5, 1.0);
                let aim = self.limit * gradient + HEADROOM;
                let step = (aim - self.limit) * SMOOTHING;
                self.limit = (self.limit + step).clamp(self.min, self.max);
            }
        }
        self.limit()
    }

    /// Returns the limit.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        // From 1 to u32::MAX by construction; the fraction is what is cut off.
        self.limit as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_latency_under_load_raises_the_limit_to_its_maximum() {
        let mut gradient = Gradient::new(10, 5, 40);
        let last = (0..100).map(|_| gradient.sample(0.01, 40.0)).last();
        assert_eq!(last, Some(40));
    }

    #[test]
    fn latency_far_above_the_usual_lowers_the_limit() {
        let mut gradient = Gradient::new(40, 5, 100);
        gradient.sample(0.01, 0.0);
        let before = gradient.limit();
        let after = (0..20).map(|_| gradient.sample(0.08, 100.0)).last().expect("twenty samples");
        assert!(after < before / 2, "{before} to {after}");
    }

    #[test]
    fn a_pool_that_is_not_used_keeps_its_limit() {
        let mut gradient = Gradient::new(20, 5, 100);
        assert!((0..50).all(|_| gradient.sample(0.01, 3.0) == 20));
    }

    #[test]
    fn the_limit_never_leaves_its_bounds() {
        let mut gradient = Gradient::new(20, 15, 25);
        for time in [0.001, 10.0, f64::NAN, 0.0, -1.0, 0.5, f64::INFINITY] {
            for _ in 0..50 {
                assert!((15..=25).contains(&gradient.sample(time, 1000.0)));
            }
        }
    }
}
