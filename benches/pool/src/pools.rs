//! One face over all pools.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::null::{Null, NullOptions};
use crate::server::{Down, Server};

/// How long a caller waits, for pools that must be told when they are made.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pool under test.
pub trait Subject: Clone + Send + Sync + 'static {
    const NAME: &'static str;
    type Held<'a>: Send;

    fn new(
        server: &Server,
        size: u32,
        patience: Option<Duration>,
    ) -> impl Future<Output = Self> + Send;
    fn get(&self) -> impl Future<Output = Option<Self::Held<'_>>> + Send;
}

#[derive(Clone)]
pub struct Headpond(headpond::Pool<Manager>);

#[derive(Clone)]
pub struct Manager(Server);

impl headpond::Manager for Manager {
    type Connection = u64;
    type Error = Down;

    async fn connect(&self) -> Result<u64, Down> {
        self.0.connect().await.map(|()| 0)
    }

    async fn ping(&self, _: &mut u64) -> Result<(), Down> {
        Ok(())
    }

    async fn reset(&self, _: &mut u64) -> Result<(), Down> {
        Ok(())
    }

    fn fate(&self, _: &mut u64) -> headpond::Fate {
        headpond::Fate::Reuse
    }
}

impl Subject for Headpond {
    const NAME: &'static str = "headpond";
    type Held<'a> = headpond::Guard<'a, Manager>;

    async fn new(server: &Server, size: u32, patience: Option<Duration>) -> Self {
        let builder = headpond::Pool::builder(Manager(server.clone())).max(size).min(0);
        // Everything a service has: lifetimes, leak detection, statistics, the breaker.
        let builder = builder.connect_timeout(Duration::from_millis(250));
        let builder = builder.acquire_timeout(Some(patience.unwrap_or(PATIENCE)));
        Self(builder.build().expect("the settings make sense"))
    }

    #[inline]
    async fn get(&self) -> Option<Self::Held<'_>> {
        self.0.get().await.ok()
    }
}

#[derive(Clone)]
pub struct Deadpool(deadpool::managed::Pool<DeadpoolManager>);

pub struct DeadpoolManager(Server);

impl deadpool::managed::Manager for DeadpoolManager {
    type Type = u64;
    type Error = Down;

    async fn create(&self) -> Result<u64, Down> {
        self.0.connect().await.map(|()| 0)
    }

    async fn recycle(
        &self,
        _: &mut u64,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Down> {
        Ok(())
    }
}

impl Subject for Deadpool {
    const NAME: &'static str = "deadpool";
    type Held<'a> = deadpool::managed::Object<DeadpoolManager>;

    async fn new(server: &Server, size: u32, patience: Option<Duration>) -> Self {
        let manager = DeadpoolManager(server.clone());
        let builder = deadpool::managed::Pool::builder(manager).max_size(size as usize);
        let builder = builder.runtime(deadpool::Runtime::Tokio1);
        // Its defaults have no time limits; with a patience all three are set.
        let builder = match patience {
            Some(_) => builder.wait_timeout(patience).create_timeout(patience),
            None => builder,
        };
        Self(builder.build().expect("the settings make sense"))
    }

    #[inline]
    async fn get(&self) -> Option<Self::Held<'_>> {
        self.0.get().await.ok()
    }
}

#[derive(Clone)]
pub struct Bb8(bb8::Pool<Bb8Manager>);

pub struct Bb8Manager(Server);

impl bb8::ManageConnection for Bb8Manager {
    type Connection = u64;
    type Error = Down;

    async fn connect(&self) -> Result<u64, Down> {
        self.0.connect().await.map(|()| 0)
    }

    async fn is_valid(&self, _: &mut u64) -> Result<(), Down> {
        Ok(())
    }

    fn has_broken(&self, _: &mut u64) -> bool {
        false
    }
}

impl Subject for Bb8 {
    const NAME: &'static str = "bb8";
    type Held<'a> = bb8::PooledConnection<'a, Bb8Manager>;

    async fn new(server: &Server, size: u32, patience: Option<Duration>) -> Self {
        let builder = bb8::Pool::builder().max_size(size).test_on_check_out(false);
        let builder = builder.connection_timeout(patience.unwrap_or(PATIENCE));
        Self(builder.build(Bb8Manager(server.clone())).await.expect("nothing is opened yet"))
    }

    #[inline]
    async fn get(&self) -> Option<Self::Held<'_>> {
        self.0.get().await.ok()
    }
}

#[derive(Clone)]
pub struct Mobc(mobc::Pool<MobcManager>);

pub struct MobcManager(Server);

#[mobc::async_trait]
impl mobc::Manager for MobcManager {
    type Connection = u64;
    type Error = Down;

    async fn connect(&self) -> Result<u64, Down> {
        self.0.connect().await.map(|()| 0)
    }

    async fn check(&self, connection: u64) -> Result<u64, Down> {
        Ok(connection)
    }
}

impl Subject for Mobc {
    const NAME: &'static str = "mobc";
    type Held<'a> = mobc::Connection<MobcManager>;

    async fn new(server: &Server, size: u32, patience: Option<Duration>) -> Self {
        let size = u64::from(size);
        let builder = mobc::Pool::builder().max_open(size).max_idle(size).test_on_check_out(false);
        let builder = builder.get_timeout(Some(patience.unwrap_or(PATIENCE)));
        Self(builder.build(MobcManager(server.clone())))
    }

    #[inline]
    async fn get(&self) -> Option<Self::Held<'_>> {
        self.0.get().await.ok()
    }
}

#[derive(Clone)]
pub struct Sqlx(sqlx_core::pool::Pool<Null>);

impl Subject for Sqlx {
    const NAME: &'static str = "sqlx";
    type Held<'a> = sqlx_core::pool::PoolConnection<Null>;

    async fn new(server: &Server, size: u32, patience: Option<Duration>) -> Self {
        let options = sqlx_core::pool::PoolOptions::<Null>::new().max_connections(size);
        let options = options.test_before_acquire(false);
        let options = options.acquire_timeout(patience.unwrap_or(PATIENCE));
        Self(options.connect_lazy_with(NullOptions(server.clone())))
    }

    #[inline]
    async fn get(&self) -> Option<Self::Held<'_>> {
        self.0.acquire().await.ok()
    }
}

/// What any pool costs that waits on a semaphore: no timeouts, no statistics, nothing.
#[derive(Clone)]
pub struct Floor(Arc<FloorPool>);

pub struct FloorPool {
    server: Server,
    patience: Duration,
    permits: tokio::sync::Semaphore,
    idle: parking_lot::Mutex<Vec<u64>>,
}

pub struct FloorHeld<'a> {
    pool: &'a FloorPool,
    // Dropped after the connection is back.
    _permit: tokio::sync::SemaphorePermit<'a>,
}

impl Drop for FloorHeld<'_> {
    fn drop(&mut self) {
        self.pool.idle.lock().push(0);
    }
}

impl Subject for Floor {
    const NAME: &'static str = "floor";
    type Held<'a> = FloorHeld<'a>;

    async fn new(server: &Server, size: u32, patience: Option<Duration>) -> Self {
        Self(Arc::new(FloorPool {
            server: server.clone(),
            patience: patience.unwrap_or(PATIENCE),
            permits: tokio::sync::Semaphore::new(size as usize),
            idle: parking_lot::Mutex::new(Vec::new()),
        }))
    }

    #[inline]
    async fn get(&self) -> Option<Self::Held<'_>> {
        let permit = self.0.permits.acquire().await.ok()?;
        let idle = self.0.idle.lock().pop();
        if idle.is_none() {
            let connect = tokio::time::timeout(self.0.patience, self.0.server.connect());
            connect.await.ok()?.ok()?;
        }
        Some(FloorHeld { pool: &self.0, _permit: permit })
    }
}
