//! What the pools know of connections of SQLite's.
//!
//! Invariant: a connection is lent again only if nothing of its last closure is left in it; the
//! closure has ended by then, because it holds the loan itself.
//! Left out: the pools.

use std::fmt;

use headpond::{CloseReason, ConnectFailure, Fate};

use crate::connection::Connection;
use crate::error::OpenError;
use crate::open::Recipe;
use crate::thread;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Writer,
    Reader,
}

/// Opens and judges connections of one database.
pub struct Manager {
    recipe: Recipe,
    role: Role,
}

impl Manager {
    pub(crate) const fn new(recipe: Recipe, role: Role) -> Self {
        Self { recipe, role }
    }
}

impl headpond::Manager for Manager {
    type Connection = Connection;
    type Error = OpenError;

    async fn connect(&self) -> Result<Connection, OpenError> {
        thread::start(self.recipe.clone(), self.role).await
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), OpenError> {
        let answer = connection.call(|c| c.query_row("SELECT 1", [], |_| Ok(()))).await;
        answer.map_err(|error| OpenError::Check(Box::new(error)))
    }

    async fn reset(&self, connection: &mut Connection) -> Result<(), OpenError> {
        // A transaction that was left open is rolled back after each closure.
        self.ping(connection).await
    }

    fn fate(&self, connection: &mut Connection) -> Fate {
        let watch = connection.watch();
        if watch.has_ended() {
            Fate::Discard(CloseReason::Broken)
        } else if watch.is_dirty() {
            Fate::Discard(CloseReason::Unclean)
        } else {
            Fate::Reuse
        }
    }

    fn is_usable(&self, connection: &mut Connection) -> bool {
        let watch = connection.watch();
        !watch.has_ended() && !watch.is_dirty()
    }

    fn failure(&self, error: &OpenError) -> ConnectFailure {
        match error {
            OpenError::Locked { .. } | OpenError::Thread(_) => ConnectFailure::Refused,
            // What a file is does not change while somebody waits.
            _ => ConnectFailure::Rejected,
        }
    }

    async fn close(&self, connection: Connection) {
        connection.close().await;
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("role", &self.role).finish_non_exhaustive()
    }
}
