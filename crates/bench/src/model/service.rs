//! How long a request holds its connection.
//!
//! Invariant: draws are positive and their mean is the one asked for.

use headpond_core::Random;

use crate::arrival::{exponential, uniform};
use crate::result::Percentiles;

/// How long a request holds its connection.
#[derive(Clone, PartialEq, Debug)]
pub enum Service {
    /// Always the same, in seconds.
    Fixed(f64),
    /// Exponential, by its mean in seconds.
    Exponential(f64),
    /// Log-normal: most are short, a few very long.
    LogNormal {
        /// Mean in seconds.
        mean_s: f64,
        /// Standard deviation as a share of the mean.
        variation: f64,
    },
    /// As measured: upper ends of buckets in seconds, and the share of requests up to there.
    Recorded(Vec<(f64, f64)>),
}

impl Service {
    /// Takes the times of a measured run; `None` if it has none.
    #[must_use]
    pub fn recorded(times: &Percentiles) -> Option<Self> {
        let all = times.buckets_us.iter().map(|(_, count)| *count).sum::<u64>();
        let mut seen = 0;
        let share = |(us, count): &(f64, u64)| {
            seen += count;
            (us / 1e6, seen as f64 / all as f64)
        };
        let buckets: Vec<_> = times.buckets_us.iter().map(share).collect();
        (all > 0).then_some(Self::Recorded(buckets))
    }

    /// Returns the mean in seconds.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match self {
            Self::Fixed(s) | Self::Exponential(s) | Self::LogNormal { mean_s: s, .. } => *s,
            Self::Recorded(buckets) => {
                let mut before = 0.0;
                let part = |(s, share): &(f64, f64)| {
                    let part = s * (share - before);
                    before = *share;
                    part
                };
                buckets.iter().map(part).sum()
            }
        }
    }

    /// Draws one, in seconds.
    pub fn draw(&self, random: &mut Random) -> f64 {
        match self {
            Self::Fixed(s) => *s,
            Self::Exponential(s) => s * exponential(random),
            Self::LogNormal { mean_s, variation } => {
                let square = (1.0 + variation * variation).ln();
                (mean_s.ln() - square / 2.0 + square.sqrt() * normal(random)).exp()
            }
            Self::Recorded(buckets) => {
                let share = uniform(random);
                let at = buckets.partition_point(|(_, upto)| *upto < share);
                buckets.get(at).or(buckets.last()).map_or(0.0, |(s, _)| *s)
            }
        }
    }
}

/// Draws from the normal distribution (Box and Muller).
fn normal(random: &mut Random) -> f64 {
    let (radius, angle) = (uniform(random), uniform(random));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Times;

    fn mean_and_variation(service: &Service) -> (f64, f64) {
        let mut random = Random::new(9);
        let draws: Vec<f64> = (0..200_000).map(|_| service.draw(&mut random)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn draws_have_the_mean_and_the_variation_that_were_asked_for() {
        let log_normal = Service::LogNormal { mean_s: 0.01, variation: 1.5 };
        for (service, variation) in
            [(Service::Fixed(0.01), 0.0), (Service::Exponential(0.01), 1.0), (log_normal, 1.5)]
        {
            let (mean, found) = mean_and_variation(&service);
            assert!((mean / 0.01 - 1.0).abs() < 0.02, "{service:?}: {mean}");
            assert!((found - variation).abs() < 0.1, "{service:?}: {found}");
        }
    }

    #[test]
    fn recorded_times_come_back_as_they_were() {
        let mut times = Times::default();
        (0..900).for_each(|_| times.record(2_000_000));
        (0..100).for_each(|_| times.record(50_000_000));
        let service = Service::recorded(&Percentiles::of(&times)).expect("a thousand");
        let (mean, _) = mean_and_variation(&service);
        assert!((mean / 0.0068 - 1.0).abs() < 0.02, "{mean}");
        assert!((service.mean() / 0.0068 - 1.0).abs() < 0.002, "{}", service.mean());
        assert_eq!(Service::recorded(&Percentiles::default()), None);
    }
}
