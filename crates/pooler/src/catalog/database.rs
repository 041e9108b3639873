//! Databases and users as the running pooler knows them: names, budgets, counts, flags.
//!
//! Invariant: a budget is taken before a server is opened and put back when its slot is free, so
//! that `max_db_connections` and `max_user_connections` are never exceeded.
//! Not here: the settings' meaning (`config/`), pools (`pool.rs`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use headpond_core::{Budget, Timestamp};
use headpond_wire::startup::Replication;
use parking_lot::Mutex;

use super::forget::Rest;
use super::pool::Pool;
use crate::auth::secrets::Stored;
use crate::config::tls::SslMode;
use crate::config::{self, Host, LoadBalance};
use crate::engine::Address;

/// Addresses that the host names stand for, and until when to believe it.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// In the order of the hosts, then the resolver's.
    pub places: Vec<Place>,
    /// When to ask again.
    pub until: Timestamp,
}

/// Why the host names stand for no address, and until when to believe it.
#[derive(Debug, Clone)]
pub struct Unresolved {
    /// What the resolver said.
    pub error: String,
    /// When to ask again.
    pub until: Timestamp,
}

/// A limit shared by several pools, and the pools that wait for room in it.
#[derive(Default)]
pub struct SharedBudget {
    budget: Mutex<Budget>,
    starved: Mutex<Vec<Arc<Pool>>>,
    /// `starved` is not empty: looked at whenever a server becomes idle.
    is_wanted: AtomicBool,
    /// A server is being closed for those.
    is_making_room: AtomicBool,
}

impl SharedBudget {
    /// Changes the limit; zero is none.
    pub fn set_max(&self, max: u32) {
        self.budget.lock().set_max(max);
    }

    /// Takes one place.
    pub fn try_take(&self) -> bool {
        self.budget.lock().try_take()
    }

    /// Whether a place could be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.budget.lock().has_room()
    }

    /// Gives one place back and returns the pools that were waiting for one.
    #[must_use]
    pub fn put(&self) -> Vec<Arc<Pool>> {
        self.budget.lock().put();
        let mut starved = self.starved.lock();
        self.is_wanted.store(false, Ordering::Release);
        self.is_making_room.store(false, Ordering::Release);
        std::mem::take(&mut *starved)
    }

    /// Remembers a pool that found no room.
    pub fn wait(&self, pool: &Arc<Pool>) {
        let mut starved = self.starved.lock();
        if !starved.iter().any(|p| Arc::ptr_eq(p, pool)) {
            starved.push(Arc::clone(pool));
        }
        self.is_wanted.store(true, Ordering::Release);
    }

    /// Returns true if another pool waits for the room that an idle server of this one takes, and
    /// nobody is making room yet: then it is the caller who has to.
    #[must_use]
    pub fn is_owed_room(&self, by: &Pool) -> bool {
        self.is_wanted.load(Ordering::Acquire)
            && self.starved.lock().iter().any(|pool| pool.id != by.id)
            && !self.is_making_room.swap(true, Ordering::AcqRel)
    }

    /// Places taken.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.budget.lock().used()
    }
}

/// A database entry.
pub struct Database {
    /// Its name, as clients ask for it.
    pub name: String,
    /// Its settings; replaced on reload.
    pub spec: ArcSwap<config::Database>,
    /// Made from the `*` entry.
    pub auto: bool,
    /// `max_db_connections`.
    pub budget: SharedBudget,
    /// Clients logged in.
    pub clients: AtomicU32,
    /// PAUSE db.
    pub paused: AtomicBool,
    /// DISABLE db.
    pub disabled: AtomicBool,
    /// Where its servers are.
    pub hosts: ArcSwap<Vec<Host>>,
    /// Answers of the resolver, in the order of the hosts.
    pub resolved: ArcSwapOption<Resolved>,
    /// That the resolver found nothing, and until when to believe it.
    pub unresolved: ArcSwapOption<Unresolved>,
    /// Since when nobody uses it.
    pub rest: Rest,
    /// A resolution is under way.
    pub resolving: AtomicBool,
    /// TLS towards its servers.
    pub tls: ArcSwapOption<rustls::ClientConfig>,
    /// How much TLS is asked of its servers.
    pub sslmode: ArcSwap<SslMode>,
}

impl Database {
    /// How many places there are to connect to, names counted once until they are resolved.
    #[must_use]
    pub fn host_count(&self) -> usize {
        match self.resolved.load().as_deref() {
            Some(resolved) => resolved.places.len().max(1),
            None => self.hosts.load().len().max(1),
        }
    }

    /// The `choice`-th place to connect to and the name to expect in its certificate; `None` if
    /// a name must be resolved first.
    #[must_use]
    pub fn place(&self, choice: usize, now: Timestamp) -> Option<Place> {
        let hosts = self.hosts.load();
        let port = self.spec.load().server_port();
        if let Some(resolved) = self.resolved.load().as_deref()
            && resolved.until > now
        {
            return resolved.places.get(choice % resolved.places.len().max(1)).cloned();
        }
        if hosts.iter().any(|host| matches!(host, Host::Name(_))) {
            return None;
        }
        let host = hosts.get(choice % hosts.len().max(1))?;
        let address = match host {
            Host::Ip(ip) => Address::Tcp(SocketAddr::new(*ip, port)),
            unix => Address::Unix(unix.socket_path(port)?),
        };
        Some(Place { address, name: host.to_string() })
    }

    /// Returns true if connections go round the hosts instead of to the first that works.
    #[must_use]
    pub fn balances_hosts(&self) -> bool {
        self.spec.load().host_order() == LoadBalance::RoundRobin
    }

    /// The parameters of the startup packet to a server, beside the user.
    #[must_use]
    pub fn startup_params(&self, replication: Option<Replication>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let spec = self.spec.load();
        let name = spec.server_dbname(&self.name).as_bytes().to_vec();
        let mut params = vec![(b"database".to_vec(), name)];
        if let Some(kind) = replication {
            let value: &[u8] = match kind {
                Replication::Logical => b"database",
                Replication::Physical => b"on",
            };
            params.push((b"replication".to_vec(), value.to_vec()));
        }
        let optional: [(&[u8], &Option<String>); 4] = [
            (b"client_encoding", &spec.client_encoding),
            (b"DateStyle", &spec.datestyle),
            (b"TimeZone", &spec.timezone),
            (b"application_name", &spec.application_name),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                params.push((name.to_vec(), value.as_bytes().to_vec()));
            }
        }
        params
    }
}

/// A place to connect to.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where.
    pub address: Address,
    /// As it is called, for certificates.
    pub name: String,
}

/// A user that logged in or owns servers.
pub struct User {
    /// The name.
    pub name: String,
    /// `max_user_connections`.
    pub budget: SharedBudget,
    /// Clients logged in.
    pub clients: AtomicU32,
    /// A SCRAM secret derived from a plain one, so that PBKDF2 runs once.
    pub derived: ArcSwapOption<headpond_wire::auth::scram::Secret>,
    /// What auth_query said last.
    pub looked_up: ArcSwapOption<Stored>,
}

/// Takes a place in a count of clients; `max` zero is no limit.
#[must_use]
pub fn try_enter(count: &AtomicU32, max: u32) -> bool {
    count
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
            (max == 0 || n < max).then(|| n.saturating_add(1))
        })
        .is_ok()
}

/// Leaves a count of clients.
pub fn leave(count: &AtomicU32) {
    let before = count.fetch_sub(1, Ordering::AcqRel);
    assert!(before > 0, "a client left a count that it had not entered");
}
