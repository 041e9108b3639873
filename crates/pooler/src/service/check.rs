//! Asks each database how it is, and looks for servers that clients have forgotten.
//!
//! Invariant: a check takes a place in the budgets of its database and its user like any other
//! connection, or is left out; it is bounded in time; one per database at once.
//! Not here: the connection (`ask.rs`), what follows from the answer (`headpond_monitor`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use headpond_core::{Health, Lane};
use headpond_monitor::model::{CheckError, CheckErrorKind, Checked, Outcome, Truth};
use headpond_wire::login::connect::Credential;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::ask::{Login, one_row};
use super::slow;
use crate::admin::show::ServerState;
use crate::catalog::{Catalog, Database, Pool, SharedBudget, credential};
use crate::control::{Collector, Mail};
use crate::engine::{Engine, clock};
use crate::worker::Shared;

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(500);
/// How often a database is asked that did not answer: what came back should be known soon.
const PERIOD_FAILED: Duration = Duration::from_secs(2);
/// How often servers are looked through for forgotten ones.
const PERIOD_LEAKS: Duration = Duration::from_secs(5);

/// Checks under way at once: a thousand databases need not be asked in the same moment.
const RUNNING_MAX: usize = 8;

/// The pools that are watched: those of databases in the configuration, and of the others those
/// that have reached a server. A name that a stranger made up leads to none: asking for it again
/// and again, or an alert for each, is what the stranger wants.
pub(super) fn observed_pools(catalog: &Catalog) -> Vec<Arc<Pool>> {
    let mut pools = catalog.pools();
    pools.retain(|pool| !pool.database.auto || pool.total(|stats| &stats.connects) > 0);
    pools
}

/// The databases that are watched: those of the configuration, and of the others those with one of
/// the pools that are watched.
pub(super) fn observed(catalog: &Catalog, pools: &[Arc<Pool>]) -> Vec<Arc<Database>> {
    let mut all = catalog.databases();
    let has_pool =
        |database: &Arc<Database>| pools.iter().any(|pool| Arc::ptr_eq(&pool.database, database));
    all.retain(|database| !database.auto || has_pool(database));
    all
}

/// The settings that are compared with what the pools believe.
const SETTINGS: [&str; 8] = [
    "max_connections",
    "superuser_reserved_connections",
    "idle_in_transaction_session_timeout",
    "statement_timeout",
    "lock_timeout",
    "shared_buffers",
    "work_mem",
    "server_version",
];

/// What is known of one database.
struct Known {
    at: Instant,
    took: Duration,
    /// Nothing if there was nobody to ask as, or no room.
    outcome: Option<Outcome>,
}

/// What the checks found.
#[derive(Default)]
pub(super) struct Checks {
    known: Mutex<HashMap<String, Known>>,
    running: Mutex<HashSet<String>>,
    leaks: Mutex<Leaks>,
}

#[derive(Default)]
struct Leaks {
    /// Suspected so far, by database and user.
    counts: HashMap<(String, String), u64>,
    /// Servers that are suspected now.
    suspects: HashSet<u64>,
}

impl Checks {
    /// What a database said last.
    pub fn of(&self, database: &str) -> Option<Checked> {
        let all = self.known.lock();
        let known = all.get(database)?;
        let outcome = known.outcome.clone()?;
        let (ago_seconds, took_seconds) =
            (known.at.elapsed().as_secs_f64(), known.took.as_secs_f64());
        Some(Checked { ago_seconds, took_seconds, outcome })
    }

    /// How many servers of a pool were suspected to be forgotten.
    pub fn leaks(&self, pool: &Pool) -> u64 {
        let key = (pool.key.database.clone(), pool.key.user.clone());
        self.leaks.lock().counts.get(&key).copied().unwrap_or(0)
    }

    fn is_due(&self, database: &Database, pools: &[Arc<Pool>], period: Duration) -> bool {
        let failing = pools.iter().any(|pool| {
            std::ptr::eq(Arc::as_ptr(&pool.database), database)
                && matches!(pool.core.lock().health(), Health::Failing(_))
        });
        let known = self.known.lock();
        let Some(known) = known.get(&database.name) else { return true };
        let is_bad = failing || matches!(known.outcome, Some(Outcome::Failed(_)));
        let period = if is_bad { period.min(PERIOD_FAILED) } else { period };
        known.at.elapsed() >= period
    }
}

/// Checks until the process ends.
pub(super) async fn run<E: Engine<Handle = std::os::fd::OwnedFd> + 'static>(
    shared: Arc<Shared<E>>,
    checks: Arc<Checks>,
) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut leaks_at = Instant::now();
    loop {
        tick.tick().await;
        let view = shared.catalog.view();
        let http = &view.config.http;
        if !http.check_period.is_zero() {
            let pools = observed_pools(&shared.catalog);
            let databases = observed(&shared.catalog, &pools);
            checks.known.lock().retain(|name, _| databases.iter().any(|d| d.name == *name));
            for database in databases {
                let is_full = checks.running.lock().len() >= RUNNING_MAX;
                if is_full || !checks.is_due(&database, &pools, http.check_period) {
                    continue;
                }
                if checks.running.lock().insert(database.name.clone()) {
                    tokio::spawn(check(Arc::clone(&shared), Arc::clone(&checks), database));
                }
            }
        }
        let threshold = view.config.alerts.leak_after;
        if !threshold.is_zero() && leaks_at.elapsed() >= PERIOD_LEAKS {
            leaks_at = Instant::now();
            look_for_leaks(&shared, &checks, threshold).await;
        }
    }
}

async fn check<E: Engine<Handle = std::os::fd::OwnedFd> + 'static>(
    shared: Arc<Shared<E>>,
    checks: Arc<Checks>,
    database: Arc<Database>,
) {
    let begun = Instant::now();
    let limit = shared.catalog.view().config.http.check_timeout.max(Duration::from_millis(1));
    let asked = tokio::time::timeout(limit, ask(&shared, &database)).await;
    let outcome = match asked {
        Ok(Some(Ok(truth))) => Some(Outcome::Truth(truth)),
        Ok(Some(Err(error))) => Some(Outcome::Failed(error)),
        Ok(None) => None,
        Err(_) => Some(Outcome::Failed(CheckError {
            kind: CheckErrorKind::Timeout,
            text: format!("did not answer within {} s", limit.as_secs_f64()),
        })),
    };
    let known = Known { at: Instant::now(), took: begun.elapsed(), outcome };
    checks.known.lock().insert(database.name.clone(), known);
    checks.running.lock().remove(&database.name);
}

/// Places in the budgets of a check, given back when it is over or given up.
struct Places<'a, E: Engine> {
    shared: &'a Shared<E>,
    taken: Vec<&'a SharedBudget>,
}

impl<'a, E: Engine> Places<'a, E> {
    fn take(&mut self, budget: &'a SharedBudget) -> bool {
        let is_taken = budget.try_take();
        if is_taken {
            self.taken.push(budget);
        }
        is_taken
    }
}

impl<E: Engine> Drop for Places<'_, E> {
    fn drop(&mut self) {
        for budget in self.taken.drain(..) {
            for pool in budget.put() {
                // It found no room while we had it.
                pool.core.lock().budget_available(clock::monotonic());
                self.shared.post(Lane(0), Mail::Poke { pool });
            }
        }
    }
}

/// Asks a database; `None` if there is nobody to ask as, or no room.
async fn ask<E: Engine<Handle = std::os::fd::OwnedFd> + 'static>(
    shared: &Shared<E>,
    database: &Arc<Database>,
) -> Option<Result<Truth, CheckError>> {
    let pools = shared.catalog.pools();
    let pool = pools
        .iter()
        .find(|pool| Arc::ptr_eq(&pool.database, database) && pool.key.replication.is_none());
    let spec = database.spec.load_full();
    let (user, credential) = match (pool, &spec.user, &spec.password) {
        (Some(pool), ..) => (pool.key.user.clone(), credential(&shared.catalog.view(), pool)),
        (None, Some(user), Some(password)) => {
            let password = Zeroizing::new(password.reveal().as_bytes().to_vec());
            (user.clone(), Credential::Plain(password))
        }
        _ => return None,
    };
    let mut places = Places { shared, taken: Vec::new() };
    let has_room =
        places.take(&database.budget) && pool.is_none_or(|pool| places.take(&pool.user.budget));
    if !has_room {
        return None;
    }
    let choice = pool.map_or(0, |pool| pool.next_host.load(Ordering::Relaxed) as usize);
    let now = clock::monotonic();
    let place = match database.place(choice, now) {
        Some(place) => place,
        None => match slow::lookup(shared, database).await {
            Ok(()) => database.place(choice, now)?,
            Err(text) => {
                let text = format!("DNS lookup failed: {text}");
                return Some(Err(CheckError { kind: CheckErrorKind::Unreachable, text }));
            }
        },
    };
    let login = Login { user: &user, credential, pool: pool.map(Arc::as_ref) };
    Some(one_row(database, &place, login, &question()).await.map(|row| truth(&row)))
}

/// Sessions of others are counted whatever we may see of them: who may not look sees no state.
fn question() -> String {
    let settings = SETTINGS.map(|name| format!("current_setting('{name}', true)")).join(", ");
    format!(
        "SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), \
         count(*) FILTER (WHERE state = 'active' AND pid <> pg_backend_pid()), \
         count(*) FILTER (WHERE state = 'idle'), \
         count(*) FILTER (WHERE state LIKE 'idle in transaction%'), \
         count(*) - 1, {settings} \
         FROM pg_stat_activity WHERE datid IS NOT NULL AND usesysid IS NOT NULL"
    )
}

fn truth(row: &[Option<String>]) -> Truth {
    let text = |place: usize| row.get(place).and_then(Option::as_deref).unwrap_or_default();
    let number = |place: usize| text(place).parse().unwrap_or(0);
    let settings = SETTINGS.iter().enumerate().filter_map(|(place, name)| {
        let value = row.get(6 + place)?.clone()?;
        Some(((*name).to_owned(), value))
    });
    let mut truth = Truth {
        in_recovery: text(0) == "t",
        read_only: text(1) == "on",
        active: number(2),
        idle: number(3),
        idle_in_transaction: number(4),
        total: number(5),
        settings: settings.collect(),
        ..Truth::default()
    };
    let count = |truth: &Truth, name| truth.setting(name).and_then(|text| text.parse().ok());
    truth.connections_max = count(&truth, "max_connections").unwrap_or(0);
    truth.connections_reserved = count(&truth, "superuser_reserved_connections").unwrap_or(0);
    truth.version = truth.setting("server_version").unwrap_or_default().to_owned();
    truth
}

/// Counts servers that have a client and have had nothing to do for long.
async fn look_for_leaks<E: Engine>(shared: &Shared<E>, checks: &Checks, threshold: Duration) {
    let collector = Collector::new(shared.mailboxes.len(), false, true);
    shared.post_all(|| Mail::Collect(Arc::clone(&collector)));
    let (_, servers) = collector.wait().await;
    let mut leaks = checks.leaks.lock();
    let mut suspects = HashSet::new();
    for server in servers {
        let is_kept = server.state == ServerState::Active && server.link.is_some();
        if !is_kept || server.request_ago < threshold {
            continue;
        }
        suspects.insert(server.id);
        if !leaks.suspects.contains(&server.id) {
            *leaks.counts.entry((server.database, server.user)).or_default() += 1;
        }
    }
    leaks.suspects = suspects;
    let pools = shared.catalog.pools();
    leaks.counts.retain(|(database, user), _| {
        pools.iter().any(|pool| pool.key.database == *database && pool.key.user == *user)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_by_its_columns() {
        let row =
            ["f", "on", "3", "4", "1", "8", "100", "3", "0", "0", "0", "16384", "4096", "15.4"];
        let row: Vec<_> = row.iter().map(|text| Some((*text).to_owned())).collect();
        let truth = truth(&row);
        assert!(truth.read_only && !truth.in_recovery);
        assert_eq!(
            (truth.active, truth.idle, truth.idle_in_transaction, truth.total),
            (3, 4, 1, 8)
        );
        assert_eq!((truth.connections_max, truth.connections_reserved), (100, 3));
        assert_eq!(truth.setting("lock_timeout"), Some("0"));
        assert_eq!(truth.version, "15.4");
    }

    #[test]
    fn half_an_answer_is_no_panic() {
        assert_eq!(truth(&[None, Some("off".into())]).connections_max, 0);
    }
}
