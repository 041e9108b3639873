//! Transactions that end whatever happens, and run again after a deadlock.
//!
//! Invariant: when the closure does not succeed, or is dropped, nothing of it stays: it is rolled
//! back, or its session is ended.
//! Left out: what is the same for every database (`crate::transaction`).

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Connection, Error, Manager};
use crate::pool::Pool;
use crate::transaction::{Error as Failure, Options};

/// A transaction under way: a connection that must not be committed by hand.
///
/// Statements that define something (`CREATE TABLE`, …) commit by themselves in MySQL.
pub struct Transaction<'connection> {
    connection: &'connection mut Connection,
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transaction").field(&self.connection).finish()
    }
}

/// How one run ended, if it was not the end of it all.
enum Run<T, E> {
    Committed(T),
    /// It may succeed if it is run again.
    Conflict(Failure<E, Error>),
    Failed(Failure<E, Error>),
}

impl Pool<Manager> {
    /// Runs `work` in a transaction: commits if it returns `Ok`, rolls back if it returns an error,
    /// panics, takes too long or is dropped.
    ///
    /// After a deadlock (1213) or a wait for a lock that was too long (1205) everything is rolled
    /// back and `work` is called again, [`Options::retries`] times at most, whatever it made of the
    /// error.
    ///
    /// # Errors
    /// With what went wrong and whether anything may have been committed, see
    /// [`transaction::Error`](crate::transaction::Error).
    ///
    /// # Cancel safety
    /// Dropping the future rolls back: the session is ended.
    ///
    /// # Examples
    /// ```no_run
    /// # use headpond::{mysql, transaction::Options};
    /// # type Done = Result<(), Box<dyn std::error::Error>>;
    /// # async fn run(pool: headpond::Pool<mysql::Manager>) -> Done {
    /// let balance: Option<i64> = pool
    ///     .transaction(Options::default(), async |tx| {
    ///         tx.query_drop("UPDATE account SET balance = balance - 5 WHERE id = 1").await?;
    ///         tx.exec_first("SELECT balance FROM account WHERE id = ?", (1,)).await
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn transaction<T, E, W>(
        &self,
        options: Options,
        work: W,
    ) -> impl Future<Output = Result<T, Failure<E, Error>>>
    where
        W: AsyncFnMut(&mut Transaction<'_>) -> Result<T, E>,
    {
        let site = Location::caller();
        self.transact(options, work, site)
    }

    async fn transact<T, E, W>(
        &self,
        options: Options,
        mut work: W,
        site: &'static Location<'static>,
    ) -> Result<T, Failure<E, Error>>
    where
        W: AsyncFnMut(&mut Transaction<'_>) -> Result<T, E>,
    {
        let mut retry = 0;
        loop {
            let got = self.get_at(options.max_wait, site).await;
            let mut connection = got.map_err(Failure::NoConnection)?;
            let committing = AtomicBool::new(false);
            let run = run(&mut connection, &options, &mut work, &committing);
            let run = match options.timeout {
                None => run.await,
                Some(limit) => match tokio::time::timeout(limit, run).await {
                    Ok(run) => run,
                    Err(_) => {
                        // Whatever is under way: the session is ended, which rolls back.
                        connection.discard_midway();
                        let committing = committing.load(Ordering::Relaxed);
                        return Err(Failure::Timeout { limit, committing });
                    }
                },
            };
            match run {
                Run::Committed(value) => return Ok(value),
                Run::Failed(failure) => return Err(failure),
                Run::Conflict(failure) if retry >= options.retries => return Err(failure),
                Run::Conflict(_) => {}
            }
            // Others may have the connection meanwhile.
            drop(connection);
            tokio::time::sleep(options.pause(retry)).await;
            retry += 1;
        }
    }
}

async fn run<T, E, W>(
    connection: &mut Connection,
    options: &Options,
    work: &mut W,
    committing: &AtomicBool,
) -> Run<T, E>
where
    W: AsyncFnMut(&mut Transaction<'_>) -> Result<T, E>,
{
    if let Err(error) = connection.begin_transaction(&opening(options)).await {
        return Run::Failed(Failure::Begin(error));
    }
    let outcome = work(&mut Transaction { connection }).await;
    let conflict = connection.end_transaction();
    let failure = match outcome {
        Ok(value) if conflict.is_none() => {
            committing.store(true, Ordering::Relaxed);
            return match connection.control("COMMIT").await {
                Ok(()) => Run::Committed(value),
                Err(error) if error.is_conflict() => Run::Conflict(Failure::Commit(error)),
                Err(error) if error.code().is_some() => Run::Failed(Failure::Commit(error)),
                Err(error) => Run::Failed(Failure::Unknown(error)),
            };
        }
        Ok(_) => Failure::Aborted,
        Err(error) => Failure::Work(error),
    };
    // If it cannot be rolled back, the session is ended, which comes to the same.
    let _ = connection.control("ROLLBACK").await;
    if conflict.is_some() { Run::Conflict(failure) } else { Run::Failed(failure) }
}

#[cfg(feature = "tower")]
impl crate::middleware::Transactional for Manager {
    async fn begin(&self, connection: &mut Connection) -> Result<(), Error> {
        connection.begin_transaction("START TRANSACTION").await
    }

    async fn commit(&self, connection: &mut Connection) -> Result<(), Error> {
        if connection.end_transaction().is_none() {
            return connection.control("COMMIT").await;
        }
        // A statement failed and nobody said so: half of it is not to be kept.
        connection.control("ROLLBACK").await?;
        Err(Error::RolledBack)
    }

    async fn rollback(&self, connection: &mut Connection) -> Result<(), Error> {
        connection.end_transaction();
        connection.control("ROLLBACK").await
    }
}

/// Returns the statements that begin a transaction, in one request.
fn opening(options: &Options) -> String {
    let mut sql = String::new();
    if let Some(isolation) = options.isolation {
        // Without SESSION it is for the next transaction alone.
        sql.push_str("SET TRANSACTION ISOLATION LEVEL ");
        sql.push_str(isolation.sql());
        sql.push_str("; ");
    }
    sql.push_str("START TRANSACTION");
    if let Some(access) = options.access {
        sql.push(' ');
        sql.push_str(access.sql());
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::opening;
    use crate::transaction::{Isolation, Options};

    #[test]
    fn a_transaction_begins_as_its_options_say() {
        assert_eq!(opening(&Options::default()), "START TRANSACTION");
        let options = Options::default().isolation(Isolation::ReadCommitted).read_only();
        let sql = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION READ ONLY";
        assert_eq!(opening(&options), sql);
    }
}
