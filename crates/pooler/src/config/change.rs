//! What a reload means: the difference between two configurations.
//!
//! Invariant: a database whose servers could be told apart from the new ones by anything the
//! configuration says is never called unchanged.

use std::collections::{BTreeMap, BTreeSet};

use super::Config;
use super::database::Database;
use super::error::{Doubt, Place, Warning};
use super::table::{Changeable, Effect, Key, Section};

impl Config {
    /// Takes over the values of the running configuration that only a start can change, so
    /// that what is shown is what is in force; [`Changes::restart`] named them before.
    pub fn retain_until_restart(&mut self, running: &Config) {
        for (section, keys) in [
            (Section::Pooler, self.global.differing(&running.global)),
            (Section::Http, self.http.differing(&running.http)),
            (Section::Alerts, self.alerts.differing(&running.alerts)),
            (Section::History, self.history.differing(&running.history)),
            (Section::Otlp, self.otlp.differing(&running.otlp)),
            (Section::Native, self.headpond.differing(&running.headpond)),
        ] {
            for key in keys.iter().filter(|key| key.changeable == Changeable::Restart) {
                let place = running.origin(section, "", key.name).clone();
                self.origins.insert((section, String::new(), key.name), place);
                if key.is_secret {
                    // Its text is not shown, not even to us; it is copied below.
                    continue;
                }
                let text = running.text(section, key).unwrap_or_default();
                let done = self.assign(section, key.name, &text);
                let done = done.expect("the key has a row: it came from there");
                done.expect("what is shown reads back: a test shows it for every key");
            }
        }
        // The secrets that only a start can change.
        self.alerts.webhook_url.clone_from(&running.alerts.webhook_url);
        self.alerts.webhook_secret.clone_from(&running.alerts.webhook_secret);
        self.alerts.alertmanager_url.clone_from(&running.alerts.alertmanager_url);
        self.otlp.endpoint.clone_from(&running.otlp.endpoint);
        self.otlp.metrics_endpoint.clone_from(&running.otlp.metrics_endpoint);
        self.otlp.headers.clone_from(&running.otlp.headers);
    }
}

/// What a reload means for one database entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseChange {
    /// Nothing.
    Unchanged,
    /// Limits or timeouts differ; servers stay.
    Limits,
    /// Servers of the old configuration must not be used any longer.
    Connection,
    /// The entry is new.
    Added,
    /// The entry is gone.
    Removed,
}

/// What a reload means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Each entry of either configuration; the fallback entry under `*`.
    pub databases: BTreeMap<String, DatabaseChange>,
    /// Users whose limits differ, appear or vanish.
    pub users: BTreeSet<String>,
    /// True if peers differ, appear or vanish.
    pub peers: bool,
    /// Global keys whose new values apply at once.
    pub live: Vec<&'static str>,
    /// Global keys whose new values wait for the next start.
    pub restart: Vec<&'static str>,
}

impl Changes {
    /// Compares what is with what shall be.
    pub fn between(old: &Config, new: &Config) -> Changes {
        let mut global = old.global.differing(&new.global);
        global.extend(old.http.differing(&new.http));
        global.extend(old.alerts.differing(&new.alerts));
        global.extend(old.history.differing(&new.history));
        global.extend(old.otlp.differing(&new.otlp));
        global.extend(old.headpond.differing(&new.headpond));
        type Keys = Vec<&'static Key>;
        let (live, restart): (Keys, Keys) =
            global.into_iter().partition(|key| key.changeable == Changeable::Live);
        let names = |keys: Keys| keys.into_iter().map(|key| key.name).collect::<Vec<_>>();
        let tls_changed = live.iter().any(|key| key.effect == Effect::Identity);
        Changes {
            databases: databases(old, new, tls_changed),
            users: users(old, new),
            peers: old.peers != new.peers,
            live: names(live),
            restart: names(restart),
        }
    }

    /// Returns a warning for each key that waits for the next start.
    pub fn warnings(&self, new: &Config) -> Vec<Warning> {
        let warning = |key: &&'static str| {
            let mut places =
                super::live::SECTIONS.iter().map(|(section, _)| new.origin(*section, "", key));
            let place = places.find(|place| **place != Place::Default);
            Warning {
                place: place.unwrap_or(&Place::Default).clone(),
                doubt: Doubt::NeedsRestart(key),
            }
        };
        self.restart.iter().map(warning).collect()
    }
}

fn databases(old: &Config, new: &Config, tls_changed: bool) -> BTreeMap<String, DatabaseChange> {
    let mut changes = BTreeMap::new();
    for (name, before) in entries(old) {
        let change = match entry(new, name) {
            None => DatabaseChange::Removed,
            Some(after) => database(before, after, tls_changed),
        };
        changes.insert(name.to_owned(), change);
    }
    for (name, _) in entries(new) {
        changes.entry(name.to_owned()).or_insert(DatabaseChange::Added);
    }
    changes
}

fn entries(config: &Config) -> impl Iterator<Item = (&str, &Database)> {
    let all = config.databases.values().chain(config.fallback.as_ref());
    all.map(|database| (database.name.as_str(), database))
}

fn entry<'a>(config: &'a Config, name: &str) -> Option<&'a Database> {
    if name == super::database::FALLBACK {
        return config.fallback.as_ref();
    }
    config.databases.get(name)
}

fn database(before: &Database, after: &Database, tls_changed: bool) -> DatabaseChange {
    let differing = before.differing(after);
    if tls_changed || differing.iter().any(|key| key.effect == Effect::Identity) {
        return DatabaseChange::Connection;
    }
    if differing.is_empty() { DatabaseChange::Unchanged } else { DatabaseChange::Limits }
}

fn users(old: &Config, new: &Config) -> BTreeSet<String> {
    let names = old.users.keys().chain(new.users.keys());
    names.filter(|name| old.users.get(*name) != new.users.get(*name)).cloned().collect()
}
