//! Transactions: as a value, and as a closure that runs again when it lost against others.
//!
//! Invariant: a transaction ends before its connection can be used for anything else: it is
//! committed, or rolled back when it is dropped, whatever the reason.
//! Left out: the options, which all databases share (`crate::transaction`).

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use headpond_wire::Status;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, IsolationLevel, Row, Statement};

use super::Postgres;
use super::connection::Connection;
use super::error::{self, Error as PostgresError};
use super::profile::Profile;
use super::statement::{On, Query, Statements, queries};
use super::watch::Watch;
use crate::pool::Pool;
use crate::transaction::{Access, Error as TransactionError, Isolation, Options};

/// A transaction. Dropping it rolls back.
///
/// It has the methods of [`tokio_postgres::Transaction`] beside its own.
pub struct Transaction<'a> {
    begun: tokio_postgres::Transaction<'a>,
    statements: &'a Statements,
    profile: &'a Arc<Profile>,
    watch: &'a Watch,
}

/// Begins a transaction.
pub(super) async fn begin<'a>(
    client: &'a mut Client,
    options: &Options,
) -> Result<tokio_postgres::Transaction<'a>, Error> {
    let mut builder = client.build_transaction();
    if let Some(isolation) = options.isolation {
        builder = builder.isolation_level(match isolation {
            Isolation::ReadUncommitted => IsolationLevel::ReadUncommitted,
            Isolation::ReadCommitted => IsolationLevel::ReadCommitted,
            Isolation::RepeatableRead => IsolationLevel::RepeatableRead,
            Isolation::Serializable => IsolationLevel::Serializable,
        });
    }
    if let Some(access) = options.access {
        builder = builder.read_only(access == Access::ReadOnly);
    }
    if options.deferrable {
        builder = builder.deferrable(true);
    }
    builder.start().await
}

impl<'a> Transaction<'a> {
    pub(super) const fn new(
        begun: tokio_postgres::Transaction<'a>,
        statements: &'a Statements,
        profile: &'a Arc<Profile>,
        watch: &'a Watch,
    ) -> Self {
        Self { begun, statements, profile, watch }
    }

    fn on(&self) -> On<'_> {
        On {
            client: self.begun.client(),
            statements: self.statements,
            profile: self.profile,
            watch: self.watch,
        }
    }

    queries!("Dropping the future does not stop the server; dropping the transaction does.");

    /// Begins a transaction inside this one. Dropping it rolls back to here.
    ///
    /// # Errors
    /// When the server refuses.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a savepoint at most.
    pub async fn savepoint(&mut self) -> Result<Transaction<'_>, Error> {
        let Self { begun, statements, profile, watch } = self;
        Ok(Transaction { begun: begun.transaction().await?, statements, profile, watch })
    }

    /// Commits.
    ///
    /// # Errors
    /// When the server refuses: then everything was rolled back. If the connection was lost, it
    /// may have been committed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome open.
    pub async fn commit(self) -> Result<(), Error> {
        self.begun.commit().await
    }

    /// Rolls back.
    ///
    /// # Errors
    /// When the session ended, which rolls back too.
    ///
    /// # Cancel safety
    /// Dropping the future is harmless: it is rolled back all the same.
    pub async fn rollback(self) -> Result<(), Error> {
        self.begun.rollback().await
    }

    /// Returns whether a statement failed, so that nothing but a rollback is possible; as of the
    /// last statement that was read to its end.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.watch.status() == Status::Failed
    }
}

impl<'a> Deref for Transaction<'a> {
    type Target = tokio_postgres::Transaction<'a>;

    fn deref(&self) -> &Self::Target {
        &self.begun
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("failed", &self.is_failed()).finish_non_exhaustive()
    }
}

/// How one run ended.
enum Run<T, E> {
    Done(T),
    Failed(TransactionError<E, PostgresError>),
    /// It lost against another transaction.
    Lost(TransactionError<E, PostgresError>),
}

impl Connection {
    /// Runs a closure in a transaction, and commits if it returns `Ok`.
    ///
    /// In a spawned task write `async move |tx|` and give the closure what it owns: a variable that
    /// an async closure borrows keeps the compiler from proving the future `Send`.
    ///
    /// If it lost against another transaction (40001, 40P01), all of it runs again, at most
    /// [`Options::retries`] times. Whatever else happens, an error, a panic or the future being
    /// dropped, it is rolled back.
    ///
    /// # Errors
    /// See [`transaction::Error`](crate::transaction::Error).
    ///
    /// # Cancel safety
    /// Dropping the future rolls back, unless COMMIT was under way.
    pub async fn with_transaction<T, E, F>(
        &mut self,
        options: Options,
        mut work: F,
    ) -> Result<T, TransactionError<E, PostgresError>>
    where
        F: AsyncFnMut(&mut Transaction<'_>) -> Result<T, E>,
    {
        let mut retry = 0;
        loop {
            match self.run(&options, &mut work).await {
                Run::Done(value) => return Ok(value),
                Run::Failed(error) => return Err(error),
                Run::Lost(error) if retry >= options.retries => return Err(error),
                Run::Lost(_) => {
                    tokio::time::sleep(options.pause(retry)).await;
                    retry += 1;
                }
            }
        }
    }

    async fn run<T, E, F>(&mut self, options: &Options, work: &mut F) -> Run<T, E>
    where
        F: AsyncFnMut(&mut Transaction<'_>) -> Result<T, E>,
    {
        let deadline = options.timeout.map(|limit| (limit, tokio::time::Instant::now() + limit));
        let late = |committing| match deadline {
            Some((limit, _)) => TransactionError::Timeout { limit, committing },
            None => TransactionError::Timeout { limit: Duration::MAX, committing },
        };
        self.watch().forget_error();
        let body = async {
            let mut transaction =
                self.transaction(options).await.map_err(|e| TransactionError::Begin(e.into()))?;
            let value = work(&mut transaction).await;
            Ok::<_, TransactionError<E, PostgresError>>((transaction, value))
        };
        let (transaction, value) = match until(deadline, body).await {
            None => return Run::Failed(late(false)),
            Some(Err(error)) => return Run::Failed(error),
            Some(Ok(outcome)) => outcome,
        };
        let watch = transaction.watch;
        let value = match value {
            Ok(value) => value,
            Err(error) => {
                let error = TransactionError::Work(error);
                // Awaited, so that the locks are gone before anything else is tried.
                return match until(deadline, transaction.rollback()).await {
                    Some(Ok(())) if has_lost(watch) => Run::Lost(error),
                    _ => Run::Failed(error),
                };
            }
        };
        match until(deadline, transaction.commit()).await {
            Some(Ok(())) if watch.has_committed() => Run::Done(value),
            // The server answers COMMIT with ROLLBACK after a failure that the closure hid.
            Some(Ok(())) if has_lost(watch) => Run::Lost(TransactionError::Aborted),
            Some(Ok(())) => Run::Failed(TransactionError::Aborted),
            None => Run::Failed(late(true)),
            Some(Err(error)) if error::is_serialization_failure(&error) => {
                Run::Lost(TransactionError::Commit(error.into()))
            }
            // What the server says has not been committed, unless it was going down.
            Some(Err(error)) if error.code().is_some() && !error::is_connection_error(&error) => {
                Run::Failed(TransactionError::Commit(error.into()))
            }
            Some(Err(error)) => Run::Failed(TransactionError::Unknown(error.into())),
        }
    }
}

fn has_lost(watch: &Watch) -> bool {
    matches!(watch.error().as_ref(), Some(b"40001" | b"40P01"))
}

async fn until<T>(
    deadline: Option<(Duration, tokio::time::Instant)>,
    work: impl Future<Output = T>,
) -> Option<T> {
    match deadline {
        None => Some(work.await),
        Some((_, at)) => tokio::time::timeout_at(at, work).await.ok(),
    }
}

impl Pool<Postgres> {
    /// Runs a closure in a transaction on a connection of the pool; see
    /// [`Connection::with_transaction`].
    ///
    /// # Errors
    /// See [`transaction::Error`](crate::transaction::Error).
    ///
    /// # Cancel safety
    /// Dropping the future rolls back, unless COMMIT was under way.
    ///
    /// # Examples
    /// ```no_run
    /// # use headpond::{Pool, postgres::{self, Postgres}, transaction::Options};
    /// # async fn transfer(pool: Pool<Postgres>) -> Result<(), Box<dyn std::error::Error>> {
    /// let options = Options::default();
    /// pool.with_transaction(options, async |tx| {
    ///     tx.execute("UPDATE account SET balance = balance - 1 WHERE id = $1", &[&1]).await?;
    ///     tx.execute("UPDATE account SET balance = balance + 1 WHERE id = $1", &[&2]).await
    /// })
    /// .await?;
    /// # Ok(()) }
    /// ```
    pub async fn with_transaction<T, E, F>(
        &self,
        options: Options,
        work: F,
    ) -> Result<T, TransactionError<E, PostgresError>>
    where
        F: AsyncFnMut(&mut Transaction<'_>) -> Result<T, E>,
    {
        // Owned, because a future that borrows the pool and runs an async closure is not `Send` for
        // every lifetime, as far as the compiler can tell.
        let got = self.get_owned_timeout(options.max_wait).await;
        let mut connection = got.map_err(TransactionError::NoConnection)?;
        connection.with_transaction(options, work).await
    }
}

#[cfg(feature = "tower")]
impl crate::middleware::Transactional for Postgres {
    async fn begin(&self, connection: &mut Connection) -> Result<(), PostgresError> {
        Ok(connection.batch("BEGIN").await?)
    }

    async fn commit(&self, connection: &mut Connection) -> Result<(), PostgresError> {
        connection.batch("COMMIT").await?;
        // The server answers COMMIT with ROLLBACK if a statement failed before.
        if connection.watch().has_committed() { Ok(()) } else { Err(PostgresError::RolledBack) }
    }

    async fn rollback(&self, connection: &mut Connection) -> Result<(), PostgresError> {
        Ok(connection.batch("ROLLBACK").await?)
    }
}
