//! The account that PostgreSQL and PgBouncer run under: neither runs as root.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Returns a command that does not run as root.
pub fn unprivileged(program: &Path) -> Result<Command, String> {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = other()? {
        command.uid(uid).gid(gid);
    }
    // The current folder may be one that the account cannot enter.
    command.current_dir("/");
    Ok(command)
}

/// Gives a path to that account.
pub fn own(path: &Path) -> Result<(), String> {
    let Some((uid, gid)) = other()? else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(uid), Some(gid))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Returns the numbers of the account `postgres` if we are root.
fn other() -> Result<Option<(u32, u32)>, String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
    let status = read("/proc/self/status")?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    if uid.and_then(|ids| ids.split_whitespace().nth(1)) != Some("0") {
        return Ok(None);
    }
    let table = read("/etc/passwd")?;
    let line = table.lines().find(|line| line.starts_with("postgres:"));
    let line = line.ok_or("PostgreSQL does not run as root, and there is no account postgres")?;
    let mut numbers = line.split(':').skip(2).filter_map(|field| field.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(uid), Some(gid)) => Ok(Some((uid, gid))),
        _ => Err(format!("/etc/passwd: {line}")),
    }
}
