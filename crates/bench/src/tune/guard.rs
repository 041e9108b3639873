//! Whether a server carries other load: then it is neither disturbed nor measured.
//!
//! Invariant: reads only what any login may read; changes nothing.

use std::time::Duration;

use crate::drive::{self, Client};
use crate::error::Error;
use crate::target::{Kind, Target};

/// How long is looked on: PostgreSQL reports its counters after a second at the latest.
const LOOK: Duration = Duration::from_millis(2500);
/// How many requests a second are background noise: monitoring, keep-alives, our own look.
const NOISE: f64 = 5.0;

/// Looks on for a moment.
///
/// # Errors
/// [`Error::Busy`] if somebody else uses the server.
pub fn check(target: &Target) -> Result<(), Error> {
    let question = match target.kind() {
        Kind::Postgres => {
            "SELECT sum(xact_commit + xact_rollback)::bigint::text FROM pg_stat_database"
        }
        Kind::MySql => "SHOW GLOBAL STATUS LIKE 'Questions'",
        Kind::Redis => "INFO stats",
        // An embedded file is ours alone, and a web server does not say.
        Kind::Sqlite | Kind::Http => return Ok(()),
    };
    drive::block_on(async {
        let client = Client::open(target, 1, Duration::from_secs(10)).await?;
        let before = count(target.kind(), &client.ask(target, question).await?);
        tokio::time::sleep(LOOK).await;
        let after = count(target.kind(), &client.ask(target, question).await?);
        let active = active(target, &client).await?;
        client.close().await;
        let rate = match (before, after) {
            (Some(before), Some(after)) => (after - before).max(0.0) / LOOK.as_secs_f64(),
            _ => return Err(Error::target(target, "does not say how busy it is")),
        };
        let busy = |evidence: String| Error::Busy { target: target.to_string(), evidence };
        if rate > NOISE {
            return Err(busy(format!("{rate:.0} requests a second")));
        }
        match active {
            0 => Ok(()),
            n => Err(busy(format!("{n} other sessions at work"))),
        }
    })
}

/// Returns how many other sessions do something, or are in a transaction.
async fn active(target: &Target, client: &Client) -> Result<u32, Error> {
    let question = match target.kind() {
        Kind::Postgres => {
            "SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = 'client backend' \
             AND pid <> pg_backend_pid() AND state <> 'idle'"
        }
        Kind::MySql => {
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND <> 'Sleep' \
             AND COMMAND <> 'Daemon' AND ID <> CONNECTION_ID()"
        }
        _ => return Ok(0),
    };
    Ok(client.ask(target, question).await?.trim().parse().unwrap_or(0))
}

/// Takes the number of requests out of an answer.
fn count(kind: Kind, answer: &str) -> Option<f64> {
    match kind {
        Kind::Redis => {
            let line = answer.lines().find_map(|l| l.strip_prefix("total_commands_processed:"));
            line?.trim().parse().ok()
        }
        _ => answer.trim().parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_requests_is_found_in_each_answer() {
        let info = "# Stats\r\ntotal_connections_received:3\r\ntotal_commands_processed:42\r\n";
        assert_eq!(count(Kind::Redis, info), Some(42.0));
        assert_eq!(count(Kind::Postgres, "17"), Some(17.0));
        assert_eq!(count(Kind::MySql, ""), None);
    }
}
