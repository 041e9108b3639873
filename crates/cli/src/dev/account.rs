//! The account that PostgreSQL runs under: ours, unless we are root.
//!
//! Not here: dropping root ourselves, which nothing asks for.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::Failure;

/// Accounts that a Debian machine has, best first.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// An account that is not root.
pub enum Account {
    /// We are not root.
    Ours,
    /// Another one, by number.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// Returns our own account, or one to run programs under if ours is root.
    pub fn unprivileged() -> Result<Self, Failure> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ours);
        }
        let table = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let known = CANDIDATES.iter().find_map(|name| lookup(&table, name));
        known.ok_or_else(|| {
            Failure::new(
                "PostgreSQL does not run as root, and there is no account `postgres`".to_owned(),
            )
        })
    }

    /// Returns the numbers of the account if it is not ours.
    pub fn ids(&self) -> Option<(u32, u32)> {
        match self {
            Self::Ours => None,
            Self::Other { uid, gid } => Some((*uid, *gid)),
        }
    }

    /// Returns a command that runs `program` under this account.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Self::Other { uid, gid } = self {
            // The current folder may be one that the account cannot enter.
            command.uid(*uid).gid(*gid).current_dir("/");
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
        let account = lookup(table, "postgres").expect("the second line");
        assert_eq!(account.ids(), Some((101, 104)));
        assert!(lookup(table, "nobody").is_none());
    }
}
