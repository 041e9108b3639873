//! The configuration: pgbouncer.ini or headpond.toml, a URL, the environment.
//!
//! `load` reads all of them into one [`Config`] of typed values, or says everything that is
//! wrong with them. Each key is described once, in a table (`table.rs`); the files of the
//! sections are those tables.
//!
//! Invariant: a `Config` that exists is valid: each value alone, and all of them together. A
//! value that cannot be read never falls back to a default, least of all in authentication.
//! Not here: reading userlist.txt and the HBA file (`auth/`), resolving names, opening anything.

pub mod change;
pub mod choice;
pub mod console;
pub mod database;
pub mod document;
pub mod duration;
pub mod env;
pub mod error;
pub mod global;
pub mod host;
pub mod kind;
pub mod native;
pub mod nearest;
pub mod observe;
pub mod otlp;
pub mod peer;
pub mod secret;
pub mod table;
pub mod tls;
pub mod url;
pub mod user;

mod assemble;
mod check;
mod effective;
#[doc(hidden)]
pub mod fuzzing;
mod ini;
mod live;
mod toml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use choice::{AuthType, Engine, LoadBalance, LogFormat, OnFailing, PoolMode};
pub use database::Database;
pub use effective::Explained;
pub use env::Env;
pub use error::{ConfigError, ConfigErrors, Doubt, Place, Problem, Warning};
pub use global::Global;
pub use host::Host;
pub use kind::{CheckQuery, Names};
pub use live::{ConfigRow, SetError};
pub use native::Native;
pub use observe::{Alerts, History, Http, RuleEntry};
pub use otlp::Otlp;
pub use peer::Peer;
pub use secret::Secret;
pub use table::{Changeable, Effect, Key, Section, Status};
pub use user::User;

/// Everything the pooler is told.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[pgbouncer]`, or `[pooler]`.
    pub global: Global,
    /// `[databases]` without the entry `*`, by name.
    pub databases: BTreeMap<String, Database>,
    /// The entry `*`, for every database without one of its own.
    pub fallback: Option<Database>,
    /// `[users]`, by name.
    pub users: BTreeMap<String, User>,
    /// `[peers]`, by id.
    pub peers: BTreeMap<u16, Peer>,
    /// `[http]`.
    pub http: Http,
    /// `[alerts]`.
    pub alerts: Alerts,
    /// `[history]`.
    pub history: History,
    /// `[otlp]`.
    pub otlp: Otlp,
    /// `[rules]`, by name.
    pub rules: BTreeMap<String, RuleEntry>,
    /// `[headpond]`.
    pub headpond: Native,
    /// Where each value that is not a default was written.
    origins: BTreeMap<(Section, String, &'static str), Place>,
}

/// What `load` reads first; the environment is applied over it.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A file: TOML if its name ends so, else pgbouncer.ini.
    File(PathBuf),
    /// No file but the URL of one database; see [`url::URL_ONLY`].
    Url(String),
    /// Nothing but the defaults.
    Default,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File(path) => f.debug_tuple("File").field(path).finish(),
            // The URL may hold a password.
            Source::Url(_) => f.write_str("Url(***)"),
            Source::Default => f.write_str("Default"),
        }
    }
}

/// A configuration and what is doubtful about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What to tell the operator.
    pub warnings: Vec<Warning>,
}

/// Reads a file; the parsers are given one, so that they can be tested without a disk.
type ReadFile<'a> = &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>;

/// Reads the configuration.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn load(source: &Source, env: &Env) -> Result<Loaded, ConfigErrors> {
    load_with(source, env, &|path| std::fs::read(path))
}

fn load_with(source: &Source, env: &Env, read: ReadFile<'_>) -> Result<Loaded, ConfigErrors> {
    let mut assembly = assemble::Assembly::new(env.home());
    match source {
        Source::File(path) if path.extension().is_some_and(|name| name == "toml") => {
            toml::read(path, read, &mut assembly);
        }
        Source::File(path) => ini::read(path, read, &mut assembly),
        Source::Url(text) => url::start(text, env, &mut assembly),
        Source::Default => assembly.set_at_start("listen_addr", "127.0.0.1"),
    }
    if let Source::File(path) = source {
        assembly.set_at_start("conffile", &path.to_string_lossy());
    }
    env.apply(read, &mut assembly);
    assembly.finish()
}

#[cfg(test)]
mod tests;
