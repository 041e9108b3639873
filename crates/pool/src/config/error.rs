//! What is wrong with a configuration, and where.
//!
//! Invariant: an error shows names of ours and places, never a value: a value may be a secret.

use std::fmt;
use std::io;

use super::origin::Origin;
use crate::options::Invalid;
use crate::settings::SettingsError;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A file that is not TOML.
    Syntax(String),
    /// A file that cannot be read.
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        kind: io::ErrorKind,
    },
    /// A key, an option or a variable that means nothing.
    Unknown {
        /// Its name, if it looks like one.
        name: Option<String>,
    },
    /// A value of the wrong type in a file.
    Type {
        /// The key.
        key: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A value that is not accepted.
    Value {
        /// The key.
        key: &'static str,
        /// Why.
        invalid: Invalid,
    },
    /// A database without a URL.
    NoUrl {
        /// Its name.
        database: String,
    },
    /// A secret that is given twice.
    Both {
        /// The variable beside the one that names the file.
        variable: String,
    },
    /// Settings that make no sense together.
    Settings {
        /// Of which database.
        database: String,
        /// Why.
        error: SettingsError,
    },
    /// A budget without room for what the pools are to keep.
    Budget {
        /// The budget.
        budget: u32,
        /// What the pools are to keep together.
        kept: u64,
    },
    /// A name that cannot be a database's.
    Name,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// Where.
    pub place: Origin,
    /// What.
    pub problem: Problem,
    /// The valid name nearest to the one that stands there.
    pub nearest: Option<String>,
}

/// Everything that is wrong with a configuration, in the order in which it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(message) => write!(f, "not valid TOML: {message}"),
            Self::Unreadable { path, kind } => write!(f, "{path} cannot be read: {kind}"),
            Self::Unknown { name: Some(name) } => write!(f, "unknown name {name}"),
            Self::Unknown { name: None } => f.write_str("unknown name"),
            Self::Type { key, expected, found } => {
                write!(f, "{key}: expected {expected}, found {found}")
            }
            Self::Value { key, invalid } => write!(f, "{key}: {invalid}"),
            Self::NoUrl { database } => write!(f, "database {database} has no url"),
            Self::Both { variable } => {
                write!(f, "{variable} is set as well: which of the two is meant?")
            }
            Self::Settings { database, error } => write!(f, "database {database}: {error}"),
            Self::Budget { budget, kept } => {
                write!(
                    f,
                    "budget is {budget}, less than the sum of every pool.min, which is {kept}"
                )
            }
            Self::Name => f.write_str("a database's name is made of letters, digits, - and _"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Returns a name that may be shown: what does not look like one may be a secret that slipped.
pub(super) fn shown(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!name.is_empty() && name.len() <= 64 && name.chars().all(plain)).then(|| name.to_owned())
}
