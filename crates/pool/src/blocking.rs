//! A pool for code that is not async.
//!
//! Invariant: everything async runs on a runtime of the pool's own, so that it makes no difference
//! what the calling thread is; inside another runtime a call says so instead of hanging.
//! Left out: the methods of connections; they are called through [`Guard::run`].

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder as RuntimeBuilder, Handle, Runtime};

use crate::error::Error;
use crate::guard::OwnedGuard;
use crate::manager::Manager;
use crate::pool::{Leftover, Pool as AsyncPool};
use crate::status::Status;

/// A pool whose calls wait instead of returning futures. Cloning it gives another handle.
///
/// # Examples
/// ```
/// use headpond::{Pool, blocking, testing::FakeManager};
/// let pool = Pool::builder(FakeManager::default()).max(2).build()?;
/// let pool = blocking::Pool::new(pool)?;
/// let mut connection = pool.get()?;
/// let uses = connection.run(async |connection| connection.number);
/// assert_eq!(uses, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool<M: Manager> {
    pool: AsyncPool<M>,
    runtime: Arc<Background>,
}

/// A runtime with a thread of its own.
struct Background {
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
}

/// A connection of a blocking pool. Dropping it gives it back.
#[must_use = "a guard that is dropped gives its connection back"]
pub struct Guard<M: Manager> {
    guard: OwnedGuard<M>,
    runtime: Arc<Background>,
}

impl Background {
    fn start() -> io::Result<Self> {
        let mut builder = RuntimeBuilder::new_multi_thread();
        builder.worker_threads(1).thread_name("headpond").enable_all();
        Ok(Self { runtime: Some(builder.build()?) })
    }

    fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("taken at the end only").handle()
    }

    /// Waits for a future.
    fn wait<F: Future>(&self, future: F) -> F::Output {
        assert!(
            Handle::try_current().is_err(),
            "a blocking call inside an async runtime would stop it: use the async pool there, or \
             spawn_blocking"
        );
        self.handle().block_on(future)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Also when the last handle is dropped inside another runtime.
            runtime.shutdown_background();
        }
    }
}

impl<M: Manager> Pool<M> {
    /// Takes a pool that has not been used yet, and gives it a runtime.
    ///
    /// # Errors
    /// When the operating system has no thread for it.
    pub fn new(pool: AsyncPool<M>) -> io::Result<Self> {
        Ok(Self { pool, runtime: Arc::new(Background::start()?) })
    }

    /// Waits for a connection, for [`Settings::acquire_timeout`](crate::Settings) at most.
    ///
    /// # Errors
    /// See [`Error`].
    ///
    /// # Panics
    /// Inside an async runtime, which it would stop.
    #[track_caller]
    pub fn get(&self) -> Result<Guard<M>, Error<M::Error>> {
        let get = self.pool.get_owned();
        self.guard(get)
    }

    /// Waits for a connection for so long at most.
    ///
    /// # Errors
    /// See [`Error`].
    ///
    /// # Panics
    /// Inside an async runtime, which it would stop.
    #[track_caller]
    pub fn get_timeout(&self, timeout: Duration) -> Result<Guard<M>, Error<M::Error>> {
        let get = self.pool.get_owned_timeout(timeout);
        self.guard(get)
    }

    fn guard(&self, get: crate::get::GetOwned<M>) -> Result<Guard<M>, Error<M::Error>> {
        let guard = self.runtime.wait(get)?;
        Ok(Guard { guard, runtime: Arc::clone(&self.runtime) })
    }

    /// Waits for whatever an async call on the pool returns.
    ///
    /// # Panics
    /// Inside an async runtime, which it would stop.
    pub fn run<T>(&self, work: impl AsyncFnOnce(&AsyncPool<M>) -> T) -> T {
        self.runtime.wait(work(&self.pool))
    }

    /// Returns the async pool, which runs on this one's runtime.
    #[must_use]
    pub const fn pool(&self) -> &AsyncPool<M> {
        &self.pool
    }

    /// Returns the pool in numbers, at one moment.
    #[must_use]
    pub fn status(&self) -> Status {
        self.pool.status()
    }

    /// Ends the pool; see [`Pool::close`](AsyncPool::close).
    ///
    /// # Errors
    /// With who has connections still when the time is over.
    ///
    /// # Panics
    /// Inside an async runtime, which it would stop.
    pub fn close(&self, timeout: Duration) -> Result<(), Leftover> {
        self.runtime.wait(self.pool.close(timeout))
    }
}

impl<M: Manager> Guard<M> {
    /// Waits for whatever an async call on the connection returns.
    ///
    /// # Panics
    /// Inside an async runtime, which it would stop.
    pub fn run<T>(&mut self, work: impl AsyncFnOnce(&mut M::Connection) -> T) -> T {
        self.runtime.wait(work(&mut self.guard))
    }

    /// Closes the connection instead of giving it back, because it is broken or not clean.
    pub fn discard(self) {
        let Self { guard, runtime } = self;
        guard.discard();
        drop(runtime);
    }
}

impl<M: Manager> std::ops::Deref for Guard<M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        &self.guard
    }
}

impl<M: Manager> std::ops::DerefMut for Guard<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        &mut self.guard
    }
}

impl<M: Manager> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), runtime: Arc::clone(&self.runtime) }
    }
}

impl<M: Manager> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

impl<M: Manager> fmt::Debug for Guard<M>
where
    M::Connection: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.guard.fmt(f)
    }
}
