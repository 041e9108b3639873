//! Which databases go through a PgBouncer, and who can ask it.
//!
//! Invariant: a console is asked as the pool logs in, unless `PGBOUNCER_ADMIN_URL` says it
//! otherwise for the main database.
//! Left out: asking (`bouncers.rs`).

use std::sync::Arc;

use headpond_monitor::model::{CheckError, CheckErrorKind, Through};

use super::{Admin, Bouncers, Login};
use crate::config::General;
use crate::pool::Pool;
use crate::postgres::console::Console;
use crate::postgres::{Config, Host, Postgres, Route};
use crate::registry::{Databases, StartError};

/// The database that `PGBOUNCER_URL` and `PGBOUNCER_ADMIN_URL` are about.
const MAIN: &str = "main";

impl Admin {
    /// Reads `PGBOUNCER_ADMIN_URL`, if there is one.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub(in crate::registry) fn read(general: &General) -> Result<Self, StartError> {
        let Some(url) = &general.pgbouncer_admin else { return Ok(Self::default()) };
        match Config::parse(url.reveal()) {
            Ok(config) => Ok(Self { config: Some(config) }),
            Err(error) => {
                let cause = format!("PGBOUNCER_ADMIN_URL: {error}").into();
                Err(StartError::Open { name: MAIN.to_owned(), cause })
            }
        }
    }
}

impl Bouncers {
    /// Finds those that databases go through.
    pub(in crate::registry) fn of(databases: &Databases) -> Self {
        let mut all = Self::default();
        for (name, _, database) in databases.iter() {
            let pool: Option<&Pool<Postgres>> = database.as_any().downcast_ref();
            let own = pool.map(|pool| pool.manager().config());
            let Some(own) = own.filter(|config| config.route == Route::Pooler) else { continue };
            let through = Through {
                pool: name.to_owned(),
                database: own.database.clone(),
                user: own.user.clone(),
            };
            let admin = databases.shared.admin.config.as_ref().filter(|_| name == MAIN);
            let config = admin.unwrap_or(own);
            for host in &config.hosts {
                all.add(host.to_string(), through.clone(), login(config, host));
            }
        }
        all
    }
}

fn login(config: &Config, host: &Host) -> Login {
    let user = config.user.clone();
    match Console::new(config, host) {
        Ok(console) => {
            let console = Arc::new(console);
            let ask = move || {
                let console = Arc::clone(&console);
                Box::pin(async move { console.figures().await }) as _
            };
            Login { user, ask: Box::new(ask) }
        }
        Err(error) => {
            let error = CheckError { kind: CheckErrorKind::Refused, text: error.to_string() };
            Login { user, ask: Box::new(move || Box::pin(std::future::ready(Err(error.clone())))) }
        }
    }
}
