//! A database without a server for sqlx's pool: connects take as long as the scenario says, nothing
//! else does anything. Rows, values and statements cannot exist.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx_core::Error;
use sqlx_core::arguments::Arguments;
use sqlx_core::column::{Column, ColumnIndex};
use sqlx_core::connection::{ConnectOptions, Connection};
use sqlx_core::database::Database;
use sqlx_core::encode::Encode;
use sqlx_core::row::Row;
use sqlx_core::sql_str::SqlStr;
use sqlx_core::statement::Statement;
use sqlx_core::transaction::{Transaction, TransactionManager};
use sqlx_core::type_info::TypeInfo;
use sqlx_core::types::Type;
use sqlx_core::value::{Value, ValueRef};

use crate::server::Server;

#[derive(Debug)]
pub struct Null;

#[derive(Debug)]
pub struct NullConnection;

#[derive(Clone)]
pub struct NullOptions(pub Server);

#[derive(Debug, Default)]
pub struct NullResult;

#[derive(Debug, Default)]
pub struct NullArguments;

/// What never exists.
#[derive(Clone, Debug, PartialEq)]
pub enum Never {}

impl Database for Null {
    type Connection = NullConnection;
    type TransactionManager = NullTransactions;
    type Row = Never;
    type QueryResult = NullResult;
    type Column = Never;
    type TypeInfo = Never;
    type Value = Never;
    type ValueRef<'r> = Never;
    type Arguments = NullArguments;
    type ArgumentBuffer = ();
    type Statement = Never;
    const NAME: &'static str = "null";
    const URL_SCHEMES: &'static [&'static str] = &["null"];
}

impl Connection for NullConnection {
    type Database = Null;
    type Options = NullOptions;

    async fn close(self) -> Result<(), Error> {
        Ok(())
    }

    async fn close_hard(self) -> Result<(), Error> {
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn begin(&mut self) -> Result<Transaction<'_, Null>, Error> {
        Transaction::begin(self, None).await
    }

    fn shrink_buffers(&mut self) {}

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn should_flush(&self) -> bool {
        false
    }
}

impl fmt::Debug for NullOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NullOptions")
    }
}

impl FromStr for NullOptions {
    type Err = Error;

    fn from_str(_: &str) -> Result<Self, Error> {
        Err(Error::PoolClosed)
    }
}

impl ConnectOptions for NullOptions {
    type Connection = NullConnection;

    fn from_url(_: &sqlx_core::Url) -> Result<Self, Error> {
        Err(Error::PoolClosed)
    }

    async fn connect(&self) -> Result<NullConnection, Error> {
        match self.0.connect().await {
            Ok(()) => Ok(NullConnection),
            // What sqlx retries: a refused connect.
            Err(_) => Err(Error::Io(std::io::ErrorKind::ConnectionRefused.into())),
        }
    }

    fn log_statements(self, _: log::LevelFilter) -> Self {
        self
    }

    fn log_slow_statements(self, _: log::LevelFilter, _: Duration) -> Self {
        self
    }
}

pub struct NullTransactions;

impl TransactionManager for NullTransactions {
    type Database = Null;

    async fn begin(_: &mut NullConnection, _: Option<SqlStr>) -> Result<(), Error> {
        Ok(())
    }

    async fn commit(_: &mut NullConnection) -> Result<(), Error> {
        Ok(())
    }

    async fn rollback(_: &mut NullConnection) -> Result<(), Error> {
        Ok(())
    }

    fn start_rollback(_: &mut NullConnection) {}

    fn get_transaction_depth(_: &NullConnection) -> usize {
        0
    }
}

impl Extend<NullResult> for NullResult {
    fn extend<T: IntoIterator<Item = NullResult>>(&mut self, _: T) {}
}

impl Arguments for NullArguments {
    type Database = Null;

    fn reserve(&mut self, _: usize, _: usize) {}

    fn add<'t, T>(&mut self, _: T) -> Result<(), sqlx_core::error::BoxDynError>
    where
        T: Encode<'t, Null> + Type<Null>,
    {
        Ok(())
    }

    fn len(&self) -> usize {
        0
    }
}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl TypeInfo for Never {
    fn is_null(&self) -> bool {
        match *self {}
    }

    fn name(&self) -> &str {
        match *self {}
    }
}

impl Column for Never {
    type Database = Null;

    fn ordinal(&self) -> usize {
        match *self {}
    }

    fn name(&self) -> &str {
        match *self {}
    }

    fn type_info(&self) -> &Never {
        match *self {}
    }
}

impl Row for Never {
    type Database = Null;

    fn columns(&self) -> &[Never] {
        match *self {}
    }

    fn try_get_raw<I: ColumnIndex<Self>>(&self, _: I) -> Result<Never, Error> {
        match *self {}
    }
}

impl Value for Never {
    type Database = Null;

    fn as_ref(&self) -> Never {
        match *self {}
    }

    fn type_info(&self) -> Cow<'_, Never> {
        match *self {}
    }

    fn is_null(&self) -> bool {
        match *self {}
    }
}

impl ValueRef<'_> for Never {
    type Database = Null;

    fn to_owned(&self) -> Never {
        match *self {}
    }

    fn type_info(&self) -> Cow<'_, Never> {
        match *self {}
    }

    fn is_null(&self) -> bool {
        match *self {}
    }
}

impl Statement for Never {
    type Database = Null;

    fn into_sql(self) -> SqlStr {
        match self {}
    }

    fn sql(&self) -> &SqlStr {
        match *self {}
    }

    fn parameters(&self) -> Option<sqlx_core::Either<&[Never], usize>> {
        match *self {}
    }

    fn columns(&self) -> &[Never] {
        match *self {}
    }

    sqlx_core::impl_statement_query!(NullArguments);
}

sqlx_core::impl_into_arguments_for_arguments!(NullArguments);
