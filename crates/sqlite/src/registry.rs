//! A database among others, opened from a configuration and looked after with them.
//!
//! Invariant: its numbers are those of the writer and the readers together, and what the
//! configuration does not say is left as it is.
//! Left out: events of the readers, because a listener hears one pool; limits of sessions, which
//! SQLite has none of (see [`TransactionOptions`](crate::TransactionOptions)).

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use headpond::config::Origin;
use headpond::registry::{DynDatabase, Opened, Plan};
use headpond::{
    BoxError, BoxFuture, Distributions, Errors, Holder, Leftover, Listener, SettingsError, Status,
};

use crate::builder::Builder;
use crate::sqlite::Sqlite;

/// Returns what opens databases of SQLite for a registry.
///
/// `pool.max` and `pool.min` are those of the readers; there is one writer whatever they are.
///
/// # Examples
/// ```
/// use headpond::config::{Kind, Sources, Vars};
/// use headpond::registry::Databases;
/// use headpond_sqlite::Sqlite;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vars = Vars::from_iter([("AUDIT_DATABASE_URL", "sqlite::memory:?pool_max_conns=2")]);
/// let databases = Databases::builder(Sources::new(vars).load()?)
///     .opener(Kind::Sqlite, headpond_sqlite::opener())
///     .start()
///     .await?;
/// let audit: &Sqlite = databases.get("audit")?;
/// audit.write(|tx| tx.execute_batch("CREATE TABLE seen (what TEXT)")).await?;
/// assert_eq!(databases.statistics_json()["pools"]["audit"]["max"], 3, "two and the writer");
/// assert!(databases.shutdown().await.is_complete());
/// # Ok(()) }
/// ```
#[must_use]
pub fn opener() -> impl Fn(Plan) -> BoxFuture<'static, Opened> + Copy + Send + Sync + 'static {
    |plan| Box::pin(open(plan))
}

async fn open(plan: Plan) -> Opened {
    let config = &plan.config;
    let is_said = |key| config.origin(key) != Origin::Default;
    let mut builder = Builder::new(config.url.reveal())?.name(&*config.name);
    if is_said("pool.max") {
        builder = builder.readers(config.pool.max);
    }
    if is_said("pool.min") {
        builder = builder.readers_min(config.pool.min);
    }
    if is_said("pool.acquire_timeout") {
        builder = builder.acquire_timeout(config.pool.acquire_timeout);
    }
    if let Some(size) = config.statement_cache {
        builder = builder.statement_cache(usize::try_from(size).unwrap_or(usize::MAX));
    }
    let (budget, events) = (plan.budget.clone(), plan.events);
    let builder = builder.pools(move |mut pool| {
        if let Some(budget) = &budget {
            pool = pool.budget(budget);
        }
        match events {
            Some(kept) => pool.events(kept),
            None => pool,
        }
    });
    Ok(Arc::new(builder.open().await?))
}

impl DynDatabase for Sqlite {
    fn status(&self) -> Status {
        let readers = self.readers().status();
        self.writer().map_or_else(|| readers.clone(), |writer| readers.plus(&writer.status()))
    }

    fn distributions(&self) -> Distributions {
        let mut all = self.readers().distributions();
        if let Some(writer) = self.writer() {
            let of_writer = writer.distributions();
            all.wait.merge(&of_writer.wait);
            all.usage.merge(&of_writer.usage);
            all.connect.merge(&of_writer.connect);
        }
        all
    }

    fn holders(&self) -> Vec<Holder> {
        let mut holders = self.readers().holders();
        holders.extend(self.writer().into_iter().flat_map(headpond::Pool::holders));
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.age));
        holders
    }

    fn errors(&self) -> Errors {
        let mut errors = self.readers().errors();
        if let Some(writer) = self.writer() {
            let of_writer = writer.errors();
            errors.count += of_writer.count;
            if of_writer.last_at > errors.last_at {
                (errors.last, errors.last_at) = (of_writer.last, of_writer.last_at);
            }
        }
        errors
    }

    fn events(&self) -> Option<Listener> {
        self.writer().unwrap_or_else(|| self.readers()).events()
    }

    fn settings(&self) -> headpond::Settings {
        self.readers().settings()
    }

    fn update(&self, settings: headpond::Settings) -> Result<(), SettingsError> {
        self.readers().update(settings)
    }

    fn evict(&self) {
        self.readers().evict();
        self.writer().into_iter().for_each(headpond::Pool::evict);
    }

    fn pause(&self) {
        self.readers().pause();
        self.writer().into_iter().for_each(headpond::Pool::pause);
    }

    fn resume(&self) {
        self.readers().resume();
        self.writer().into_iter().for_each(headpond::Pool::resume);
    }

    fn test(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        // Not the writer: one that is at work for long is not dead.
        DynDatabase::test(self.readers())
    }

    fn warm_up(&self, timeout: Duration) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            let begun = tokio::time::Instant::now();
            if let Some(writer) = self.writer() {
                DynDatabase::warm_up(writer, timeout).await?;
            }
            DynDatabase::warm_up(self.readers(), timeout.saturating_sub(begun.elapsed())).await
        })
    }

    fn close(&self, timeout: Duration) -> BoxFuture<'_, Result<(), Leftover>> {
        Box::pin(Self::close(self, timeout))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
