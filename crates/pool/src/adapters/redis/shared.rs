//! One or a few connections that everybody shares.
//!
//! Commands of all callers are written one after the other and answered in that order, so a
//! connection is never waited for, and a caller that gives up costs nobody anything. What would
//! change the session for others is refused.
//!
//! Invariant: a command that may have been executed is sent again only if it is a read.
//! Left out: commands that need a connection of their own (`manager.rs`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::ConnectionLike;
use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisFuture, ServerErrorKind,
    ToRedisArgs, Value,
};
use tokio::time::Instant;

use super::ask::{Ask, Redis};
use super::command::{Effect, effect, name};
use super::error::{Error, is_not_ready};
use super::link;
use super::url::Target;
use super::{Config, cluster};

/// Shared connections to a server, to the master that sentinels name, or to a cluster. Cloning it
/// gives another handle of the same connections.
///
/// Nothing is connected until the first command. Every command of
/// [`AsyncCommands`](super::AsyncCommands) can be called on a handle.
#[derive(Clone)]
pub struct Shared {
    common: Arc<Common>,
}

struct Common {
    config: Config,
    lines: Vec<Line>,
    turn: AtomicUsize,
    pings: AtomicU64,
    closed: AtomicBool,
    opened: AtomicU64,
    lost: AtomicU64,
}

/// One connection and what becomes of it.
#[derive(Default)]
struct Line {
    live: Mutex<Option<Live>>,
    /// Whoever has it connects for all.
    connecting: tokio::sync::Mutex<Failing>,
}

/// How connecting went lately.
#[derive(Default)]
struct Failing {
    times: u32,
    until: Option<Instant>,
}

#[derive(Clone)]
struct Live {
    number: u64,
    redis: Redis,
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
        let lines = (0..config.lines.max(1)).map(|_| Line::default()).collect();
        Self {
            common: Arc::new(Common {
                config: config.clone(),
                lines,
                turn: AtomicUsize::new(0),
                pings: AtomicU64::new(1),
                closed: AtomicBool::new(false),
                opened: AtomicU64::new(0),
                lost: AtomicU64::new(0),
            }),
        }
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
        let value = self.common.request(Ask::Command(cmd)).await?;
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
        let value = self.common.request(Ask::Pipeline(commands)).await?;
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
        let number = self.common.pings.fetch_add(1, Ordering::Relaxed);
        let echo: String = self.query(redis::cmd("PING").arg(number)).await?;
        if echo == number.to_string() { Ok(()) } else { Err(Error::Stray) }
    }

    /// Closes the connections. Commands from now on fail.
    pub fn close(&self) {
        self.common.closed.store(true, Ordering::Release);
        for line in &self.common.lines {
            *line.live.lock() = None;
        }
    }

    /// Returns what is known about the connections.
    #[must_use]
    pub fn status(&self) -> SharedStatus {
        let open = self.common.lines.iter().filter(|line| line.usable().is_some()).count();
        SharedStatus {
            lines: self.common.lines.len(),
            open,
            opened: self.common.opened.load(Ordering::Relaxed),
            lost: self.common.lost.load(Ordering::Relaxed),
        }
    }
}

/// Returns the pause after so many failures in a row.
pub(super) fn pause(times: u32) -> Duration {
    Duration::from_millis((u64::from(times) * 50).min(2000))
}

impl Common {
    async fn request(&self, ask: Ask<'_>) -> Result<Value, Error> {
        let again = ask.is_repeatable();
        let mut tries = 0;
        loop {
            tries += 1;
            let last = tries > self.config.retries;
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let line = &self.lines[turn % self.lines.len()];
            let mut live = match line.live(self).await {
                Ok(live) => live,
                // Nothing was sent.
                Err(error) if last || is_final(&error) => return Err(error),
                Err(_) => continue,
            };
            let error = match ask.send(&mut live.redis).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if is_not_ready(&error) && !last {
                tokio::time::sleep(pause(tries)).await;
                continue;
            }
            let demoted = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
            if demoted && !matches!(live.redis, Redis::Cluster(_)) {
                // What was the master is none any more: whoever is now is asked for again.
                self.drop_line(line, live.number);
                if last {
                    return Err(error.into());
                }
                tokio::time::sleep(pause(tries)).await;
                continue;
            }
            if error.code().is_some() || !(error.is_io_error() || error.is_unrecoverable_error()) {
                return Err(error.into());
            }
            self.drop_line(line, live.number);
            if !again {
                return Err(Error::Unknown { command: ask.name(), cause: error });
            }
            if last {
                return Err(error.into());
            }
        }
    }

    /// Gives up a connection, unless somebody has replaced it already.
    fn drop_line(&self, line: &Line, number: u64) {
        let mut live = line.live.lock();
        if live.as_ref().is_some_and(|live| live.number == number) {
            *live = None;
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn open(&self) -> Result<Redis, Error> {
        if let Target::Cluster(nodes) = &self.config.target {
            return Ok(Redis::Cluster(cluster::open(&self.config, nodes).await?));
        }
        let mut link = link::open(&self.config, || None).await?;
        let number = self.pings.fetch_add(1, Ordering::Relaxed);
        link::ping(&mut link.redis, number).await?;
        Ok(Redis::One(link.redis, Arc::new(link.driver)))
    }
}

impl Line {
    fn usable(&self) -> Option<Live> {
        let live = self.live.lock();
        live.as_ref().filter(|live| live.redis.is_usable()).cloned()
    }

    /// Returns the connection, and opens it if there is none.
    async fn live(&self, common: &Common) -> Result<Live, Error> {
        if common.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if let Some(live) = self.usable() {
            return Ok(live);
        }
        let mut failing = self.connecting.lock().await;
        if let Some(live) = self.usable() {
            return Ok(live);
        }
        if let Some(until) = failing.until {
            tokio::time::sleep_until(until).await;
        }
        let limit = common.config.connect_timeout;
        let opened = match tokio::time::timeout(limit, common.open()).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::ConnectTimeout(limit)),
        };
        match opened {
            Ok(redis) => {
                *failing = Failing::default();
                let number = common.opened.fetch_add(1, Ordering::Relaxed);
                let live = Live { number, redis };
                if self.live.lock().replace(live.clone()).is_some() {
                    common.lost.fetch_add(1, Ordering::Relaxed);
                }
                Ok(live)
            }
            Err(error) => {
                failing.times = failing.times.saturating_add(1);
                failing.until = Some(Instant::now() + pause(failing.times));
                Err(error)
            }
        }
    }
}

/// Returns whether trying again cannot help.
fn is_final(error: &Error) -> bool {
    let rejected = super::error::classify(error) == crate::ConnectFailure::Rejected;
    rejected || matches!(error, Error::Closed | Error::Url(_) | Error::Tls(_))
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
            let values = self.common.request(Ask::Packed(pipeline, offset, count)).await;
            match values.map_err(Error::into_driver)? {
                Value::Array(values) => Ok(values),
                value => Ok(vec![value]),
            }
        })
    }

    fn get_db(&self) -> i64 {
        self.common.config.db
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.common.config)
            .field("status", &self.status())
            .finish()
    }
}
