//! Profiles: sets of values for a place where a service runs.
//!
//! Invariant: a profile says something only about what it names; all else keeps its default.

use std::fmt;

use super::error::{ConfigError, Problem};
use super::kind::Kind;
use super::origin::Origin;
use super::vars::Vars;
use crate::options::Invalid;

/// Where a service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Profile {
    /// On somebody's desk.
    Development,
    /// In a test.
    Test,
    /// For its users.
    Production,
    /// For very many users.
    HighTraffic,
}

/// The variables that name the profile, the first that is set counts; only the first is ours.
pub const VARIABLES: [&str; 5] =
    ["HEADPOND_PROFILE", "APP_ENV", "NODE_ENV", "RAILS_ENV", "ENVIRONMENT"];

impl Profile {
    pub(super) const WORDS: &'static str = "development, test, production, high_traffic";

    /// All profiles.
    pub const ALL: [Self; 4] = [Self::Development, Self::Test, Self::Production, Self::HighTraffic];

    /// Returns the profile of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "development" | "dev" | "local" => Self::Development,
            "test" | "testing" | "ci" => Self::Test,
            "production" | "prod" => Self::Production,
            "high_traffic" | "high-traffic" => Self::HighTraffic,
            _ => return None,
        })
    }

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Test => "test",
            Self::Production => "production",
            Self::HighTraffic => "high_traffic",
        }
    }

    /// Returns what the environment says; unknown values of other people's variables say nothing.
    pub(super) fn of_vars(vars: &Vars) -> Result<Option<Self>, ConfigError> {
        let named = VARIABLES.iter().find_map(|name| Some((*name, vars.get(name)?)));
        let Some((variable, value)) = named else { return Ok(None) };
        let profile = Self::of_name(value);
        if profile.is_none() && variable == VARIABLES[0] {
            return Err(ConfigError {
                place: Origin::variable(variable),
                problem: Problem::Value { key: "profile", invalid: Invalid::Word(Self::WORDS) },
                nearest: crate::options::nearest::nearest(
                    value,
                    Self::ALL.iter().map(|p| p.as_str()),
                )
                .map(str::to_owned),
            });
        }
        Ok(profile)
    }

    /// Returns what it says about databases of a kind, as keys and texts.
    #[must_use]
    pub fn values(self, kind: Kind) -> Vec<(&'static str, &'static str)> {
        let (max, min) = match (kind, self) {
            (Kind::Redis, Self::Development) => ("5", "1"),
            (Kind::Redis, Self::Production) => ("10", "2"),
            (Kind::Redis, Self::HighTraffic) => ("20", "5"),
            (Kind::Mysql, Self::Production) => ("25", "5"),
            (_, Self::Test) => ("5", "0"),
            (_, Self::Development) => ("10", "2"),
            (_, Self::Production) => ("20", "5"),
            (_, Self::HighTraffic) => ("50", "10"),
        };
        let mut values = vec![("pool.max", max), ("pool.min", min)];
        if !kind.is_sql() {
            return values;
        }
        let [idle, connect, statement, keep_alive] = match self {
            Self::Development => ["30s", "10s", "60s", "5s"],
            Self::Test => ["5s", "5s", "10s", "off"],
            Self::Production => ["60s", "10s", "30s", "10s"],
            Self::HighTraffic => ["5m", "10s", "15s", "10s"],
        };
        values.extend([
            ("pool.idle_timeout", idle),
            ("pool.connect_timeout", connect),
            ("pool.keep_alive", keep_alive),
            ("session.statement_timeout", statement),
        ]);
        values
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns the defaults of a kind where they differ from those of every pool.
#[must_use]
pub fn kind_defaults(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Redis => &[
            ("pool.max", "10"),
            ("pool.min", "2"),
            ("pool.acquire_timeout", "30s"),
            ("pool.idle_timeout", "5m"),
        ],
        Kind::Mysql => &[
            ("pool.max", "25"),
            ("pool.min", "5"),
            ("pool.acquire_timeout", "60s"),
            ("pool.idle_timeout", "30s"),
        ],
        Kind::Http => &[("pool.max", "50"), ("pool.min", "0"), ("pool.idle_timeout", "60s")],
        Kind::Postgres => &[
            ("session.statement_timeout", "30s"),
            ("session.lock_timeout", "10s"),
            ("session.idle_in_transaction_timeout", "30s"),
        ],
        Kind::Sqlite => &[],
    }
}
