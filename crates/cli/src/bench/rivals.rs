//! What `--against` names: another URL, or a pooler that is started for the comparison.
//!
//! Invariant: every pooler has the same settings, a port of its own, and is gone with this value.

use std::process::Command;

use headpond_bench::target::{Kind, Target};

use super::private::{Pooling, Private, Server};
use crate::Failure;

/// How each pooler pools, as in `make bench`.
const POOLING: Pooling = Pooling { mode: "transaction", size: 20, clients: 6000 };

/// What is compared with.
pub struct Rival {
    /// Label and URL of what was given, and of what it is compared with.
    ours: Option<(String, String)>,
    theirs: (String, String),
    running: Vec<Private>,
}

impl Rival {
    /// Starts what is named, in front of the server of `target`.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start(name: &str, target: &Target) -> Result<Self, Failure> {
        let theirs = ("rival".to_owned(), name.to_owned());
        let mut rival = Self { ours: None, theirs, running: Vec::new() };
        if !["pgbouncer", "direct"].contains(&name) {
            return Ok(rival);
        }
        if target.kind() != Kind::Postgres {
            return Err(Failure::usage(format!("--against {name} is for PostgreSQL")));
        }
        let server = Server::of(target)?;
        let url = rival.pooler(&server, "headpond")?;
        rival.ours = Some(("headpond".to_owned(), url));
        rival.theirs = match name {
            "pgbouncer" => (name.to_owned(), rival.pooler(&server, name)?),
            _ => (name.to_owned(), target.url().to_owned()),
        };
        Ok(rival)
    }

    /// Returns labels and URLs: ours first.
    pub fn targets(&self, url: &str) -> [(String, String); 2] {
        let ours = self.ours.clone().unwrap_or_else(|| ("bench".to_owned(), url.to_owned()));
        [ours, self.theirs.clone()]
    }

    fn pooler(&mut self, server: &Server, name: &str) -> Result<String, Failure> {
        let pooler = Private::start(name, server, POOLING)?;
        let url = pooler.as_ref().url().to_owned();
        self.running.push(pooler);
        Ok(url)
    }
}

/// Whether the PgBouncer of this machine follows prepared statements: from 1.21 on.
pub fn knows_prepared() -> bool {
    let output = Command::new("pgbouncer").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    version(&text.unwrap_or_default()) >= Some((1, 21))
}

/// Takes the version out of `PgBouncer 1.18.0`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.lines().next()?.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("PgBouncer 1.18.0\nlibevent 2"), Some((1, 18)));
        assert!(version("PgBouncer 1.9.0") < version("PgBouncer 1.21.0"));
        assert!(version("") < Some((1, 21)));
    }
}
