//! Queueing theory: how many connections a load keeps busy, and how long the rest waits.
//!
//! Invariant: `None` means overload: with so few connections the queue grows without bound.
//! Left out: that more connections make each query slower (`usl.rs`).

use super::square_root;

/// Returns how many connections a load keeps busy on average (Little's law): arrivals per second
/// times seconds held, where "held" includes the time the application has it and does nothing.
#[must_use]
pub fn busy(arrivals_per_s: f64, hold_s: f64) -> f64 {
    arrivals_per_s * hold_s
}

/// Returns the probability that a caller has to wait (Erlang C) when `load` connections are busy
/// on average, out of `connections`.
#[must_use]
pub fn erlang_c(connections: u32, load: f64) -> Option<f64> {
    let all = f64::from(connections);
    if !load.is_finite() || load < 0.0 || load >= all {
        return None;
    }
    // Erlang B by its recursion, which neither overflows nor cancels.
    let mut blocked = 1.0;
    for count in 1..=connections {
        blocked = load * blocked / (f64::from(count) + load * blocked);
    }
    Some(blocked / (1.0 - load / all * (1.0 - blocked)))
}

/// Returns the mean wait in seconds.
///
/// `variation` is the mean of the squared coefficients of variation of the times between
/// arrivals and of the hold times: 1 for random ones, more for bursts (Allen and Cunneen).
#[must_use]
pub fn wait_mean(connections: u32, load: f64, hold_s: f64, variation: f64) -> Option<f64> {
    let waits = erlang_c(connections, load)?;
    Some(waits * hold_s / (f64::from(connections) - load) * variation)
}

/// Returns the fewest connections with which callers wait `wait_s` at most on average.
#[must_use]
pub fn connections_for_wait(load: f64, hold_s: f64, variation: f64, wait_s: f64) -> Option<u32> {
    /// Nobody runs more; a target that needs more has no answer.
    const MOST: u32 = 100_000;
    if !load.is_finite() || !(0.0..f64::from(MOST)).contains(&load) || wait_s < 0.0 {
        return None;
    }
    // The wait falls with every connection, so the first that is good enough is found by halving.
    let good = |connections| {
        wait_mean(connections, load, hold_s, variation).is_some_and(|wait| wait <= wait_s)
    };
    let (mut too_few, mut enough) = (0, MOST);
    if !good(enough) {
        return None;
    }
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        if good(middle) {
            enough = middle;
        } else {
            too_few = middle;
        }
    }
    Some(enough)
}

/// Returns the connections by the square-root rule: the load, and `beta` times its root for
/// fluctuation (1 is tight, 2 generous).
#[must_use]
pub fn square_root_staffing(load: f64, beta: f64) -> f64 {
    load + beta * square_root(load)
}

/// Returns the fewest connections with which `callers`, each holding up to `each` at once, can
/// never all be waiting for one another.
#[must_use]
pub const fn deadlock_free(callers: u32, each: u32) -> u32 {
    callers.saturating_mul(each.saturating_sub(1)).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn the_share_of_callers_who_wait_agrees_with_the_closed_forms() {
        // One connection: the load itself. Two: a^2 / (2 + a).
        for load in [0.1, 0.5, 0.9] {
            assert!(close(erlang_c(1, load).expect("not overloaded"), load));
            assert!(close(erlang_c(2, load).expect("not overloaded"), load * load / (2.0 + load)));
        }
    }

    #[test]
    fn an_overloaded_pool_has_no_wait() {
        assert_eq!(erlang_c(4, 4.0), None);
        assert_eq!(wait_mean(4, 4.5, 0.01, 1.0), None);
        assert_eq!(erlang_c(0, 0.0), None);
    }

    #[test]
    fn one_more_connection_never_means_a_longer_wait() {
        let waits: std::vec::Vec<f64> =
            (9..60).map(|count| wait_mean(count, 8.5, 0.01, 1.0).expect("enough")).collect();
        assert!(waits.is_sorted_by(|more, less| more >= less));
    }

    #[test]
    fn the_fewest_connections_for_a_wait_are_the_fewest() {
        let fewest = connections_for_wait(8.5, 0.01, 1.0, 0.001).expect("has an answer");
        let wait = |count| wait_mean(count, 8.5, 0.01, 1.0).expect("enough");
        assert!(wait(fewest) <= 0.001 && wait(fewest - 1) > 0.001, "{fewest}");
    }

    #[test]
    fn a_busy_pool_is_staffed_by_load_and_root() {
        assert!(close(busy(2000.0, 0.008), 16.0));
        assert!(close(square_root_staffing(16.0, 2.0), 24.0));
    }

    #[test]
    fn callers_that_nest_need_one_more_than_all_but_their_last() {
        assert_eq!(deadlock_free(8, 3), 17);
        assert_eq!(deadlock_free(8, 1), 1);
    }
}
