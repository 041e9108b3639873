//! The layers.
//!
//! Invariant: [`Lend`] takes its connection back when the response future ends, whoever has a copy
//! of the handle; a connection that is being used at that moment is given back by its user.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use parking_lot::Mutex;
use tower_layer::Layer;
use tower_service::Service;

use super::refused::Refused;
use crate::guard::OwnedGuard;
use crate::manager::Manager;
use crate::pool::Pool;

/// Borrows a connection for every request and puts it into the request's extensions as
/// [`Lent`]. A request that gets none is answered with 503 and `Retry-After`.
///
/// # Examples
/// ```
/// use headpond::middleware::{Lend, Lent};
/// use headpond::{Pool, testing::FakeManager};
/// use tower::{ServiceBuilder, service_fn};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder(FakeManager::default()).max(8).build()?;
/// let service = ServiceBuilder::new().layer(Lend::new(pool)).service(service_fn(
///     async |request: http::Request<String>| {
///         let lent: &Lent<FakeManager> = request.extensions().get().expect("the layer put it");
///         let connection = lent.take().expect("nobody took it before");
///         Ok::<_, std::convert::Infallible>(http::Response::new(connection.number.to_string()))
///     },
/// ));
/// # drop(service); Ok(()) }
/// ```
pub struct Lend<M: Manager>(Pool<M>);

/// The service of [`Lend`].
pub struct LendService<S, M: Manager> {
    service: S,
    pool: Pool<M>,
}

/// A connection that is lent to a request.
pub struct Lent<M: Manager>(Arc<Mutex<Option<OwnedGuard<M>>>>);

impl<M: Manager> Lent<M> {
    /// Takes the connection, to be used and dropped; none if somebody has taken it, or the request
    /// is over.
    #[must_use]
    pub fn take(&self) -> Option<OwnedGuard<M>> {
        self.0.lock().take()
    }

    /// Lets others of the same request have the connection again.
    pub fn put_back(&self, connection: OwnedGuard<M>) {
        // What was there, if anything, goes back to the pool outside of the lock.
        let before = self.0.lock().replace(connection);
        drop(before);
    }
}

impl<M: Manager> Lend<M> {
    /// Makes the layer.
    pub const fn new(pool: Pool<M>) -> Self {
        Self(pool)
    }
}

impl<S, M: Manager> Layer<S> for Lend<M> {
    type Service = LendService<S, M>;

    fn layer(&self, service: S) -> Self::Service {
        LendService { service, pool: self.0.clone() }
    }
}

impl<S, M, In, Out> Service<Request<In>> for LendService<S, M>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone + Send + 'static,
    S::Future: Send,
    M: Manager,
    In: Send + 'static,
    Out: Default,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Out>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        // The one that is ready is used, its copy waits for the next request.
        let copy = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, copy);
        let pool = self.pool.clone();
        Box::pin(async move {
            let guard = match pool.get_owned().await {
                Ok(guard) => guard,
                Err(error) => return Ok(Refused::of(&error).response()),
            };
            // Dropped with this future, whatever happens to it.
            let place = Place(Lent(Arc::new(Mutex::new(Some(guard)))));
            request.extensions_mut().insert(place.0.clone());
            service.call(request).await
        })
    }
}

/// Takes the connection back at the end.
struct Place<M: Manager>(Lent<M>);

impl<M: Manager> Drop for Place<M> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// Names the pool that `Conn` and `Tx` borrow from; of several layers the innermost counts, so a
/// route can have a pool of its own.
pub struct UsePool<M: Manager>(Pool<M>);

/// The service of [`UsePool`].
pub struct UsePoolService<S, M: Manager> {
    service: S,
    pool: Pool<M>,
}

impl<M: Manager> UsePool<M> {
    /// Makes the layer.
    pub const fn new(pool: Pool<M>) -> Self {
        Self(pool)
    }
}

impl<S, M: Manager> Layer<S> for UsePool<M> {
    type Service = UsePoolService<S, M>;

    fn layer(&self, service: S) -> Self::Service {
        UsePoolService { service, pool: self.0.clone() }
    }
}

impl<S, M, In> Service<Request<In>> for UsePoolService<S, M>
where
    S: Service<Request<In>>,
    M: Manager,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<In>) -> S::Future {
        request.extensions_mut().insert(self.pool.clone());
        self.service.call(request)
    }
}

impl<M: Manager> Clone for Lend<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Manager> Clone for UsePool<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Manager> Clone for Lent<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Clone, M: Manager> Clone for LendService<S, M> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), pool: self.pool.clone() }
    }
}

impl<S: Clone, M: Manager> Clone for UsePoolService<S, M> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), pool: self.pool.clone() }
    }
}

impl<M: Manager> fmt::Debug for Lend<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lend").field(&self.0.name()).finish()
    }
}

impl<M: Manager> fmt::Debug for UsePool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UsePool").field(&self.0.name()).finish()
    }
}

impl<M: Manager> fmt::Debug for Lent<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lent").field(&self.0.lock().is_some()).finish()
    }
}
