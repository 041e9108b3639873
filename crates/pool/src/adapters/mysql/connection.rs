//! A connection that knows what was done with it.
//!
//! Before the first byte of a request is written the connection counts as asked, and until the
//! last byte of its reply was read: whoever gives it back meanwhile, or drops a future, gives back
//! a connection that is closed.
//!
//! Invariant: a connection that is not asked has no reply under way.
//! Left out: what becomes of it (`manager.rs`).

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use mysql_async::consts::StatusFlags;
use mysql_async::prelude::{FromRow, Protocol, Queryable};
use mysql_async::{Conn, Params, QueryResult, TextProtocol};

use super::error::Error;
use super::statement::{Touch, touch};

/// A session with a MySQL or MariaDB server.
pub struct Connection {
    /// None only while it is being dropped.
    conn: Option<Conn>,
    pub(super) session: Session,
    /// The server that the session is with, so that a kill cannot hit another one's.
    pub(super) server: Arc<str>,
}

/// What is known about a session.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// A request was begun and its reply not read to the end.
    pub(super) asked: bool,
    pub(super) touch: Touch,
    /// A transaction of the adapter's own is under way.
    pub(super) transacting: bool,
    /// The deadlock or lock timeout that it met.
    conflict: Option<u16>,
}

/// The server's number for a deadlock, after which the transaction is rolled back.
const DEADLOCK: u16 = 1213;

const PRESENT: &str = "a connection has its session until it is dropped";

impl Connection {
    pub(super) fn new(conn: Conn, server: Arc<str>) -> Self {
        Self { conn: Some(conn), session: Session::default(), server }
    }

    pub(super) const fn conn(&self) -> &Conn {
        self.conn.as_ref().expect(PRESENT)
    }

    pub(super) const fn conn_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect(PRESENT)
    }

    /// Runs a statement without parameters and returns its rows.
    ///
    /// # Errors
    /// When the server refuses it, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection: it is closed when it is given back.
    pub async fn query<T: FromRow>(&mut self, sql: impl AsRef<str>) -> Result<Vec<T>, Error> {
        let sql = sql.as_ref();
        self.begin(sql)?;
        let rows = all(self.conn_mut().query_iter(sql).await).await;
        self.end(rows)
    }

    /// Runs a statement without parameters and returns its first row.
    ///
    /// # Errors
    /// When the server refuses it, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection: it is closed when it is given back.
    pub async fn query_first<T: FromRow>(
        &mut self,
        sql: impl AsRef<str>,
    ) -> Result<Option<T>, Error> {
        let sql = sql.as_ref();
        self.begin(sql)?;
        let row = first(self.conn_mut().query_iter(sql).await).await;
        self.end(row)
    }

    /// Runs a statement without parameters and returns how many rows it changed.
    ///
    /// # Errors
    /// When the server refuses it, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection: it is closed when it is given back.
    pub async fn query_drop(&mut self, sql: impl AsRef<str>) -> Result<u64, Error> {
        let sql = sql.as_ref();
        self.begin(sql)?;
        let changed = none(self.conn_mut().query_iter(sql).await).await;
        self.end(changed)
    }

    /// Prepares a statement, unless the connection has it, and returns its rows.
    ///
    /// # Errors
    /// When the server refuses it, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection: it is closed when it is given back.
    pub async fn exec<T: FromRow>(
        &mut self,
        sql: impl AsRef<str>,
        params: impl Into<Params> + Send,
    ) -> Result<Vec<T>, Error> {
        let sql = sql.as_ref();
        self.begin(sql)?;
        let rows = all(self.conn_mut().exec_iter(sql, params.into()).await).await;
        self.end(rows)
    }

    /// Prepares a statement, unless the connection has it, and returns its first row.
    ///
    /// # Errors
    /// When the server refuses it, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection: it is closed when it is given back.
    pub async fn exec_first<T: FromRow>(
        &mut self,
        sql: impl AsRef<str>,
        params: impl Into<Params> + Send,
    ) -> Result<Option<T>, Error> {
        let sql = sql.as_ref();
        self.begin(sql)?;
        let row = first(self.conn_mut().exec_iter(sql, params.into()).await).await;
        self.end(row)
    }

    /// Prepares a statement, unless the connection has it, and returns how many rows it changed.
    ///
    /// # Errors
    /// When the server refuses it, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection: it is closed when it is given back.
    pub async fn exec_drop(
        &mut self,
        sql: impl AsRef<str>,
        params: impl Into<Params> + Send,
    ) -> Result<u64, Error> {
        let sql = sql.as_ref();
        self.begin(sql)?;
        let changed = none(self.conn_mut().exec_iter(sql, params.into()).await).await;
        self.end(changed)
    }

    /// Runs a statement once for each set of parameters, in one request where the server can.
    ///
    /// # Errors
    /// When the server refuses it, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection: it is closed when it is given back.
    pub async fn exec_batch<P, I>(&mut self, sql: impl AsRef<str>, params: I) -> Result<(), Error>
    where
        P: Into<Params> + Send,
        I: IntoIterator<Item = P> + Send,
        I::IntoIter: Send,
    {
        let sql = sql.as_ref();
        self.begin(sql)?;
        let done = self.conn_mut().exec_batch(sql, params).await.map_err(Error::from);
        self.end(done)
    }

    /// Runs a statement without parameters whose rows are read one by one.
    ///
    /// # Errors
    /// When the server refuses it, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection: it is closed when it is given back.
    pub async fn rows(&mut self, sql: impl Into<String>) -> Result<Rows<'_>, Error> {
        let sql = sql.into();
        self.begin(&sql)?;
        let Self { conn, session, .. } = self;
        match conn.as_mut().expect(PRESENT).query_iter(sql).await {
            Ok(result) => Ok(Rows { result: Some(result), session }),
            Err(error) => {
                let error = Error::from(error);
                if error.is_conflict() {
                    session.conflict = error.code();
                }
                session.asked = !leaves_in_order(&error);
                Err(error)
            }
        }
    }

    /// Returns the number that the last statement gave to an `AUTO_INCREMENT` column.
    #[must_use]
    pub fn last_insert_id(&self) -> Option<u64> {
        self.conn().last_insert_id()
    }

    /// Returns the server's number of the session, as in `KILL`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.conn().id()
    }

    /// Returns the driver's connection, for what this type has not.
    ///
    /// Nobody sees what is done with it, so the session is cleaned and examined afterwards,
    /// whatever [`Cleaning`](super::Cleaning) says.
    pub const fn driver(&mut self) -> &mut Conn {
        self.session.touch = Touch::Raw;
        self.conn_mut()
    }

    /// Returns whether the server said at the end of the last statement that a transaction is open;
    /// none if the last reply did not say.
    pub(super) fn is_in_transaction(&self) -> Option<bool> {
        let ok = self.conn().last_ok_packet()?;
        Some(ok.status_flags().contains(StatusFlags::SERVER_STATUS_IN_TRANS))
    }

    /// Notes that a request is about to be written.
    fn begin(&mut self, sql: &str) -> Result<(), Error> {
        if self.session.transacting && self.session.conflict == Some(DEADLOCK) {
            // The server rolled back: what is sent now would be committed by itself.
            return Err(Error::RolledBack);
        }
        self.session.asked = true;
        self.session.touch = self.session.touch.max(touch(sql.as_bytes()));
        Ok(())
    }

    /// Notes how a request ended.
    pub(super) fn end<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.session.asked = match &result {
            Ok(_) => false,
            Err(error) => {
                if error.is_conflict() {
                    self.session.conflict = error.code();
                }
                !leaves_in_order(error)
            }
        };
        result
    }

    /// Begins a transaction of the adapter's own.
    pub(super) async fn begin_transaction(&mut self, sql: &str) -> Result<(), Error> {
        self.control(sql).await?;
        self.session.transacting = true;
        self.session.conflict = None;
        Ok(())
    }

    /// Notes that the transaction is to end now. Returns the conflict that it met.
    pub(super) const fn end_transaction(&mut self) -> Option<u16> {
        self.session.transacting = false;
        self.session.conflict.take()
    }

    /// Runs a statement that changes nothing but the transaction.
    pub(super) async fn control(&mut self, sql: &str) -> Result<(), Error> {
        self.session.asked = true;
        self.session.touch = self.session.touch.max(Touch::Plain);
        let done = none(self.conn_mut().query_iter(sql).await).await;
        self.end(done).map(drop)
    }

    /// Lets the session be ended when it is given back, because nobody knows what is under way.
    pub(super) const fn discard_midway(&mut self) {
        self.session.asked = true;
    }

    /// Takes the driver's connection out to say goodbye in order.
    pub(super) fn into_conn(mut self) -> Option<Conn> {
        self.conn.take()
    }
}

/// Returns whether the reply was read to its end all the same.
const fn leaves_in_order(error: &Error) -> bool {
    matches!(error, Error::Row | Error::Driver(mysql_async::Error::Server(_)))
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        if self.session.asked {
            hang_up(conn);
        }
    }
}

/// Closes the socket at once. Left to itself, the driver reads what is under way to its end first,
/// however long that takes.
fn hang_up(conn: Conn) {
    // The first poll marks the connection as gone; then dropping it does nothing more.
    let mut goodbye = pin!(conn.disconnect());
    let _ = goodbye.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the driver's own: it shows the password.
        f.debug_struct("Connection")
            .field("id", &self.conn.as_ref().map(Conn::id))
            .field("server", &self.server)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// Rows that are read one by one. Dropping them before the end ends the connection.
#[must_use = "rows are read by calling next"]
pub struct Rows<'connection> {
    result: Option<QueryResult<'connection, 'static, TextProtocol>>,
    session: &'connection mut Session,
}

impl Rows<'_> {
    /// Reads the next row; none after the last.
    ///
    /// # Errors
    /// When a row does not fit, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection: it is closed when it is given back.
    pub async fn next<T: FromRow>(&mut self) -> Result<Option<T>, Error> {
        let Some(result) = &mut self.result else { return Ok(None) };
        if let Some(row) = result.next().await? {
            return T::from_row_opt(row).map(Some).map_err(|_| Error::Row);
        }
        if let Some(result) = self.result.take() {
            result.drop_result().await?;
            self.session.asked = false;
        }
        Ok(None)
    }
}

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

type Answer<'a, P> = mysql_async::Result<QueryResult<'a, 'static, P>>;

/// Reads the first result to its end, and past all others.
async fn all<P: Protocol, T: FromRow>(answer: Answer<'_, P>) -> Result<Vec<T>, Error> {
    let mut result = answer?;
    let (mut rows, mut fits) = (Vec::new(), true);
    if !result.is_empty() {
        while let Some(row) = result.next().await? {
            match T::from_row_opt(row) {
                Ok(row) => rows.push(row),
                Err(_) => fits = false,
            }
        }
    }
    result.drop_result().await?;
    if fits { Ok(rows) } else { Err(Error::Row) }
}

/// Reads the first row, and past all others.
async fn first<P: Protocol, T: FromRow>(answer: Answer<'_, P>) -> Result<Option<T>, Error> {
    let mut result = answer?;
    let row = if result.is_empty() { None } else { result.next().await? };
    result.drop_result().await?;
    row.map(|row| T::from_row_opt(row).map_err(|_| Error::Row)).transpose()
}

/// Reads past everything.
async fn none<P: Protocol>(answer: Answer<'_, P>) -> Result<u64, Error> {
    let result = answer?;
    let changed = result.affected_rows();
    result.drop_result().await?;
    Ok(changed)
}
