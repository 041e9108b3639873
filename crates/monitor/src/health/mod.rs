//! Whether a database or a pool is healthy, and since when: a pure state machine.
//!
//! Invariant: a fact (a server that cannot be reached) counts at once; a level (a queue, a
//! utilisation) counts once it has lasted; whatever improves has to last as well. So nothing
//! flaps, and nothing that is down is called healthy.
//! Not here: what is found wrong (`judge.rs`), who is told (`alert`).

mod bouncer;
mod judge;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::Bouncer;

pub use bouncer::judge_bouncer;
pub(crate) use judge::memory_ratio;
pub use judge::{Limits, judge_database, judge_pool, judge_process};

/// How a component is, the better first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does its work.
    #[default]
    Healthy,
    /// It does its work, and somebody should look.
    Warning,
    /// It does not do its work.
    Unhealthy,
}

impl Status {
    /// Returns the word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Returns the word of `application/health+json`.
    #[must_use]
    pub fn pass_word(self) -> &'static str {
        match self {
            Self::Healthy => "pass",
            Self::Warning => "warn",
            Self::Unhealthy => "fail",
        }
    }
}

/// Whether a finding holds the moment it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    /// A level: it has to last before it counts.
    #[default]
    Level,
    /// A fact: it counts at once.
    Fact,
}

/// What one look at a component finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// How it is.
    pub status: Status,
    /// Whether that has to last.
    pub weight: Weight,
    /// Why, in words for whoever is on call; empty if healthy.
    pub text: String,
}

impl Finding {
    fn fact(status: Status, text: impl Into<String>) -> Self {
        Self { status, weight: Weight::Fact, text: text.into() }
    }

    fn level(status: Status, text: impl Into<String>) -> Self {
        Self { status, weight: Weight::Level, text: text.into() }
    }

    /// Returns the worse of two.
    fn worse(self, other: Self) -> Self {
        if other.status > self.status { other } else { self }
    }
}

/// How long something has to last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patience {
    /// Before a level makes things worse, in seconds. Default: 2, because a queue that is gone at
    /// the next look was a burst.
    pub worsen_seconds: f64,
    /// Before anything makes things better, in seconds. Default: 5, because what came back once
    /// may go again.
    pub improve_seconds: f64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { worsen_seconds: 2.0, improve_seconds: 5.0 }
    }
}

/// How a component is and has been.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    status: Status,
    text: String,
    since: f64,
    /// What it would be next, and since when it has looked so.
    next: Option<(Status, f64)>,
}

impl Machine {
    /// Takes a finding made at `now` (monotonic seconds); returns the change that it brings about,
    /// as what it was before.
    pub fn observe(&mut self, now: f64, finding: &Finding, patience: Patience) -> Option<Status> {
        if finding.status == self.status {
            self.next = None;
            self.text.clone_from(&finding.text);
            return None;
        }
        let since = match self.next {
            // As bad or worse than what it was about to become: the time counts on.
            Some((next, since)) if self.is_same_way(next, finding.status) => since,
            _ => now,
        };
        self.next = Some((finding.status, since));
        let lasted = now - since;
        let is_due = if finding.status > self.status {
            finding.weight == Weight::Fact || lasted >= patience.worsen_seconds
        } else {
            lasted >= patience.improve_seconds
        };
        if !is_due {
            return None;
        }
        let before = self.status;
        self.status = finding.status;
        self.text.clone_from(&finding.text);
        self.since = now;
        self.next = None;
        Some(before)
    }

    fn is_same_way(&self, next: Status, found: Status) -> bool {
        (next > self.status) == (found > self.status)
    }

    /// Returns how it is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns why; empty if it is healthy.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns since when it has been so, in monotonic seconds.
    #[must_use]
    pub fn since(&self) -> f64 {
        self.since
    }
}

/// What a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The process itself.
    Process,
    /// A database.
    Database,
    /// A pool.
    Pool,
    /// A PgBouncer that pools of this process go through.
    Bouncer,
    /// A PgBouncer beside this process, which serves others: what is wrong with it is shown, and
    /// makes nothing here worse than a warning.
    Neighbour,
}

impl Sort {
    /// Returns what a PgBouncer is to this process.
    #[must_use]
    pub fn of_bouncer(bouncer: &Bouncer) -> Self {
        if bouncer.through.is_empty() { Self::Neighbour } else { Self::Bouncer }
    }

    /// Returns how much a status counts for all together.
    fn weighed(self, status: Status) -> Status {
        if self == Self::Neighbour { status.min(Status::Warning) } else { status }
    }
}

/// A component that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is.
    pub sort: Sort,
    /// Its name.
    pub name: String,
    /// How it was.
    pub before: Status,
    /// How it is.
    pub after: Status,
    /// Why.
    pub text: String,
}

/// All components.
#[derive(Debug, Default)]
pub struct Board {
    machines: BTreeMap<(Sort, String), Machine>,
    patience: Patience,
}

impl Board {
    /// Makes a board on which nothing is known.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { machines: BTreeMap::new(), patience }
    }

    /// Takes the findings of one look at everything; what was not looked at is forgotten.
    pub fn observe(
        &mut self,
        now: f64,
        findings: impl IntoIterator<Item = (Sort, String, Finding)>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut seen = BTreeMap::new();
        for (sort, name, finding) in findings {
            let key = (sort, name);
            let fresh = || Machine { since: now, ..Machine::default() };
            let mut machine = self.machines.remove(&key).unwrap_or_else(fresh);
            if let Some(before) = machine.observe(now, &finding, self.patience) {
                let (sort, name) = key.clone();
                let after = machine.status();
                changes.push(Change { sort, name, before, after, text: finding.text });
            }
            seen.insert(key, machine);
        }
        self.machines = seen;
        changes
    }

    /// Returns one component; a healthy one if it is unknown.
    #[must_use]
    pub fn of(&self, sort: Sort, name: &str) -> Machine {
        self.machines.get(&(sort, name.to_owned())).cloned().unwrap_or_default()
    }

    /// Returns every component.
    pub fn all(&self) -> impl Iterator<Item = (Sort, &str, &Machine)> {
        self.machines.iter().map(|((sort, name), machine)| (*sort, name.as_str(), machine))
    }

    /// Returns how the worst of them is; a neighbour is at worst a warning.
    #[must_use]
    pub fn worst(&self) -> Status {
        let weighed = self.machines.iter().map(|((sort, _), of)| sort.weighed(of.status()));
        weighed.max().unwrap_or_default()
    }

    /// Returns how the worst of one sort is, neighbours as above.
    #[must_use]
    pub fn worst_of(&self, sort: Sort) -> Status {
        let of_sort = self.machines.iter().filter(|((of, _), _)| *of == sort);
        of_sort.map(|(_, of)| sort.weighed(of.status())).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
