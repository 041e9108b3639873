//! The settings while the pooler runs: SHOW CONFIG and SET.
//!
//! Invariant: a failed SET changes nothing; what SHOW prints, SET reads.

use super::error::{Place, Problem, Shown};
use super::kind::Invalid;
use super::nearest::nearest;
use super::table::{Changeable, Key, Section};
use super::{Config, check};

/// One row of SHOW CONFIG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRow {
    /// The key; `http.` or `headpond.` stands before the keys PgBouncer does not have.
    pub key: String,
    /// The value; `None` is NULL, for what is unset.
    pub value: Option<String>,
    /// The default; `None` is NULL.
    pub default: Option<String>,
    /// Whether SET and RELOAD change it.
    pub changeable: bool,
}

/// Why a SET did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// There is no such key.
    #[error("unknown parameter: {key}{}", did_you_mean(.nearest))]
    Unknown {
        /// What was asked for.
        key: Shown,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// The key takes effect at the start only; PgBouncer ignores such a SET silently.
    #[error("{0} can only be changed by a restart")]
    NotChangeable(&'static str),
    /// The value is not of the key's kind.
    #[error("invalid value for {key}: {invalid}")]
    Value {
        /// The key.
        key: &'static str,
        /// Why it is wrong.
        invalid: Invalid,
    },
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(" (did you mean '{name}'?)")).unwrap_or_default()
}

/// The sections that SHOW CONFIG lists and SET reaches, and what stands before their keys.
pub(super) const SECTIONS: [(Section, &str); 6] = [
    (Section::Pooler, ""),
    (Section::Http, "http."),
    (Section::Alerts, "alerts."),
    (Section::History, "history."),
    (Section::Otlp, "otlp."),
    (Section::Native, "headpond."),
];

impl Config {
    /// Returns the rows of SHOW CONFIG in the order of their keys.
    pub fn rows(&self) -> Vec<ConfigRow> {
        let default = Config::default();
        let mut rows = Vec::new();
        for (section, prefix) in SECTIONS {
            rows.extend(section.keys().iter().map(|key| ConfigRow {
                key: format!("{prefix}{}", key.name),
                value: self.text(section, key),
                default: default.text(section, key),
                changeable: key.changeable == Changeable::Live,
            }));
        }
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }

    pub(super) fn text(&self, section: Section, key: &Key) -> Option<String> {
        let text = match section {
            Section::Http => self.http.shown(key.name),
            Section::Alerts => self.alerts.shown(key.name),
            Section::History => self.history.shown(key.name),
            Section::Otlp => self.otlp.shown(key.name),
            Section::Native => self.headpond.shown(key.name),
            _ => self.global.shown(key.name),
        };
        text.flatten()
    }

    /// Sets a key of a section without entries from its text; `None` if there is no such key.
    pub(super) fn assign(
        &mut self,
        section: Section,
        key: &str,
        text: &str,
    ) -> Option<Result<(), Invalid>> {
        match section {
            Section::Http => self.http.assign(key, text),
            Section::Alerts => self.alerts.assign(key, text),
            Section::History => self.history.assign(key, text),
            Section::Otlp => self.otlp.assign(key, text),
            Section::Native => self.headpond.assign(key, text),
            _ => self.global.assign(key, text),
        }
    }

    /// Changes how many servers each pool of a database may have; returns the entry that says so
    /// now, which is `*` for a database without one of its own, or `None` if there is neither.
    pub fn resize(&mut self, database: &str, size: u32) -> Option<String> {
        let spec = match self.databases.get_mut(database) {
            Some(spec) => spec,
            None => self.fallback.as_mut()?,
        };
        spec.pool_size = Some(size);
        let entry = spec.name.clone();
        self.origins.insert((Section::Database, entry.clone(), "pool_size"), Place::Console);
        Some(entry)
    }

    /// Returns why a value that can be read must not be used. Contradictions between values
    /// are left to those who use them: several SETs may be on their way to the end of one.
    fn unsupported(&self) -> Option<Invalid> {
        let mut errors = Vec::new();
        check::errors(self, &mut errors);
        errors.into_iter().find_map(|error| match error.problem {
            Problem::Value { invalid, .. } => Some(invalid),
            _ => None,
        })
    }

    /// Sets one key, as the console's SET does.
    ///
    /// # Errors
    /// There is no such key, it is not changeable, or the value is not of its kind; then
    /// nothing has changed.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), SetError> {
        let found = SECTIONS.iter().find_map(|(section, prefix)| {
            let bare = key.strip_prefix(prefix)?;
            section.key(bare).map(|row| (*section, row))
        });
        // The console's grammar has no dot, so a key of ours may come without its prefix.
        let found = found.or_else(|| Some((Section::Native, Section::Native.key(key)?)));
        let Some((section, row)) = found else {
            let names = SECTIONS.iter().flat_map(|(section, _)| section.keys());
            let nearest = nearest(key, names.map(|row| row.name)).map(str::to_owned);
            return Err(SetError::Unknown { key: Shown::new(key), nearest });
        };
        if row.changeable == Changeable::Restart {
            return Err(SetError::NotChangeable(row.name));
        }
        let before = self.global.clone();
        let done = match section {
            _ if value.contains('\0') => Some(Err(Invalid::Nul)),
            section => self.assign(section, row.name, value),
        };
        let done = done.expect("the key has a row: it was found above");
        done.map_err(|invalid| SetError::Value { key: row.name, invalid })?;
        if let Some(invalid) = self.unsupported() {
            self.global = before;
            return Err(SetError::Value { key: row.name, invalid });
        }
        self.origins.insert((section, String::new(), row.name), Place::Console);
        Ok(())
    }
}
