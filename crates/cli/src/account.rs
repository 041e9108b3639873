//! Accounts by name, and programs that run under them.
//!
//! Invariant: PostgreSQL never runs as root; nothing else changes its account unless told to.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::Failure;

/// Accounts that a Debian machine has, best first.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// Who runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// We do.
    Ours,
    /// Another one, by number.
    Other {
        /// The user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

impl Account {
    /// Returns our own account, or one to run programs under if ours is root.
    pub fn unprivileged() -> Result<Self, Failure> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ours);
        }
        let known = CANDIDATES.iter().find_map(|name| Self::named(name));
        known.ok_or_else(|| {
            Failure::new("PostgreSQL does not run as root, and there is no account postgres")
        })
    }

    /// Returns an account of this machine.
    pub fn named(name: &str) -> Option<Self> {
        lookup(&std::fs::read_to_string("/etc/passwd").ok()?, name)
    }

    /// Returns the numbers of the account if it is not ours.
    pub fn ids(self) -> Option<(u32, u32)> {
        match self {
            Self::Ours => None,
            Self::Other { uid, gid } => Some((uid, gid)),
        }
    }

    /// Returns a command that runs `program` under this account.
    pub fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }
}

fn lookup(table: &str, name: &str) -> Option<Account> {
    let line = table.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account::Other { uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let table = "postgres2:x:1:2::/:/bin/sh\npostgres:x:101:104:a:/b:/bin/bash\n";
        assert_eq!(lookup(table, "postgres"), Some(Account::Other { uid: 101, gid: 104 }));
        assert_eq!(lookup(table, "nobody"), None);
    }
}
