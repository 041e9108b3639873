//! When a rule fires and when it resolves: rules + readings + now → transitions.
//!
//! Invariant: of one rule and one subject there is at most one alert; it fires once and resolves
//! once. It fires only after its duration and outside its cool-down, and resolves only after it
//! has been good for a while, so that what flickers is one alert.
//! Not here: sending anything (`notify.rs`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::rule::{Metric, Rule};

/// How long it must be good before an alert resolves: as long as two scrapes of a busy monitor.
const SETTLE_SECONDS: f64 = 10.0;
/// Alerts that may be pending or firing at once: more would tell nobody anything.
const ACTIVE_MAX: usize = 1_000;
/// Silences that may be in force at once.
const SILENCES_MAX: usize = 100;
/// The longest silence: whoever silences something for longer should change its rule.
const SILENCE_SECONDS_MAX: f64 = 7.0 * 86_400.0;

/// A value of a metric, of one pool, one database or the process.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What was read.
    pub metric: Metric,
    /// Of whom: a pool's or database's name; empty for the process.
    pub subject: String,
    /// The value.
    pub value: f64,
}

/// How far an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Bad, and not yet for long enough.
    Pending,
    /// Somebody was told.
    Firing,
}

/// An alert that is not over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Active {
    /// Its rule.
    pub rule: Rule,
    /// Whom it is about; empty for the process.
    pub subject: String,
    /// How far it is.
    pub phase: Phase,
    /// Since when it has been bad, in monotonic seconds.
    pub since: f64,
    /// Since when it has been firing, in monotonic seconds.
    pub fired_at: f64,
    /// The last value.
    pub value: f64,
    /// Nobody is told, because of a silence.
    pub silenced: bool,
    /// Since when it has been good again.
    #[serde(skip)]
    good_since: Option<f64>,
}

/// An alert that fires or resolves now.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The alert as it is; after a resolve, as it was.
    pub alert: Active,
    /// It begins, or it is over.
    pub is_firing: bool,
}

/// Somebody knows already.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Silence {
    /// Its number.
    pub id: u64,
    /// The rule that is silenced; empty for every rule.
    pub rule: String,
    /// The subject that is silenced; empty for every subject.
    pub subject: String,
    /// When it ends, in monotonic seconds.
    pub until: f64,
    /// Why, and who said so.
    pub comment: String,
}

/// Why a silence was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilenceError {
    /// It would end at once, or not within a week.
    Duration,
    /// There are too many.
    TooMany,
}

/// Evaluates rules and remembers what is not over.
#[derive(Debug, Default)]
pub struct Evaluator {
    rules: Vec<Rule>,
    active: BTreeMap<(String, String), Active>,
    /// Until when a rule stays quiet about a subject.
    cooling: BTreeMap<(String, String), f64>,
    silences: Vec<Silence>,
    next_silence: u64,
    /// Alerts that found no place, since the start.
    overflowed: u64,
}

impl Evaluator {
    /// Evaluates these rules.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Replaces the rules; alerts of those that are gone or differ end as if they had resolved.
    pub fn replace(&mut self, rules: Vec<Rule>) -> Vec<Transition> {
        self.rules = rules;
        let rules = &self.rules;
        let mut over = Vec::new();
        self.active.retain(|_, alert| {
            let stays = rules.contains(&alert.rule);
            if !stays && alert.phase == Phase::Firing {
                over.push(Transition { alert: alert.clone(), is_firing: false });
            }
            stays
        });
        over
    }

    /// Returns the rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Looks at all readings of one moment; what is not read any more is over.
    pub fn evaluate(&mut self, now: f64, readings: &[Reading]) -> Vec<Transition> {
        self.silences.retain(|silence| silence.until > now);
        self.cooling.retain(|_, until| *until > now);
        let mut transitions = Vec::new();
        let mut read = BTreeSet::new();
        for place in 0..self.rules.len() {
            let rule = self.rules[place].clone();
            for reading in readings.iter().filter(|reading| reading.metric == rule.metric) {
                let key = (rule.name.clone(), reading.subject.clone());
                let is_bad = rule.comparison.is_bad(reading.value, rule.threshold);
                let step = if is_bad {
                    self.bad(now, &rule, &key, reading.value)
                } else {
                    self.good(now, &key, reading.value)
                };
                transitions.extend(step);
                read.insert(key);
            }
        }
        let gone: Vec<_> = self.active.keys().filter(|key| !read.contains(key)).cloned().collect();
        for key in gone {
            transitions.extend(self.end(now, &key));
        }
        transitions
    }

    fn bad(
        &mut self,
        now: f64,
        rule: &Rule,
        key: &(String, String),
        value: f64,
    ) -> Option<Transition> {
        let silenced = self.is_silenced(key);
        let cooling = self.cooling.contains_key(key);
        if !self.active.contains_key(key) && self.active.len() >= ACTIVE_MAX {
            self.overflowed += 1;
            return None;
        }
        let alert = self.active.entry(key.clone()).or_insert_with(|| Active {
            rule: rule.clone(),
            subject: key.1.clone(),
            phase: Phase::Pending,
            since: now,
            fired_at: now,
            value,
            silenced,
            good_since: None,
        });
        alert.value = value;
        alert.good_since = None;
        let was_silenced = std::mem::replace(&mut alert.silenced, silenced);
        match alert.phase {
            Phase::Pending if now - alert.since >= rule.for_seconds && !cooling => {
                alert.phase = Phase::Firing;
                alert.fired_at = now;
            }
            // A silence is over and it still burns: now somebody must know.
            Phase::Firing if was_silenced && !silenced => {}
            _ => return None,
        }
        (!silenced).then(|| Transition { alert: alert.clone(), is_firing: true })
    }

    fn good(&mut self, now: f64, key: &(String, String), value: f64) -> Option<Transition> {
        let alert = self.active.get_mut(key)?;
        alert.value = value;
        if alert.phase == Phase::Pending {
            self.active.remove(key);
            return None;
        }
        let since = *alert.good_since.get_or_insert(now);
        if now - since < SETTLE_SECONDS {
            return None;
        }
        self.end(now, key)
    }

    /// An alert is over; whoever was told that it burns is told that it does not.
    fn end(&mut self, now: f64, key: &(String, String)) -> Option<Transition> {
        let alert = self.active.remove(key)?;
        if alert.phase == Phase::Pending {
            return None;
        }
        self.cooling.insert(key.clone(), now + alert.rule.cool_down_seconds);
        (!alert.silenced).then_some(Transition { alert, is_firing: false })
    }

    fn is_silenced(&self, (rule, subject): &(String, String)) -> bool {
        let fits = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
        self.silences.iter().any(|s| fits(&s.rule, rule) && fits(&s.subject, subject))
    }

    /// Keeps a rule, a subject, or everything quiet for a while; returns its number.
    ///
    /// # Errors
    /// It would end at once or not within a week, or there are too many.
    pub fn silence(
        &mut self,
        now: f64,
        rule: String,
        subject: String,
        seconds: f64,
        comment: String,
    ) -> Result<u64, SilenceError> {
        if !(seconds > 0.0 && seconds <= SILENCE_SECONDS_MAX) {
            return Err(SilenceError::Duration);
        }
        self.silences.retain(|silence| silence.until > now);
        if self.silences.len() >= SILENCES_MAX {
            return Err(SilenceError::TooMany);
        }
        self.next_silence += 1;
        let id = self.next_silence;
        self.silences.push(Silence { id, rule, subject, until: now + seconds, comment });
        Ok(id)
    }

    /// Ends a silence; false if there is none of that number.
    pub fn unsilence(&mut self, id: u64) -> bool {
        let before = self.silences.len();
        self.silences.retain(|silence| silence.id != id);
        self.silences.len() < before
    }

    /// Returns the silences in force.
    #[must_use]
    pub fn silences(&self) -> &[Silence] {
        &self.silences
    }

    /// Returns what is pending or firing.
    pub fn active(&self) -> impl Iterator<Item = &Active> {
        self.active.values()
    }

    /// Returns how many alerts found no place, since the start.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

#[cfg(test)]
mod tests;
