//! What follows from two looks at the same pool: rates, percentiles of the last moment, errors of
//! the last hour.
//!
//! Invariant: a figure of an interval is a difference of totals; a total that went backwards (the
//! pool was made anew) counts as new.
//! Not here: keeping figures (`history`), judging them (`health`, `alert`).

use std::collections::{HashMap, VecDeque};

use headpond_stats::Distribution;
use serde::Serialize;

use crate::model::{Pool, Totals};

/// Minutes that "errors per hour" looks back on.
const MINUTES: usize = 60;
/// What "timeouts lately" looks back on: a minute, so that an alert outlives a scrape.
const LATELY_SECONDS: f64 = 60.0;

/// What a pool did between two looks, and lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Queries per second.
    pub queries_rate: f64,
    /// Transactions per second.
    pub transactions_rate: f64,
    /// Errors, failed connects and timeouts per second.
    pub errors_rate: f64,
    /// Half of the waits were not longer than this.
    pub wait_p50_seconds: f64,
    /// 99 of 100 waits were not longer than this.
    pub wait_p99_seconds: f64,
    /// Half of the queries did not take longer than this.
    pub query_p50_seconds: f64,
    /// 95 of 100 queries did not take longer than this.
    pub query_p95_seconds: f64,
    /// 99 of 100 queries did not take longer than this.
    pub query_p99_seconds: f64,
    /// Errors, failed connects and timeouts of the last hour.
    pub errors_hour: f64,
    /// Callers who were refused or timed out in the last minute.
    pub timeouts_lately: f64,
    /// Loans that were suspected to be leaks in the last minute.
    pub leaks_lately: f64,
    /// Failed connects in a hundred attempts, over the last hour.
    pub error_ratio: f64,
}

/// The last error of a pool, kept after it has passed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LastError {
    /// Its words.
    pub text: String,
    /// When it was last seen, in seconds since 1970.
    pub at: f64,
}

/// What is remembered of one pool from look to look.
#[derive(Debug, Default)]
struct Memory {
    at: f64,
    totals: Totals,
    wait: Distribution,
    query: Distribution,
    /// Once a minute: when, and the totals then.
    minutes: VecDeque<(f64, Totals)>,
    /// Of the last minute: when, and the totals then.
    moments: VecDeque<(f64, Totals)>,
    error: Option<LastError>,
    figures: Figures,
}

/// Remembers every pool.
#[derive(Debug, Default)]
pub struct Ledger {
    pools: HashMap<String, Memory>,
}

impl Ledger {
    /// Looks at all pools; `now` is monotonic, `wall` the time of day, both in seconds.
    pub fn look(&mut self, now: f64, wall: f64, pools: &[Pool]) {
        self.pools.retain(|name, _| pools.iter().any(|pool| pool.name == *name));
        for pool in pools {
            match self.pools.get_mut(&pool.name) {
                Some(memory) => memory.look(now, wall, pool),
                None => {
                    let mut memory = Memory { at: now, ..Memory::default() };
                    memory.begin(now, wall, pool);
                    self.pools.insert(pool.name.clone(), memory);
                }
            }
        }
    }

    /// Returns what is known of a pool.
    #[must_use]
    pub fn figures(&self, pool: &str) -> Figures {
        self.pools.get(pool).map(|memory| memory.figures).unwrap_or_default()
    }

    /// Returns the last error of a pool.
    #[must_use]
    pub fn last_error(&self, pool: &str) -> Option<&LastError> {
        self.pools.get(pool)?.error.as_ref()
    }
}

impl Memory {
    /// The first look: nothing to compare with.
    fn begin(&mut self, now: f64, wall: f64, pool: &Pool) {
        self.totals = pool.totals;
        self.wait = waits(pool);
        self.query = pool.times.query.clone();
        self.minutes.push_back((now, pool.totals));
        self.moments.push_back((now, pool.totals));
        self.note_error(wall, pool);
    }

    fn look(&mut self, now: f64, wall: f64, pool: &Pool) {
        let then = self.totals;
        let is_new =
            pool.totals.assignments < then.assignments || pool.totals.created < then.created;
        if is_new {
            *self = Self { at: now, error: self.error.take(), ..Self::default() };
            self.begin(now, wall, pool);
            return;
        }
        let seconds = (now - self.at).max(0.001);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let totals = pool.totals;
        self.figures.queries_rate = rate(totals.queries, then.queries);
        self.figures.transactions_rate = rate(totals.transactions, then.transactions);
        self.figures.errors_rate = rate(bad(&totals), bad(&then));
        self.percentiles(pool);
        self.remember(now, totals);
        self.note_error(wall, pool);
        self.at = now;
        self.totals = totals;
    }

    fn percentiles(&mut self, pool: &Pool) {
        let seconds = |window: &Distribution, q: f64| {
            window.quantile(q).map_or(0.0, |nanos| nanos as f64 / 1e9)
        };
        let waits = waits(pool);
        let window = waits.since(&self.wait);
        self.figures.wait_p50_seconds = seconds(&window, 0.5);
        self.figures.wait_p99_seconds = seconds(&window, 0.99);
        self.wait = waits;
        let window = pool.times.query.since(&self.query);
        self.figures.query_p50_seconds = seconds(&window, 0.5);
        self.figures.query_p95_seconds = seconds(&window, 0.95);
        self.figures.query_p99_seconds = seconds(&window, 0.99);
        self.query = pool.times.query.clone();
    }

    fn remember(&mut self, now: f64, totals: Totals) {
        if self.minutes.back().is_none_or(|(at, _)| now - at >= 60.0) {
            self.minutes.push_back((now, totals));
        }
        while self.minutes.len() > MINUTES + 1 {
            self.minutes.pop_front();
        }
        self.moments.push_back((now, totals));
        // The oldest kept is the last one that is a minute old.
        while self.moments.get(1).is_some_and(|(at, _)| now - at >= LATELY_SECONDS) {
            self.moments.pop_front();
        }
        let hour = self.minutes.front().map_or(totals, |(_, then)| *then);
        let lately = self.moments.front().map_or(totals, |(_, then)| *then);
        let figures = &mut self.figures;
        figures.errors_hour = bad(&totals).saturating_sub(bad(&hour)) as f64;
        figures.timeouts_lately = totals.timeouts.saturating_sub(lately.timeouts) as f64;
        figures.leaks_lately = totals.leaks.saturating_sub(lately.leaks) as f64;
        let failed = totals.connect_failures.saturating_sub(hour.connect_failures) as f64;
        let opened = totals.created.saturating_sub(hour.created) as f64;
        figures.error_ratio = if failed > 0.0 { failed / (failed + opened) } else { 0.0 };
    }

    fn note_error(&mut self, wall: f64, pool: &Pool) {
        if let Some(text) = &pool.error {
            self.error = Some(LastError { text: text.clone(), at: wall });
        }
    }
}

/// Whatever went wrong.
fn bad(totals: &Totals) -> u64 {
    totals.errors + totals.connect_failures + totals.timeouts
}

/// Waits whatever their reason.
fn waits(pool: &Pool) -> Distribution {
    let mut all = Distribution::new();
    pool.times.waits.iter().for_each(|(_, waits)| all.merge(waits));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(queries: u64, failures: u64) -> Pool {
        let totals = Totals {
            queries,
            connect_failures: failures,
            created: 10,
            assignments: queries,
            ..Totals::default()
        };
        Pool { name: "p".into(), totals, ..Pool::default() }
    }

    #[test]
    fn rates_are_differences_per_second() {
        let mut ledger = Ledger::default();
        ledger.look(10.0, 0.0, &[pool(100, 0)]);
        ledger.look(12.0, 0.0, &[pool(150, 4)]);
        let figures = ledger.figures("p");
        assert_eq!((figures.queries_rate, figures.errors_rate), (25.0, 2.0));
        assert_eq!((figures.errors_hour, figures.error_ratio), (4.0, 1.0));
    }

    #[test]
    fn percentiles_are_those_of_the_last_interval() {
        let mut ledger = Ledger::default();
        let mut pool = pool(1, 0);
        pool.times.query.record_many(1_000_000_000, 100);
        ledger.look(0.0, 0.0, std::slice::from_ref(&pool));
        pool.times.query.record_many(1_000_000, 100);
        ledger.look(1.0, 0.0, std::slice::from_ref(&pool));
        let p99 = ledger.figures("p").query_p99_seconds;
        assert!((0.001..0.0011).contains(&p99), "{p99}");
        ledger.look(2.0, 0.0, std::slice::from_ref(&pool));
        assert_eq!(ledger.figures("p").query_p99_seconds, 0.0);
    }

    #[test]
    fn what_is_older_than_an_hour_is_forgotten() {
        let mut ledger = Ledger::default();
        ledger.look(0.0, 0.0, &[pool(0, 0)]);
        ledger.look(1.0, 0.0, &[pool(0, 7)]);
        for minute in 1..=60 {
            ledger.look(f64::from(minute) * 60.0 + 1.0, 0.0, &[pool(0, 7)]);
        }
        assert_eq!(ledger.figures("p").errors_hour, 7.0);
        ledger.look(61.0 * 60.0 + 1.0, 0.0, &[pool(0, 7)]);
        assert_eq!(ledger.figures("p").errors_hour, 0.0);
    }

    #[test]
    fn a_pool_that_was_made_anew_has_no_negative_rates() {
        let mut ledger = Ledger::default();
        ledger.look(0.0, 0.0, &[pool(1000, 0)]);
        ledger.look(1.0, 0.0, &[pool(10, 0)]);
        assert_eq!(ledger.figures("p").queries_rate, 0.0);
        ledger.look(2.0, 0.0, &[pool(30, 0)]);
        assert_eq!(ledger.figures("p").queries_rate, 20.0);
    }

    #[test]
    fn the_last_error_stays_known_after_it_has_passed() {
        let mut ledger = Ledger::default();
        let broken = Pool { error: Some("no route".into()), ..pool(0, 1) };
        ledger.look(0.0, 50.0, &[broken]);
        ledger.look(1.0, 51.0, &[pool(0, 1)]);
        let expected = LastError { text: "no route".into(), at: 50.0 };
        assert_eq!(ledger.last_error("p"), Some(&expected));
    }
}
