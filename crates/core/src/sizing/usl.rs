//! The universal scalability law: throughput as a function of concurrency.
//!
//! `X(N) = gamma N / (1 + sigma (N - 1) + kappa N (N - 1))`: `gamma` is what one connection does,
//! `sigma` the share of work that cannot run in parallel, `kappa` the price of agreeing with all
//! the others. With `kappa` above zero there is a best N, and beyond it more is less.
//!
//! Invariant: a fitted law has a positive `gamma` and no negative coefficient.
//! Left out: judging whether the measurements deserve a fit (their spread, their number).

use super::square_root;

/// The coefficients of the law.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Usl {
    /// Throughput of a single connection.
    pub gamma: f64,
    /// Contention.
    pub sigma: f64,
    /// Coherence.
    pub kappa: f64,
}

impl Usl {
    /// Fits the law to pairs of concurrency and throughput, by least squares on `N / X`, which is
    /// linear in the unknowns. Points without concurrency or throughput do not count.
    ///
    /// Answers `None` with fewer than three different concurrencies.
    #[must_use]
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        // Noise can make a coefficient negative, which has no meaning: leave it out then.
        let all = [[true, true], [true, false], [false, true], [false, false]];
        all.into_iter().find_map(|wanted| Self::fit_with(points, wanted))
    }

    /// Returns the throughput at a concurrency.
    #[must_use]
    pub fn throughput(&self, concurrency: f64) -> f64 {
        let others = concurrency - 1.0;
        self.gamma * concurrency / (1.0 + self.sigma * others + self.kappa * concurrency * others)
    }

    /// Returns the concurrency with the highest throughput; `None` when more is always better.
    #[must_use]
    pub fn best(&self) -> Option<f64> {
        (self.kappa > 0.0 && self.sigma < 1.0)
            .then(|| square_root((1.0 - self.sigma) / self.kappa).max(1.0))
    }

    /// Fits with sigma and kappa where wanted, and zero where not.
    fn fit_with(points: &[(f64, f64)], [sigma, kappa]: [bool; 2]) -> Option<Self> {
        let mut equations = [[0.0; 4]; 3];
        let mut seen = Distinct::new();
        for (concurrency, throughput) in points.iter().copied() {
            let usable = concurrency >= 1.0 && throughput > 0.0;
            if !usable || !concurrency.is_finite() || !throughput.is_finite() {
                continue;
            }
            seen.add(concurrency);
            let others = concurrency - 1.0;
            let row = [
                1.0,
                if sigma { others } else { 0.0 },
                if kappa { concurrency * others } else { 0.0 },
                concurrency / throughput,
            ];
            for (equation, factor) in equations.iter_mut().zip(row) {
                for (cell, value) in equation.iter_mut().zip(row) {
                    *cell += factor * value;
                }
            }
        }
        if !seen.enough() {
            return None;
        }
        // An unknown that is left out gets the equation "it is zero".
        for (index, wanted) in [(1, sigma), (2, kappa)] {
            if !wanted {
                equations[index] = [0.0; 4];
                equations[index][index] = 1.0;
            }
        }
        let [first, second, third] = solve(equations)?;
        let law = Self { gamma: 1.0 / first, sigma: second / first, kappa: third / first };
        let sound = first > 0.0 && second >= 0.0 && third >= 0.0;
        (sound && law.gamma.is_finite()).then_some(law)
    }
}

/// Whether at least three different values came by.
struct Distinct {
    seen: [f64; 3],
    len: usize,
}

impl Distinct {
    const fn new() -> Self {
        Self { seen: [0.0; 3], len: 0 }
    }

    fn add(&mut self, value: f64) {
        let known = self.seen.iter().take(self.len).any(|seen| (seen - value).abs() < 1e-9);
        if !known && self.len < self.seen.len() {
            self.seen[self.len] = value;
            self.len += 1;
        }
    }

    const fn enough(&self) -> bool {
        self.len == self.seen.len()
    }
}

/// Solves three equations by elimination with row exchange; `None` when they are not independent.
fn solve(mut rows: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    for column in 0..3 {
        let steepest = |left: &usize, right: &usize| {
            rows[*left][column].abs().total_cmp(&rows[*right][column].abs())
        };
        let pivot = (column..3).max_by(steepest)?;
        rows.swap(column, pivot);
        let scale = rows[column][column];
        if scale.abs() < 1e-12 {
            return None;
        }
        rows[column] = rows[column].map(|cell| cell / scale);
        for other in (0..3).filter(|other| *other != column) {
            let factor = rows[other][column];
            let subtract = rows[column].map(|cell| cell * factor);
            for (cell, less) in rows[other].iter_mut().zip(subtract) {
                *cell -= less;
            }
        }
    }
    Some([rows[0][3], rows[1][3], rows[2][3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const LAW: Usl = Usl { gamma: 900.0, sigma: 0.04, kappa: 0.002 };

    fn points(law: Usl) -> Vec<(f64, f64)> {
        [1.0, 2.0, 4.0, 8.0, 16.0, 32.0].into_iter().map(|n| (n, law.throughput(n))).collect()
    }

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() <= 1e-6 * right.abs().max(1e-3)
    }

    #[test]
    fn a_fit_finds_the_law_that_made_the_points() {
        for law in [LAW, Usl { kappa: 0.0, ..LAW }, Usl { sigma: 0.0, ..LAW }] {
            let fit = Usl::fit(&points(law)).expect("six points");
            assert!(near(fit.gamma, law.gamma), "{fit:?}");
            assert!(near(fit.sigma, law.sigma) && near(fit.kappa, law.kappa), "{fit:?}");
        }
    }

    #[test]
    fn the_best_concurrency_beats_its_neighbours() {
        let best = LAW.best().expect("coherence has a price");
        assert!(LAW.throughput(best) >= LAW.throughput(best + 0.5));
        assert!(LAW.throughput(best) >= LAW.throughput(best - 0.5));
        assert_eq!(Usl { kappa: 0.0, ..LAW }.best(), None);
    }

    #[test]
    fn noise_never_makes_a_coefficient_negative() {
        let noisy = [(1.0, 100.0), (2.0, 205.0), (4.0, 420.0), (8.0, 850.0)];
        let fit = Usl::fit(&noisy).expect("four points");
        assert!(fit.sigma >= 0.0 && fit.kappa >= 0.0 && fit.gamma > 0.0, "{fit:?}");
    }

    #[test]
    fn two_concurrencies_are_too_few_for_a_law() {
        assert_eq!(Usl::fit(&[(1.0, 10.0), (2.0, 19.0), (2.0, 20.0)]), None);
        assert_eq!(Usl::fit(&[(1.0, 10.0), (2.0, f64::NAN), (0.0, 5.0), (3.0, 0.0)]), None);
    }
}
