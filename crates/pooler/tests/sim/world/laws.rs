//! The laws that concern all: limits, waiters, and what is left at the end.
//!
//! Not here: the laws about answers (`client/judge.rs`) and statements (`ledger.rs`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{PATIENCE, Stage, World};
use crate::client::Client;
use crate::plan::Sizes;
use headpond_pooler::worker::Worker;

impl World {
    /// A session has begun: are there too many?
    pub(super) fn check_limits(&mut self, database: &str, user: &str) {
        let now = self.net.now();
        while self.sizes.front().is_some_and(|(until, _)| *until < now) {
            self.sizes.pop_front();
        }
        let most = |limit: fn(&Sizes) -> usize| {
            let limits = self.sizes.iter().map(|(_, sizes)| limit(sizes));
            limits.map(|limit| if limit == 0 { usize::MAX } else { limit }).max().unwrap_or(0)
        };
        let count = |database: Option<&str>, user: Option<&str>| -> usize {
            self.servers.iter().map(|server| server.sessions(now, database, user)).sum()
        };
        let table = [
            ("pool", count(Some(database), Some(user)), most(|sizes| sizes.pool + sizes.reserve)),
            ("database", count(Some(database), None), most(|sizes| sizes.database_max)),
            ("user", count(None, Some(user)), most(|sizes| sizes.user_max)),
        ];
        for (what, count, most) in table {
            if count > most {
                let text =
                    format!("{count} sessions of {database}/{user}, the {what} may have {most}");
                self.ledger.violation(text);
            }
        }
    }

    /// No waiter is left behind.
    pub(super) fn check_pools(&mut self) {
        for pool in self.shared.catalog.pools() {
            let core = pool.core.lock();
            core.check_invariants();
            let counts = core.counts();
            let coming = counts.opening + counts.checking + counts.resetting;
            if counts.idle > 0 && counts.waiting > coming && !core.is_paused() {
                let text = format!("{} wait while {} are idle", counts.waiting, counts.idle);
                self.ledger.violation(format!("{:?}: {text}", pool.key));
            }
        }
    }

    /// Whether everybody is through; the first time, the pools are emptied.
    pub(super) fn is_done(&mut self) -> bool {
        let through = self.clients.iter().all(Client::is_over) && self.cancels.is_empty();
        if !through || self.ledger.stormy {
            return false;
        }
        if self.stage == Stage::Running {
            self.stage = Stage::Draining;
            self.ends_at = self.net.now() + PATIENCE;
            self.with_pools(|pool, now| pool.core.lock().drain(now));
        }
        let slots: usize = self
            .shared
            .catalog
            .pools()
            .iter()
            .map(|pool| pool.core.lock().counts().total() as usize)
            .sum();
        slots == 0 && !self.net.is_busy() && self.workers.iter().all(|w| w.population() == [0; 3])
    }

    /// Time is over and somebody is not through.
    pub(super) fn ran_out(&mut self) {
        for client in self.clients.iter().filter(|client| !client.is_over()) {
            let text = client.describe();
            self.ledger.violation(format!("not through in time: {text}"));
        }
        if !self.cancels.is_empty() {
            self.ledger.violation("a cancel request was never dealt with");
        }
        for pool in self.shared.catalog.pools() {
            let counts = pool.core.lock().counts();
            self.ledger.violation(format!("at the end {:?} has {counts:?}", pool.key));
        }
        let population: Vec<[usize; 3]> = self.workers.iter().map(Worker::population).collect();
        self.ledger.violation(format!("clients, servers, cancels of the workers: {population:?}"));
    }

    /// When all is over nothing is left of anybody.
    pub(super) fn check_end(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut check = |what: &str, left: u64| {
            if left != 0 {
                self.ledger.violation(format!("at the end {left} {what} are left"));
            }
        };
        check("clients of the process", shared.clients.load(Ordering::Acquire).into());
        check("cancel keys", shared.cancels.len() as u64);
        for database in shared.catalog.databases() {
            check("clients of a database", database.clients.load(Ordering::Acquire).into());
            check("places in a database's budget", database.budget.used().into());
        }
        for user in shared.catalog.users() {
            check("clients of a user", user.clients.load(Ordering::Acquire).into());
            check("places in a user's budget", user.budget.used().into());
        }
        let sessions: usize =
            self.servers.iter().map(|s| s.sessions(self.net.now(), None, None)).sum();
        check("sessions", sessions as u64);
    }
}
