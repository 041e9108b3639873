//! Whether every database answers, and how hard its pool has to work.
//!
//! Invariant: asking takes no longer than the check time and the time to get a connection allow,
//! whatever the servers do.
//! Left out: endpoints.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use tokio::time::Instant;

#[cfg(feature = "monitor")]
use super::database::FACTS_TIME;
use super::timestamp::rfc3339;
use super::{Databases, DynDatabase};
use crate::config::Kind;
#[cfg(feature = "monitor")]
use crate::facts::Facts;
use crate::status::Status;

/// How long a test may take, everything included.
/// 5 s, because whoever asks for health gives up after about as long.
const LIMIT: Duration = Duration::from_secs(5);
/// Above this utilisation a pool is one to watch: 90 %, because then bursts have to wait.
const BUSY: f64 = 0.9;
/// With more waiting than this a pool is one to watch.
const WAITING: u32 = 5;

/// What a database said of itself and how long it took, or why it gave no sign of life.
#[cfg(feature = "monitor")]
pub(super) type Said = Result<(Duration, Option<Facts>), String>;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verdict {
    /// Well.
    #[default]
    Healthy,
    /// It works, with difficulty.
    Warning,
    /// It does not work.
    Unhealthy,
}

/// How the test of a database ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tested {
    /// The database.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// How long it took, or why it failed.
    pub outcome: Result<Duration, String>,
}

/// The health of all databases.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// When it was looked at.
    pub at: SystemTime,
    /// Every database.
    pub databases: Vec<DatabaseHealth>,
}

/// The health of one database.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatabaseHealth {
    /// How its test ended.
    pub tested: Tested,
    /// Its pool.
    pub status: Status,
}

impl Verdict {
    /// Returns the word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl DatabaseHealth {
    /// Returns how the server is.
    #[must_use]
    pub const fn server(&self) -> Verdict {
        if self.tested.outcome.is_ok() { Verdict::Healthy } else { Verdict::Unhealthy }
    }

    /// Returns how the pool is.
    #[must_use]
    pub fn pool(&self) -> Verdict {
        let Status { in_use, max, waiting, closed, .. } = self.status;
        if closed {
            Verdict::Unhealthy
        } else if waiting > WAITING || (in_use > 0 && f64::from(in_use) > f64::from(max) * BUSY) {
            Verdict::Warning
        } else {
            Verdict::Healthy
        }
    }

    fn why(&self) -> Option<String> {
        let Status { in_use, max, waiting, .. } = self.status;
        let name = &self.tested.name;
        (self.pool() != Verdict::Healthy)
            .then(|| format!("{name}: {in_use} of {max} in use, {waiting} waiting"))
    }
}

impl Health {
    /// Returns the worst of all.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let each = self.databases.iter().map(|health| health.server().max(health.pool()));
        each.max().unwrap_or_default()
    }

    /// Returns `status`, `timestamp`, `checks.{database,redis,http,connectionPool}` as far as
    /// there are such, and every database under `databases`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut checks = Map::new();
        for name in ["database", "redis", "http"] {
            let some = || self.databases.iter().filter(|one| check_of(one.tested.kind) == name);
            if some().next().is_some() {
                checks.insert(name.to_owned(), servers(some()));
            }
        }
        let pool = self.databases.iter().map(DatabaseHealth::pool).max().unwrap_or_default();
        let why: Vec<String> = self.databases.iter().filter_map(DatabaseHealth::why).collect();
        checks.insert("connectionPool".to_owned(), check(pool, &why, None));
        let databases: Map<String, Value> = self
            .databases
            .iter()
            .map(|health| (health.tested.name.clone(), servers(std::iter::once(health))))
            .collect();
        json!({
            "status": self.verdict().as_str(),
            "timestamp": rfc3339(self.at),
            "checks": checks,
            "databases": databases,
        })
    }
}

/// Returns the name of the check that a kind belongs to.
const fn check_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Redis => "redis",
        Kind::Http => "http",
        Kind::Postgres | Kind::Mysql | Kind::Sqlite => "database",
    }
}

/// Returns the check of several servers: the worst verdict, the longest time.
fn servers<'a>(some: impl Iterator<Item = &'a DatabaseHealth>) -> Value {
    let (mut verdict, mut errors, mut longest) = (Verdict::Healthy, Vec::new(), None);
    for health in some {
        verdict = verdict.max(health.server());
        match &health.tested.outcome {
            Ok(took) => longest = longest.max(Some(*took)),
            Err(error) => errors.push(format!("{}: {error}", health.tested.name)),
        }
    }
    check(verdict, &errors, longest)
}

fn check(verdict: Verdict, errors: &[String], took: Option<Duration>) -> Value {
    let mut check = Map::new();
    check.insert("status".to_owned(), verdict.as_str().into());
    if let Some(took) = took {
        check.insert("responseTime".to_owned(), (took.as_secs_f64() * 1000.0).into());
    }
    if !errors.is_empty() {
        check.insert("error".to_owned(), errors.join("; ").into());
    }
    Value::Object(check)
}

impl Databases {
    /// Tests every database at once: borrows a connection and asks for a sign of life.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connections back.
    pub async fn test_all(&self) -> Vec<Tested> {
        let test = async |database: Arc<dyn DynDatabase>| {
            let began = Instant::now();
            let outcome = database.test().await;
            outcome.map(|()| began.elapsed()).map_err(|error| error.to_string())
        };
        let late = || Err(format!("no answer within {LIMIT:?}"));
        let outcomes = self.with_each(Instant::now() + LIMIT, test, late).await.into_iter();
        outcomes.map(|(name, kind, outcome)| Tested { name, kind, outcome }).collect()
    }

    /// Asks the databases of which `wanted` is true what they say of themselves.
    #[cfg(feature = "monitor")]
    pub(super) async fn facts_of(
        &self,
        wanted: impl Fn(&dyn DynDatabase) -> bool,
    ) -> Vec<(String, Said)> {
        let ask = |database: Arc<dyn DynDatabase>| {
            let is_wanted = wanted(database.as_ref());
            async move {
                if !is_wanted {
                    return None;
                }
                let began = Instant::now();
                let said = database.facts().await;
                Some(said.map(|facts| (began.elapsed(), facts)).map_err(|error| error.to_string()))
            }
        };
        // A server that is alive and slow to say more must not look dead.
        let limit = LIMIT + FACTS_TIME;
        let late = || Some(Err(format!("no answer within {limit:?}")));
        let said = self.with_each(Instant::now() + limit, ask, late).await.into_iter();
        said.filter_map(|(name, _, said)| Some((name, said?))).collect()
    }

    /// Returns the health of every database.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connections back.
    pub async fn health(&self) -> Health {
        // Before the tests, which borrow connections themselves.
        let mut status: Vec<Status> =
            self.iter().map(|(_, _, database)| database.status()).collect();
        let tested = self.test_all().await;
        let databases = tested.into_iter().zip(status.drain(..));
        let databases =
            databases.map(|(tested, status)| DatabaseHealth { tested, status }).collect();
        Health { at: SystemTime::now(), databases }
    }
}
