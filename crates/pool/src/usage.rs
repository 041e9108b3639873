//! How long loans, waits and connects last: all together, and loans by where they were asked for.
//!
//! Invariant: every wait and every connect is recorded; of loans of one connection at least one in
//! each tick of 4 ms is, so that a busy pool is sampled and a quiet one recorded whole.
//! Left out: what is done about it (`leak.rs`).

use std::collections::HashMap;
use std::panic::Location;
use std::time::Duration;

use headpond_stats::Distribution;

/// Sites whose loans are told apart; the rest share one.
const SITES_MAX: usize = 1024;

#[derive(Default)]
pub(crate) struct Usage {
    pub(crate) loans: Distribution,
    pub(crate) connects: Distribution,
    sites: HashMap<&'static Location<'static>, Distribution>,
}

impl Usage {
    pub(crate) fn record_loan(&mut self, site: Option<&'static Location<'static>>, time: Duration) {
        let nanos = crate::clock::nanos(time);
        self.loans.record(nanos);
        let Some(site) = site else { return };
        if self.sites.len() < SITES_MAX || self.sites.contains_key(site) {
            self.sites.entry(site).or_default().record(nanos);
        }
    }

    /// Returns the 99th percentile of a site's loans; none if too few were seen to say.
    pub(crate) fn site_p99(&self, site: &'static Location<'static>) -> Option<Duration> {
        /// Fewer say nothing about one in a hundred.
        const ENOUGH: u64 = 20;
        let loans = self.sites.get(site).filter(|loans| loans.count() >= ENOUGH)?;
        Some(Duration::from_nanos(loans.quantile(0.99)?))
    }
}
