//! What all clients of a run share: how far it is, and what went wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::sync::watch;

use crate::support::client::Notice;

/// What the ledger must say of a tag after the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The commit was acknowledged: once.
    Kept,
    /// It was rolled back, failed, or never committed: not at all.
    Undone,
    /// The connection was lost around the commit: once or not at all.
    Unknown,
}

/// The shared state of one run; everything runs on one thread.
#[derive(Debug)]
pub struct World {
    pub address: SocketAddr,
    /// Whether named statements may be used.
    pub prepared: bool,
    /// How many operations are done.
    pub done: watch::Sender<usize>,
    violations: RefCell<Vec<String>>,
    counts: RefCell<BTreeMap<&'static str, usize>>,
    ledger: RefCell<BTreeMap<String, Fate>>,
}

impl World {
    pub fn new(address: SocketAddr, prepared: bool) -> Self {
        Self {
            address,
            prepared,
            done: watch::Sender::new(0),
            violations: RefCell::default(),
            counts: RefCell::default(),
            ledger: RefCell::default(),
        }
    }

    /// Notes that a law was broken.
    pub fn violation(&self, what: String) {
        let mut violations = self.violations.borrow_mut();
        if violations.len() < 50 {
            println!("violation: {what}");
        }
        violations.push(what);
    }

    pub fn violations(&self) -> usize {
        self.violations.borrow().len()
    }

    pub fn count(&self, what: &'static str) {
        *self.counts.borrow_mut().entry(what).or_default() += 1;
    }

    pub fn counted(&self, what: &str) -> usize {
        self.counts.borrow().get(what).copied().unwrap_or(0)
    }

    pub fn enter(&self, tag: &str, fate: Fate) {
        self.ledger.borrow_mut().insert(tag.to_owned(), fate);
    }

    /// Compares the ledger with what clients were told; `found` says how often a tag is there.
    pub fn audit(&self, found: &BTreeMap<String, usize>) {
        let ledger = self.ledger.borrow().clone();
        for (tag, fate) in &ledger {
            let times = found.get(tag).copied().unwrap_or(0);
            let right = match fate {
                Fate::Kept => times == 1,
                Fate::Undone => times == 0,
                Fate::Unknown => times <= 1,
            };
            if !right {
                self.violation(format!("{tag} is {times} times in the ledger, but {fate:?}"));
            }
        }
        for tag in found.keys().filter(|tag| !ledger.contains_key(*tag)) {
            self.violation(format!("{tag} is in the ledger, but nobody wrote it"));
        }
    }

    pub fn summary(&self) -> String {
        format!("{:?}", self.counts.borrow())
    }
}

/// Returns whether an error may be had because a backend was killed under the client.
pub fn is_of_a_lost_server(notice: &Notice) -> bool {
    match notice.code.as_str() {
        // Terminated by the administrator; crash; broken connection in several words.
        "57P01" | "57P02" | "08000" | "08003" | "08006" => true,
        // PgBouncer's code for everything it says itself.
        "08P01" => {
            let words = ["server conn crashed?", "invalid server parameter"];
            words.contains(&notice.message.as_str())
        }
        _ => false,
    }
}
