//! One or a few connections that everybody shares.
//!
//! Commands of all callers are written one after the other and answered in that order, so a
//! connection is never waited for, and a caller that gives up costs nobody anything. What would
//! change the session for others is refused.
//!
//! Invariant: nothing is sent that changes the session or keeps it busy.
//! Left out: connects and tries (`lines.rs`), and commands that need a connection of their own
//! (`manager.rs`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisFuture, ToRedisArgs, Value};

use super::Config;
use super::ask::Ask;
use super::command::{Effect, effect, name};
use super::error::Error;
use super::lines::Lines;
use super::url::Target;

/// Shared connections to a server, to the master that sentinels name, or to a cluster. Cloning it
/// gives another handle of the same connections.
///
/// Nothing is connected until the first command. Every command of
/// [`AsyncCommands`](super::AsyncCommands) can be called on a handle.
#[derive(Clone)]
pub struct Shared {
    lines: Arc<Lines>,
}

/// What is known about shared connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SharedStatus {
    /// Connections that there may be.
    pub lines: usize,
    /// Connections that are open.
    pub open: usize,
    /// Connections opened from the beginning.
    pub opened: u64,
    /// Connections that were lost and replaced.
    pub lost: u64,
}

impl Shared {
    /// Makes the shared connections that `config` describes. Nothing is connected yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        if config.tls.is_some() && matches!(config.target, Target::Cluster(_)) {
            crate::adapters::provider::ensure();
        }
        Self { lines: Arc::new(Lines::new(config)) }
    }

    /// Runs a command.
    ///
    /// It is tried again, [`Config::retries`] times at most, if nothing was sent, if the server
    /// said that it cannot serve now, or if the connection broke and the command only reads.
    ///
    /// # Errors
    /// [`Error::NeedsExclusive`] if it would change or block the connection for others;
    /// [`Error::Unknown`] if it may have been executed.
    ///
    /// # Cancel safety
    /// Dropping the future disturbs nobody; the command may be executed all the same.
    pub async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, Error> {
        if effect(cmd) != Effect::None {
            return Err(Error::NeedsExclusive(name(cmd)));
        }
        let value = self.lines.request(Ask::Command(cmd)).await?;
        Ok(redis::from_redis_value(value).map_err(RedisError::from)?)
    }

    /// Runs several commands in one round trip, and as one transaction if the pipeline is atomic.
    ///
    /// # Errors
    /// As [`Shared::query`]. Tried again after a lost connection only if every command only reads.
    ///
    /// # Cancel safety
    /// Dropping the future disturbs nobody; the commands may be executed all the same.
    pub async fn pipeline<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Error> {
        if let Some(cmd) = commands.cmd_iter().find(|cmd| effect(cmd) != Effect::None) {
            return Err(Error::NeedsExclusive(name(cmd)));
        }
        let value = self.lines.request(Ask::Pipeline(commands)).await?;
        Ok(redis::from_redis_value(value).map_err(RedisError::from)?)
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    /// As [`Shared::query`].
    ///
    /// # Cancel safety
    /// Dropping the future disturbs nobody.
    pub async fn get<T: FromRedisValue>(&self, key: impl ToRedisArgs) -> Result<T, Error> {
        self.query(redis::cmd("GET").arg(key)).await
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// As [`Shared::query`].
    ///
    /// # Cancel safety
    /// Dropping the future disturbs nobody; the value may be set all the same.
    pub async fn set(&self, key: impl ToRedisArgs, value: impl ToRedisArgs) -> Result<(), Error> {
        self.query(redis::cmd("SET").arg(key).arg(value)).await
    }

    /// Sets the value of a key for so long; at least a millisecond.
    ///
    /// # Errors
    /// As [`Shared::query`].
    ///
    /// # Cancel safety
    /// Dropping the future disturbs nobody; the value may be set all the same.
    pub async fn set_for(
        &self,
        key: impl ToRedisArgs,
        value: impl ToRedisArgs,
        time: Duration,
    ) -> Result<(), Error> {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        self.query(redis::cmd("SET").arg(key).arg(value).arg("PX").arg(ms)).await
    }

    /// Removes keys and returns how many there were.
    ///
    /// # Errors
    /// As [`Shared::query`].
    ///
    /// # Cancel safety
    /// Dropping the future disturbs nobody; the keys may be removed all the same.
    pub async fn del(&self, keys: impl ToRedisArgs) -> Result<u64, Error> {
        self.query(redis::cmd("DEL").arg(keys)).await
    }

    /// Gives `work` a handle.
    ///
    /// # Errors
    /// As `work` says.
    ///
    /// # Cancel safety
    /// As `work` says.
    pub async fn with_redis<T, E>(
        &self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        work(&mut self.clone()).await
    }

    /// Asks for the echo of a number that nobody asked for before, and compares.
    ///
    /// # Errors
    /// When the server does not serve.
    ///
    /// # Cancel safety
    /// Dropping the future disturbs nobody.
    pub async fn ping(&self) -> Result<(), Error> {
        let number = self.lines.number();
        let echo: String = self.query(redis::cmd("PING").arg(number)).await?;
        if echo == number.to_string() { Ok(()) } else { Err(Error::Stray) }
    }

    /// Closes the connections. Commands from now on fail.
    pub fn close(&self) {
        self.lines.close();
    }

    /// Returns what is known about the connections.
    #[must_use]
    pub fn status(&self) -> SharedStatus {
        self.lines.status()
    }
}

impl ConnectionLike for Shared {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move { self.query(cmd).await.map_err(Error::into_driver) })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            if let Some(cmd) = pipeline.cmd_iter().find(|cmd| effect(cmd) != Effect::None) {
                return Err(Error::NeedsExclusive(name(cmd)).into_driver());
            }
            let values = self.lines.request(Ask::Packed(pipeline, offset, count)).await;
            match values.map_err(Error::into_driver)? {
                Value::Array(values) => Ok(values),
                value => Ok(vec![value]),
            }
        })
    }

    fn get_db(&self) -> i64 {
        self.lines.config.db
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.lines.config)
            .field("status", &self.status())
            .finish()
    }
}
