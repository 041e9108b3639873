//! Forgetting what nobody uses: pools, and databases that were made from the entry `*`.
//!
//! Invariant: only what the catalog alone holds is forgotten, which is found out under the locks
//! under which it is handed out. So nobody is left with a pool that has a twin.
//! Not here: when to look (`service/control.rs`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use headpond_core::Timestamp;

use super::{Catalog, Database, Pool, PoolKey};

/// Since when nobody uses something, as far as looking now and then can tell.
#[derive(Debug, Default)]
pub struct Rest {
    /// It was handed out since the last look.
    touched: AtomicBool,
    /// Nanoseconds of the look that first found it unused; 0 while it is in use.
    since: AtomicU64,
}

impl Rest {
    /// It is handed out to somebody.
    pub fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    /// How long it has been unused, given whether it is now.
    fn age(&self, now: Timestamp, is_unused: bool) -> Duration {
        let touched = self.touched.swap(false, Ordering::Relaxed);
        if touched || !is_unused {
            self.since.store(0, Ordering::Relaxed);
        }
        if !is_unused {
            return Duration::ZERO;
        }
        match self.since.load(Ordering::Relaxed) {
            0 => {
                self.since.store(now.as_nanos().max(1), Ordering::Relaxed);
                Duration::ZERO
            }
            since => now.since(Timestamp::from_nanos(since)),
        }
    }
}

/// What was forgotten.
#[derive(Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// A pool, because of `pool_idle_timeout`.
    Pool {
        /// Which.
        key: PoolKey,
        /// How long nobody used it.
        unused: Duration,
    },
    /// A database of the `*` entry, with its pools.
    Database {
        /// Which.
        name: String,
        /// How long nobody used it.
        unused: Duration,
    },
}

/// What the pools of a database are up to, all together.
#[derive(Default)]
struct Together {
    pools: usize,
    is_used: bool,
    /// Some server was reached: there is a database of that name, and there are statistics.
    has_served: bool,
}

impl Catalog {
    /// How often [`Catalog::forget_unused`] should be called.
    #[must_use]
    pub fn forget_period(&self) -> Duration {
        const RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
        let global = &self.view().config.global;
        let times =
            [global.pool_idle_timeout, global.autodb_idle_timeout, global.server_login_retry];
        let shortest = times.into_iter().filter(|time| !time.is_zero()).min();
        shortest.map_or(RANGE.1, |time| (time / 4).clamp(RANGE.0, RANGE.1))
    }

    /// Forgets what nobody has used for `pool_idle_timeout` or `autodb_idle_timeout`; returns it,
    /// and the numbers that its pools had, which may be given to others from now on.
    ///
    /// A database of the `*` entry whose server never let anybody in has nothing to remember but
    /// that: it is forgotten after `server_login_retry`, so that names which somebody invented do
    /// not gather.
    pub fn forget_unused(&self, now: Timestamp) -> (Vec<Forgotten>, Vec<u32>) {
        let view = self.view();
        let global = &view.config.global;
        let fruitless = global.server_login_retry.max(Duration::from_secs(1));
        let mut forgotten = Vec::new();
        let mut numbers = Vec::new();
        let mut databases = self.databases.lock();
        let mut pools = self.pools.lock();
        let mut together: HashMap<*const Database, Together> = HashMap::new();
        pools.retain(|key, pool| {
            let is_unused = is_held_once(pool);
            let unused = pool.rest.age(now, is_unused);
            if is_over(unused, global.pool_idle_timeout) {
                numbers.push(bury(pool, now));
                forgotten.push(Forgotten::Pool { key: key.clone(), unused });
                return false;
            }
            if pool.database.auto {
                let all = together.entry(Arc::as_ptr(&pool.database)).or_default();
                all.pools += 1;
                all.is_used |= !is_unused;
                all.has_served |= pool.welcome.load().is_some() || has_connected(pool);
            }
            true
        });
        // Their pools keep them where they are until they are gone as well.
        let mut gone: HashSet<*const Database> = HashSet::new();
        databases.retain(|name, database| {
            if !database.auto {
                return true;
            }
            let all = together.remove(&Arc::as_ptr(database)).unwrap_or_default();
            let is_unused = !all.is_used && Arc::strong_count(database) == 1 + all.pools;
            let unused = database.rest.age(now, is_unused);
            let limit = if all.has_served { global.autodb_idle_timeout } else { fruitless };
            // Somebody's word about it would be forgotten as well.
            let is_marked = database.paused.load(Ordering::Acquire)
                || database.disabled.load(Ordering::Acquire);
            if is_marked || !is_over(unused, limit) {
                return true;
            }
            forgotten.push(Forgotten::Database { name: name.clone(), unused });
            gone.insert(Arc::as_ptr(database));
            false
        });
        if !gone.is_empty() {
            pools.retain(|_, pool| {
                let stays = !gone.contains(&Arc::as_ptr(&pool.database));
                if !stays {
                    numbers.push(bury(pool, now));
                }
                stays
            });
        }
        drop(pools);
        drop(databases);
        if !numbers.is_empty() {
            self.forget_users();
            self.free_numbers.lock().extend(&numbers);
        }
        (forgotten, numbers)
    }

    /// Forgets the users of whom nothing is known but the name.
    fn forget_users(&self) {
        self.users.lock().retain(|_, user| {
            Arc::strong_count(user) > 1
                || user.derived.load().is_some()
                || user.looked_up.load().is_some()
        });
    }
}

/// Whether nobody but the catalog has it. Nobody can come by it while the catalog is locked.
fn is_held_once(pool: &Arc<Pool>) -> bool {
    Arc::strong_count(pool) == 1
}

fn is_over(unused: Duration, limit: Duration) -> bool {
    !limit.is_zero() && unused >= limit
}

fn has_connected(pool: &Pool) -> bool {
    pool.total(|stats| &stats.connects) > 0
}

/// Makes sure that a timer which finds the pool once more opens nothing for it.
fn bury(pool: &Pool, now: Timestamp) -> u32 {
    pool.removed.store(true, Ordering::Release);
    pool.core.lock().close(now);
    pool.id
}
