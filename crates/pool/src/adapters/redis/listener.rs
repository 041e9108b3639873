//! Listening to channels for as long as it takes.
//!
//! Invariant: after an interruption the same channels are listened to, and whoever reads is told
//! that there was one: what was published meanwhile is lost.
//! Left out: patterns; subscribe on a connection for those.

use std::fmt;

use redis::Msg;

use super::{Error, Manager};
use crate::guard::OwnedGuard;
use crate::pool::Pool;

/// Listens to channels on a connection of a pool; made by
/// [`Pool::listen`](crate::Pool::listen).
pub struct Listener {
    pool: Pool<Manager>,
    channels: Vec<String>,
    connection: Option<OwnedGuard<Manager>>,
    /// Whether it has listened before.
    resumed: bool,
}

/// What a listener hears.
#[derive(Debug)]
#[non_exhaustive]
pub enum Heard {
    /// A message.
    Message(Msg),
    /// The connection was lost and there is another: messages between them are lost.
    Gap,
}

impl Listener {
    pub(super) const fn new(pool: Pool<Manager>, channels: Vec<String>) -> Self {
        Self { pool, channels, connection: None, resumed: false }
    }

    /// Waits for the next message, and for a connection if there is none.
    ///
    /// # Errors
    /// When there is no connection in time. The next call tries again.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn next(&mut self) -> Result<Heard, Error> {
        loop {
            if let Some(connection) = &mut self.connection {
                match connection.message().await {
                    Ok(message) => return Ok(Heard::Message(message)),
                    Err(_) => self.connection = None,
                }
            }
            let mut connection = self.pool.get_owned().await?;
            connection.subscribe(&self.channels).await?;
            self.connection = Some(connection);
            if std::mem::replace(&mut self.resumed, true) {
                return Ok(Heard::Gap);
            }
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("channels", &self.channels).finish_non_exhaustive()
    }
}
