//! What the configuration has become: databases, users and pools by name.
//!
//! Invariant: a name leads to one object for as long as anybody uses it; a reload changes objects
//! in place (settings are replaced whole) and never makes a second pool for the same key.
//! Not here: reading the configuration (`config/`), serving anybody (`worker/`).

mod credential;
mod database;
mod forget;
mod pool;
mod settings;
mod statement;
mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use headpond_core::{PoolCore, Timestamp};
use headpond_stats::SharedCounter;
use headpond_wire::startup::Replication;
use parking_lot::Mutex;

pub use credential::credential;
pub use database::{Database, Place, Resolved, SharedBudget, Unresolved, User, leave, try_enter};
pub use forget::{Forgotten, Rest};
pub use pool::{
    Credentials, Greeting, Pool, PoolKey, PoolSettings, PoolStats, Salted, Times, WaitReason,
};
pub use settings::{add_host, resolve};
pub use statement::StatementTable;
pub use view::{Lasting, View};

use crate::config;
use crate::config::change::{Changes, DatabaseChange};

/// The name of the virtual database that answers console commands.
pub const CONSOLE: &str = "pgbouncer";

/// How a user's secret is looked up on a server.
pub struct Lookup {
    /// Where auth_query runs.
    pub database: Arc<Database>,
    /// Who runs it.
    pub user: String,
    /// What runs.
    pub query: String,
}

/// Counters of the console itself: its commands count like those of any database.
#[derive(Default)]
pub struct ConsoleStats {
    /// Logins.
    pub logins: SharedCounter,
    /// Commands.
    pub commands: SharedCounter,
}

/// All databases, users and pools.
pub struct Catalog {
    view: ArcSwap<View>,
    databases: Mutex<HashMap<String, Arc<Database>>>,
    users: Mutex<HashMap<String, Arc<User>>>,
    pools: Mutex<HashMap<PoolKey, Arc<Pool>>>,
    next_pool: AtomicU32,
    /// Numbers of forgotten pools: the workers' tables are as long as there were pools at once.
    free_numbers: Mutex<Vec<u32>>,
    lanes: usize,
    seed: u64,
    /// PAUSE of everything; a pause of one database is the database's.
    paused: AtomicBool,
    /// The console's counters.
    pub console: ConsoleStats,
}

impl Catalog {
    /// Makes the catalog of a configuration for a process with `lanes` workers.
    #[must_use]
    pub fn new(view: View, lanes: usize, seed: u64) -> Self {
        let catalog = Self {
            view: ArcSwap::from_pointee(view),
            databases: Mutex::default(),
            users: Mutex::default(),
            pools: Mutex::default(),
            next_pool: AtomicU32::new(0),
            free_numbers: Mutex::default(),
            lanes,
            seed,
            paused: AtomicBool::new(false),
            console: ConsoleStats::default(),
        };
        catalog.apply();
        catalog
    }

    /// What the configuration says at present.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Replaces the configuration; returns the pools whose core must act on it.
    pub fn replace(&self, view: View, now: Timestamp) -> Vec<Arc<Pool>> {
        let before = self.view.swap(Arc::new(view));
        self.apply();
        let view = self.view();
        let changes = Changes::between(&before.config, &view.config);
        let mut touched = Vec::new();
        for pool in self.pools() {
            let database = &pool.database;
            let Some(spec) = view.config.database(&database.name) else {
                pool.removed.store(true, Ordering::Release);
                pool.core.lock().close(now);
                touched.push(pool);
                continue;
            };
            pool.removed.store(false, Ordering::Release);
            let mut settings = resolve(&view, spec, &pool.key.user, self.lanes);
            if pool.key.replication.is_some() {
                settings.dedicate();
            }
            let mut core = pool.core.lock();
            core.configure(now, settings.limits, settings.policy);
            // The shared limits may have been raised.
            core.budget_available(now);
            let change = changes.databases.get(&spec.name).copied();
            if !matches!(change, Some(DatabaseChange::Unchanged | DatabaseChange::Limits)) {
                core.renew(now);
                pool.welcome.store(None);
            }
            drop(core);
            pool.settings.store(Arc::new(settings));
            touched.push(pool);
        }
        // Whoever has a removed pool keeps it until it is empty; nobody finds it any more.
        self.pools.lock().retain(|_, pool| !pool.removed.load(Ordering::Acquire));
        touched
    }

    /// Brings the databases and users in line with the configuration.
    fn apply(&self) {
        let view = self.view();
        let mut databases = self.databases.lock();
        for (name, spec) in &view.config.databases {
            let database = databases
                .entry(name.clone())
                .or_insert_with(|| Arc::new(make_database(name, spec, false)));
            refresh(&view, database, spec);
        }
        databases.retain(|name, database| match view.config.database(name) {
            Some(spec) => {
                refresh(&view, database, spec);
                true
            }
            None => false,
        });
        drop(databases);
        for user in self.users.lock().values() {
            user.budget.set_max(view.config.max_user_connections(&user.name));
            user.derived.store(None);
        }
    }

    /// The database of a name: an entry, or one made from the entry `*`.
    pub fn database(&self, name: &str) -> Option<Arc<Database>> {
        let mut databases = self.databases.lock();
        if let Some(database) = databases.get(name) {
            database.rest.touch();
            return Some(Arc::clone(database));
        }
        let view = self.view();
        let spec = view.config.database(name)?;
        let database = Arc::new(make_database(name, spec, true));
        refresh(&view, &database, spec);
        databases.insert(name.to_owned(), Arc::clone(&database));
        Some(database)
    }

    /// The user of a name, if it ever logged in or owned a server.
    pub fn known_user(&self, name: &str) -> Option<Arc<User>> {
        self.users.lock().get(name).cloned()
    }

    /// The user of a name; only for names that exist, because it is kept.
    pub fn user(&self, name: &str) -> Arc<User> {
        let mut users = self.users.lock();
        if let Some(user) = users.get(name) {
            return Arc::clone(user);
        }
        let user = User {
            name: name.to_owned(),
            budget: SharedBudget::default(),
            clients: AtomicU32::new(0),
            derived: ArcSwapOption::empty(),
            looked_up: ArcSwapOption::empty(),
        };
        user.budget.set_max(self.view().config.max_user_connections(name));
        let user = Arc::new(user);
        users.insert(name.to_owned(), Arc::clone(&user));
        user
    }

    /// The pool of a client that logged in as `user`.
    pub fn pool(
        &self,
        database: &Arc<Database>,
        user: &str,
        replication: Option<Replication>,
    ) -> Arc<Pool> {
        let forced = database.spec.load().user.clone();
        let user = self.user(forced.as_deref().unwrap_or(user));
        let (name, owner) = (database.name.clone(), user.name.clone());
        let key = PoolKey { database: name, user: owner, replication };
        let mut pools = self.pools.lock();
        if let Some(pool) = pools.get(&key)
            && Arc::ptr_eq(&pool.database, database)
        {
            pool.rest.touch();
            return Arc::clone(pool);
        }
        let view = self.view();
        let mut settings = resolve(&view, &database.spec.load(), &user.name, self.lanes);
        if replication.is_some() {
            settings.dedicate();
        }
        let free = self.free_numbers.lock().pop();
        let id = free.unwrap_or_else(|| self.next_pool.fetch_add(1, Ordering::Relaxed));
        let seed = self.seed ^ (u64::from(id) << 32);
        let mut core = PoolCore::new(Timestamp::ZERO, settings.limits, settings.policy, seed);
        // Whoever pauses sets the flag before it takes the list of pools, which is locked here:
        // it finds this pool, or this pool finds the flag.
        if self.is_paused(database) {
            core.pause(Timestamp::ZERO);
        }
        let pool = Arc::new(Pool {
            key: key.clone(),
            id,
            core: Mutex::new(core),
            database: Arc::clone(database),
            user,
            settings: ArcSwap::from_pointee(settings),
            welcome: ArcSwapOption::empty(),
            credentials: Mutex::default(),
            last_error: Mutex::new(None),
            stats: (0..self.lanes).map(|_| PoolStats::default()).collect(),
            clients: AtomicU32::new(0),
            armed: AtomicU64::new(u64::MAX),
            starved: AtomicBool::new(false),
            next_host: AtomicU32::new(0),
            removed: AtomicBool::new(false),
            rest: Rest::default(),
        });
        pools.insert(key, Arc::clone(&pool));
        pool
    }

    /// Pauses everything, or ends that; the pools that exist are the caller's to bring in line.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
    }

    /// Returns true while everything is paused.
    #[must_use]
    pub fn is_all_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Returns true while everything is paused, or this database.
    #[must_use]
    pub fn is_paused(&self, database: &Database) -> bool {
        self.is_all_paused() || database.paused.load(Ordering::Acquire)
    }

    /// All pools, the oldest first.
    #[must_use]
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        let mut pools: Vec<Arc<Pool>> = self.pools.lock().values().cloned().collect();
        pools.sort_unstable_by_key(|pool| pool.id);
        pools
    }

    /// All databases, in no particular order.
    #[must_use]
    pub fn databases(&self) -> Vec<Arc<Database>> {
        self.databases.lock().values().cloned().collect()
    }

    /// All users that logged in or own servers.
    #[must_use]
    pub fn users(&self) -> Vec<Arc<User>> {
        self.users.lock().values().cloned().collect()
    }

    /// The pool whose idle server has been idle longest, among those that `fits` accepts.
    pub fn longest_idle(&self, fits: impl Fn(&Arc<Pool>) -> bool) -> Option<Arc<Pool>> {
        let pools = self.pools();
        let candidates = pools.into_iter().filter(|pool| fits(pool));
        candidates
            .filter_map(|pool| {
                let since = pool.core.lock().oldest_idle_since()?;
                Some((since, pool))
            })
            .min_by_key(|(since, _)| *since)
            .map(|(_, pool)| pool)
    }

    /// How to look up users of a database, if auth_user is set for it.
    pub fn lookup_of(&self, name: &str) -> Option<Lookup> {
        let view = self.view();
        let spec = view.config.database(name);
        let global = &view.config.global;
        let (user, place, query) = match spec {
            Some(spec) => (
                view.config.auth_user(spec)?.to_owned(),
                view.config.auth_dbname(spec).unwrap_or(name).to_owned(),
                view.config.auth_query(spec).to_owned(),
            ),
            None => {
                (global.auth_user.clone()?, global.auth_dbname.clone()?, global.auth_query.clone())
            }
        };
        let database = self.database(&place)?;
        Some(Lookup { database, user, query })
    }
}

fn make_database(name: &str, spec: &config::Database, auto: bool) -> Database {
    Database {
        name: name.to_owned(),
        spec: ArcSwap::from_pointee(spec.clone()),
        auto,
        budget: SharedBudget::default(),
        clients: AtomicU32::new(0),
        paused: AtomicBool::new(false),
        disabled: AtomicBool::new(false),
        hosts: ArcSwap::from_pointee(Vec::new()),
        resolved: ArcSwapOption::empty(),
        resolving: AtomicBool::new(false),
        unresolved: ArcSwapOption::empty(),
        rest: Rest::default(),
        tls: ArcSwapOption::empty(),
        sslmode: ArcSwap::from_pointee(config::tls::SslMode::Disable),
    }
}

fn refresh(view: &View, database: &Database, spec: &config::Database) {
    database.spec.store(Arc::new(spec.clone()));
    database.budget.set_max(view.config.max_db_connections(spec));
    database.hosts.store(Arc::new(view.config.hosts(spec)));
    database.sslmode.store(Arc::new(view.config.server_sslmode(spec)));
    database.tls.store(view.server_tls(&spec.name));
    database.resolved.store(None);
    database.unresolved.store(None);
}
