//! One session, as its user has it.
//!
//! Invariant: the driver's task ends with the connection; a query that runs then is cancelled.
//! Left out: whether others may have the session afterwards (`manager.rs`).

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::{SinkExt, TryStreamExt};
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

use super::cancel::Canceller;
use super::config::Route;
use super::connect::Peer;
use super::profile::Profile;
use super::statement::{On, Query, Statements, queries};
use super::transaction::{self, Transaction};
use super::watch::{Dirt, Watch};
use crate::adapters::line::{Line, Unread};
use crate::transaction::Options;

/// A session with a PostgreSQL server.
///
/// It has the methods of [`tokio_postgres::Client`] beside its own. [`query`](Self::query) and
/// [`execute`](Self::execute) keep the statements that they prepare.
pub struct Connection {
    client: Client,
    statements: Statements,
    // Dropped last: it cancels what still runs, and ends the driver.
    lifeline: Lifeline,
}

/// What must be ended when a connection goes.
struct Lifeline {
    watch: Arc<Watch>,
    profile: Arc<Profile>,
    peer: Peer,
    driver: JoinHandle<()>,
    line: Line,
    encrypted: bool,
}

/// What a server sends to a session that is to go on: ParameterStatus and NotificationResponse.
const UNASKED: [u8; 2] = *b"SA";

impl Connection {
    pub(super) fn new(
        client: Client,
        (driver, line, encrypted): (JoinHandle<()>, Line, bool),
        watch: Arc<Watch>,
        profile: Arc<Profile>,
        peer: Peer,
    ) -> Self {
        let statements = Statements::new(profile.config.statement_cache);
        Self {
            client,
            statements,
            lifeline: Lifeline { watch, profile, peer, driver, line, encrypted },
        }
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.lifeline.watch
    }

    fn on(&self) -> On<'_> {
        On {
            client: &self.client,
            statements: &self.statements,
            profile: &self.lifeline.profile,
            watch: &self.lifeline.watch,
        }
    }

    queries!("Dropping the future does not stop the server; giving the connection back does.");

    /// Runs statements that are separated by semicolons.
    ///
    /// # Errors
    /// With the first that fails; the others are not run.
    ///
    /// # Cancel safety
    /// As [`Connection::query`].
    pub async fn batch(&self, statements: &str) -> Result<(), Error> {
        self.client.batch_execute(statements).await
    }

    /// Sends rows with `COPY … FROM STDIN` and returns how many there were.
    ///
    /// # Errors
    /// As [`Connection::query`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the COPY, and nothing of it is kept.
    pub async fn copy_from<B, I>(&self, copy: &str, data: I) -> Result<u64, Error>
    where
        B: Buf + Send + 'static,
        I: IntoIterator<Item = B>,
    {
        let sink = self.client.copy_in(copy).await?;
        tokio::pin!(sink);
        for piece in data {
            sink.as_mut().feed(piece).await?;
        }
        sink.finish().await
    }

    /// Receives everything that `COPY … TO STDOUT` sends, piece by piece.
    ///
    /// # Errors
    /// As [`Connection::query`].
    ///
    /// # Cancel safety
    /// As [`Connection::query`].
    pub async fn copy_to(&self, copy: &str, mut each: impl FnMut(Bytes)) -> Result<(), Error> {
        let stream = self.client.copy_out(copy).await?;
        tokio::pin!(stream);
        while let Some(piece) = stream.try_next().await? {
            each(piece);
        }
        Ok(())
    }

    /// Begins a transaction, which is rolled back unless it is committed.
    ///
    /// # Errors
    /// When the server refuses.
    ///
    /// # Cancel safety
    /// Dropping the future rolls back what may have begun.
    pub async fn transaction(&mut self, options: &Options) -> Result<Transaction<'_>, Error> {
        let Lifeline { watch, profile, .. } = &self.lifeline;
        let begun = transaction::begin(&mut self.client, options).await?;
        Ok(Transaction::new(begun, &self.statements, profile, watch))
    }

    /// Returns what cancels the query of this session from elsewhere, if the server gave a key.
    #[must_use]
    pub fn canceller(&self) -> Option<Canceller> {
        self.lifeline.canceller()
    }

    /// Returns the value of a parameter that the server reports, as in `server_version`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.watch().parameter(name)
    }

    /// Returns how many prepared statements are kept.
    #[must_use]
    pub fn cached_statements(&self) -> usize {
        self.statements.len()
    }

    /// Forgets all prepared statements, and closes them on the server.
    pub fn clear_statements(&self) {
        self.statements.clear();
    }

    /// Says that the session must be cleaned before others get it, because of something that
    /// cannot be seen from outside, such as what a function did.
    pub fn soil(&self) {
        self.watch().note(Dirt::ANYTHING);
    }

    /// Returns whether the server has ended the session, even if the driver has not run since.
    pub(super) fn is_dead(&self) -> bool {
        let Lifeline { watch, line, encrypted, .. } = &self.lifeline;
        watch.is_over()
            || self.client.is_closed()
            || match line.unread_lately() {
                Unread::Nothing => false,
                // Whatever else comes unasked is the last word of a session.
                Unread::From(first) => *encrypted || !UNASKED.contains(&first),
                Unread::End => true,
            }
    }

    /// Waits until the session has ended.
    pub(super) async fn ended(&self) {
        self.watch().ended_at_last().await;
    }

    pub(super) fn route(&self) -> Route {
        self.lifeline.profile.config.route
    }

    /// Ends the session: cancels what runs, says goodbye, waits until the server has closed.
    pub(super) async fn close(self) {
        let Self { client, statements, mut lifeline } = self;
        let watch = Arc::clone(&lifeline.watch);
        if !watch.is_quiet() && watch.owed() > 0 && !watch.is_over() {
            if let Some(canceller) = lifeline.canceller()
                && let Err(error) = canceller.cancel().await
            {
                tracing::debug!(%error, "cancel request not sent");
            }
            watch.quiet().await;
        }
        drop((client, statements));
        // Without its client the driver says goodbye and ends.
        let _ = (&mut lifeline.driver).await;
    }
}

impl Lifeline {
    fn canceller(&self) -> Option<Canceller> {
        let key = self.watch.key()?;
        Some(Canceller::new(Arc::clone(&self.profile), self.peer.clone(), key))
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if self.driver.is_finished() {
            return;
        }
        let runs = self.watch.owed() > 0 && !self.watch.is_over();
        if let (true, Some(canceller)) = (runs, self.canceller())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                let limit = std::time::Duration::from_secs(5);
                // Nobody is left whom the outcome could interest.
                let _ = tokio::time::timeout(limit, canceller.cancel()).await;
            });
        }
        self.driver.abort();
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.lifeline.peer.to_string())
            .field("status", &self.watch().status())
            .field("owed", &self.watch().owed())
            .finish_non_exhaustive()
    }
}
