//! A gentle load for `headpond dev --demo`, so that there is something to look at.
//!
//! Invariant: it only reads, ends with the session, and leaves no more behind than it found.
//! Not here: measuring anything.

use std::path::Path;

use tokio::process::{Child, Command};

use super::postgres::{self, NAME, Postgres};
use crate::Failure;

/// Who plays: a name, clients, transactions per second, and what each of them does.
const PLAYERS: [(&str, u32, u32, &str); 3] = [
    ("shop web", 24, 120, "SELECT pg_sleep(0.004 * random());\n"),
    ("reports", 6, 6, "SELECT pg_sleep(0.15 + 0.5 * random());\n"),
    (
        "nightly job",
        10,
        9,
        "BEGIN;\nSELECT pg_sleep(0.02);\n\\sleep 400 ms\nSELECT count(*) FROM pg_class;\nCOMMIT;\n",
    ),
];

/// Starts pgbench for each player; the children end when they are dropped.
///
/// # Errors
/// There is no pgbench, or a file cannot be written.
pub fn start(folder: &Path, postgres: &Postgres, port: u16) -> Result<Vec<Child>, Failure> {
    let pgbench = postgres::programs()?.join("pgbench");
    let mut children = Vec::new();
    for (name, clients, rate, script) in PLAYERS {
        let file = folder.join(format!("{}.sql", name.replace(' ', "-")));
        std::fs::write(&file, script).map_err(|error| Failure::path(&file, error))?;
        let mut command = Command::new(&pgbench);
        command
            .args(["--no-vacuum", "--time=864000", "--max-tries=1"])
            .arg(format!("--client={clients}"))
            .arg(format!("--rate={rate}"))
            .arg("--file")
            .arg(&file)
            .args(["--host=127.0.0.1", "--username", NAME, "--port"])
            .arg(port.to_string())
            .arg(NAME)
            .env("PGPASSWORD", &postgres.password)
            .env("PGAPPNAME", name)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        children.push(command.spawn().map_err(|error| Failure::path(&pgbench, error))?);
    }
    Ok(children)
}
