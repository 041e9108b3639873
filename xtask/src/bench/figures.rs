//! What was measured, and what follows from it.
//!
//! Invariant: a ratio is the median of the rounds' own ratios: both sides of each were measured
//! within seconds of each other.

use super::cells::Cell;
use super::subject::Subject;

/// One run; a figure that the cell does not have is 0.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Transactions per second, or MB per second in the bulk cell.
    pub throughput: f64,
    /// The pooler's own time per transaction, in the program.
    pub user_us: f64,
    /// The same, in the kernel.
    pub system_us: f64,
    /// PostgreSQL's time per transaction, all processes.
    pub server_us: f64,
    /// Half of the transactions were faster.
    pub p50_us: f64,
    /// One in a hundred was slower.
    pub p99_us: f64,
    /// Resident size without clients.
    pub base_kib: f64,
    /// Resident size per idle client.
    pub idle_kib: f64,
    /// Proportional share per idle client.
    pub idle_share_kib: f64,
    /// Resident size per client from the smaller to the larger number of clients.
    pub idle_next_kib: f64,
    /// How many idle clients there were.
    pub idle_clients: f64,
    /// What they cost while they did nothing.
    pub idle_cpu_ms_per_s: f64,
}

impl Sample {
    /// The pooler's time per transaction.
    pub fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

/// All samples of one cell, by subject.
pub struct Row {
    /// What was measured.
    pub cell: Cell,
    /// Transactions per second asked for, in the paced cell.
    pub rate: Option<u32>,
    /// Samples in the order of the rounds.
    pub samples: Vec<(&'static str, Vec<Sample>)>,
}

impl Row {
    /// The samples of one subject.
    pub fn of(&self, key: &str) -> Option<&[Sample]> {
        let found = self.samples.iter().find(|(name, _)| *name == key);
        found.map(|(_, samples)| samples.as_slice()).filter(|samples| !samples.is_empty())
    }

    /// Compares a figure of two subjects, round by round.
    pub fn ratio(&self, key: &str, to: &str, figure: fn(&Sample) -> f64) -> Option<Spread> {
        let pairs = self.of(key)?.iter().zip(self.of(to)?);
        let ratios = pairs.map(|(one, other)| figure(one) / figure(other));
        Spread::of(ratios.filter(|ratio| ratio.is_finite()))
    }
}

/// A whole run.
pub struct Measured {
    /// Cell by cell.
    pub rows: Vec<Row>,
    /// The server they ran against.
    pub server: String,
    /// Who took part.
    pub subjects: Vec<Subject>,
}

/// A median with the extremes around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Returns the spread of some values; none of none.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0].into_iter());
        assert_eq!(spread, Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of(std::iter::empty()), None);
    }
}
