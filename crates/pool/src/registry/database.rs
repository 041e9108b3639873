//! What all databases have in common, whatever they are.
//!
//! Invariant: every [`Pool`] is one, so adapters have nothing to write; one that is more than a
//! pool (readers and a writer) implements it itself.
//! Left out: queries.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::budget::Budget;
use crate::builder::Builder;
use crate::config::DatabaseConfig;
use crate::error::{BoxError, Error, Holder};
use crate::events::{Errors, Listener};
use crate::facts::Facts;
use crate::guard::Guard;
use crate::hooks::BoxFuture;
use crate::manager::Manager;
use crate::pool::{Distributions, Leftover, Pool};
use crate::settings::{Settings, SettingsError};
use crate::status::Status;

/// How long a server may take to say something of itself, once it gave a sign of life.
/// 1 s, because that is many times what such questions take, and whoever tests databases waits.
pub(super) const FACTS_TIME: Duration = Duration::from_secs(1);

/// A database of whatever kind.
pub trait DynDatabase: Send + Sync + 'static {
    /// Returns the pool in numbers.
    fn status(&self) -> Status;

    /// Returns how long things took.
    fn distributions(&self) -> Distributions;

    /// Returns who has a connection, the oldest loan first.
    fn holders(&self) -> Vec<Holder>;

    /// Returns how many errors there were, and the last one.
    fn errors(&self) -> Errors;

    /// Listens to what happens, if the database was opened so.
    fn events(&self) -> Option<Listener>;

    /// Returns the settings in force.
    fn settings(&self) -> Settings;

    /// Changes the settings.
    ///
    /// # Errors
    /// When they make no sense; then nothing changes.
    fn update(&self, settings: Settings) -> Result<(), SettingsError>;

    /// Replaces every connection that exists now.
    fn evict(&self);

    /// Holds all callers who have no connection until [`resume`](Self::resume).
    fn pause(&self);

    /// Ends a pause.
    fn resume(&self);

    /// Borrows a connection and asks the server for a sign of life.
    ///
    /// # Errors
    /// When there is no connection, or no sign of life within the check time.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection back.
    fn test(&self) -> BoxFuture<'_, Result<(), BoxError>>;

    /// Like [`test`](Self::test), and asks the server by the same connection what it says of
    /// itself: nothing if it does not say, whatever the reason.
    ///
    /// Provided: a test, and nothing.
    ///
    /// # Errors
    /// When [`test`](Self::test) would fail. A server that gives a sign of life and may not or will
    /// not say more is not one that failed.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection back.
    fn facts(&self) -> BoxFuture<'_, Result<Option<Facts>, BoxError>> {
        let test = self.test();
        Box::pin(async move { test.await.map(|()| None) })
    }

    /// Opens as many connections as are to be kept.
    ///
    /// # Errors
    /// With the first connect that failed, or when the time is over.
    ///
    /// # Cancel safety
    /// Dropping the future stops waiting; opening goes on.
    fn warm_up(&self, timeout: Duration) -> BoxFuture<'_, Result<(), BoxError>>;

    /// Ends the pool and waits for what is lent.
    ///
    /// # Errors
    /// With who has connections still when the time is over.
    ///
    /// # Cancel safety
    /// Dropping the future stops waiting; the pool stays closed.
    fn close(&self, timeout: Duration) -> BoxFuture<'_, Result<(), Leftover>>;

    /// Returns itself, to be asked for its type.
    fn as_any(&self) -> &dyn Any;
}

impl<M: Manager> DynDatabase for Pool<M> {
    fn status(&self) -> Status {
        Self::status(self)
    }

    fn distributions(&self) -> Distributions {
        Self::distributions(self)
    }

    fn holders(&self) -> Vec<Holder> {
        Self::holders(self)
    }

    fn errors(&self) -> Errors {
        Self::errors(self)
    }

    fn events(&self) -> Option<Listener> {
        Self::events(self)
    }

    fn settings(&self) -> Settings {
        Self::settings(self)
    }

    fn update(&self, settings: Settings) -> Result<(), SettingsError> {
        Self::update(self, settings)
    }

    fn evict(&self) {
        Self::evict(self);
    }

    fn pause(&self) {
        Self::pause(self);
    }

    fn resume(&self) {
        Self::resume(self);
    }

    fn test(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move { alive(self).await.map(drop) })
    }

    fn facts(&self) -> BoxFuture<'_, Result<Option<Facts>, BoxError>> {
        Box::pin(async move {
            let mut connection = alive(self).await?;
            let asked = self.manager().facts(&mut connection);
            match tokio::time::timeout(FACTS_TIME, asked).await {
                Ok(Ok(facts)) => return Ok(facts),
                // Given back: an answer that says no leaves a connection in order.
                Ok(Err(error)) => tracing::debug!(%error, "a server says nothing of itself"),
                Err(_) => {
                    tracing::debug!(limit = ?FACTS_TIME, "a server says nothing of itself");
                    connection.discard();
                }
            }
            Ok(None)
        })
    }

    fn warm_up(&self, timeout: Duration) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move { Self::warm_up(self, timeout).await.map_err(boxed) })
    }

    fn close(&self, timeout: Duration) -> BoxFuture<'_, Result<(), Leftover>> {
        Box::pin(Self::close(self, timeout))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Borrows a connection over which the server gave a sign of life.
async fn alive<M: Manager>(pool: &Pool<M>) -> Result<Guard<'_, M>, BoxError> {
    let mut connection = pool.get().await.map_err(boxed)?;
    let limit = pool.settings().check_timeout;
    let ping = pool.manager().ping(&mut connection);
    let failure: BoxError = match tokio::time::timeout(limit, ping).await {
        Ok(Ok(())) => return Ok(connection),
        Ok(Err(error)) => error.into(),
        Err(_) => format!("no sign of life within {limit:?}").into(),
    };
    connection.discard();
    Err(failure)
}

fn boxed<E: std::error::Error + Send + Sync + 'static>(error: Error<E>) -> BoxError {
    error.into()
}

/// What a database is to be opened with; handed to the adapter.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// What is configured.
    pub config: DatabaseConfig,
    /// What all pools share.
    pub budget: Option<Budget>,
    /// How many events are kept for listeners, if there are to be any.
    pub events: Option<usize>,
}

impl Plan {
    /// Begins a pool over a manager, with everything that is configured.
    pub fn builder<M: Manager>(&self, manager: M) -> Builder<M> {
        self.apply(Pool::builder(manager))
    }

    /// Gives a pool that was begun everything that is configured.
    pub fn apply<M: Manager>(&self, builder: Builder<M>) -> Builder<M> {
        let builder = builder.name(&*self.config.name).settings(self.config.pool.clone());
        let builder = match &self.budget {
            Some(budget) => builder.budget(budget),
            None => builder,
        };
        match self.events {
            Some(kept) => builder.events(kept),
            None => builder,
        }
    }
}

/// What opening a database comes to.
pub type Opened = Result<Arc<dyn DynDatabase>, BoxError>;

/// Opens databases of one kind.
pub(super) type Opener = Box<dyn Fn(Plan) -> BoxFuture<'static, Opened> + Send + Sync>;
