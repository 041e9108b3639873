//! How the adapters whose features are on open databases, and what is got back as which type.
//!
//! Invariant: what the configuration says wins over what an adapter would do by itself; what
//! nobody said is left to the adapter.
//! Left out: databases of other crates (SQLite), whose openers are given to the builder.

use super::Builder;
#[cfg(any(feature = "http", feature = "mysql", feature = "postgres", feature = "redis"))]
use super::{Databases, LookupError};
#[cfg(any(feature = "mysql", feature = "postgres"))]
use super::{Opened, Plan};
#[cfg(any(feature = "http", feature = "mysql", feature = "postgres", feature = "redis"))]
use crate::config::Kind;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::config::Origin;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "redis"))]
use crate::pool::Pool;

/// Gives a builder the openers of all adapters that there are.
pub(super) fn with_openers(builder: Builder) -> Builder {
    #[cfg(feature = "http")]
    let builder = builder.opener(Kind::Http, async |plan| super::http::open(&plan));
    #[cfg(feature = "mysql")]
    let builder = builder.opener(Kind::Mysql, async |plan| mysql(&plan));
    #[cfg(feature = "postgres")]
    let builder = builder.opener(Kind::Postgres, async |plan| postgres(&plan));
    #[cfg(feature = "redis")]
    let builder = builder.opener(Kind::Redis, async |plan| super::redis::open(&plan));
    builder
}

/// Returns whether somebody said something about a key.
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn is_said(plan: &Plan, key: &str) -> bool {
    plan.config.origin(key) != Origin::Default
}

#[cfg(feature = "mysql")]
fn mysql(plan: &Plan) -> Opened {
    let session = plan.config.session;
    let mut config = crate::mysql::Config::from_url(plan.config.url.reveal())?;
    if is_said(plan, "session.statement_timeout") {
        config = config.statement_timeout(session.statement_timeout);
    }
    if is_said(plan, "session.lock_timeout") {
        config = config.lock_timeout(session.lock_timeout);
    }
    if is_said(plan, "session.idle_in_transaction_timeout") {
        config = config.idle_in_transaction_timeout(session.idle_in_transaction_timeout);
    }
    if let Some(size) = plan.config.statement_cache {
        config = config.statement_cache(count(size));
    }
    Ok(std::sync::Arc::new(plan.apply(config.builder()).build()?))
}

#[cfg(feature = "postgres")]
fn postgres(plan: &Plan) -> Opened {
    // `pgbouncer=true`, which the configuration adds for PGBOUNCER_URL, says what is on the way.
    let mut config = crate::postgres::Config::parse(plan.config.url.reveal())?;
    let session = plan.config.session;
    if is_said(plan, "session.statement_timeout") {
        config.session.statement = session.statement_timeout;
    }
    if is_said(plan, "session.lock_timeout") {
        config.session.lock = session.lock_timeout;
    }
    if is_said(plan, "session.idle_in_transaction_timeout") {
        config.session.idle_in_transaction = session.idle_in_transaction_timeout;
    }
    if let Some(size) = plan.config.statement_cache {
        config.statement_cache = count(size);
    }
    let builder = crate::postgres::builder(config)?;
    Ok(std::sync::Arc::new(plan.apply(builder).build()?))
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
fn count(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(any(feature = "http", feature = "mysql", feature = "postgres", feature = "redis"))]
impl Databases {
    /// Returns an HTTP server by name.
    ///
    /// # Errors
    /// When there is none of this name, or it is something else.
    #[cfg(feature = "http")]
    pub fn http(&self, name: &str) -> Result<&super::Http, LookupError> {
        self.get(name)
    }

    /// Returns a pool of MySQL or MariaDB sessions by name.
    ///
    /// # Errors
    /// When there is none of this name, or it is something else.
    #[cfg(feature = "mysql")]
    pub fn mysql(&self, name: &str) -> Result<&Pool<crate::mysql::Manager>, LookupError> {
        self.get(name)
    }

    /// Returns a pool of PostgreSQL sessions by name.
    ///
    /// # Errors
    /// When there is none of this name, or it is something else.
    #[cfg(feature = "postgres")]
    pub fn postgres(&self, name: &str) -> Result<&Pool<crate::postgres::Postgres>, LookupError> {
        self.get(name)
    }

    /// Returns a pool of Redis connections of one's own by name.
    ///
    /// # Errors
    /// When there is none of this name, or it is something else.
    #[cfg(feature = "redis")]
    pub fn redis(&self, name: &str) -> Result<&Pool<crate::redis::Manager>, LookupError> {
        Ok(self.get::<super::Redis>(name)?.pool())
    }

    /// Returns the Redis connection that everybody shares, by name. It is opened by the first
    /// command and counts against no budget: it is one, whatever happens.
    ///
    /// # Errors
    /// When there is none of this name, or it is something else.
    #[cfg(feature = "redis")]
    pub fn redis_shared(&self, name: &str) -> Result<&crate::redis::Shared, LookupError> {
        Ok(self.get::<super::Redis>(name)?.shared())
    }
}
