//! What a MySQL or MariaDB server says of itself.
//!
//! Invariant: plain `SHOW` statements, which leave a session as it was; anybody who may log in may
//! ask for all but the state of a replica.
//! Left out: replicas with several sources on MariaDB, which shows the unnamed one only.

use mysql_async::Row;

use super::connection::Connection;
use super::error::Error;
use crate::facts::Facts;

// A name that a server does not have is no row.
const STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', \
                      'Threads_running', 'Max_used_connections', 'Aborted_connects', \
                      'Connection_errors_max_connections', 'Slaves_connected', 'Uptime')";
const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('max_connections', \
                         'max_user_connections', 'wait_timeout', 'thread_handling', 'read_only', \
                         'super_read_only', 'innodb_read_only', 'version')";
/// In today's words, and in those of MySQL before 8.0.22 and MariaDB before 10.5.1.
const REPLICA: [&str; 2] = ["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"];
/// The server's number for words that it does not know.
const UNKNOWN_WORDS: u16 = 1064;

pub(super) async fn ask(connection: &mut Connection) -> Result<Facts, Error> {
    let touch = connection.session.touch;
    let mut settings: Vec<(String, String)> = connection.query(STATUS).await?;
    settings.extend(connection.query::<(String, String)>(VARIABLES).await?);
    let replica = replica(connection).await?;
    if replica.is_some() {
        // What only shows something needs no cleaning; an error can be seen afterwards.
        connection.session.touch = touch;
    }
    Ok(facts(settings, replica.as_deref()))
}

/// Returns how far each source is ahead; nothing if that is not for us to know.
async fn replica(connection: &mut Connection) -> Result<Option<Vec<Option<f64>>>, Error> {
    for question in REPLICA {
        match connection.query::<Row>(question).await {
            Ok(rows) => return Ok(Some(rows.iter().map(behind).collect())),
            Err(error) if error.code() == Some(UNKNOWN_WORDS) => {}
            Err(error) if error.code().is_some() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Returns nothing while a thread of the replica does not run: then nobody knows.
fn behind(row: &Row) -> Option<f64> {
    let place = row.columns_ref().iter().position(|column| {
        ["Seconds_Behind_Source", "Seconds_Behind_Master"].contains(&&*column.name_str())
    })?;
    row.get_opt::<u32, _>(place)?.ok().map(f64::from)
}

fn facts(settings: Vec<(String, String)>, replica: Option<&[Option<f64>]>) -> Facts {
    let text = |name: &str| {
        let known = settings.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map_or("", |(_, value)| value.as_str())
    };
    let number = |name| text(name).parse().unwrap_or(0u64);
    // The session that asks is connected, and runs something.
    let total = number("Threads_connected").saturating_sub(1);
    let active = number("Threads_running").saturating_sub(1).min(total);
    let sources = replica.unwrap_or_default();
    let lags: Option<Vec<f64>> = sources.iter().copied().collect();
    Facts {
        version: text("version").to_owned(),
        connections_max: number("max_connections"),
        connections_reserved: 0,
        total,
        active,
        idle: total - active,
        idle_in_transaction: 0,
        read_only: ["read_only", "super_read_only", "innodb_read_only"]
            .iter()
            .any(|name| !matches!(text(name), "" | "0" | "OFF")),
        in_recovery: !sources.is_empty(),
        replication_lag_seconds: lags.and_then(|lags| lags.into_iter().reduce(f64::max)),
        // MariaDB's; it says nothing of how far they are.
        standbys: text("Slaves_connected").parse().ok(),
        standby_lag_seconds: None,
        settings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(replica: Option<&[Option<f64>]>) -> Facts {
        let pairs = [
            ("Threads_connected", "8"),
            ("Threads_running", "3"),
            ("max_connections", "151"),
            ("read_only", "OFF"),
            ("version", "10.11.6-MariaDB"),
        ];
        facts(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(), replica)
    }

    #[test]
    fn who_asks_is_not_counted() {
        let facts = said(Some(&[]));
        assert_eq!((facts.total, facts.active, facts.idle), (7, 2, 5));
        assert_eq!((facts.connections_max, &*facts.version), (151, "10.11.6-MariaDB"));
        assert!(!facts.read_only && !facts.in_recovery);
    }

    #[test]
    fn a_replica_is_as_late_as_the_latest_of_its_sources_if_all_say() {
        let lag = |replica: &[Option<f64>]| said(Some(replica)).replication_lag_seconds;
        assert_eq!(lag(&[Some(0.0), Some(7.0)]), Some(7.0));
        assert_eq!(lag(&[Some(0.0), None]), None);
        assert_eq!(lag(&[]), None);
        assert!(said(Some(&[None])).in_recovery);
        assert!(!said(None).in_recovery);
    }

    #[test]
    fn a_server_that_says_nothing_is_no_panic() {
        let facts = facts(Vec::new(), None);
        assert_eq!((facts.total, facts.connections_max, facts.read_only), (0, 0, false));
    }
}
