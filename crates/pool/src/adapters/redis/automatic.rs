//! Commands that acquire a connection of one's own and give it back by themselves, and
//! transactions.
//!
//! Invariant: the connection goes back before the result is returned.
//! Left out: commands that need no connection of their own (`shared.rs`).

use redis::{Cmd, FromRedisValue, Pipeline, ToRedisArgs};

use super::{Connection, Error, Listener, Manager};
use crate::pool::Pool;

/// How often a transaction is tried whose keys others change.
const TRIES: u32 = 16;

impl Pool<Manager> {
    /// Runs a command on a connection of its own: one that blocks, above all.
    ///
    /// # Errors
    /// When there is no connection in time, or the server refuses the command.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue, or ends the connection, which ends what blocks.
    #[track_caller]
    pub fn query<'a, T: FromRedisValue + Send + 'a>(
        &'a self,
        cmd: &'a Cmd,
    ) -> impl Future<Output = Result<T, Error>> + Send + 'a {
        let got = self.get();
        async move { got.await?.query(cmd).await }
    }

    /// Gives `work` a connection of its own and takes it back whatever happens.
    ///
    /// # Errors
    /// When there is no connection in time, or as `work` says.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue, or ends the connection.
    ///
    /// # Examples
    /// ```no_run
    /// # use headpond::redis::{self, AsyncCommands};
    /// # async fn run(pool: headpond::Pool<redis::Manager>) -> Result<(), redis::Error> {
    /// let next: Option<(String, String)> = pool
    ///     .with_redis(async |redis| Ok::<_, redis::Error>(redis.blpop("jobs", 5.0).await?))
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn with_redis<T, E: From<Error>>(
        &self,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, E>,
    ) -> impl Future<Output = Result<T, E>> {
        let got = self.get();
        async move {
            let mut connection = got.await.map_err(Error::from)?;
            work(&mut connection).await
        }
    }

    /// Watches `keys`, lets `work` read and decide, and runs what it returns as one transaction;
    /// again from the beginning if somebody changed a key meanwhile.
    ///
    /// # Errors
    /// [`Error::Conflict`] after 16 tries, or when something else fails; then nothing was changed
    /// unless the error says that it may have been.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection; the transaction may have been executed if it had
    /// been sent.
    ///
    /// # Examples
    /// ```no_run
    /// # use headpond::redis::{self, AsyncCommands};
    /// # async fn run(pool: headpond::Pool<redis::Manager>) -> Result<(), redis::Error> {
    /// let (now,): (i64,) = pool
    ///     .transaction(&["stock"], async |redis| {
    ///         let stock: i64 = redis.get("stock").await?;
    ///         let mut sell = redis::pipe();
    ///         sell.set("stock", stock - 1).ignore().get("stock");
    ///         Ok(sell)
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub async fn transaction<T: FromRedisValue>(
        &self,
        keys: impl ToRedisArgs,
        mut work: impl AsyncFnMut(&mut Connection) -> Result<Pipeline, Error>,
    ) -> Result<T, Error> {
        let mut watch = redis::cmd("WATCH");
        watch.arg(keys);
        for _ in 0..TRIES {
            let mut connection = self.get().await?;
            connection.query::<()>(&watch).await?;
            let mut commands = work(&mut connection).await?;
            commands.atomic();
            // Nothing at all means that somebody was faster.
            let done: Option<T> = commands.query_async(&mut *connection).await?;
            if let Some(done) = done {
                return Ok(done);
            }
        }
        Err(Error::Conflict(TRIES))
    }

    /// Begins to listen to channels, on a connection of the pool that is replaced when it breaks.
    #[must_use]
    pub fn listen<I: IntoIterator>(&self, channels: I) -> Listener
    where
        I::Item: Into<String>,
    {
        Listener::new(self.clone(), channels.into_iter().map(Into::into).collect())
    }
}
