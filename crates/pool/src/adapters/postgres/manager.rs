//! Opens, checks, cleans and judges sessions.
//!
//! Invariant: nobody gets a session that is in a transaction, owes a reply, or was left with
//! something that can be seen.
//! Left out: when any of this happens; the pool decides.

use std::sync::Arc;
use std::time::Duration;

use headpond_wire::Status;

use super::config::{Config, Recycling, Route};
use super::connect;
use super::connection::Connection;
use super::error::Error;
use super::facts;
use super::profile::Profile;
use super::watch::Dirt;
use crate::facts::Facts;
use crate::manager::{CloseReason, ConnectFailure, Fate, Manager};
use crate::tls::TlsError;

/// The manager of a pool of PostgreSQL sessions.
#[derive(Clone, Debug)]
pub struct Postgres {
    profile: Arc<Profile>,
}

/// How long a reply that nobody waits for may take before its query is cancelled.
const GRACE: Duration = Duration::from_millis(50);

/// What brings a session to the state of a new one, but leaves prepared statements.
const CLEAN: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
                     SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

impl Postgres {
    /// Takes a configuration and reads the files of its TLS.
    ///
    /// # Errors
    /// When a certificate, key or list cannot be used.
    pub fn new(config: Config) -> Result<Self, TlsError> {
        Ok(Self { profile: Arc::new(Profile::new(config)?) })
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.profile.config
    }

    pub(super) const fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    fn is_clean(&self, connection: &Connection) -> bool {
        let Config { recycling, route, .. } = self.config();
        match (recycling, route) {
            // What is left belongs to the pooler, which cleans as it is configured.
            (_, Route::Pooler) | (Recycling::Fast, _) => true,
            (Recycling::Clean, _) => connection.watch().dirt() == Dirt::NONE,
            (Recycling::Always, _) => false,
        }
    }
}

impl Manager for Postgres {
    type Connection = Connection;
    type Error = Error;

    async fn connect(&self) -> Result<Connection, Error> {
        connect::connect(&self.profile).await
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), Error> {
        match connection.route() {
            // The shortest round trip there is.
            Route::Direct => connection.check_connection().await?,
            // A pooler would answer that by itself.
            Route::Pooler => connection.batch("SELECT 1").await?,
        }
        Ok(())
    }

    async fn facts(&self, connection: &mut Connection) -> Result<Option<Facts>, Error> {
        Ok(facts::ask(connection).await?)
    }

    async fn reset(&self, connection: &mut Connection) -> Result<(), Error> {
        let watch = connection.watch();
        match tokio::time::timeout(GRACE, watch.quiet()).await {
            Ok(true) => {}
            Ok(false) => return Err(Error::Ended),
            // Closing cancels it; a cancelled session is not used again, because a cancel that
            // comes late would hit the next query.
            Err(_) => return Err(Error::Abandoned),
        }
        if watch.status() != Status::Idle {
            connection.batch("ROLLBACK").await?;
        }
        if !self.is_clean(connection) {
            let dirt = watch.dirt();
            let thorough = self.config().recycling == Recycling::Always
                || dirt.has(Dirt::PREPARED.with(Dirt::ANYTHING));
            connection.batch(if thorough { "DISCARD ALL" } else { CLEAN }).await?;
            watch.cleaned();
        }
        if watch.quiet().await && watch.status() == Status::Idle {
            Ok(())
        } else {
            Err(Error::Ended)
        }
    }

    fn fate(&self, connection: &mut Connection) -> Fate {
        let watch = connection.watch();
        if watch.is_over() {
            return Fate::Discard(CloseReason::Broken);
        }
        // The driver may be about to fall asleep on another thread.
        for _ in 0..64 {
            if watch.is_quiet() || watch.owed() > 0 {
                break;
            }
            std::hint::spin_loop();
        }
        let clean = watch.is_quiet() && watch.status() == Status::Idle && self.is_clean(connection);
        if clean { Fate::Reuse } else { Fate::Reset }
    }

    fn is_usable(&self, connection: &mut Connection) -> bool {
        connection.watch().owed() == 0 && !connection.is_dead()
    }

    fn failure(&self, error: &Error) -> ConnectFailure {
        error.failure()
    }

    async fn close(&self, connection: Connection) {
        connection.close().await;
    }
}
