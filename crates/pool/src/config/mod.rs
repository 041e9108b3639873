//! Settings from the code, the environment, a file, URLs and a profile, with the origin of each.
//!
//! ```
//! use headpond::config::{Sources, Vars};
//!
//! let vars = Vars::from_iter([
//!     ("DATABASE_URL", "postgres://app:secret@db/main?pool_max_conns=25"),
//!     ("DB_ACQUIRE_TIMEOUT", "5000"),
//! ]);
//! let config = Sources::new(vars).load()?;
//! let main = &config.databases["main"];
//! assert_eq!(main.pool.max, 25);
//! assert_eq!(main.origin("pool.acquire_timeout").to_string(),
//!            "environment variable DB_ACQUIRE_TIMEOUT");
//! # Ok::<(), headpond::config::ConfigErrors>(())
//! ```
//!
//! What is said in more than one place: the code wins over the environment, the environment over
//! the file, the file over the profile, the profile over the default. The file looks like this:
//!
//! ```toml
//! [databases.main]
//! url = "postgres://app@db.example/main"
//! pool.max = 25
//! pool.acquire_timeout = "5s"
//! ```
//!
//! Invariant: an unknown name is an error with the nearest valid one; passwords are never shown.
//! Left out: connecting (`registry`) and what a driver makes of its URL.

mod environment;
mod error;
mod file;
mod kind;
mod merge;
mod options;
mod origin;
mod profile;
mod reference;
mod secret;
mod table;
mod variables;
mod vars;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::{ConfigError, ConfigErrors, Problem};
pub use kind::Kind;
pub use origin::Origin;
pub use profile::{Profile, VARIABLES as PROFILE_VARIABLES, kind_defaults};
pub use reference::reference;
pub use secret::{Secret, Url};
pub use table::{DATABASE, GENERAL};
pub use variables::{Part, To, VARIABLES, Variable, Whose};
pub use vars::Vars;

use headpond_core::breaker;

pub use crate::options::{Bare, Invalid, Key, OPTIONS, UrlOption};
use crate::options::{Parts, PartsMut, Pooled};
use crate::settings::Settings;

/// The variable that names the file.
pub const FILE_VARIABLE: &str = "HEADPOND_CONFIG";
/// The file that is read when it exists and no other is named.
pub const FILE: &str = "headpond.toml";

/// Everything that is configured.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// The profile, if there is one.
    pub profile: Option<Profile>,
    /// The databases by name.
    pub databases: BTreeMap<String, DatabaseConfig>,
    /// What concerns all of them.
    pub general: General,
    /// What was accepted and changes nothing, for the log.
    pub notes: Vec<Note>,
}

/// Something that was accepted and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// Where it was said.
    pub place: Origin,
    /// Why it changes nothing.
    pub why: &'static str,
}

/// One database.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatabaseConfig {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Its URL, without the pool's options.
    pub url: Url,
    /// The pool.
    pub pool: Settings,
    /// Limits that the server is told for every session.
    pub session: Session,
    /// Prepared statements kept for each connection. `None` leaves it to the adapter; 0 uses none,
    /// for poolers between us and the server that lose them.
    pub statement_cache: Option<u32>,
    /// The breaker's settings, whether there is one or not.
    breaker: breaker::Settings,
    breaks: bool,
    /// `pool.lifetime_jitter` where it was given as a time.
    jitter: Option<Duration>,
    origins: BTreeMap<&'static str, Origin>,
}

/// Limits of a session. `None` leaves the server's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Session {
    /// How long a statement may take.
    /// Default: 30 s for PostgreSQL, because nobody waits for its result any more.
    pub statement_timeout: Option<Duration>,
    /// How long a statement may wait for a lock.
    /// Default: 10 s for PostgreSQL, because a queue behind a lock fills every pool.
    pub lock_timeout: Option<Duration>,
    /// How long a transaction may do nothing.
    /// Default: 30 s for PostgreSQL, because a forgotten transaction holds locks.
    pub idle_in_transaction_timeout: Option<Duration>,
}

/// What concerns all databases.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct General {
    /// Connections of all pools together at most. Default: no limit, because only the operator
    /// knows what the servers have room for.
    pub budget: Option<u32>,
    /// How long the start may take. Default: 30 s, because orchestrators give up after about as
    /// long.
    pub startup_timeout: Duration,
    /// How long a shutdown waits for what is lent. Default: 25 s, because Kubernetes kills after
    /// 30 s and the rest of the service needs time too.
    pub shutdown_timeout: Duration,
    /// Whether numbers are logged regularly. Default: no, because they can be had at any time.
    pub monitoring: bool,
    /// How often. Default: 1 minute, because a line per minute is read.
    pub monitoring_interval: Duration,
    /// How often every database is tested. Default: 5 minutes, because pools check what they lend
    /// already.
    pub health_interval: Option<Duration>,
    /// Whether every connect, loan, return and close is logged. Default: no, because that is for
    /// debugging.
    pub log_events: bool,
    /// The PgBouncer through which the main database is reached, if it is.
    /// Default: none, because a pool reaches its server directly.
    pub pgbouncer: Option<Url>,
    /// Who asks that PgBouncer's console, and where it is.
    /// Default: none, because the pool's own user may look if `stats_users` names it.
    pub pgbouncer_admin: Option<Url>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Default for General {
    fn default() -> Self {
        Self {
            budget: None,
            startup_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(25),
            monitoring: false,
            monitoring_interval: Duration::from_secs(60),
            health_interval: Some(Duration::from_secs(300)),
            log_events: false,
            pgbouncer: None,
            pgbouncer_admin: None,
            origins: BTreeMap::new(),
        }
    }
}

impl Pooled for DatabaseConfig {
    fn parts(&self) -> Parts<'_> {
        Parts { pool: &self.pool, breaker: &self.breaker, breaks: self.breaks }
    }

    fn parts_mut(&mut self) -> PartsMut<'_> {
        let Self { pool, breaker, breaks, jitter, .. } = self;
        PartsMut { pool, breaker, breaks, jitter }
    }
}

impl DatabaseConfig {
    /// Returns a database with nothing but defaults.
    #[must_use]
    pub fn new(name: &str, kind: Kind, url: Url) -> Self {
        let mut config = Self {
            name: name.to_owned(),
            kind,
            url,
            pool: Settings::default(),
            session: Session::default(),
            statement_cache: None,
            breaker: breaker::Settings::default(),
            breaks: false,
            jitter: None,
            origins: BTreeMap::new(),
        };
        for (key, text) in kind_defaults(kind) {
            let key = DATABASE.iter().find(|row| row.name == *key).expect("keys in the table");
            (key.set)(&mut config, text, Bare::Refused).expect("defaults are valid");
        }
        config
    }

    /// Returns where the value of a key comes from; `url` is one too.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or_default()
    }

    /// Returns every key with its value and its origin.
    #[must_use]
    pub fn explain(&self) -> Vec<(&'static str, String, Origin)> {
        let url = ("url", self.url.redacted(), self.origin("url"));
        let keys = DATABASE.iter().map(|key| (key.name, (key.show)(self), self.origin(key.name)));
        std::iter::once(url).chain(keys).collect()
    }
}

impl General {
    /// Returns where the value of a key comes from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or_default()
    }

    /// Returns every key with its value and its origin.
    #[must_use]
    pub fn explain(&self) -> Vec<(&'static str, String, Origin)> {
        GENERAL.iter().map(|key| (key.name, (key.show)(self), self.origin(key.name))).collect()
    }
}

/// Shows every value with its origin, one to a line; passwords are hidden.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |path: &str, (key, value, origin): (&str, String, Origin)| {
            writeln!(f, "{path}{key} = {value}  # {origin}")
        };
        for row in self.general.explain() {
            line("", row)?;
        }
        for (name, database) in &self.databases {
            for row in database.explain() {
                line(&format!("databases.{name}."), row)?;
            }
        }
        Ok(())
    }
}

type ReadFile = Box<dyn Fn(&Path) -> io::Result<String>>;

/// Where a configuration is read from.
pub struct Sources {
    vars: Vars,
    file: Option<(PathBuf, Secret)>,
    explicit: Vec<(String, Secret)>,
    read: ReadFile,
}

impl Sources {
    /// Begins with environment variables and nothing else.
    #[must_use]
    pub fn new(vars: Vars) -> Self {
        let read = |path: &Path| std::fs::read_to_string(path);
        Self { vars, file: None, explicit: Vec::new(), read: Box::new(read) }
    }

    /// Begins with the variables of this process, and the file that `HEADPOND_CONFIG` names or
    /// `headpond.toml` if it exists.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_process() -> Result<Self, ConfigErrors> {
        let sources = Self::new(Vars::from_process());
        let (path, named) = match sources.vars.get(FILE_VARIABLE) {
            Some(path) => (PathBuf::from(path), true),
            None => (PathBuf::from(FILE), false),
        };
        match (sources.read)(&path) {
            Ok(text) => Ok(sources.file(path, text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok(sources),
            Err(error) => {
                let path = path.display().to_string();
                let problem = Problem::Unreadable { path, kind: error.kind() };
                let place = Origin::variable(FILE_VARIABLE);
                Err(ConfigErrors(vec![ConfigError { place, problem, nearest: None }]))
            }
        }
    }

    /// Adds a file, given as its text.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.file = Some((path.into(), Secret::from(text.into())));
        self
    }

    /// Sets one value that wins over everything else: a key of the file, such as
    /// `databases.main.pool.max`, and its text.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, text: impl Into<String>) -> Self {
        self.explicit.push((key.into(), Secret::from(text.into())));
        self
    }

    /// Replaces how files with secrets (`…_FILE`) are read. Default: from the file system, because
    /// that is where secrets are mounted.
    #[must_use]
    pub fn read_with(mut self, read: impl Fn(&Path) -> io::Result<String> + 'static) -> Self {
        self.read = Box::new(read);
        self
    }

    /// Reads everything and puts it together.
    ///
    /// # Errors
    /// With everything that is wrong, each with its place.
    pub fn load(self) -> Result<Config, ConfigErrors> {
        merge::load(&self)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_ref().map(|(path, _)| path);
        let explicit: Vec<&str> = self.explicit.iter().map(|(key, _)| key.as_str()).collect();
        f.debug_struct("Sources")
            .field("vars", &self.vars)
            .field("file", &file)
            .field("explicit", &explicit)
            .finish_non_exhaustive()
    }
}
