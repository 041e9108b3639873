//! The process in numbers: metrics, liveness, readiness.
//!
//! Invariant: names are prefixed `headpond_`, units are base units, and no label takes a value
//! that a client can invent (database and user names come from the configuration or a login that
//! succeeded; the snapshot caps them besides).
//! Not here: how they are written (`headpond_stats`), who asks (`headpond_monitor`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use headpond_monitor::{Check, Probe};
use headpond_stats::{Counter, Distribution, Snapshot};
use parking_lot::Mutex;

use super::bouncer::Neighbours;
use super::check::Checks;
use crate::catalog::{Pool, PoolStats, Times, WaitReason};
use crate::control::Mail;
use crate::engine::Engine;
use crate::log::Level;
use crate::worker::{RunPhase, Shared};

/// A worker that has not turned for so long after being woken does not work.
const TURN_LIMIT: Duration = Duration::from_secs(5);

/// A wake that was not answered yet.
struct Wake {
    turns: u64,
    since: Instant,
}

/// Answers for the process.
pub struct Reporter<E: Engine> {
    shared: Arc<Shared<E>>,
    wakes: Mutex<Vec<Option<Wake>>>,
    started: Instant,
    checks: Arc<Checks>,
    neighbours: Arc<Neighbours>,
}

impl<E: Engine> Reporter<E> {
    /// Reports about this process.
    #[must_use]
    pub(super) fn new(
        shared: Arc<Shared<E>>,
        checks: Arc<Checks>,
        neighbours: Arc<Neighbours>,
    ) -> Self {
        let wakes = Mutex::new(shared.loads.iter().map(|_| None).collect());
        Self { shared, wakes, started: Instant::now(), checks, neighbours }
    }

    pub(super) fn shared(&self) -> &Arc<Shared<E>> {
        &self.shared
    }

    pub(super) fn checks(&self) -> &Checks {
        &self.checks
    }

    pub(super) fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Did each worker turn since it was last woken? Wakes those that have.
    fn turning(&self) -> Vec<(String, bool, String)> {
        let mut wakes = self.wakes.lock();
        let mut findings = Vec::new();
        for (lane, (wake, load)) in wakes.iter_mut().zip(&self.shared.loads).enumerate() {
            let turns = load.turns.load(Ordering::Relaxed);
            let stuck = wake
                .as_ref()
                .filter(|w| w.turns == turns && w.since.elapsed() > TURN_LIMIT)
                .map(|w| w.since.elapsed());
            findings.push((
                format!("worker {lane}"),
                stuck.is_none(),
                stuck.map_or_else(|| "turns".to_owned(), |t| format!("stuck for {t:?}")),
            ));
            if wake.as_ref().is_none_or(|w| w.turns != turns) {
                *wake = Some(Wake { turns, since: Instant::now() });
                let lane = headpond_core::Lane(u16::try_from(lane).unwrap_or(0));
                let nothing = crate::control::Collector::new(1, false, false);
                self.shared.post(lane, Mail::Collect(nothing));
            }
        }
        findings
    }
}

impl<E: Engine + 'static> Probe for Reporter<E> {
    fn live(&self) -> Check {
        Check::all(self.turning())
    }

    fn ready(&self) -> Check {
        let running = self.shared.phase() == RunPhase::Running;
        let word = if running { "serving" } else { "draining" };
        Check::all(vec![("pooler".to_owned(), running, word.to_owned())])
    }

    fn started(&self) -> Check {
        Check::all(vec![("listeners".to_owned(), true, "bound".to_owned())])
    }

    fn collect(&self, into: &mut Snapshot) {
        let shared = &self.shared;
        into.info("headpond_build", "Version of the program.")
            .add(&[("version", env!("CARGO_PKG_VERSION"))]);
        let uptime = self.started.elapsed().as_secs_f64();
        into.gauge("headpond_uptime_seconds", "Time since the start.").add(&[], uptime);
        let clients = u64::from(shared.clients.load(Ordering::Relaxed));
        into.gauge("headpond_clients", "Clients logged in or logging in.").add(&[], clients);
        let max = u64::from(shared.catalog.view().config.global.max_client_conn);
        into.gauge("headpond_clients_max", "Limit of clients.").add(&[], max);
        for (lane, load) in shared.loads.iter().enumerate() {
            let lane = lane.to_string();
            let labels = [("worker", lane.as_str())];
            let busy = f64::from(load.busy.load(Ordering::Relaxed)) / 1000.0;
            into.gauge("headpond_worker_busy_ratio", "Share of a core that a worker uses.")
                .add(&labels, busy);
            let clients = u64::from(load.clients.load(Ordering::Relaxed));
            into.gauge("headpond_worker_clients", "Clients of a worker.").add(&labels, clients);
            into.counter("headpond_worker_turns_total", "Turns of a worker's loop.")
                .add(&labels, load.turns.load(Ordering::Relaxed));
        }
        for level in [Level::Error, Level::Warning, Level::Log] {
            into.counter("headpond_log_lines_total", "Log lines by level.")
                .add(&[("level", &level.word().to_lowercase())], shared.log.written(level));
        }
        into.counter("headpond_log_lines_dropped_total", "Log lines lost to a full queue.")
            .add(&[], shared.log.dropped());
        into.gauge("headpond_prepared_statements", "Statement texts kept.")
            .add(&[], shared.statements.len() as u64);
        for pool in shared.catalog.pools() {
            collect_pool(&pool, into);
        }
    }
}

/// Name, help and counter of what is counted per pool.
type Counted = (&'static str, &'static str, fn(&PoolStats) -> &Counter);

const COUNTERS: [Counted; 16] = [
    ("headpond_server_assignments_total", "Servers handed to clients.", |s| &s.assignments),
    ("headpond_transactions_total", "Transactions finished.", |s| &s.transactions),
    ("headpond_queries_total", "Queries finished.", |s| &s.queries),
    ("headpond_client_received_bytes_total", "Bytes from clients.", |s| &s.received),
    ("headpond_client_sent_bytes_total", "Bytes to clients.", |s| &s.sent),
    ("headpond_client_parses_total", "Parse messages of clients.", |s| &s.client_parses),
    ("headpond_server_parses_total", "Parse messages to servers.", |s| &s.server_parses),
    ("headpond_binds_total", "Bind messages.", |s| &s.binds),
    ("headpond_client_logins_total", "Logins of clients.", |s| &s.logins),
    ("headpond_server_connects_total", "Servers opened.", |s| &s.connects),
    ("headpond_server_connect_failures_total", "Servers that could not be opened.", |s| {
        &s.connect_failures
    }),
    ("headpond_server_closes_total", "Servers closed.", |s| &s.closes),
    ("headpond_client_errors_total", "Errors that the pooler sent to clients.", |s| &s.errors),
    ("headpond_client_refusals_total", "Clients refused or timed out waiting.", |s| &s.refusals),
    ("headpond_cancels_total", "Cancel requests sent to servers.", |s| &s.cancels),
    ("headpond_server_notices_dropped_total", "Messages of servers without a client.", |s| {
        &s.dropped_notices
    }),
];

/// Name, help and histogram of what is timed per pool.
type Timed = (&'static str, &'static str, fn(&PoolStats) -> &Times);

fn collect_pool(pool: &Pool, into: &mut Snapshot) {
    let labels = [("database", pool.key.database.as_str()), ("user", pool.key.user.as_str())];
    for (name, help, counter) in COUNTERS {
        into.counter(name, help).add(&labels, pool.total(counter));
    }
    let (counts, oldest) = {
        let core = pool.core.lock();
        (core.counts(), core.oldest_wait(crate::engine::clock::monotonic()))
    };
    let states = [
        ("opening", counts.opening),
        ("idle", counts.idle),
        ("checking", counts.checking),
        ("used", counts.in_use),
        ("resetting", counts.resetting),
        ("closing", counts.closing),
    ];
    for (state, n) in states {
        let labels = [labels[0], labels[1], ("state", state)];
        into.gauge("headpond_pool_connections", "Servers of a pool by state.")
            .add(&labels, u64::from(n));
    }
    let settings = pool.settings.load();
    into.gauge("headpond_pool_size", "Limit of servers of a pool, 0 for none.")
        .add(&labels, u64::from(settings.limits.size));
    into.gauge("headpond_pool_waiting_clients", "Clients that wait for a server.")
        .add(&labels, u64::from(counts.waiting));
    into.gauge("headpond_pool_oldest_wait_seconds", "How long the oldest waiter has waited.")
        .add(&labels, oldest.unwrap_or_default().as_secs_f64());
    for reason in WaitReason::ALL {
        let mut all = Distribution::new();
        for lane in &pool.stats {
            lane.waits[reason as usize].add_to(&mut all);
        }
        let labels = [labels[0], labels[1], ("reason", reason.as_str())];
        into.histogram("headpond_client_wait_seconds", "Waits for a server, by reason.")
            .add(&labels, &all);
    }
    let histograms: [Timed; 3] = [
        ("headpond_query_seconds", "Durations of queries.", |s| &s.query_seconds),
        ("headpond_transaction_seconds", "Durations of transactions.", |s| &s.transaction_seconds),
        ("headpond_server_connect_seconds", "Durations of connect and login.", |s| {
            &s.connect_seconds
        }),
    ];
    for (name, help, pick) in histograms {
        let mut all = Distribution::new();
        for lane in &pool.stats {
            pick(lane).add_to(&mut all);
        }
        into.histogram(name, help).add(&labels, &all);
    }
}
