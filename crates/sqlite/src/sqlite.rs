//! The handle of a database: its writer, its readers, and what is done with them.
//!
//! Invariant: writes run one at a time, in the order in which they were asked for; a database in
//! memory lives as long as the handle.
//! Left out: making one (`builder.rs`).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headpond::{GetOwned, Leftover, Pool};
use parking_lot::Mutex;
use rusqlite::Transaction;

use crate::builder::Builder;
use crate::call::call;
use crate::error::{Error, TransactionError};
use crate::manager::Manager;
use crate::settings::Settings;
use crate::transaction::{Access, Patience, TransactionOptions, run};

/// A database. Cloning it gives another handle of the same.
#[derive(Clone)]
pub struct Sqlite {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) settings: Arc<Settings>,
    /// None if the database is open for reading only.
    pub(crate) writer: Option<Pool<Manager>>,
    pub(crate) readers: Pool<Manager>,
    /// Keeps a database in memory while no pooled connection is open.
    pub(crate) anchor: Mutex<Option<rusqlite::Connection>>,
}

/// A database's pools at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The writer; none if the database is open for reading only.
    pub writer: Option<headpond::Status>,
    /// The readers.
    pub readers: headpond::Status,
}

impl Sqlite {
    pub(crate) const fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Opens the database that a URL names, with its writer and one reader.
    ///
    /// `sqlite::memory:`, `sqlite:relative.db`, `sqlite:///abs.db` and `file:` URLs, with the
    /// options `mode` (`ro`, `rw`, `rwc`, `memory`; `rw` unless said), `immutable`, `vfs`,
    /// `pool_max_conns`, `pool_timeout`, and the pragmas of [`Settings`].
    ///
    /// # Errors
    /// When the URL is not understood or the file cannot be opened.
    ///
    /// # Cancel safety
    /// Dropping the future closes what is open.
    ///
    /// # Examples
    /// ```
    /// # use headpond_sqlite::Sqlite;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let error = Sqlite::open("sqlite:nowhere.db").await.unwrap_err();
    /// assert!(error.to_string().contains("mode=rwc"));
    /// # }
    /// ```
    pub async fn open(url: &str) -> Result<Self, Error> {
        Builder::new(url)?.open().await
    }

    /// Begins a database with settings of its own.
    ///
    /// # Errors
    /// When the URL is not understood.
    pub fn builder(url: &str) -> Result<Builder, Error> {
        Ok(Builder::new(url)?)
    }

    /// Runs a closure on a reader. Nothing can be written there, and only what is committed is
    /// seen; a transaction (`c.transaction()`) lets several queries see the same state.
    ///
    /// # Errors
    /// When no reader is to be had, a query fails, or the closure panics.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue, or interrupts the query that runs.
    #[track_caller]
    pub fn read<R, F>(&self, work: F) -> impl Future<Output = Result<R, Error>> + Send + use<R, F>
    where
        F: FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<R> + Send + 'static,
        R: Send + 'static,
    {
        let reader = self.shared.readers.get_owned();
        async move {
            let guard = reader.await?;
            call(guard, None, |c, _, _| work(c).map_err(Error::Query)).await
        }
    }

    /// Runs a closure in a transaction on the writer, and commits.
    ///
    /// The transaction begins with `BEGIN IMMEDIATE`: when the closure starts, the lock is had. An
    /// error, a panic, or dropping the future before the commit rolls everything back.
    ///
    /// # Errors
    /// When the writer is not to be had, another process keeps the lock, a statement fails, or the
    /// closure panics. Nothing is changed then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue, or interrupts the closure and rolls back. If it is
    /// committing at that moment it is left to finish.
    #[track_caller]
    pub fn write<R, F>(&self, work: F) -> impl Future<Output = Result<R, Error>> + Send + use<R, F>
    where
        F: FnOnce(&mut Transaction<'_>) -> rusqlite::Result<R> + Send + 'static,
        R: Send + 'static,
    {
        let options = TransactionOptions::default()
            .max_wait(self.shared.settings.acquire_timeout)
            .timeout(None);
        let done = self.with_transaction(options, work);
        async move {
            done.await.map_err(|error| match error {
                TransactionError::Aborted(error) => Error::Query(error),
                TransactionError::Failed(error) => error,
            })
        }
    }

    /// Runs a closure in a transaction with rules of its own, and commits.
    ///
    /// # Errors
    /// With what the closure fails with, or as [`Sqlite::write`]. Nothing is changed then.
    ///
    /// # Cancel safety
    /// As [`Sqlite::write`].
    ///
    /// # Examples
    /// ```
    /// # use headpond_sqlite::{Sqlite, TransactionError, TransactionOptions};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let db = Sqlite::open("sqlite::memory:").await?;
    /// let outcome = db
    ///     .with_transaction(TransactionOptions::default(), |tx| {
    ///         tx.execute_batch("CREATE TABLE seats (seat INTEGER)")?;
    ///         Err::<(), Box<dyn std::error::Error + Send + Sync>>("no seats left".into())
    ///     })
    ///     .await;
    /// assert!(matches!(outcome, Err(TransactionError::Aborted(_))));
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn with_transaction<R, E, F>(
        &self,
        options: TransactionOptions,
        work: F,
    ) -> impl Future<Output = Result<R, TransactionError<E>>> + Send + use<R, E, F>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: Send + 'static,
    {
        let connection = self.borrow(options);
        let patience = Patience {
            began: Instant::now(),
            max_wait: options.max_wait,
            busy_timeout: self.shared.settings.busy_timeout,
        };
        async move {
            let guard = connection?.await.map_err(Error::from)?;
            call(guard, options.timeout, move |c, control, watch| {
                run(c, (control, watch), (options.access, patience), work)
            })
            .await
        }
    }

    #[track_caller]
    fn borrow(&self, options: TransactionOptions) -> Result<GetOwned<Manager>, Error> {
        let pool = match options.access {
            Access::Write => self.shared.writer.as_ref().ok_or(Error::ReadOnly)?,
            Access::Read => &self.shared.readers,
        };
        // As good as never: more than any clock counts.
        const NEVER: Duration = Duration::from_secs(86_400 * 365);
        Ok(pool.get_owned_timeout(options.max_wait.unwrap_or(NEVER)))
    }

    /// Returns the pool of the readers.
    #[must_use]
    pub fn readers(&self) -> &Pool<Manager> {
        &self.shared.readers
    }

    /// Returns the pool of the writer; none if the database is open for reading only.
    #[must_use]
    pub fn writer(&self) -> Option<&Pool<Manager>> {
        self.shared.writer.as_ref()
    }

    /// Returns the settings of the database.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Returns both pools in numbers.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            writer: self.shared.writer.as_ref().map(Pool::status),
            readers: self.shared.readers.status(),
        }
    }

    /// Closes the database: whoever waits is refused, what runs may finish until the time is over,
    /// and the last connection moves the log into the file. A database in memory is gone then.
    ///
    /// # Errors
    /// With who has connections still when the time is over; they close when they come back.
    ///
    /// # Cancel safety
    /// Dropping the future stops waiting; what was begun to be closed stays closed.
    pub async fn close(&self, timeout: Duration) -> Result<(), Leftover> {
        let deadline = tokio::time::Instant::now() + timeout;
        // The writer goes last: whoever goes last tidies up, and readers may not write.
        let mut left = self.shared.readers.close(timeout).await;
        if let Some(writer) = &self.shared.writer {
            let rest = deadline.saturating_duration_since(tokio::time::Instant::now());
            if let Err(more) = writer.close(rest).await {
                let mut all = left.err().unwrap_or_default();
                all.holders.extend(more.holders);
                all.connections += more.connections;
                left = Err(all);
            }
        }
        self.shared.anchor.lock().take();
        left
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite")
            .field("writer", &self.shared.writer)
            .field("readers", &self.shared.readers)
            .finish_non_exhaustive()
    }
}
