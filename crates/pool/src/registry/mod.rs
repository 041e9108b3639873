//! Several named databases of whatever kinds, opened from a configuration and looked after
//! together.
//!
//! ```
//! use std::sync::Arc;
//! use headpond::config::{Kind, Sources, Vars};
//! use headpond::registry::{Databases, Opened, Plan};
//! use headpond::testing::FakeManager;
//! use headpond::Pool;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let vars = Vars::from_iter([("MYSQL_GPS_URL", "mysql://db/gps"), ("REDIS_HOST", "cache")]);
//! let config = Sources::new(vars).load()?;
//! fn fake(plan: &Plan) -> Opened {
//!     Ok(Arc::new(plan.builder(FakeManager::default()).build()?))
//! }
//! let databases = Databases::builder(config)
//!     // Adapters of your own; the features bring theirs.
//!     .opener(Kind::Mysql, async |plan: Plan| fake(&plan))
//!     .opener(Kind::Redis, async |plan: Plan| fake(&plan))
//!     .start()
//!     .await?;
//! let gps = databases.get::<Pool<FakeManager>>("gps")?;
//! let connection = gps.get().await?;
//! # drop(connection);
//! println!("{}", databases.statistics_json());
//! let report = databases.shutdown().await;
//! assert!(report.is_complete());
//! # Ok(()) }
//! ```
//!
//! Invariant: the pools together never have more connections than the budget; after a shutdown no
//! database lends anything.
//! Left out: alerts and pages for people, which are made from these numbers elsewhere.

mod adapters;
#[cfg(all(feature = "monitor", feature = "postgres"))]
mod bouncers;
mod database;
mod health;
#[cfg(feature = "http")]
mod http;
mod monitoring;
#[cfg(feature = "redis")]
mod redis;
mod shutdown;
mod statistics;
mod timestamp;
#[cfg(feature = "monitor")]
mod watching;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use database::Opener;
pub use database::{DynDatabase, Opened, Plan};
pub use health::{Health, Tested, Verdict};
#[cfg(feature = "http")]
pub use http::Http;
pub use monitoring::Sample;
#[cfg(feature = "redis")]
pub use redis::Redis;
pub use shutdown::{Report, Unfinished};
pub use statistics::{DatabasesSource, Statistics};

use crate::budget::Budget;
use crate::config::{Config, ConfigErrors, General, Kind, Sources};
use crate::error::BoxError;
use monitoring::Tasks;

/// Events kept for the log, if everything is to be logged.
const EVENTS_KEPT: usize = 1024;

/// Several named databases. Cloning gives another handle of the same.
#[derive(Clone)]
pub struct Databases {
    shared: Arc<Shared>,
}

struct Shared {
    databases: BTreeMap<String, Member>,
    general: General,
    budget: Option<Budget>,
    tasks: Mutex<Tasks>,
    #[cfg(all(feature = "monitor", feature = "postgres"))]
    admin: bouncers::Admin,
}

#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) kind: Kind,
    pub(crate) database: Arc<dyn DynDatabase>,
}

/// Collects how databases are opened; made by [`Databases::builder`].
#[must_use = "a builder opens nothing until `start` or `open`"]
pub struct Builder {
    config: Config,
    openers: BTreeMap<Kind, Opener>,
}

/// Why databases did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// There is no adapter for a kind: its feature is off, or its opener was not given.
    #[error("database {name}: there is no adapter for {kind}, enable its feature or add an opener")]
    NoAdapter {
        /// The database.
        name: String,
        /// Its kind.
        kind: Kind,
    },
    /// An adapter refused its configuration.
    #[error("database {name}: {cause}")]
    Open {
        /// The database.
        name: String,
        /// What it said.
        cause: BoxError,
    },
    /// Databases that could not be reached in time.
    #[error("{}", unreachable(.failed, *.within))]
    Unreachable {
        /// Which, and why.
        failed: Vec<(String, BoxError)>,
        /// How long the start had.
        within: Duration,
    },
}

/// Why a database cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There is none of this name.
    #[error("there is no database {name}; there are {}", .known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// It is of another type.
    #[error("database {name} is not a {wanted}, its kind is {kind}")]
    Type {
        /// Its name.
        name: String,
        /// Its kind.
        kind: Kind,
        /// The type asked for.
        wanted: &'static str,
    },
}

fn unreachable(failed: &[(String, BoxError)], within: Duration) -> String {
    let each = failed.iter().map(|(name, cause)| format!("{name}: {cause}"));
    format!("not all databases could be reached within {within:?}: {}", join(each))
}

fn join(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join("; ")
}

impl Databases {
    /// Begins with a configuration.
    pub fn builder(config: Config) -> Builder {
        adapters::with_openers(Builder { config, openers: BTreeMap::new() })
    }

    /// Starts the databases that the environment and `headpond.toml` describe, see
    /// [`Sources::of_process`] and [`Builder::start`].
    ///
    /// # Errors
    /// When the configuration is wrong, or not every database can be reached.
    ///
    /// # Cancel safety
    /// Dropping the future drops the pools.
    ///
    /// # Examples
    /// ```no_run
    /// # use headpond::registry::{Databases, StartError};
    /// # async fn run() -> Result<(), StartError> {
    /// let databases = Databases::from_env().await?;
    /// # Ok(()) }
    /// ```
    pub async fn from_env() -> Result<Self, StartError> {
        // Not held across the start: what reads files of secrets need not be sendable.
        let config = Sources::of_process().and_then(Sources::load)?;
        Self::builder(config).start().await
    }

    /// Returns a database by name as what it is, such as `Pool<Manager>`.
    ///
    /// # Errors
    /// When there is none of this name, or it is something else.
    pub fn get<T: DynDatabase>(&self, name: &str) -> Result<&T, LookupError> {
        let Some(member) = self.shared.databases.get(name) else {
            let known = self.shared.databases.keys().cloned().collect();
            return Err(LookupError::Unknown { name: name.to_owned(), known });
        };
        member.database.as_any().downcast_ref().ok_or_else(|| LookupError::Type {
            name: name.to_owned(),
            kind: member.kind,
            wanted: std::any::type_name::<T>(),
        })
    }

    /// Returns a database by name, whatever it is.
    #[must_use]
    pub fn database(&self, name: &str) -> Option<&dyn DynDatabase> {
        Some(self.shared.databases.get(name)?.database.as_ref())
    }

    /// Returns all databases with their names and kinds, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Kind, &dyn DynDatabase)> {
        let members = self.shared.databases.iter();
        members.map(|(name, member)| (name.as_str(), member.kind, member.database.as_ref()))
    }

    /// Returns the budget that all pools share, if there is one.
    #[must_use]
    pub fn budget(&self) -> Option<&Budget> {
        self.shared.budget.as_ref()
    }

    /// Does something with every database at once, each in a task of its own, and returns the
    /// outcomes in the order of their names; `late` stands for those that were not done in time.
    pub(crate) async fn with_each<T, F>(
        &self,
        until: Instant,
        work: impl Fn(Arc<dyn DynDatabase>) -> F,
        late: impl Fn() -> T,
    ) -> Vec<(String, Kind, T)>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for (name, member) in &self.shared.databases {
            let (name, work) = (name.clone(), work(Arc::clone(&member.database)));
            tasks.spawn(async move { (name, timeout_at(until, work).await.ok()) });
        }
        let mut done = BTreeMap::new();
        // A task that panicked is as good as one that was late.
        while let Some(outcome) = tasks.join_next().await {
            if let Ok((name, Some(outcome))) = outcome {
                done.insert(name, outcome);
            }
        }
        let outcome = |(name, member): (&String, &Member)| {
            (name.clone(), member.kind, done.remove(name).unwrap_or_else(&late))
        };
        self.shared.databases.iter().map(outcome).collect()
    }
}

impl Builder {
    /// Says how databases of a kind are opened. Default: by the adapter whose feature is on,
    /// because that is what it is there for.
    pub fn opener<F>(
        mut self,
        kind: Kind,
        opener: impl Fn(Plan) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Opened> + Send + 'static,
    {
        self.openers.insert(kind, Box::new(move |plan| Box::pin(opener(plan))));
        self
    }

    /// Makes the pools without reaching for any server.
    ///
    /// # Errors
    /// When there is no adapter for a database, or it refuses the configuration.
    ///
    /// # Cancel safety
    /// Dropping the future drops the pools.
    pub async fn open(self) -> Result<Databases, StartError> {
        let Self { config, openers } = self;
        let budget = config.general.budget.map(Budget::new);
        let events = config.general.log_events.then_some(EVENTS_KEPT);
        let mut databases = BTreeMap::new();
        for (name, config) in config.databases {
            let kind = config.kind;
            let Some(opener) = openers.get(&kind) else {
                return Err(StartError::NoAdapter { name, kind });
            };
            let plan = Plan { config, budget: budget.clone(), events };
            match opener(plan).await {
                Ok(database) => drop(databases.insert(name, Member { kind, database })),
                Err(cause) => return Err(StartError::Open { name, cause }),
            }
        }
        let general = config.general;
        let tasks = Mutex::new(Tasks::default());
        let shared = Shared {
            databases,
            #[cfg(all(feature = "monitor", feature = "postgres"))]
            admin: bouncers::Admin::read(&general)?,
            general,
            budget,
            tasks,
        };
        Ok(Databases { shared: Arc::new(shared) })
    }

    /// Makes the pools, opens what they keep, and tests every database, within
    /// `startup_timeout`; then begins what the configuration asks for: monitoring, the log of
    /// events.
    ///
    /// # Errors
    /// With every database that could not be reached in time, and why. All pools are closed then.
    ///
    /// # Cancel safety
    /// Dropping the future drops the pools.
    pub async fn start(self) -> Result<Databases, StartError> {
        let within = self.config.general.startup_timeout;
        let until = Instant::now() + within;
        let databases = match timeout_at(until, self.open()).await {
            Ok(databases) => databases?,
            Err(_) => return Err(StartError::Unreachable { failed: Vec::new(), within }),
        };
        let begin = move |database: Arc<dyn DynDatabase>| async move {
            database.warm_up(within).await?;
            database.test().await
        };
        let late = || Err(format!("no answer within {within:?}").into());
        let outcomes = databases.with_each(until, begin, late).await;
        let failed: Vec<(String, BoxError)> = outcomes
            .into_iter()
            .filter_map(|(name, _, outcome)| Some((name, outcome.err()?)))
            .collect();
        if !failed.is_empty() {
            databases.shutdown_within(Duration::ZERO).await;
            return Err(StartError::Unreachable { failed, within });
        }
        databases.begin_tasks();
        Ok(databases)
    }
}

impl fmt::Debug for Databases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.iter().map(|(name, kind, _)| (name, kind.as_str()));
        f.debug_map().entries(kinds).finish()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}
