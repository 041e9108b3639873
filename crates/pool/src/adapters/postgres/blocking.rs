//! Queries for code that is not async.
//!
//! Invariant: each is its async namesake, waited for.
//! Left out: the runtime (`crate::blocking`).

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::error::Error as PostgresError;
use super::manager::Postgres;
use super::statement::Query;
use super::transaction::Transaction;
use crate::blocking::{Guard, Pool};
use crate::transaction::{Error as TransactionError, Options};

impl Guard<Postgres> {
    /// Runs a query and returns its rows.
    ///
    /// # Errors
    /// When the server refuses it, or the session ends.
    pub fn query(
        &mut self,
        query: &(impl Query + ?Sized),
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.run(async |connection| connection.query(query, parameters).await)
    }

    /// Runs a query that returns one row, or none.
    ///
    /// # Errors
    /// As [`Guard::query`].
    pub fn query_opt(
        &mut self,
        query: &(impl Query + ?Sized),
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Error> {
        self.run(async |connection| connection.query_opt(query, parameters).await)
    }

    /// Runs a statement and returns how many rows it changed.
    ///
    /// # Errors
    /// As [`Guard::query`].
    pub fn execute(
        &mut self,
        query: &(impl Query + ?Sized),
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        self.run(async |connection| connection.execute(query, parameters).await)
    }

    /// Runs statements that are separated by semicolons.
    ///
    /// # Errors
    /// With the first that fails; the others are not run.
    pub fn batch(&mut self, statements: &str) -> Result<(), Error> {
        self.run(async |connection| connection.batch(statements).await)
    }
}

impl Pool<Postgres> {
    /// Runs a closure in a transaction; see
    /// [`Pool::with_transaction`](crate::Pool::with_transaction).
    ///
    /// # Errors
    /// See [`transaction::Error`](crate::transaction::Error).
    pub fn with_transaction<T, E>(
        &self,
        options: Options,
        work: impl AsyncFnMut(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, TransactionError<E, PostgresError>> {
        self.run(async |pool| pool.with_transaction(options, work).await)
    }
}
