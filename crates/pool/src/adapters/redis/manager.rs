//! Opens, checks, cleans and closes connections of one's own.
//!
//! Invariant: a connection goes to another user only with nothing under way, in the database of the
//! settings, watching nothing, listening to nothing, in no transaction.
//! Left out: what is seen (`connection.rs`, `command.rs`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::{ErrorKind, ServerErrorKind, Value};

use super::connection::{Connection, Pushes};
use super::error::{Error, classify};
use super::facts;
use super::{Config, link};
use crate::facts::Facts;
use crate::manager::{CloseReason, ConnectFailure, Fate};

/// Manages connections of one's own with one server, or with the master that sentinels name; made
/// from a [`Config`].
pub struct Manager {
    config: Arc<Config>,
    checks: AtomicU64,
}

impl Manager {
    /// Returns a manager for the server that `config` names.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { config: Arc::new(config.clone()), checks: AtomicU64::new(1) }
    }

    fn number(&self) -> u64 {
        self.checks.fetch_add(1, Ordering::Relaxed)
    }
}

impl crate::Manager for Manager {
    type Connection = Connection;
    type Error = Error;

    async fn connect(&self) -> Result<Connection, Error> {
        let pushes = Pushes::new();
        let mut link = link::open(&self.config, || Some(pushes.on_push())).await?;
        // A server that loads its data accepts logins and serves nothing.
        link::ping(&mut link.redis, self.number()).await?;
        Ok(pushes.with(link))
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), Error> {
        connection.session.asked = true;
        link::ping(&mut connection.link.redis, self.number()).await?;
        connection.session.asked = false;
        Ok(())
    }

    async fn facts(&self, connection: &mut Connection) -> Result<Option<Facts>, Error> {
        facts::ask(connection).await.map(Some)
    }

    async fn reset(&self, connection: &mut Connection) -> Result<(), Error> {
        connection.session.asked = true;
        let mut reset = redis::pipe();
        reset.cmd("RESET");
        let Config { login, db, name, .. } = &*self.config;
        if connection.link.resp3 {
            reset.cmd("HELLO").arg(3);
            if let Some(password) = &login.password {
                reset.arg("AUTH").arg(login.user.as_deref().unwrap_or("default")).arg(password);
            }
        } else if let Some(password) = &login.password {
            reset.cmd("AUTH");
            if let Some(user) = &login.user {
                reset.arg(user);
            }
            reset.arg(password);
        }
        if *db != 0 {
            reset.cmd("SELECT").arg(*db);
        }
        if let Some(name) = name {
            reset.cmd("CLIENT").arg("SETNAME").arg(name);
        }
        // The last reply is that to a number that nobody asked for before.
        let number = self.number();
        reset.cmd("PING").arg(number);
        let replies: Vec<Value> =
            reset.query_async(&mut connection.link.redis).await.map_err(|error| {
                match error.kind() {
                    // There is no such command.
                    ErrorKind::Server(ServerErrorKind::ResponseError) => Error::NoReset,
                    _ => error.into(),
                }
            })?;
        match replies.last() {
            Some(Value::BulkString(echo)) if *echo == number.to_string().into_bytes() => {}
            _ => return Err(Error::Stray),
        }
        connection.renew();
        Ok(())
    }

    fn fate(&self, connection: &mut Connection) -> Fate {
        if connection.is_over() {
            return Fate::Discard(CloseReason::Broken);
        }
        let session = &connection.session;
        if session.asked || session.ruined {
            return Fate::Discard(CloseReason::Unclean);
        }
        if session.is_clean() { Fate::Reuse } else { Fate::Reset }
    }

    fn is_usable(&self, connection: &mut Connection) -> bool {
        !connection.link.driver.is_dead()
    }

    async fn close(&self, mut connection: Connection) {
        connection.link.driver.hang_up().await;
    }

    fn failure(&self, error: &Error) -> ConnectFailure {
        classify(error)
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Manager").field(&self.config).finish()
    }
}
