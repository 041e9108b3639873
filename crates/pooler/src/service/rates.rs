//! Averages over the last statistics period, and the stats line in the log.
//!
//! Invariant: averages are differences of totals; nothing is counted twice.
//! Not here: the totals (`catalog::PoolStats`).

use std::collections::HashMap;
use std::time::Instant;

use crate::catalog::{Catalog, Pool};
use crate::log::{Level, Log};

/// The totals of a database, in PgBouncer's units (times in microseconds).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Servers handed out.
    pub assignments: u64,
    /// Transactions.
    pub transactions: u64,
    /// Queries.
    pub queries: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
    /// Microseconds in transactions.
    pub transaction_time: u64,
    /// Microseconds in queries.
    pub query_time: u64,
    /// Microseconds waited.
    pub wait_time: u64,
    /// Parses of clients.
    pub client_parses: u64,
    /// Parses to servers.
    pub server_parses: u64,
    /// Binds.
    pub binds: u64,
    /// Logins.
    pub logins: u64,
}

impl Totals {
    /// Adds a pool.
    pub fn add(&mut self, pool: &Pool) {
        let micros = |nanos: u64| nanos / 1000;
        self.assignments += pool.total(|s| &s.assignments);
        self.transactions += pool.total(|s| &s.transactions);
        self.queries += pool.total(|s| &s.queries);
        self.received += pool.total(|s| &s.received);
        self.sent += pool.total(|s| &s.sent);
        self.transaction_time += micros(pool.total(|s| &s.transaction_time));
        self.query_time += micros(pool.total(|s| &s.query_time));
        self.wait_time += micros(pool.total(|s| &s.wait_time));
        self.client_parses += pool.total(|s| &s.client_parses);
        self.server_parses += pool.total(|s| &s.server_parses);
        self.binds += pool.total(|s| &s.binds);
        self.logins += pool.total(|s| &s.logins);
    }

    /// All fields, in order.
    #[must_use]
    pub fn fields(&self) -> [u64; 12] {
        [
            self.assignments,
            self.transactions,
            self.queries,
            self.received,
            self.sent,
            self.transaction_time,
            self.query_time,
            self.wait_time,
            self.client_parses,
            self.server_parses,
            self.binds,
            self.logins,
        ]
    }

    fn from_fields(f: [u64; 12]) -> Self {
        Self {
            assignments: f[0],
            transactions: f[1],
            queries: f[2],
            received: f[3],
            sent: f[4],
            transaction_time: f[5],
            query_time: f[6],
            wait_time: f[7],
            client_parses: f[8],
            server_parses: f[9],
            binds: f[10],
            logins: f[11],
        }
    }

    /// Per second since `earlier`; times per transaction, query and assignment as PgBouncer has it.
    #[must_use]
    pub fn average_since(&self, earlier: &Self, seconds: f64) -> Self {
        let mut difference = [0; 12];
        let both = self.fields().into_iter().zip(earlier.fields());
        for (place, (now, then)) in difference.iter_mut().zip(both) {
            *place = now.saturating_sub(then);
        }
        let d = Self::from_fields(difference);
        let rate = |n: u64| (n as f64 / seconds.max(0.001)) as u64;
        let per = |sum: u64, n: u64| sum.checked_div(n).unwrap_or(0);
        Self {
            assignments: rate(d.assignments),
            transactions: rate(d.transactions),
            queries: rate(d.queries),
            received: rate(d.received),
            sent: rate(d.sent),
            transaction_time: per(d.transaction_time, d.transactions),
            query_time: per(d.query_time, d.queries),
            wait_time: per(d.wait_time, d.assignments),
            client_parses: rate(d.client_parses),
            server_parses: rate(d.server_parses),
            binds: rate(d.binds),
            logins: rate(d.logins),
        }
    }
}

/// Totals by database.
#[must_use]
pub fn totals(catalog: &Catalog) -> HashMap<String, Totals> {
    let mut all: HashMap<String, Totals> = HashMap::new();
    for pool in catalog.pools() {
        all.entry(pool.database.name.clone()).or_default().add(&pool);
    }
    for database in catalog.databases() {
        all.entry(database.name.clone()).or_default();
    }
    let console = &catalog.console;
    let commands = console.commands.get();
    let own = Totals {
        transactions: commands,
        queries: commands,
        logins: console.logins.get(),
        ..Totals::default()
    };
    all.insert(crate::catalog::CONSOLE.to_owned(), own);
    all
}

/// Averages over the last whole period.
pub struct Rates {
    before: HashMap<String, Totals>,
    since: Instant,
    /// Averages by database.
    pub averages: HashMap<String, Totals>,
}

impl Rates {
    /// Starts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self { before: HashMap::new(), since: Instant::now(), averages: HashMap::new() }
    }

    /// A period is over: computes the averages and writes the stats line.
    pub fn turn(&mut self, catalog: &Catalog, log: &Log) {
        let now = totals(catalog);
        let seconds = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        let nothing = Totals::default();
        self.averages = now
            .iter()
            .map(|(name, totals)| {
                let before = self.before.get(name).unwrap_or(&nothing);
                (name.clone(), totals.average_since(before, seconds))
            })
            .collect();
        let sum = |all: &HashMap<String, Totals>| {
            let mut fields = [0u64; 12];
            for totals in all.values() {
                for (place, value) in fields.iter_mut().zip(totals.fields()) {
                    *place += value;
                }
            }
            Totals::from_fields(fields)
        };
        if catalog.view().config.global.log_stats {
            let a = sum(&now).average_since(&sum(&self.before), seconds);
            log.line(
                Level::Log,
                &format!(
                    "stats: {} xacts/s, {} queries/s, {} client parses/s, {} server parses/s, \
                     {} binds/s, {} client logins/s, in {} B/s, out {} B/s, xact {} us, \
                     query {} us, wait {} us",
                    a.transactions,
                    a.queries,
                    a.client_parses,
                    a.server_parses,
                    a.binds,
                    a.logins,
                    a.received,
                    a.sent,
                    a.transaction_time,
                    a.query_time,
                    a.wait_time
                ),
            );
        }
        self.before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_differences_per_second_and_times_per_event() {
        let before = Totals { transactions: 10, transaction_time: 1000, ..Totals::default() };
        let now = Totals { transactions: 30, transaction_time: 5000, ..Totals::default() };
        let average = now.average_since(&before, 2.0);
        assert_eq!((average.transactions, average.transaction_time), (10, 200));
    }
}
