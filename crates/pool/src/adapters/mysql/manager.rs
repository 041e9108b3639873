//! Opens, checks, cleans and closes sessions.
//!
//! Invariant: a session goes to another user only with nothing under way, and cleaned unless the
//! settings trust what was seen of it.
//! Left out: what is seen (`connection.rs`, `statement.rs`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Opts};

use super::connection::{Connection, Session};
use super::error::{Error, classify};
use super::facts;
use super::kill::{Killer, identity};
use super::statement::Touch;
use super::{Cleaning, Config, SslMode};
use crate::facts::Facts;
use crate::manager::{CloseReason, ConnectFailure, Fate};

/// Manages the sessions of one server; made from a [`Config`].
pub struct Manager {
    opts: Opts,
    /// What is tried when the server cannot encrypt and need not.
    plain: Option<Opts>,
    cleaning: Cleaning,
    kills: bool,
    killer: Killer,
    checks: AtomicU64,
}

impl Manager {
    /// Returns a manager for the server that `config` names.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mode = config.effective_ssl_mode();
        let opts = config.options(mode);
        if opts.ssl_opts().is_some() {
            crate::adapters::provider::ensure();
        }
        let plain = (mode == Some(SslMode::Preferred) && opts.ssl_opts().is_some())
            .then(|| config.options(Some(SslMode::Disabled)));
        Self {
            opts,
            plain,
            cleaning: config.cleaning,
            kills: config.kill,
            killer: Killer::default(),
            checks: AtomicU64::new(0),
        }
    }

    async fn open(&self) -> Result<Conn, Error> {
        match Conn::new(self.opts.clone()).await {
            Err(mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer)) => {
                match &self.plain {
                    Some(plain) => Ok(Conn::new(plain.clone()).await?),
                    None => Err(DriverError::NoClientSslFlagFromServer.into_error()),
                }
            }
            opened => Ok(opened?),
        }
    }

    /// Asks for a number that nobody asked for before, and compares.
    async fn examine(&self, connection: &mut Connection) -> Result<(), Error> {
        let number = self.checks.fetch_add(1, Ordering::Relaxed);
        let reply: Option<u64> =
            connection.conn_mut().query_first(format!("SELECT {number}")).await?;
        if reply == Some(number) { Ok(()) } else { Err(Error::Stray) }
    }
}

/// The driver's own errors, as ours.
trait IntoError {
    fn into_error(self) -> Error;
}

impl IntoError for DriverError {
    fn into_error(self) -> Error {
        Error::Driver(mysql_async::Error::Driver(self))
    }
}

impl crate::Manager for Manager {
    type Connection = Connection;
    type Error = Error;

    async fn connect(&self) -> Result<Connection, Error> {
        let mut conn = self.open().await?;
        let server = identity(&mut conn).await?;
        Ok(Connection::new(conn, Arc::from(server)))
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), Error> {
        connection.session.asked = true;
        let result = connection.conn_mut().ping().await.map_err(Error::from);
        connection.end(result)
    }

    async fn facts(&self, connection: &mut Connection) -> Result<Option<Facts>, Error> {
        facts::ask(connection).await.map(Some)
    }

    async fn reset(&self, connection: &mut Connection) -> Result<(), Error> {
        let touch = connection.session.touch;
        connection.session.asked = true;
        if !connection.conn_mut().reset().await? {
            return Err(Error::NoReset);
        }
        if touch >= Touch::Database {
            // Cleaning a session leaves it in the database that it was changed to.
            let database = self.opts.db_name().ok_or(Error::NoReset)?;
            let database = database.replace('`', "``");
            connection.conn_mut().query_drop(format!("USE `{database}`")).await?;
        }
        if touch == Touch::Raw {
            self.examine(connection).await?;
        }
        connection.session = Session::default();
        Ok(())
    }

    fn fate(&self, connection: &mut Connection) -> Fate {
        let conn = connection.conn();
        if conn.is_disconnected() {
            return Fate::Discard(CloseReason::Broken);
        }
        let touch = connection.session.touch;
        let elsewhere = conn.opts().user() != self.opts.user();
        let lost = touch >= Touch::Database && self.opts.db_name().is_none();
        if connection.session.asked || elsewhere || lost {
            return Fate::Discard(CloseReason::Unclean);
        }
        match (self.cleaning, touch) {
            (_, Touch::Nothing) => Fate::Reuse,
            (Cleaning::WhenChanged, Touch::Plain)
                if !connection.session.transacting
                    && connection.is_in_transaction() == Some(false) =>
            {
                Fate::Reuse
            }
            _ => Fate::Reset,
        }
    }

    fn is_usable(&self, connection: &mut Connection) -> bool {
        !connection.conn().is_disconnected()
    }

    fn failure(&self, error: &Error) -> ConnectFailure {
        classify(error)
    }

    async fn close(&self, connection: Connection) {
        // The driver counts a session as gone from the first byte of a request on.
        if !connection.session.asked && !connection.conn().is_disconnected() {
            if let Some(conn) = connection.into_conn() {
                // It is gone either way.
                let _ = conn.disconnect().await;
            }
            return;
        }
        let (id, server) = (connection.id(), Arc::clone(&connection.server));
        drop(connection);
        if self.kills
            && let Err(error) = self.killer.kill(self.open(), id, &server).await
        {
            tracing::debug!(session = id, %error, "the abandoned session was not killed");
        }
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("host", &self.opts.ip_or_hostname())
            .field("port", &self.opts.tcp_port())
            .field("database", &self.opts.db_name())
            .field("cleaning", &self.cleaning)
            .finish_non_exhaustive()
    }
}
