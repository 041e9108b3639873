//! What one look at a component finds.
//!
//! Invariant: pure: numbers in, a finding with its words out. The words name the figure and the
//! limit, so that nobody has to look them up.
//! Not here: whether a finding has lasted (`mod.rs`).

use super::{Finding, Status};
use crate::model::{Breaker, CheckErrorKind, Database, Outcome, Pool, Process, Truth};

/// From where on something is worth saying.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Share of a pool in use. Default: 0.9, because beyond it a small burst queues.
    pub utilization: f64,
    /// Callers who wait. Default: 5, because fewer are served within a query or two.
    pub waiting: u32,
    /// How long somebody may wait, in seconds. Default: 10, because that is what a person in
    /// front of a page waits at most.
    pub wait_seconds: f64,
    /// How long a database may take to answer a check, in seconds. Default: 1, because a login
    /// and a query take milliseconds.
    pub check_seconds: f64,
    /// How far a standby may be behind, in seconds. Default: 30, because that is more than a burst
    /// of writes takes, and less than people who miss what they wrote wait before they call.
    pub replication_lag_seconds: f64,
    /// Share of the memory in use. Default: 0.8.
    pub memory: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            utilization: 0.9,
            waiting: 5,
            wait_seconds: 10.0,
            check_seconds: 1.0,
            replication_lag_seconds: 30.0,
            memory: 0.8,
        }
    }
}

/// Looks at a pool.
#[must_use]
pub fn judge_pool(pool: &Pool, limits: &Limits) -> Finding {
    if pool.paused {
        // Whoever waits now is meant to wait.
        let waiting = match pool.waiting {
            0 => String::new(),
            n => format!(", {n} wait"),
        };
        return Finding::fact(Status::Warning, format!("paused{waiting}"));
    }
    let load = judge_load(pool, limits);
    let error = pool.error.as_deref().unwrap_or("connections cannot be opened");
    match pool.breaker {
        Breaker::Open if pool.connections.live() == 0 => {
            Finding::fact(Status::Unhealthy, format!("no connection can be opened: {error}"))
        }
        Breaker::Open => {
            let text = format!(
                "{} connections are left, no new one can be opened: {error}",
                pool.connections.live()
            );
            Finding::fact(Status::Warning, text).worse(load)
        }
        Breaker::Closed | Breaker::HalfOpen => load,
    }
}

fn judge_load(pool: &Pool, limits: &Limits) -> Finding {
    let (waiting, oldest) = (pool.waiting, pool.oldest_wait_seconds);
    if waiting > 0 && oldest >= limits.wait_seconds {
        let text = format!(
            "exhausted: {waiting} wait, the first of them for {oldest:.1} s, {} of {} connections \
             are in use",
            pool.connections.used,
            size(pool)
        );
        return Finding::level(Status::Unhealthy, text);
    }
    if waiting > limits.waiting {
        let text = format!("{waiting} wait for a connection (more than {})", limits.waiting);
        return Finding::level(Status::Warning, text);
    }
    let utilization = pool.utilization();
    if utilization > limits.utilization {
        let text = format!(
            "{} of {} connections are in use ({:.0} %, more than {:.0} %)",
            pool.connections.used,
            size(pool),
            utilization * 100.0,
            limits.utilization * 100.0
        );
        return Finding::level(Status::Warning, text);
    }
    Finding::default()
}

fn size(pool: &Pool) -> String {
    if pool.size_max == 0 { "unlimited".to_owned() } else { pool.size_max.to_string() }
}

/// Looks at a database. `live` is how many connections to it are open and serve.
#[must_use]
pub fn judge_database(database: &Database, live: u32, limits: &Limits) -> Finding {
    if database.disabled {
        return Finding::fact(Status::Warning, "disabled: new clients are turned away");
    }
    let paused =
        if database.paused { Finding::fact(Status::Warning, "paused") } else { Finding::default() };
    let Some(check) = &database.check else { return paused };
    let found = match &check.outcome {
        Outcome::Truth(truth) => judge_truth(truth, check.took_seconds, limits),
        Outcome::Failed(error) if error.kind == CheckErrorKind::TooManyConnections => {
            let text = format!("full: {}", error.text);
            let serves = live > 0;
            Finding::fact(if serves { Status::Warning } else { Status::Unhealthy }, text)
        }
        Outcome::Failed(error) => Finding::fact(Status::Unhealthy, error.text.clone()),
    };
    found.worse(paused)
}

fn judge_truth(truth: &Truth, took: f64, limits: &Limits) -> Finding {
    if truth.read_only && !truth.in_recovery {
        return Finding::fact(Status::Warning, "read-only: it takes no writes");
    }
    if took > limits.check_seconds {
        let text = format!("slow: a check took {took:.2} s (more than {} s)", limits.check_seconds);
        return Finding::fact(Status::Warning, text);
    }
    if let Some(lag) = truth.replication_lag_seconds
        && lag > limits.replication_lag_seconds
    {
        let most = limits.replication_lag_seconds;
        let text = format!("{lag:.1} s behind what it replicates (more than {most} s)");
        return Finding::level(Status::Warning, text);
    }
    let room = truth.connections_max.saturating_sub(truth.connections_reserved);
    if room > 0 && truth.total as f64 > room as f64 * limits.utilization {
        let text = format!("{} of {room} connections of the server are taken", truth.total);
        return Finding::level(Status::Warning, text);
    }
    Finding::default()
}

/// Looks at the process.
#[must_use]
pub fn judge_process(process: &Process, limits: &Limits) -> Finding {
    if process.phase != "running" {
        return Finding::fact(Status::Warning, process.phase);
    }
    if process.paused {
        return Finding::fact(Status::Warning, "paused");
    }
    let share = memory_ratio(process);
    if share > limits.memory {
        let text = format!("{:.0} % of its memory is in use", share * 100.0);
        return Finding::level(Status::Warning, text);
    }
    let clients = process.clients as f64;
    if process.clients_max > 0 && clients > process.clients_max as f64 * limits.utilization {
        let text = format!("{} of {} clients", process.clients, process.clients_max);
        return Finding::level(Status::Warning, text);
    }
    Finding::default()
}

/// Returns the share of its memory that a process uses; 0 without a limit.
#[must_use]
pub(crate) fn memory_ratio(process: &Process) -> f64 {
    match process.memory_max_bytes {
        Some(max) if max > 0 => process.memory_bytes as f64 / max as f64,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Weight;
    use crate::model::{CheckError, Checked, Counts};

    fn pool() -> Pool {
        Pool { size_max: 10, ..Pool::default() }
    }

    fn used(used: u32) -> Counts {
        Counts { used, ..Counts::default() }
    }

    fn checked(outcome: Outcome, took_seconds: f64) -> Database {
        let check = Checked { ago_seconds: 0.0, took_seconds, outcome };
        Database { check: Some(check), ..Database::default() }
    }

    fn failed(kind: CheckErrorKind) -> Database {
        checked(Outcome::Failed(CheckError { kind, text: "sorry".into() }), 0.1)
    }

    #[test]
    fn pools_are_judged_by_these_figures() {
        let limits = Limits::default();
        let table = [
            ("at rest", pool(), Status::Healthy, ""),
            ("nine of ten", Pool { connections: used(9), ..pool() }, Status::Healthy, ""),
            ("ten of ten", Pool { connections: used(10), ..pool() }, Status::Warning, "10 of 10"),
            (
                "no limit",
                Pool { connections: used(99), size_max: 0, ..pool() },
                Status::Healthy,
                "",
            ),
            ("five wait", Pool { waiting: 5, ..pool() }, Status::Healthy, ""),
            ("six wait", Pool { waiting: 6, ..pool() }, Status::Warning, "6 wait"),
            (
                "long wait",
                Pool { waiting: 1, oldest_wait_seconds: 10.0, ..pool() },
                Status::Unhealthy,
                "10.0 s",
            ),
            ("paused", Pool { paused: true, ..pool() }, Status::Warning, "paused"),
            (
                "paused with a queue",
                Pool { paused: true, waiting: 9, oldest_wait_seconds: 60.0, ..pool() },
                Status::Warning,
                "paused, 9 wait",
            ),
            (
                "breaker open, nothing left",
                Pool { breaker: Breaker::Open, error: Some("refused".into()), ..pool() },
                Status::Unhealthy,
                "refused",
            ),
            (
                "breaker open, some left",
                Pool { breaker: Breaker::Open, connections: used(2), ..pool() },
                Status::Warning,
                "2 connections are left",
            ),
        ];
        for (name, pool, status, text) in table {
            let finding = judge_pool(&pool, &limits);
            assert_eq!(finding.status, status, "{name}: {finding:?}");
            assert!(finding.text.contains(text), "{name}: {finding:?}");
        }
    }

    #[test]
    fn databases_are_judged_by_what_they_say() {
        let limits = Limits::default();
        let truth = Truth { connections_max: 100, connections_reserved: 3, ..Truth::default() };
        let said = |truth: Truth, took| checked(Outcome::Truth(truth), took);
        let read_only = Truth { read_only: true, ..truth.clone() };
        let standby = Truth { in_recovery: true, ..read_only.clone() };
        let behind = |lag| Truth { replication_lag_seconds: Some(lag), ..standby.clone() };
        let (late, current) = (behind(30.5), behind(30.0));
        let crowded = Truth { total: 90, ..truth.clone() };
        let table = [
            ("never checked", Database::default(), 0, Status::Healthy),
            ("fine", said(truth.clone(), 0.01), 0, Status::Healthy),
            ("slow", said(truth, 1.5), 0, Status::Warning),
            ("read-only", said(read_only, 0.01), 0, Status::Warning),
            ("a standby is meant to be so", said(standby.clone(), 0.01), 0, Status::Healthy),
            ("a standby that is half a minute behind", said(current, 0.01), 0, Status::Healthy),
            ("a standby that is further behind", said(late, 0.01), 0, Status::Warning),
            ("crowded", said(crowded, 0.01), 0, Status::Warning),
            ("down", failed(CheckErrorKind::Unreachable), 3, Status::Unhealthy),
            ("full but serving", failed(CheckErrorKind::TooManyConnections), 3, Status::Warning),
            ("full", failed(CheckErrorKind::TooManyConnections), 0, Status::Unhealthy),
        ];
        for (name, database, live, status) in table {
            let finding = judge_database(&database, live, &limits);
            assert_eq!(finding.status, status, "{name}: {finding:?}");
            assert_eq!(finding.text.is_empty(), status == Status::Healthy, "{name}");
        }
    }

    #[test]
    fn load_is_a_level_and_a_failure_is_a_fact() {
        let limits = Limits::default();
        let busy = judge_pool(&Pool { waiting: 9, ..pool() }, &limits);
        assert_eq!(busy.weight, Weight::Level);
        let down = judge_database(&failed(CheckErrorKind::Unreachable), 0, &limits);
        assert_eq!(down.weight, Weight::Fact);
    }
}
