//! What all actors of a run know together: who asked what, what ran where, which law was broken.
//!
//! Invariant: facts are noted when they happen, so whoever hears of them later finds them here.
//! Not here: comparing answers (`client.rs`), counting sessions (`server.rs`).

use std::collections::{BTreeMap, BTreeSet};

use headpond_wire::Status;

use crate::session::Run;
use crate::tag::Tag;

/// More of these say nothing new.
const VIOLATIONS_MAX: usize = 8;

/// What a run has seen, to tell a run that proves something from one that does not.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    pub seeds: u64,
    pub clients: u64,
    pub logins: u64,
    pub refused: u64,
    pub statements: u64,
    pub answers: u64,
    pub faults: u64,
    pub cancels: u64,
    pub cancelled: u64,
    pub cancelled_waiting: u64,
    pub sessions: u64,
    pub moved_servers: u64,
    pub moved_clients: u64,
    pub turns: u64,
    pub simulated_ms: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.clients += other.clients;
        self.logins += other.logins;
        self.refused += other.refused;
        self.statements += other.statements;
        self.answers += other.answers;
        self.faults += other.faults;
        self.cancels += other.cancels;
        self.cancelled += other.cancelled;
        self.cancelled_waiting += other.cancelled_waiting;
        self.sessions += other.sessions;
        self.moved_servers += other.moved_servers;
        self.moved_clients += other.moved_clients;
        self.turns += other.turns;
        self.simulated_ms += other.simulated_ms;
    }
}

/// Where a client's transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Home {
    /// On the session with this process id.
    On(i32),
    /// On one that died: the client may never ask anything again.
    Lost,
}

/// The facts of a run.
#[derive(Default)]
pub struct Ledger {
    /// The laws that were broken.
    pub violations: Vec<String>,
    /// Somebody wants to read the account of the run.
    pub is_told: bool,
    /// The time, in microseconds.
    pub now: u64,
    pub tally: Tally,
    /// Statements that a backend cancelled.
    cancelled: BTreeSet<Run>,
    /// The last statement of each client that any backend ran.
    latest: BTreeMap<u32, Run>,
    homes: BTreeMap<u32, Home>,
    /// Cancel requests of each client that the pooler has not dealt with.
    wishes: BTreeMap<u32, u32>,
    /// Cancel requests of each client that may have met it waiting.
    unheard: BTreeMap<u32, u32>,
    /// Clients whose connection is no more, or is being closed.
    gone: BTreeSet<u32>,
    /// The network may break what it likes.
    pub stormy: bool,
}

impl Ledger {
    /// Nothing has happened; the storm begins.
    pub fn new(is_told: bool) -> Self {
        Self { is_told, stormy: true, ..Self::default() }
    }

    /// A law was broken.
    pub fn violation(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.note(|| format!("VIOLATION {text}"));
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(text);
        }
    }

    /// Something for the account of the run.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if self.is_told {
            eprintln!("{:>10} us  {}", self.now, text());
        }
    }

    /// The network or a server was made to fail.
    pub fn fault(&mut self, text: impl FnOnce() -> String) {
        self.tally.faults += 1;
        self.note(|| format!("fault: {}", text()));
    }

    /// A backend ran a statement: it is its client's next, once only, and where the client's
    /// transaction is.
    pub fn ran(&mut self, pid: i32, run: Run, before: Status, after: Status) {
        let Some(tag) = run.tag else {
            self.note(|| format!("backend {pid} runs something of the pooler's"));
            return;
        };
        self.tally.statements += 1;
        self.note(|| format!("backend {pid} runs {tag} at {}", run.turn));
        if self.latest.get(&tag.client).is_some_and(|latest| *latest >= run) {
            self.violation(format!("backend {pid} ran {tag} again, or out of order"));
        }
        self.latest.insert(tag.client, run);
        match self.homes.get(&tag.client) {
            Some(Home::On(home)) if *home != pid => {
                let home = *home;
                self.violation(format!("{tag} ran at {pid}, its transaction is at {home}"));
            }
            Some(Home::Lost) => {
                self.violation(format!("{tag} ran at {pid} after its transaction was lost"));
            }
            _ => {}
        }
        if before == Status::Idle && after != Status::Idle {
            self.homes.insert(tag.client, Home::On(pid));
        } else if after == Status::Idle {
            self.homes.remove(&tag.client);
        }
    }

    /// A backend ended, or the pooler ended a transaction on it.
    pub fn transaction_lost(&mut self, pid: i32) {
        for home in self.homes.values_mut().filter(|home| **home == Home::On(pid)) {
            *home = Home::Lost;
        }
    }

    /// The client whose transaction is at a backend.
    pub fn owner(&self, pid: i32) -> Option<u32> {
        let found = self.homes.iter().find(|(_, home)| **home == Home::On(pid));
        found.map(|(client, _)| *client)
    }

    /// A client asks the pooler to cancel what it runs.
    pub fn wish(&mut self, client: u32) {
        self.tally.cancels += 1;
        *self.wishes.entry(client).or_default() += 1;
        *self.unheard.entry(client).or_default() += 1;
        self.note(|| format!("client {client} asks for a cancel"));
    }

    /// The pooler has dealt with a cancel request of a client.
    pub fn wish_done(&mut self, client: u32) {
        let open = self.wishes.get_mut(&client).expect("a wish that was made");
        *open -= 1;
        self.note(|| format!("a cancel request of client {client} is over"));
    }

    /// A client hears that it was cancelled while it waited; false if it has not asked so often.
    pub fn hear_of_wish(&mut self, client: u32) -> bool {
        let Some(left) = self.unheard.get_mut(&client).filter(|left| **left > 0) else {
            return false;
        };
        *left -= 1;
        true
    }

    /// Whether a client has asked for a cancel that is not over.
    pub fn has_wish(&self, client: u32) -> bool {
        self.wishes.get(&client).is_some_and(|open| *open > 0)
    }

    /// A client's connection is no more.
    pub fn gone(&mut self, client: u32) {
        self.gone.insert(client);
    }

    /// Whether a client's connection is no more.
    pub fn is_gone(&self, client: u32) -> bool {
        self.gone.contains(&client)
    }

    /// A backend cancelled a statement.
    pub fn cancelled(&mut self, run: Run) {
        self.tally.cancelled += 1;
        self.cancelled.insert(run);
    }

    /// Whether a backend cancelled a statement.
    pub fn was_cancelled(&self, run: Run) -> bool {
        self.cancelled.contains(&run)
    }

    /// Checks that a word of a client's request or answer is that client's.
    pub fn check_owner(&mut self, what: &str, tag: Option<Tag>, client: u32) {
        if tag.is_some_and(|tag| tag.client != client) {
            self.violation(format!("client {client} got {what} of {tag:?}"));
        }
    }
}
