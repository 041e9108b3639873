//! How large a pool should be: the formulae, and nothing that changes a pool by itself.
//!
//! Invariant: every function is pure and answers `None` where its formula has no answer.
//! Left out: gathering the figures, and acting on them. Advice comes with its evidence
//! elsewhere.

mod gradient;
mod queueing;
mod usl;

pub use gradient::Gradient;
pub use queueing::{
    busy, connections_for_wait, deadlock_free, erlang_c, square_root_staffing, wait_mean,
};
pub use usl::Usl;

use crate::limits::Limits;

/// Returns the limits a pool starts with when nobody has said anything: twice the cores and four,
/// at most 100; a quarter of that is kept open, at least five.
///
/// The cores meant are those of the database when known, otherwise this machine's.
#[must_use]
pub fn default_limits(cores: u32) -> Limits {
    let size = cores.saturating_mul(2).saturating_add(4).min(100);
    let min = (size / 4).max(5).min(size);
    Limits { size, min, ..Limits::default() }
}

/// Returns the share of a server's connections for each of `processes`, after setting aside
/// those reserved for administration; `None` when nothing is left.
#[must_use]
pub fn share_of_server(connections_max: u32, reserved: u32, processes: u32) -> Option<u32> {
    let share = connections_max.checked_sub(reserved)?.checked_div(processes)?;
    (share > 0).then_some(share)
}

/// Returns the square root by Newton's method; `core` has none.
fn square_root(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 0.0;
    }
    // Halving the exponent starts within a factor of two; five steps reach full precision.
    let mut root = f64::from_bits((value.to_bits() >> 1) + (1023u64 << 51));
    for _ in 0..5 {
        root = 0.5 * (root + value / root);
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_starts_with_twice_the_cores_and_four() {
        let sizes = [(1, 6, 5), (2, 8, 5), (8, 20, 5), (16, 36, 9), (48, 100, 25), (4096, 100, 25)];
        for (cores, size, min) in sizes {
            let limits = default_limits(cores);
            assert_eq!((limits.size, limits.min), (size, min), "{cores} cores");
        }
    }

    #[test]
    fn a_server_is_shared_after_its_reserve_is_set_aside() {
        assert_eq!(share_of_server(100, 10, 9), Some(10));
        assert_eq!(share_of_server(10, 10, 3), None);
        assert_eq!(share_of_server(100, 3, 0), None);
    }

    #[test]
    fn the_square_root_is_exact_to_the_last_digits() {
        for exponent in -30..30 {
            let value = 1.7 * 10f64.powi(exponent);
            let root = square_root(value);
            assert!((root * root / value - 1.0).abs() < 1e-14, "{value}: {root}");
        }
        assert!(square_root(-1.0).abs() < f64::EPSILON);
    }
}
