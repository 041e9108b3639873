//! What a server lets in, and what that leaves for each process of a fleet.
//!
//! Invariant: what is not known is not assumed.

use std::time::Duration;

use headpond_core::sizing::{share_of_server, square_root_staffing};
use serde::Serialize;

use crate::drive::{self, Client};
use crate::error::Error;
use crate::target::{Kind, Target};

/// The arithmetic of a fleet.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Fleet {
    /// Connections that the server lets in.
    pub connections_max: Option<u32>,
    /// Of these, set aside for administration.
    pub reserved: u32,
    /// Processes with a pool each.
    pub instances: u32,
}

impl Fleet {
    /// Returns the connections that the whole fleet may have.
    #[must_use]
    pub fn room(&self) -> Option<u32> {
        Some(self.connections_max?.saturating_sub(self.reserved))
    }

    /// Returns the connections that each process may have at most.
    #[must_use]
    pub fn share(&self) -> Option<u32> {
        share_of_server(self.connections_max?, self.reserved, self.instances)
    }

    /// Returns the size of each process's pool if all of them together are to have `total`
    /// connections at work.
    ///
    /// Load is never spread evenly at every moment, so a share gets a margin by the square-root
    /// rule, as far as the server has room.
    #[must_use]
    pub fn split(&self, total: u32) -> u32 {
        let even = f64::from(total) / f64::from(self.instances.max(1));
        let size = if self.instances > 1 { square_root_staffing(even, 1.0) } else { even };
        let size = (size.ceil() as u32).max(1);
        self.share().map_or(size, |share| size.min(share))
    }
}

/// Asks a server what it lets in.
///
/// # Errors
/// When it cannot be reached.
pub fn look(target: &Target, instances: u32) -> Result<Fleet, Error> {
    let questions: &[&str] = match target.kind() {
        // The second exists from PostgreSQL 16 on.
        Kind::Postgres => &[
            "SELECT current_setting('max_connections')",
            "SELECT (current_setting('superuser_reserved_connections')::int + \
             coalesce(current_setting('reserved_connections', true), '0')::int)::text",
        ],
        Kind::MySql => &["SHOW VARIABLES LIKE 'max_connections'"],
        Kind::Redis => &["INFO clients"],
        Kind::Sqlite | Kind::Http => &[],
    };
    let mut answers = Vec::new();
    if !questions.is_empty() {
        answers = drive::block_on(async {
            let client = Client::open(target, 1, Duration::from_secs(10)).await?;
            let mut answers = Vec::new();
            for question in questions {
                answers.push(client.ask(target, question).await?);
            }
            client.close().await;
            Ok(answers)
        })?;
    }
    let number = |index: usize| {
        let answer = answers.get(index)?;
        let line = answer.lines().find_map(|line| line.strip_prefix("maxclients:"));
        line.unwrap_or(answer).trim().parse::<u32>().ok()
    };
    // MySQL keeps one for an administrator and has no setting for it.
    let reserved = number(1).unwrap_or(u32::from(target.kind() == Kind::MySql));
    Ok(Fleet { connections_max: number(0), reserved, instances: instances.max(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(instances: u32) -> Fleet {
        Fleet { connections_max: Some(100), reserved: 3, instances }
    }

    #[test]
    fn one_process_gets_what_was_found_and_many_get_a_share_with_a_margin() {
        assert_eq!(fleet(1).split(24), 24);
        // Six each, and the root of six.
        assert_eq!(fleet(4).split(24), 9);
        assert_eq!(fleet(4).room(), Some(97));
    }

    #[test]
    fn no_process_gets_more_than_the_server_has_for_it() {
        assert_eq!(fleet(30).split(90), 3);
        assert_eq!(fleet(200).share(), None, "not even one each");
        let unknown = Fleet { connections_max: None, ..fleet(2) };
        assert_eq!((unknown.room(), unknown.split(8)), (None, 6));
    }
}
