//! Asks each database how it is, and looks for servers that clients have forgotten.
//!
//! Invariant: a check takes a place in a pool and in the budgets of its database and its user like
//! any other connection, until its backend has ended, or is left out; it is bounded in time; one
//! per database at once.
//! Not here: the connection (`ask.rs`), what follows from the answer (`headpond_monitor`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use headpond_core::{ConnId, Health, Lane};
use headpond_monitor::model::{CheckError, CheckErrorKind, Checked, Outcome, Truth};
use headpond_wire::facts::{Facts, QUESTION, Replication};
use parking_lot::Mutex;

use super::ask::{Line, Login};
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

/// For how many periods a database is not asked while its pools are full; then an idle server
/// makes room. What is asked for changes rarely, and servers at work say more than a check.
const PERIODS_LEFT_OUT: u32 = 10;
/// How long a backend may take to end before its place is given back all the same.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// What is known of one database.
struct Known {
    /// Since when it is watched.
    since: Instant,
    /// When it was last asked, or was to be asked and there was no room or nobody to ask as.
    tried: Option<Instant>,
    answer: Option<Answer>,
}

/// What a database said.
struct Answer {
    at: Instant,
    took: Duration,
    outcome: Outcome,
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
        let answer = all.get(database)?.answer.as_ref()?;
        Some(Checked {
            ago_seconds: answer.at.elapsed().as_secs_f64(),
            took_seconds: answer.took.as_secs_f64(),
            outcome: answer.outcome.clone(),
        })
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
        let failed = |answer: &Answer| matches!(answer.outcome, Outcome::Failed(_));
        let is_bad = failing || known.answer.as_ref().is_some_and(failed);
        let period = if is_bad { period.min(PERIOD_FAILED) } else { period };
        known.tried.is_none_or(|tried| tried.elapsed() >= period)
    }

    fn update(&self, database: &Database, change: impl FnOnce(&mut Known)) {
        let unknown = || Known { since: Instant::now(), tried: None, answer: None };
        change(self.known.lock().entry(database.name.clone()).or_insert_with(unknown));
    }

    /// Whether a server may be closed to make room for a check: nothing was heard for long.
    fn may_evict(&self, database: &Database, period: Duration) -> bool {
        let long = period.saturating_mul(PERIODS_LEFT_OUT);
        let known = self.known.lock();
        let Some(known) = known.get(&database.name) else { return false };
        known.answer.as_ref().map_or(known.since, |answer| answer.at).elapsed() >= long
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
    let view = shared.catalog.view();
    let http = &view.config.http;
    let pools = pools_to_ask_by(&shared, &database);
    let may_evict = checks.may_evict(&database, http.check_period);
    match Seat::find(&shared, &pools, may_evict).await {
        Some(mut seat) => {
            let begun = Instant::now();
            let limit = http.check_timeout.max(Duration::from_millis(1));
            let outcome = match tokio::time::timeout(limit, seat.ask()).await {
                Ok(Ok(truth)) => Outcome::Truth(truth),
                Ok(Err(error)) => Outcome::Failed(error),
                Err(_) => Outcome::Failed(CheckError {
                    kind: CheckErrorKind::Timeout,
                    text: format!("did not answer within {} s", limit.as_secs_f64()),
                }),
            };
            let answer = Answer { at: Instant::now(), took: begun.elapsed(), outcome };
            checks.update(&database, |known| {
                known.tried = Some(answer.at);
                known.answer = Some(answer);
            });
            seat.leave().await;
        }
        None => checks.update(&database, |known| {
            known.tried = Some(Instant::now());
            // What it said last stays known, with its age, unless nobody can ask it any more.
            known.answer = known.answer.take().filter(|_| !pools.is_empty());
        }),
    }
    checks.running.lock().remove(&database.name);
}

/// The pools whose user can ask a database: none if nobody is known to log in as.
fn pools_to_ask_by<E: Engine>(shared: &Shared<E>, database: &Arc<Database>) -> Vec<Arc<Pool>> {
    let mut pools = shared.catalog.pools();
    pools.retain(|pool| Arc::ptr_eq(&pool.database, database) && pool.key.replication.is_none());
    let spec = database.spec.load_full();
    if pools.is_empty()
        && let (Some(user), Some(_)) = (&spec.user, &spec.password)
    {
        pools.push(shared.catalog.pool(database, user, None));
    }
    pools
}

/// The place of a check in its pool and in the budgets, given back when it is dropped.
struct Seat<E: Engine> {
    shared: Arc<Shared<E>>,
    pool: Arc<Pool>,
    place: ConnId,
    /// Places in the budgets, as far as they are taken.
    of_database: bool,
    of_user: bool,
    /// The connection, once it is made.
    line: Option<Line>,
}

impl<E: Engine> Seat<E> {
    /// Finds a place in one of the pools; `may_evict` allows to close an idle server for it.
    async fn find(shared: &Arc<Shared<E>>, pools: &[Arc<Pool>], may_evict: bool) -> Option<Self> {
        for pool in pools {
            let place = pool.core.lock().occupy(clock::monotonic());
            if let Some(place) = place
                && let Some(seat) = Self::new(shared, pool, place).budgeted()
            {
                return Some(seat);
            }
        }
        let pools = if may_evict { pools } else { &[] };
        for pool in pools {
            let place = pool.core.lock().occupy_idle(clock::monotonic());
            let Some(place) = place else { continue };
            let seat = Self::new(shared, pool, place);
            shared.post(Lane(0), Mail::Poke { pool: Arc::clone(pool) });
            let deadline = Instant::now() + LEAVE_MAX;
            while Instant::now() < deadline {
                if pool.core.lock().is_vacant(place) {
                    return seat.budgeted();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        None
    }

    fn new(shared: &Arc<Shared<E>>, pool: &Arc<Pool>, place: ConnId) -> Self {
        let (shared, pool) = (Arc::clone(shared), Arc::clone(pool));
        Self { shared, pool, place, of_database: false, of_user: false, line: None }
    }

    /// Takes places in the budgets too, or gives everything back.
    fn budgeted(mut self) -> Option<Self> {
        self.of_database = self.pool.database.budget.try_take();
        self.of_user = self.of_database && self.pool.user.budget.try_take();
        self.of_user.then_some(self)
    }

    /// Waits until the backend has ended, as far as it does so in time.
    async fn leave(mut self) {
        if let Some(line) = self.line.take() {
            // A server that does not close is not waited for any longer.
            let _ = tokio::time::timeout(LEAVE_MAX, line.leave()).await;
        }
    }

    /// Gives a place in a budget back, to those who found none.
    fn put(&self, budget: &SharedBudget) {
        for pool in budget.put() {
            pool.core.lock().budget_available(clock::monotonic());
            self.shared.post(Lane(0), Mail::Poke { pool });
        }
    }
}

impl<E: Engine> Drop for Seat<E> {
    fn drop(&mut self) {
        if self.of_database {
            self.put(&self.pool.database.budget);
        }
        if self.of_user {
            self.put(&self.pool.user.budget);
        }
        let mut core = self.pool.core.lock();
        core.vacate(clock::monotonic(), self.place);
        let is_awaited = core.has_commands();
        drop(core);
        if is_awaited {
            self.shared.post(Lane(0), Mail::Poke { pool: Arc::clone(&self.pool) });
        }
    }
}

impl<E: Engine<Handle = std::os::fd::OwnedFd> + 'static> Seat<E> {
    async fn ask(&mut self) -> Result<Truth, CheckError> {
        let pool = &self.pool;
        let database = &pool.database;
        let choice = pool.next_host.load(Ordering::Relaxed) as usize;
        let now = clock::monotonic();
        let unreachable = |text| CheckError { kind: CheckErrorKind::Unreachable, text };
        let place = match database.place(choice, now) {
            Some(place) => Some(place),
            None => match slow::lookup(&self.shared, database).await {
                Ok(()) => database.place(choice, now),
                Err(text) => return Err(unreachable(format!("DNS lookup failed: {text}"))),
            },
        };
        let place = place.ok_or_else(|| unreachable("the name has no address".to_owned()))?;
        let credential = credential(&self.shared.catalog.view(), pool);
        let login = Login { user: &pool.key.user, credential, pool };
        let line = self.line.insert(Line::open(&place).await?);
        line.log_in_to(database, &place, login).await?;
        let row = line.one_row(QUESTION).await?;
        let facts = Facts::read(|place| row.get(place)?.as_deref());
        let replication = match line.one_row(facts.next_question()).await {
            Ok(row) => Replication::read(|place| row.get(place)?.as_deref()),
            // Some that call themselves standbys have no such functions: then it is unknown.
            Err(error) if error.kind == CheckErrorKind::Refused => Replication::default(),
            Err(error) => return Err(error),
        };
        Ok(truth(facts, replication))
    }
}

fn truth(facts: Facts, replication: Replication) -> Truth {
    Truth {
        version: facts.setting("server_version").unwrap_or_default().to_owned(),
        in_recovery: facts.in_recovery,
        replication_lag_seconds: replication.lag_seconds,
        standbys: replication.standbys,
        standby_lag_seconds: replication.standby_lag_seconds,
        read_only: facts.read_only,
        connections_max: facts.count("max_connections"),
        connections_reserved: facts.count("superuser_reserved_connections"),
        active: facts.active,
        idle: facts.idle,
        idle_in_transaction: facts.idle_in_transaction,
        total: facts.total,
        settings: facts.settings,
    }
}

/// Counts servers that clients have left inside a transaction for long. One that is at work is not
/// forgotten, nor is one that a client keeps outside of a transaction: its mode is to keep it.
async fn look_for_leaks<E: Engine>(shared: &Shared<E>, checks: &Checks, threshold: Duration) {
    let collector = Collector::new(shared.mailboxes.len(), false, true);
    shared.post_all(|| Mail::Collect(Arc::clone(&collector)));
    let (_, servers) = collector.wait().await;
    let mut leaks = checks.leaks.lock();
    let mut suspects = HashSet::new();
    for server in servers {
        let is_kept = server.state == ServerState::Active
            && server.link.is_some()
            && server.idles_in_transaction;
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
