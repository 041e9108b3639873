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

/// Asks a standby by how many seconds its replay is behind.
///
/// It is 0 when everything that was received is replayed and somebody receives; or else the age of
/// the last transaction that was replayed, of one that has replayed none since it started the time
/// since then. Less was received than was replayed where an archive is read too, and just after a
/// start.
const OF_STANDBY: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN \
    CASE WHEN pg_catalog.pg_last_wal_receive_lsn() <= pg_catalog.pg_last_wal_replay_lsn() \
    AND EXISTS (SELECT 1 FROM pg_catalog.pg_stat_wal_receiver) THEN 0 \
    ELSE EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - COALESCE(\
    pg_catalog.pg_last_xact_replay_timestamp(), pg_catalog.pg_postmaster_start_time())) END END";

/// Asks a primary how many receive its changes, and by how many seconds the slowest is behind. Who
/// lacks the rights of `pg_monitor` sees how many, and nothing of how far. A lag that is no longer
/// measured is 0 once everything has been replayed.
const OF_PRIMARY: &str = "SELECT NULL, pg_catalog.count(*), \
    pg_catalog.max(COALESCE(EXTRACT(EPOCH FROM replay_lag), \
    CASE WHEN replay_lsn >= pg_catalog.pg_current_wal_lsn() THEN 0 END)) \
    FROM pg_catalog.pg_stat_replication WHERE state IS DISTINCT FROM 'backup'";

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

    /// Returns what to ask next, about its replication; see [`Replication`]. By itself, because
    /// some servers that call themselves standbys have no such functions and answer with an error.
    #[must_use]
    pub const fn next_question(&self) -> &'static str {
        if self.in_recovery { OF_STANDBY } else { OF_PRIMARY }
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

/// What a server said of its replication.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Replication {
    /// By how many seconds it is behind itself: nothing of a server that is no standby.
    pub lag_seconds: Option<f64>,
    /// How many receive the changes of a primary.
    pub standbys: Option<u64>,
    /// By how many seconds the slowest of them is behind; nothing without one, or without the right
    /// to know.
    pub standby_lag_seconds: Option<f64>,
}

impl Replication {
    /// Reads the answer to [`Facts::next_question`]; `text` returns the value of a column.
    pub fn read<'a>(text: impl Fn(usize) -> Option<&'a str>) -> Self {
        Self {
            lag_seconds: seconds(text(0)),
            standbys: text(1).and_then(|text| text.parse().ok()),
            standby_lag_seconds: seconds(text(2)),
        }
    }
}

/// Clocks that differ make nobody be ahead.
fn seconds(text: Option<&str>) -> Option<f64> {
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
        let lag = |text| Replication::read(|place| [text].get(place).copied()?).lag_seconds;
        assert_eq!(lag(None), None);
        assert_eq!(lag(Some("NaN")), None);
        assert_eq!(lag(Some("soon")), None);
        assert_eq!(lag(Some("0")), Some(0.0));
        assert_eq!(lag(Some("12.345678")), Some(12.345678));
        assert_eq!(lag(Some("-0.002")), Some(0.0));
    }

    #[test]
    fn a_primary_without_rights_counts_and_measures_nothing() {
        let read = |row: [Option<&'static str>; 3]| {
            Replication::read(|place| row.get(place).copied().flatten())
        };
        let seen = read([None, Some("2"), Some("1.5")]);
        assert_eq!((seen.standbys, seen.standby_lag_seconds), (Some(2), Some(1.5)));
        let unseen = read([None, Some("2"), None]);
        assert_eq!((unseen.standbys, unseen.standby_lag_seconds), (Some(2), None));
        assert_eq!(unseen.lag_seconds, None);
    }
}
