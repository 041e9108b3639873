//! One run of pgbench through one pooler, and what it says.

use std::path::Path;
use std::process::Command;

use super::cells::{Cell, Work};
use super::figures::Sample;
use super::process;
use super::server::{self, NAME, Server};
use super::subject::Pooler;

/// Runs a cell once; `rate` paces it.
pub fn run(
    server: &Server,
    pooler: &Pooler,
    cell: &Cell,
    seconds: u32,
    rate: Option<u32>,
) -> Result<Sample, String> {
    let log = server.folder().join("latency");
    let mut command = command(server, pooler, cell, seconds)?;
    if let Some(rate) = rate {
        command.args(["-R", &rate.to_string(), "-l", "--log-prefix"]).arg(&log);
    }
    command.arg(NAME);
    let before = pooler.id().and_then(process::cpu);
    let server_before = server.cpu();
    let text = server::quietly(command).map_err(|error| format!("{}: {error}", pooler.key))?;
    let after = pooler.id().and_then(process::cpu);
    if pooler.id().is_some() && after.is_none() {
        return Err(format!("{} ended during {}", pooler.key, cell.title));
    }
    let transactions = field(&text, "number of transactions actually processed: ")
        .ok_or_else(|| format!("pgbench says: {text}"))?;
    let failed = field(&text, "number of failed transactions: ").unwrap_or(0.0);
    if transactions < 1.0 || failed > 0.0 {
        return Err(format!("{}, {}: {failed} failed\n{text}", pooler.key, cell.title));
    }
    let used = before.zip(after).map(|(before, after)| after.since(before)).unwrap_or_default();
    let server_used = server.cpu().since(server_before);
    let latencies = latencies(&log, server.folder())?;
    Ok(Sample {
        throughput: field(&text, "tps = ").unwrap_or(0.0),
        user_us: used.user_us as f64 / transactions,
        system_us: used.system_us as f64 / transactions,
        server_us: server_used.total_us() as f64 / transactions,
        p50_us: percentile(&latencies, 50),
        p99_us: percentile(&latencies, 99),
        ..Sample::default()
    })
}

/// Returns half of what a pooler can do, as a round number: the rate for the paced cell.
pub fn half_of_capacity(server: &Server, pooler: &Pooler, cell: &Cell) -> Result<u32, String> {
    let full = run(server, pooler, cell, 2, None)?.throughput;
    // Truncation is the rounding that is wanted.
    Ok(((full / 2.0 / 500.0) as u32).max(1) * 500)
}

fn command(server: &Server, pooler: &Pooler, cell: &Cell, seconds: u32) -> Result<Command, String> {
    let mut command = Command::new(server.program("pgbench"));
    command.args(["-n", "-h", "127.0.0.1", "-U", NAME, "-p", &pooler.port.to_string()]);
    let threads = if cell.clients < 64 { "1" } else { "2" };
    let seconds = seconds.to_string();
    command.args(["-c", &cell.clients.to_string(), "-j", threads, "-T", &seconds]);
    command.args(cell.arguments);
    // The log of a fast run would measure the disk.
    debug_assert!(cell.work != Work::Idle, "idle clients do not come from pgbench");
    if let Some(script) = cell.script {
        let path = server.folder().join("script.sql");
        std::fs::write(&path, script).map_err(|e| format!("{}: {e}", path.display()))?;
        command.arg("-f").arg(path);
    }
    Ok(command)
}

/// Returns the number that follows `name`.
fn field(text: &str, name: &str) -> Option<f64> {
    let (_, rest) = text.split_once(name)?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// Collects the latencies of all threads' logs, sorted, and removes the logs.
fn latencies(prefix: &Path, folder: &Path) -> Result<Vec<u64>, String> {
    let prefix = prefix.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(&format!("{prefix}."))) {
            continue;
        }
        let path = entry.path();
        let failed = |error| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        // client, transaction, latency in µs, …
        all.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()));
        std::fs::remove_file(&path).map_err(failed)?;
    }
    all.sort_unstable();
    Ok(all)
}

fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_after_their_names() {
        let text = "number of failed transactions: 0 (0.000%)\ntps = 812.5 (without …)\n";
        assert_eq!(field(text, "number of failed transactions: "), Some(0.0));
        assert_eq!(field(text, "tps = "), Some(812.5));
        assert_eq!(field(text, "nothing"), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let sorted: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&sorted, 50), 51.0);
        assert_eq!(percentile(&sorted, 99), 100.0);
        assert_eq!(percentile(&[], 99), 0.0);
    }
}
