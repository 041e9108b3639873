//! Where the formats meet: each hands over keys and texts with their places, and this puts
//! them into one `Config`.
//!
//! Invariant: what is handed over later wins; an entry that is begun anew forgets what an
//! earlier one of its name said; every error is kept, and any error means no `Config`.

use std::collections::BTreeMap;

use super::database::{Database, FALLBACK, RESERVED};
use super::error::{ConfigError, ConfigErrors, Doubt, Place, Problem, Shown, Warning};
use super::kind::Invalid;
use super::nearest::nearest;
use super::observe::RuleEntry;
use super::peer::{Peer, PeerEntry};
use super::table::{Key, Section};
use super::user::User;
use super::{Config, Loaded, check};

/// A configuration under construction.
pub(super) struct Assembly {
    config: Config,
    peers: BTreeMap<u16, PeerEntry>,
    begun: BTreeMap<(Section, String), Place>,
    errors: Vec<ConfigError>,
    warnings: Vec<Warning>,
    /// What `~` stands for in a path.
    home: Option<String>,
}

/// The alias PgBouncer has for one key of a database.
const RESERVE_POOL: &str = "reserve_pool";

/// The most errors that are told at once.
const ERRORS_MAX: usize = 200;

impl Assembly {
    pub(super) fn new(home: Option<&str>) -> Self {
        Self {
            config: Config::default(),
            peers: BTreeMap::new(),
            begun: BTreeMap::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            home: home.map(str::to_owned),
        }
    }

    /// Notes an error.
    pub(super) fn error(&mut self, place: Place, problem: Problem, nearest: Option<String>) {
        // Nobody reads more, and a file that is no configuration at all has one per line.
        if self.errors.len() >= ERRORS_MAX {
            return;
        }
        self.errors.push(ConfigError { place, problem, nearest });
    }

    /// Starts an entry of `[databases]`, `[users]` or `[peers]` from nothing.
    pub(super) fn begin(&mut self, section: Section, name: &str, place: &Place) {
        self.config.origins.retain(|(of, entry, _), _| *of != section || entry != name);
        self.begun.remove(&(section, name.to_owned()));
        match section {
            Section::Database if name == FALLBACK => self.config.fallback = None,
            Section::Database => drop(self.config.databases.remove(name)),
            Section::User => drop(self.config.users.remove(name)),
            Section::Peer => {
                if let Ok(id) = name.parse::<u16>() {
                    self.peers.remove(&id);
                }
            }
            Section::Rule => drop(self.config.rules.remove(name)),
            Section::Pooler
            | Section::Http
            | Section::Alerts
            | Section::History
            | Section::Otlp
            | Section::Native => {}
        }
        self.ensure(section, name, place);
    }

    /// Makes sure that an entry exists; false if its name is not allowed.
    fn ensure(&mut self, section: Section, name: &str, place: &Place) -> bool {
        let problem = match section {
            section if !section.has_entries() => return true,
            _ if name.is_empty() => Some(Problem::EmptyName),
            _ if name.contains('\0') => {
                let value = Some(Shown::new(name));
                Some(Problem::Value { key: "name", value, invalid: Invalid::Nul })
            }
            Section::Database if name == RESERVED => Some(Problem::ReservedDatabase),
            Section::Peer if peer_id(name).is_none() => Some(Problem::PeerId(Shown::new(name))),
            _ => None,
        };
        let first = self.begun.insert((section, name.to_owned()), place.clone()).is_none();
        if let Some(problem) = problem {
            // Said once, however many keys the entry has.
            if first {
                self.error(place.clone(), problem, None);
            }
            return false;
        }
        let named = || name.to_owned();
        match section {
            Section::Database if name == FALLBACK => {
                let fallback = &mut self.config.fallback;
                fallback.get_or_insert_with(|| Database { name: named(), ..Database::default() });
            }
            Section::Database => {
                let entry = self.config.databases.entry(named());
                entry.or_insert_with(|| Database { name: named(), ..Database::default() });
            }
            Section::User => {
                let entry = self.config.users.entry(named());
                entry.or_insert_with(|| User { name: named(), ..User::default() });
            }
            Section::Peer => {
                if let Some(id) = peer_id(name) {
                    let entry = self.peers.entry(id);
                    entry.or_insert_with(|| PeerEntry { name: named(), ..PeerEntry::default() });
                }
            }
            Section::Rule => {
                let entry = self.config.rules.entry(named());
                entry.or_insert_with(|| RuleEntry { name: named(), ..RuleEntry::default() });
            }
            Section::Pooler
            | Section::Http
            | Section::Alerts
            | Section::History
            | Section::Otlp
            | Section::Native => {}
        }
        true
    }

    /// Sets one key from its text. `name` is the entry, and empty for sections without entries.
    pub(super) fn set(
        &mut self,
        section: Section,
        name: &str,
        key: &str,
        text: &str,
        place: Place,
    ) {
        if !self.ensure(section, name, &place) {
            return;
        }
        let key = if section == Section::Database && key == RESERVE_POOL {
            "reserve_pool_size"
        } else {
            key
        };
        let Some(row) = section.key(key) else {
            let names = section.keys().iter().map(|row| row.name);
            let meant = nearest(key, names).map(str::to_owned);
            self.error(place, Problem::UnknownKey { section, key: Shown::new(key) }, meant);
            return;
        };
        let expanded = self.expand_home(row, text);
        let text = expanded.as_deref().unwrap_or(text);
        let done = if text.contains('\0') {
            Err(Invalid::Nul)
        } else {
            self.assign(section, name, row.name, text)
        };
        match done {
            Ok(()) => {
                self.config.origins.insert((section, name.to_owned(), row.name), place);
            }
            Err(invalid) => {
                let value = (!row.is_secret).then(|| Shown::new(text));
                self.error(place, Problem::Value { key: row.name, value, invalid }, None);
            }
        }
    }

    fn assign(
        &mut self,
        section: Section,
        name: &str,
        key: &str,
        text: &str,
    ) -> Result<(), Invalid> {
        let config = &mut self.config;
        let done = match section {
            section if !section.has_entries() => config.assign(section, key, text),
            Section::Rule => config.rules.get_mut(name).and_then(|entry| entry.assign(key, text)),
            Section::Database if name == FALLBACK => {
                config.fallback.as_mut().and_then(|entry| entry.assign(key, text))
            }
            Section::Database => {
                config.databases.get_mut(name).and_then(|entry| entry.assign(key, text))
            }
            Section::User => config.users.get_mut(name).and_then(|entry| entry.assign(key, text)),
            Section::Peer => peer_id(name)
                .and_then(|id| self.peers.get_mut(&id))
                .and_then(|entry| entry.assign(key, text)),
            _ => None,
        };
        done.expect("the key has a row and the entry exists: both were looked up above")
    }

    /// Sets a key because of a variable of others: it gives way to whatever is written, and one
    /// that cannot be read is no error, since it was not written for us.
    pub(super) fn set_unless_written(
        &mut self,
        section: Section,
        key: &'static str,
        text: &str,
        variable: &str,
    ) {
        if *self.config.origin(section, "", key) != Place::Default {
            return;
        }
        let place = Place::Environment(variable.to_owned());
        match self.assign(section, "", key, text) {
            Ok(()) => {
                self.config.origins.insert((section, String::new(), key), place);
            }
            Err(invalid) => self.warnings.push(Warning { place, doubt: Doubt::Ignored(invalid) }),
        }
    }

    /// Sets a global key because of how the program was started.
    pub(super) fn set_at_start(&mut self, key: &str, text: &str) {
        self.set(Section::Pooler, "", key, text, Place::Start);
    }

    fn expand_home(&self, row: &Key, text: &str) -> Option<String> {
        let rest = text.strip_prefix("~/").filter(|_| row.is_path)?;
        Some(format!("{}/{rest}", self.home.as_deref()?))
    }

    /// Returns the name of the entry that `name` means whatever the case of its letters.
    pub(super) fn entry_named(&self, section: Section, name: &str) -> Option<String> {
        let found = |mut names: Box<dyn Iterator<Item = &String> + '_>| {
            names.find(|entry| entry.eq_ignore_ascii_case(name)).cloned()
        };
        match section {
            Section::Database => found(Box::new(self.config.databases.keys())),
            Section::User => found(Box::new(self.config.users.keys())),
            _ => None,
        }
    }

    /// Checks the whole and hands it over.
    pub(super) fn finish(mut self) -> Result<Loaded, ConfigErrors> {
        for (id, entry) in std::mem::take(&mut self.peers) {
            if let Some(peer) = Peer::from_entry(id, &entry) {
                self.config.peers.insert(id, peer);
                continue;
            }
            let begun = self.begun.get(&(Section::Peer, entry.name)).cloned();
            let place = begun.unwrap_or(Place::Default);
            self.error(place, Problem::PeerHost(id), None);
        }
        let incomplete = self.config.rules.values().filter(|entry| entry.rule().is_none());
        let incomplete: Vec<String> = incomplete.map(|entry| entry.name.clone()).collect();
        for name in incomplete {
            let begun = self.begun.get(&(Section::Rule, name.clone())).cloned();
            let place = begun.unwrap_or(Place::Default);
            self.error(place, Problem::RuleIncomplete(Shown::new(&name)), None);
        }
        if self.errors.is_empty() {
            check::errors(&self.config, &mut self.errors);
        }
        if !self.errors.is_empty() {
            return Err(ConfigErrors::in_order(self.errors));
        }
        check::warnings(&self.config, &mut self.warnings);
        Ok(Loaded { config: self.config, warnings: self.warnings })
    }
}

fn peer_id(name: &str) -> Option<u16> {
    name.parse().ok().filter(|id| *id > 0)
}
