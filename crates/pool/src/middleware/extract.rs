//! Extractors for axum.
//!
//! Invariant: a handler that does not ask for a connection costs none; a transaction that is not
//! committed is undone.

use std::fmt;
use std::ops::{Deref, DerefMut};

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::refused::{Refused, Transactional};
use crate::guard::OwnedGuard;
use crate::manager::Manager;
use crate::pool::Pool;

/// A connection from the pool that [`UsePool`](super::UsePool) names for the route; given back
/// when it is dropped.
///
/// # Examples
/// ```
/// use axum::{Router, routing::get};
/// use headpond::middleware::{Conn, UsePool};
/// use headpond::{Pool, testing::FakeManager};
///
/// async fn number(connection: Conn<FakeManager>) -> String {
///     connection.number.to_string()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let main = Pool::builder(FakeManager::default()).name("main").max(8).build()?;
/// let reports = Pool::builder(FakeManager::default()).name("reports").max(2).build()?;
/// let app: Router = Router::new()
///     .route("/report", get(number).layer(UsePool::new(reports)))
///     .route("/", get(number))
///     .layer(UsePool::new(main));
/// # drop(app); Ok(()) }
/// ```
pub struct Conn<M: Manager>(OwnedGuard<M>);

/// A transaction on such a connection: begun before the handler runs, undone unless
/// [`Tx::commit`] is called.
pub struct Tx<M: Transactional> {
    guard: Option<OwnedGuard<M>>,
    pool: Pool<M>,
}

/// A request that got no connection or no transaction.
#[derive(Debug)]
#[non_exhaustive]
pub enum Missing {
    /// The pool has none, or the server does not let a transaction begin: 503.
    Refused(Refused),
    /// No [`UsePool`](super::UsePool) names a pool for the route: 500, a mistake of ours.
    NoPool {
        /// The type of manager that was asked for.
        manager: &'static str,
    },
}

const PRESENT: &str = "a transaction has its connection until it is consumed";

impl<M: Manager> Conn<M> {
    /// Returns the guard, for code that knows nothing of axum.
    pub fn into_guard(self) -> OwnedGuard<M> {
        self.0
    }
}

async fn lend<M: Manager>(parts: &Parts) -> Result<(OwnedGuard<M>, Pool<M>), Missing> {
    let pool: &Pool<M> =
        parts.extensions.get().ok_or(Missing::NoPool { manager: std::any::type_name::<M>() })?;
    let guard = pool.get_owned().await.map_err(|error| Missing::Refused(Refused::of(&error)))?;
    Ok((guard, pool.clone()))
}

impl<S: Send + Sync, M: Manager> FromRequestParts<S> for Conn<M> {
    type Rejection = Missing;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Missing> {
        Ok(Self(lend(parts).await?.0))
    }
}

impl<S: Send + Sync, M: Transactional> FromRequestParts<S> for Tx<M> {
    type Rejection = Missing;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Missing> {
        let (guard, pool) = lend::<M>(parts).await?;
        // From here on the guard is in its place: whatever happens, it is undone.
        let mut tx = Self { guard: Some(guard), pool };
        let Self { guard, pool } = &mut tx;
        let connection = guard.as_mut().expect(PRESENT);
        match pool.manager().begin(connection).await {
            Ok(()) => Ok(tx),
            Err(error) => {
                tracing::warn!(%error, "a request got no transaction");
                let retry_after = std::time::Duration::from_secs(1);
                Err(Missing::Refused(Refused { reason: error.to_string(), retry_after }))
            }
        }
    }
}

impl<M: Transactional> Tx<M> {
    /// Commits and gives the connection back.
    ///
    /// # Errors
    /// When it was not committed, or the connection was lost and nobody knows.
    ///
    /// # Cancel safety
    /// Whoever drops the future does not know whether it was committed; the connection is judged
    /// as on every return.
    pub async fn commit(mut self) -> Result<(), M::Error> {
        let guard = self.guard.as_mut().expect(PRESENT);
        self.pool.manager().commit(guard).await?;
        // Clean: the drop below has nothing to undo.
        drop(self.guard.take());
        Ok(())
    }

    /// Undoes everything and gives the connection back.
    ///
    /// # Errors
    /// When the connection is lost; the server undoes it then.
    ///
    /// # Cancel safety
    /// Dropping the future undoes it as well: the manager sees to it when the connection returns.
    pub async fn rollback(mut self) -> Result<(), M::Error> {
        let guard = self.guard.as_mut().expect(PRESENT);
        let undone = self.pool.manager().rollback(guard).await;
        drop(self.guard.take());
        undone
    }
}

impl<M: Manager> Deref for Conn<M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        &self.0
    }
}

impl<M: Manager> DerefMut for Conn<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        &mut self.0
    }
}

impl<M: Transactional> Deref for Tx<M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        self.guard.as_ref().expect(PRESENT)
    }
}

impl<M: Transactional> DerefMut for Tx<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        self.guard.as_mut().expect(PRESENT)
    }
}

impl<M: Manager> fmt::Debug for Conn<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").finish_non_exhaustive()
    }
}

impl<M: Transactional> fmt::Debug for Tx<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("pool", &self.pool.name()).finish_non_exhaustive()
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::NoPool { manager } => {
                write!(f, "no layer UsePool names a pool of {manager} for this route")
            }
        }
    }
}

impl std::error::Error for Missing {}

impl IntoResponse for Missing {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refused) => refused.response(),
            Self::NoPool { .. } => {
                tracing::error!("{self}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
