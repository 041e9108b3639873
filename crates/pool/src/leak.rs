//! Loans that last suspiciously long.
//!
//! A loan is suspected once it has lasted longer than the threshold and ten times the 99th
//! percentile of its call site: a long job that always takes long is no leak. Each loan is counted
//! once.
//!
//! Left out: taking the connection back; it belongs to whoever has it.

use headpond_core::Timestamp;

use crate::error::Holder;
use crate::manager::Manager;
use crate::shared::{Kept, Shared};

/// How many times the usual a loan must last.
const TIMES_USUAL: u32 = 10;

impl<M: Manager> Kept<M> {
    /// Returns the loans that are suspected for the first time.
    pub(crate) fn suspects(&mut self, shared: &Shared<M>, now: Timestamp) -> Vec<Holder> {
        let Some(threshold) = self.settings.leak_after else { return Vec::new() };
        let mut found = Vec::new();
        for loan in shared.spots.loans() {
            let age = now.since(loan.since);
            if age <= threshold {
                continue;
            }
            let usual = shared.usage.lock().site_p99(loan.site);
            if usual.is_some_and(|p99| age <= p99 * TIMES_USUAL) {
                continue;
            }
            if shared.spots.at(loan.place).suspect(loan.since) {
                self.leaks += 1;
                found.push(Holder { site: loan.site, age });
            }
        }
        found
    }
}
