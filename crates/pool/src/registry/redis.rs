//! Redis in both shapes: a connection that is shared, and a pool of one's own.
//!
//! Invariant: both reach the same server and end together.
//! Left out: clusters, which have no connections of one's own.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::{DynDatabase, Opened, Plan};
use crate::error::{BoxError, Holder};
use crate::events::{Errors, Listener};
use crate::facts::Facts;
use crate::hooks::BoxFuture;
use crate::pool::{Distributions, Leftover, Pool};
use crate::redis::{Config, Manager, Shared};
use crate::settings::{Settings, SettingsError};
use crate::status::Status;

/// A Redis database of a registry: its pool, and the connection that everybody shares.
///
/// Its numbers are those of the pool.
#[derive(Clone, Debug)]
pub struct Redis {
    pool: Pool<Manager>,
    shared: Shared,
}

pub(super) fn open(plan: &Plan) -> Opened {
    let config = Config::from_url(plan.config.url.reveal())?;
    let config = config.connect_timeout(plan.config.pool.connect_timeout);
    let pool = plan.apply(config.builder()?).build()?;
    Ok(Arc::new(Redis { pool, shared: config.shared() }))
}

impl Redis {
    /// Returns the pool of connections of one's own.
    #[must_use]
    pub const fn pool(&self) -> &Pool<Manager> {
        &self.pool
    }

    /// Returns the connection that everybody shares; the first command opens it.
    #[must_use]
    pub const fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl DynDatabase for Redis {
    fn status(&self) -> Status {
        self.pool.status()
    }

    fn distributions(&self) -> Distributions {
        self.pool.distributions()
    }

    fn holders(&self) -> Vec<Holder> {
        self.pool.holders()
    }

    fn errors(&self) -> Errors {
        self.pool.errors()
    }

    fn events(&self) -> Option<Listener> {
        self.pool.events()
    }

    fn settings(&self) -> Settings {
        self.pool.settings()
    }

    fn update(&self, settings: Settings) -> Result<(), SettingsError> {
        self.pool.update(settings)
    }

    fn evict(&self) {
        self.pool.evict();
    }

    fn pause(&self) {
        self.pool.pause();
    }

    fn resume(&self) {
        self.pool.resume();
    }

    fn test(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        DynDatabase::test(&self.pool)
    }

    fn facts(&self) -> BoxFuture<'_, Result<Option<Facts>, BoxError>> {
        DynDatabase::facts(&self.pool)
    }

    fn warm_up(&self, timeout: Duration) -> BoxFuture<'_, Result<(), BoxError>> {
        DynDatabase::warm_up(&self.pool, timeout)
    }

    fn close(&self, timeout: Duration) -> BoxFuture<'_, Result<(), Leftover>> {
        Box::pin(async move {
            let left = self.pool.close(timeout).await;
            // Last: whoever is finishing may need it.
            self.shared.close();
            left
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
