//! What a Redis or Valkey server says of itself.
//!
//! Invariant: asking changes nothing, and what the user may not ask is not known.
//! Left out: clusters, which have no connections of one's own.

use std::collections::HashMap;

use redis::cmd;

use super::connection::Connection;
use super::error::Error;
use crate::facts::Facts;

/// The lines of `INFO` that are handed on.
const KEPT: [&str; 11] = [
    "connected_clients",
    "maxclients",
    "blocked_clients",
    "role",
    "master_link_status",
    "master_last_io_seconds_ago",
    "used_memory",
    "maxmemory",
    "rejected_connections",
    "evicted_keys",
    "connected_slaves",
];

pub(super) async fn ask(connection: &mut Connection) -> Result<Facts, Error> {
    // Several sections in one command are known to version 7 only; these are among the usual ones.
    let info: String = connection.query(&cmd("INFO")).await?;
    let mut facts = facts(&info);
    if facts.connections_max == 0 {
        facts.connections_max = clients_max(connection).await?;
    }
    Ok(facts)
}

/// Asks older servers for the setting; 0 if that is not for us to know.
async fn clients_max(connection: &mut Connection) -> Result<u64, Error> {
    let mut question = cmd("CONFIG");
    question.arg("GET").arg("maxclients");
    match connection.query::<HashMap<String, u64>>(&question).await {
        Ok(settings) => Ok(settings.get("maxclients").copied().unwrap_or(0)),
        // The connection is in order: it was the server that said no.
        Err(Error::Driver(error)) if error.code().is_some() => Ok(0),
        Err(error) => Err(error),
    }
}

fn facts(info: &str) -> Facts {
    let lines: HashMap<&str, &str> =
        info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let text = |name: &str| lines.get(name).copied().unwrap_or_default();
    let number = |name| text(name).parse().unwrap_or(0u64);
    // The client that asks is connected.
    let total = number("connected_clients").saturating_sub(1);
    let in_recovery = text("role") == "slave";
    // Old names and new.
    let read_only = [text("slave_read_only"), text("replica_read_only")].contains(&"1");
    // A primary is heard of every ten seconds at least, so longer than that is a lag. A link that
    // has never been up has lasted for -1 seconds.
    let heard = match text("master_link_status") {
        "up" => text("master_last_io_seconds_ago"),
        _ => text("master_link_down_since_seconds"),
    };
    let version = [text("valkey_version"), text("redis_version")];
    Facts {
        version: version.into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_owned(),
        connections_max: number("maxclients"),
        connections_reserved: 0,
        total,
        // It runs one command at a time: that was ours.
        active: 0,
        idle: total.saturating_sub(number("blocked_clients")),
        idle_in_transaction: 0,
        read_only: in_recovery && read_only,
        in_recovery,
        replication_lag_seconds: heard.parse::<u32>().ok().filter(|_| in_recovery).map(f64::from),
        standbys: text("connected_slaves").parse().ok(),
        standby_lag_seconds: slowest(&lines),
        settings: KEPT
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), (*lines.get(name)?).to_owned())))
            .collect(),
    }
}

/// Returns how long the replica that was silent for longest has said nothing, as in
/// `slave0:ip=10.0.0.7,port=6379,state=online,offset=42,lag=1`.
fn slowest(lines: &HashMap<&str, &str>) -> Option<f64> {
    let replicas = lines.iter().filter(|(name, _)| {
        let number = name.strip_prefix("slave").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    let lag = |value: &str| -> Option<u32> {
        value.split(',').find_map(|part| part.strip_prefix("lag=")?.parse().ok())
    };
    replicas.filter_map(|(_, value)| lag(value)).max().map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: &str = "# Server\r\nredis_version:7.0.15\r\n\r\n# Clients\r\n\
                           connected_clients:5\r\nmaxclients:100\r\nblocked_clients:1\r\n\
                           # Replication\r\nrole:master\r\n";

    fn replica(link: &str) -> Facts {
        facts(&format!("role:slave\r\nslave_read_only:1\r\n{link}"))
    }

    #[test]
    fn who_asks_is_not_counted() {
        let facts = facts(PRIMARY);
        assert_eq!((facts.total, facts.idle, facts.connections_max), (4, 3, 100));
        assert_eq!(facts.version, "7.0.15");
        assert!(!facts.in_recovery && !facts.read_only);
        assert_eq!(facts.replication_lag_seconds, None);
        assert!(facts.settings.contains(&("role".to_owned(), "master".to_owned())));
    }

    #[test]
    fn a_replica_is_behind_by_how_long_it_has_heard_nothing() {
        let up = "master_link_status:up\r\nmaster_last_io_seconds_ago:3\r\n";
        let down = "master_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n\
                    master_link_down_since_seconds:40\r\n";
        let never = "master_link_status:down\r\nmaster_link_down_since_seconds:-1\r\n";
        assert!(replica(up).in_recovery && replica(up).read_only);
        assert_eq!(replica(up).replication_lag_seconds, Some(3.0));
        assert_eq!(replica(down).replication_lag_seconds, Some(40.0));
        assert_eq!(replica(never).replication_lag_seconds, None);
    }

    #[test]
    fn a_primary_is_as_far_ahead_as_of_its_slowest_replica() {
        let of = |slaves: &str| facts(&format!("role:master\r\n{slaves}"));
        let two = of("connected_slaves:2\r\nslave0:ip=::1,port=1,state=online,offset=7,lag=1\r\n\
                      slave1:ip=::1,port=2,state=online,offset=5,lag=9\r\n");
        assert_eq!((two.standbys, two.standby_lag_seconds), (Some(2), Some(9.0)));
        let none = of("connected_slaves:0\r\nslave_read_only:1\r\n");
        assert_eq!((none.standbys, none.standby_lag_seconds), (Some(0), None));
    }

    #[test]
    fn a_server_that_says_nothing_is_no_panic() {
        assert_eq!(facts(""), Facts::default());
    }
}
