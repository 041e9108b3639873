//! What a PostgreSQL server says of itself: the questions, and how their answers are read.
//!
//! Invariant: whoever may log in may ask; an answer that is short, or of a server that is something
//! else, reads as less that is known, never as a wrong number for what was not said.
//! Not here: how and when somebody asks; the pooler and the pool library do.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// Asks for one row. Sessions of others are counted whatever the asker may see of them: who may
/// not look sees no state.
pub const QUESTION: &str = "SELECT pg_catalog.pg_is_in_recovery(), \
    pg_catalog.current_setting('transaction_read_only'), \
    pg_catalog.count(*) FILTER (WHERE state = 'active' AND pid <> pg_catalog.pg_backend_pid()), \
    pg_catalog.count(*) FILTER (WHERE state = 'idle'), \
    pg_catalog.count(*) FILTER (WHERE state LIKE 'idle in transaction%'), \
    pg_catalog.count(*) - 1, \
    pg_catalog.current_setting('max_connections', true), \
    pg_catalog.current_setting('superuser_reserved_connections', true), \
    pg_catalog.current_setting('idle_in_transaction_session_timeout', true), \
    pg_catalog.current_setting('statement_timeout', true), \
    pg_catalog.current_setting('lock_timeout', true), \
    pg_catalog.current_setting('shared_buffers', true), \
    pg_catalog.current_setting('work_mem', true), \
    pg_catalog.current_setting('server_version', true) \
    FROM pg_catalog.pg_stat_activity WHERE datid IS NOT NULL AND usesysid IS NOT NULL";

/// The settings in the answer to [`QUESTION`], in their order.
const SETTINGS: [&str; 8] = [
    "max_connections",
    "superuser_reserved_connections",
    "idle_in_transaction_session_timeout",
    "statement_timeout",
    "lock_timeout",
    "shared_buffers",
    "work_mem",
    "server_version",
];

/// Where they begin.
const SETTINGS_AT: usize = 6;

/// Asks a standby for one value: by how many seconds its replay is behind.
///
/// It is 0 when everything that was received is replayed and somebody receives; or else the age of
/// the last transaction that was replayed. By itself, because some servers that call themselves
/// standbys have no such functions and answer with an error.
pub const LAG_QUESTION: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN \
    CASE WHEN pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() \
    AND EXISTS (SELECT 1 FROM pg_catalog.pg_stat_wal_receiver) THEN 0 \
    ELSE EXTRACT(EPOCH FROM \
    pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) END END";

/// What a server said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// It is a standby.
    pub in_recovery: bool,
    /// It takes no writes.
    pub read_only: bool,
    /// Sessions of others that run something.
    pub active: u64,
    /// Sessions that do nothing.
    pub idle: u64,
    /// Sessions that do nothing inside a transaction.
    pub idle_in_transaction: u64,
    /// Sessions of all sorts, without the one that asked.
    pub total: u64,
    /// Its settings that pools depend on.
    pub settings: Vec<(String, String)>,
}

impl Facts {
    /// Reads the answer to [`QUESTION`]; `text` returns the value of a column.
    pub fn read<'a>(text: impl Fn(usize) -> Option<&'a str>) -> Self {
        let number = |place| text(place).and_then(|text| text.parse().ok()).unwrap_or(0);
        let settings = SETTINGS.iter().zip(SETTINGS_AT..).filter_map(|(name, place)| {
            let value = text(place)?.to_owned();
            Some(((*name).to_owned(), value))
        });
        Self {
            in_recovery: text(0) == Some("t"),
            read_only: text(1) == Some("on"),
            active: number(2),
            idle: number(3),
            idle_in_transaction: number(4),
            total: number(5),
            settings: settings.collect(),
        }
    }

    /// Returns one of its settings.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns a setting that is a number; 0 if it is none or was not said.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.setting(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// Reads the answer to [`LAG_QUESTION`]: nothing of a server that is no standby, or has replayed no
/// transaction yet. Clocks that differ make nobody be ahead.
#[must_use]
pub fn read_lag(text: Option<&str>) -> Option<f64> {
    let seconds: f64 = text?.parse().ok()?;
    seconds.is_finite().then_some(seconds.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_by_its_columns() {
        let row =
            ["f", "on", "3", "4", "1", "8", "100", "3", "0", "0", "0", "16384", "4096", "15.4"];
        let facts = Facts::read(|place| row.get(place).copied());
        assert!(facts.read_only && !facts.in_recovery);
        assert_eq!(
            (facts.active, facts.idle, facts.idle_in_transaction, facts.total),
            (3, 4, 1, 8)
        );
        assert_eq!(facts.count("max_connections"), 100);
        assert_eq!(facts.count("superuser_reserved_connections"), 3);
        assert_eq!(facts.setting("lock_timeout"), Some("0"));
        assert_eq!(facts.setting("server_version"), Some("15.4"));
    }

    #[test]
    fn half_an_answer_is_no_panic() {
        let row = [None, Some("off")];
        let facts = Facts::read(|place| row.get(place).copied().flatten());
        assert_eq!(facts, Facts::default());
        assert_eq!(facts.count("max_connections"), 0);
    }

    #[test]
    fn settings_are_asked_for_in_the_order_in_which_they_are_read() {
        let mut rest = QUESTION;
        for name in SETTINGS {
            let (_, after) = rest.split_once(&*alloc::format!("('{name}', true)")).expect(name);
            rest = after;
        }
        assert!(!rest.contains("current_setting"));
        assert_eq!(QUESTION.split_once("current_setting('max").unwrap().0.matches(", ").count(), 6);
    }

    #[test]
    fn a_lag_that_is_unknown_is_not_0() {
        assert_eq!(read_lag(None), None);
        assert_eq!(read_lag(Some("NaN")), None);
        assert_eq!(read_lag(Some("soon")), None);
        assert_eq!(read_lag(Some("0")), Some(0.0));
        assert_eq!(read_lag(Some("12.345678")), Some(12.345678));
        assert_eq!(read_lag(Some("-0.002")), Some(0.0));
    }
}
