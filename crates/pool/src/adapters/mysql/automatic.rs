//! Single statements that acquire a connection and give it back by themselves.
//!
//! Invariant: the connection goes back before the result is returned.
//! Left out: anything that needs two statements on one connection.

use mysql_async::Params;
use mysql_async::prelude::FromRow;

use super::{Error, Manager};
use crate::pool::Pool;

/// Statements that acquire a connection, run, and give it back.
impl Pool<Manager> {
    /// Runs a statement without parameters and returns its rows.
    ///
    /// # Errors
    /// When there is no connection in time, or the server refuses the statement.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue, or ends the connection and the statement.
    #[track_caller]
    pub fn query<T: FromRow + Send>(
        &self,
        sql: impl AsRef<str> + Send,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send {
        let got = self.get();
        async move { got.await?.query(sql).await }
    }

    /// Runs a statement without parameters and returns its first row.
    ///
    /// # Errors
    /// When there is no connection in time, or the server refuses the statement.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue, or ends the connection and the statement.
    #[track_caller]
    pub fn query_first<T: FromRow + Send>(
        &self,
        sql: impl AsRef<str> + Send,
    ) -> impl Future<Output = Result<Option<T>, Error>> + Send {
        let got = self.get();
        async move { got.await?.query_first(sql).await }
    }

    /// Runs a statement with parameters and returns its rows.
    ///
    /// # Errors
    /// When there is no connection in time, or the server refuses the statement.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue, or ends the connection and the statement.
    #[track_caller]
    pub fn exec<T: FromRow + Send>(
        &self,
        sql: impl AsRef<str> + Send,
        params: impl Into<Params> + Send,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send {
        let got = self.get();
        async move { got.await?.exec(sql, params).await }
    }

    /// Runs a statement with parameters and returns its first row.
    ///
    /// # Errors
    /// When there is no connection in time, or the server refuses the statement.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue, or ends the connection and the statement.
    #[track_caller]
    pub fn exec_first<T: FromRow + Send>(
        &self,
        sql: impl AsRef<str> + Send,
        params: impl Into<Params> + Send,
    ) -> impl Future<Output = Result<Option<T>, Error>> + Send {
        let got = self.get();
        async move { got.await?.exec_first(sql, params).await }
    }

    /// Runs a statement with parameters and returns how many rows it changed.
    ///
    /// # Errors
    /// When there is no connection in time, or the server refuses the statement.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue, or ends the connection and the statement.
    #[track_caller]
    pub fn exec_drop(
        &self,
        sql: impl AsRef<str> + Send,
        params: impl Into<Params> + Send,
    ) -> impl Future<Output = Result<u64, Error>> + Send {
        let got = self.get();
        async move { got.await?.exec_drop(sql, params).await }
    }
}
